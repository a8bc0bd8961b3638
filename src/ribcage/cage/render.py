"""One frame as a picture that any browser shows (PS3.18 8.3.5).

Rules, in order:
1. A wish is checked before a pixel is decoded; what it asks for and cannot be had is `WishInvalid`.
2. The region asked for is cut out, then scaled down to fit: nothing is ever enlarged. Pixels that are not square
   (PS3.3 C.7.6.3.1.7) lose along their shorter side.
3. Annotation is drawn last, visibly, white with a black edge, at the lower left; what the built-in font does not
   have (everything but Latin) appears as "?".
4. The picture carries no metadata: no EXIF, no text, no colour profile.
"""

from __future__ import annotations

import math
from io import BytesIO
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from ribcage.cage.colour import to_rgb
from ribcage.cage.decode import read_pixels
from ribcage.cage.errors import WishInvalid
from ribcage.cage.grey import to_grey
from ribcage.cage.header import Header, numbers
from ribcage.cage.messages import CageLimits, FrameSource, Picture, RenderWish

_DEFAULT_QUALITY: Final = 90
_MOST_LINES, _MOST_CHARACTERS = 8, 200
_SMALLEST_LETTERS, _LARGEST_LETTERS = 10, 64
_LAST_LATIN: Final = 0x024F
_Region = tuple[float, float, float, float]


def render(source: FrameSource, wish: RenderWish, limits: CageLimits) -> Picture:
    """Raises PixelsUnreadable, WishInvalid."""
    _check(wish)
    header, pixels = read_pixels(source, limits)
    region = _region(header, wish)
    grey = header.shape.grey
    image = Image.fromarray(to_grey(header, pixels, wish)) if grey else to_rgb(header, pixels)
    image = _fitted(image, region, _size(header, wish, region, limits))
    _annotate(image, wish.annotation)
    return Picture(wish.media_type, _encode(image, wish), image.width, image.height)


def _check(wish: RenderWish) -> None:
    """Rule 1, as far as the header is not needed."""
    if wish.quality is not None and not 1 <= wish.quality <= 100:
        raise WishInvalid(f"expected a quality from 1 to 100, got {wish.quality}")
    if len(wish.annotation) > _MOST_LINES or any(len(line) > _MOST_CHARACTERS for line in wish.annotation):
        raise WishInvalid(f"expected at most {_MOST_LINES} lines of {_MOST_CHARACTERS} characters, got more")
    if wish.thumbnail_pixels is not None and wish.thumbnail_pixels < 1:
        raise WishInvalid(f"expected a thumbnail of at least 1 pixel, got {wish.thumbnail_pixels}")
    if wish.viewport is not None:
        if len(wish.viewport) not in (2, 6) or not all(math.isfinite(one) for one in wish.viewport):
            raise WishInvalid("expected a viewport of 2 or 6 finite numbers, got another")
        if wish.viewport[0] < 1 or wish.viewport[1] < 1:
            raise WishInvalid("expected a viewport of at least 1 x 1 pixels, got less")


def _region(header: Header, wish: RenderWish) -> _Region:
    """Left, top, width and height of the source; negative sizes mirror. Raises WishInvalid."""
    columns, rows = header.shape.columns, header.shape.rows
    if wish.viewport is None or len(wish.viewport) == 2:
        return 0.0, 0.0, float(columns), float(rows)
    left, top, width, height = wish.viewport[2:]
    inside = left >= 0 and top >= 0 and left + abs(width) <= columns and top + abs(height) <= rows
    if not inside or abs(width) < 1 or abs(height) < 1:
        raise WishInvalid(f"expected a region within {columns} x {rows} pixels, got another")
    return left, top, width, height


def _size(header: Header, wish: RenderWish, region: _Region, limits: CageLimits) -> tuple[int, int]:
    """Width and height of the picture (rule 2). Raises WishInvalid beyond the limit."""
    tall = _tallness(header)
    width, height = abs(region[2]) * min(1.0, 1.0 / tall), abs(region[3]) * min(1.0, tall)
    scale = 1.0
    if wish.viewport is not None:
        scale = min(scale, wish.viewport[0] / width, wish.viewport[1] / height)
    if wish.thumbnail_pixels is not None:
        scale = min(scale, wish.thumbnail_pixels / max(width, height))
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    if size[0] * size[1] > limits.max_output_pixels:
        raise WishInvalid(
            f"expected a picture of at most {limits.max_output_pixels} pixels: ask for a viewport"
        )
    return size


def _tallness(header: Header) -> float:
    """Height of a pixel over its width: Pixel Aspect Ratio, else a spacing; 1 where none is sound."""
    for keyword in ("PixelAspectRatio", "PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        found = numbers(header.data_set, keyword)
        if len(found) == 2 and found[0] > 0 and found[1] > 0 and all(map(math.isfinite, found)):
            tall = found[0] / found[1]
            return tall if abs(tall - 1.0) > 0.001 else 1.0
    return 1.0


def _fitted(image: Image.Image, region: _Region, size: tuple[int, int]) -> Image.Image:
    """Cut, mirror, scale down."""
    left, top, width, height = region[0], region[1], abs(region[2]), abs(region[3])
    box = (left, top, left + width, top + height)
    if size != image.size or box != (0, 0, *image.size):
        whole = all(one == int(one) for one in box)
        if whole and size == (width, height):
            image = image.crop((int(box[0]), int(box[1]), int(box[2]), int(box[3])))
        else:
            image = image.resize(size, Image.Resampling.HAMMING, box=box, reducing_gap=3.0)
    if region[2] < 0:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if region[3] < 0:
        image = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    return image


def _annotate(image: Image.Image, lines: tuple[str, ...]) -> None:
    """Draw the lines (rule 3), as large as the picture allows."""
    if not lines:
        return
    text = "\n".join(
        "".join(c if c.isprintable() and ord(c) <= _LAST_LATIN else "?" for c in line) for line in lines
    )
    draw = ImageDraw.Draw(image)
    letters = min(max(image.height // 32, _SMALLEST_LETTERS), _LARGEST_LETTERS)
    while True:
        font = ImageFont.load_default(letters)
        box = draw.multiline_textbbox((0, 0), text, font=font, stroke_width=1)
        if letters == _SMALLEST_LETTERS or (box[2] <= image.width - 4 and box[3] <= image.height - 4):
            break
        letters = max(letters * 4 // 5, _SMALLEST_LETTERS)
    white, black = (255, 0) if image.mode == "L" else ((255, 255, 255), (0, 0, 0))
    place = (2, max(image.height - 3 - box[3], 0))
    draw.multiline_text(place, text, fill=white, font=font, stroke_width=1, stroke_fill=black)


def _encode(image: Image.Image, wish: RenderWish) -> bytes:
    """The picture's file, without metadata (rule 4)."""
    target = BytesIO()
    if wish.media_type == "image/jpeg":
        image.save(target, "JPEG", quality=wish.quality or _DEFAULT_QUALITY)
    elif wish.media_type == "image/png":
        image.save(target, "PNG", compress_level=1)
    else:
        image.save(target, "GIF")
    return target.getvalue()
