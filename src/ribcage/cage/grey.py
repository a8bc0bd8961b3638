"""From stored values to grey levels (PS3.3 C.11): modality LUT, VOI, photometric interpretation, padding.

Rules, in order:
1. Modality: the Modality LUT Sequence, else rescale slope and intercept of the frame's functional group or of the
   data set, else stored values as they are (C.11.1).
2. VOI: the window asked for; else the first window of the frame or the data set; else the first VOI LUT; else from
   the smallest to the largest value of this frame that is no padding (C.11.2). A window in the header that the
   standard forbids is passed over; one that was asked for is `WishInvalid`.
3. MONOCHROME1 is inverted last. Padding is black in either (C.7.5.1.1.2).
4. Integers of up to 16 bits go through one table of all values; nothing is computed per pixel but its look-up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ribcage.cage.decode import Pixels
from ribcage.cage.errors import PixelsUnreadable, WishInvalid
from ribcage.cage.header import Header, first_item, numbers, raw_value, words
from ribcage.cage.messages import RenderWish

_MODALITY_LUTS, _VOI_LUTS, _DESCRIPTOR, _LUT_DATA = 0x00283000, 0x00283010, 0x00283002, 0x00283006
_TRANSFORMATIONS, _FRAME_VOI = 0x00289145, 0x00289132
_PADDING, _PADDING_LIMIT = 0x00280120, 0x00280121
_FUNCTIONS: Final = {"LINEAR": "linear", "LINEAR_EXACT": "linear-exact", "SIGMOID": "sigmoid"}

Floats = NDArray[np.float64]
Window = tuple[float, float, str]


@dataclass(frozen=True, slots=True)
class Table:
    """A look-up table of a sequence item (C.11.1.1): `entries` from input value `first` on, of `bits` bits."""

    first: int
    bits: int
    entries: Floats

    def look_up(self, values: Floats) -> Floats:
        """Values below and above the table take its first and last entry."""
        position = np.clip(np.floor(values) - self.first, 0, len(self.entries) - 1)
        found: Floats = self.entries[position.astype(np.int64)]
        return found


def to_grey(header: Header, pixels: Pixels, wish: RenderWish) -> NDArray[np.uint8]:
    """The frame's grey levels, 0 black. Raises WishInvalid, PixelsUnreadable."""
    samples = pixels.samples
    if samples.dtype.kind == "f" or samples.dtype.itemsize > 2:
        values = samples.astype(np.float64)
        return _levels(header, pixels, wish, values, np.isfinite(values))
    bits = 8 * samples.dtype.itemsize
    index = samples.view(f"u{samples.dtype.itemsize}")
    every = np.arange(1 << bits, dtype=f"u{samples.dtype.itemsize}").view(samples.dtype)
    present = np.ones(1 << bits, bool)
    if _window(header, wish) is None:
        present = np.bincount(index.reshape(-1), minlength=1 << bits) > 0
    table = _levels(header, pixels, wish, every.astype(np.float64), present)
    levels: NDArray[np.uint8] = table[index]
    return levels


def _levels(
    header: Header, pixels: Pixels, wish: RenderWish, stored: Floats, present: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """Grey levels of `stored` values, of which `present` are in the frame and may set its range."""
    padding = _padding(header, stored)
    values = _modality(header, stored)
    window = _window(header, wish)
    lut = None if window else _lut(header.group(_FRAME_VOI, _VOI_LUTS), _VOI_LUTS, header, signed_input=True)
    if window:
        shares = apply_window(values, window)
    elif lut:
        shares = lut.look_up(values) / ((1 << lut.bits) - 1)
    else:
        shares = _stretched(values, present & ~padding)
    if pixels.photometric == "MONOCHROME1":
        shares = 1.0 - shares
    levels = np.rint(np.nan_to_num(shares, nan=0.0) * 255.0).clip(0, 255).astype(np.uint8)
    levels[padding] = 0
    return levels


def _modality(header: Header, stored: Floats) -> Floats:
    """Rule 1."""
    lut = _lut(header.data_set, _MODALITY_LUTS, header, signed_input=header.shape.signed)
    if lut:
        return lut.look_up(stored)
    group = header.group(_TRANSFORMATIONS, _RESCALE_SLOPE)
    if group is None:
        return stored
    slope, intercept = numbers(group, "RescaleSlope"), numbers(group, "RescaleIntercept")
    return stored * (slope[0] if slope else 1.0) + (intercept[0] if intercept else 0.0)


_RESCALE_SLOPE: Final = 0x00281053
_WINDOW_CENTER: Final = 0x00281050


def _window(header: Header, wish: RenderWish) -> Window | None:
    """Rule 2, as far as it speaks of windows."""
    if wish.window is not None:
        if not _sound(wish.window):
            raise WishInvalid("expected a finite window of positive width, for linear at least 1")
        return wish.window
    group = header.group(_FRAME_VOI, _WINDOW_CENTER)
    if group is None:
        return None
    centers, widths = numbers(group, "WindowCenter"), numbers(group, "WindowWidth")
    function = _FUNCTIONS.get(str(group.get("VOILUTFunction", "") or "LINEAR").strip(), "linear")
    if not centers or not widths:
        return None
    window = (centers[0], widths[0], function)
    return window if _sound(window) else None


def _sound(window: Window) -> bool:
    """C.11.2.1.2.1 and C.11.2.1.3: the width is at least 1 for LINEAR, above 0 for the others."""
    center, width, function = window
    least = 1.0 if function == "linear" else math.ulp(0.0)
    return math.isfinite(center) and math.isfinite(width) and width >= least


def apply_window(values: Floats, window: Window) -> Floats:
    """Shares of white from 0 to 1 (PS3.3 C.11.2.1.2 LINEAR, C.11.2.1.3.1 SIGMOID, C.11.2.1.3.2 LINEAR_EXACT)."""
    center, width, function = window
    if function == "sigmoid":
        return np.asarray(1.0 / (1.0 + np.exp(np.clip(-4.0 * (values - center) / width, -700.0, 700.0))))
    if function == "linear-exact":
        return np.clip((values - center) / width + 0.5, 0.0, 1.0)
    if width == 1.0:
        return np.where(values <= center - 0.5, 0.0, 1.0)
    return np.clip((values - (center - 0.5)) / (width - 1.0) + 0.5, 0.0, 1.0)


def _stretched(values: Floats, counted: NDArray[np.bool_]) -> Floats:
    """From the smallest to the largest value that counts; one value alone is black."""
    if not counted.any():
        return np.zeros_like(values)
    low, high = float(values[counted].min()), float(values[counted].max())
    return np.clip((values - low) / (high - low), 0.0, 1.0) if high > low else np.zeros_like(values)


def _padding(header: Header, stored: Floats) -> NDArray[np.bool_]:
    """Which stored values are padding (C.7.5.1.1.2): one value, or the range up to its limit."""
    first, last = _stored_number(header, _PADDING), _stored_number(header, _PADDING_LIMIT)
    if first is None or not header.shape.grey:
        return np.zeros(stored.shape, bool)
    last = first if last is None else last
    return (stored >= min(first, last)) & (stored <= max(first, last))


def _stored_number(header: Header, tag: int) -> int | None:
    """A number of VR US or SS, as Pixel Representation says."""
    raw, little = raw_value(header.data_set, tag)
    if len(raw) < 2:
        return None
    return int.from_bytes(raw[:2], "little" if little else "big", signed=header.shape.signed)


def _lut(owner: Any, sequence: int, header: Header, *, signed_input: bool) -> Table | None:
    """The first item of a LUT sequence, None where there is none. Raises PixelsUnreadable for a broken one."""
    item = first_item(owner, sequence)
    if item is None:
        return None
    entries, first, bits = read_descriptor(words(item, _DESCRIPTOR), signed_input and _below_zero(header))
    return Table(first, bits, read_entries(*raw_value(item, _LUT_DATA), entries).astype(np.float64))


def _below_zero(header: Header) -> bool:
    """Whether input values may be negative: signed pixels, or a rescale that moves them there."""
    group = header.group(_TRANSFORMATIONS, _RESCALE_SLOPE)
    moved = numbers(group, "RescaleIntercept") if group is not None else ()
    return header.shape.signed or bool(moved and moved[0] < 0)


def read_descriptor(descriptor: NDArray[np.uint16], signed: bool) -> tuple[int, int, int]:
    """Number of entries (0 means 65,536), first input value, bits (C.11.1.1.1). Raises PixelsUnreadable."""
    if len(descriptor) != 3 or not 8 <= descriptor[2] <= 16:
        raise PixelsUnreadable("expected a LUT descriptor of three values, at most 16 bits, got another")
    entries, first, bits = (int(one) for one in descriptor)
    return entries or 65536, first - 65536 if signed and first > 32767 else first, bits


def read_entries(raw: bytes, little: bool, entries: int) -> NDArray[np.uint16]:
    """LUT data as words; as bytes where there are just so many. Raises PixelsUnreadable when some are missing."""
    if len(raw) >= 2 * entries:
        return np.frombuffer(raw[: 2 * entries], "<u2" if little else ">u2").astype(np.uint16)
    if len(raw) in (entries, entries + 1):
        return np.frombuffer(raw[:entries], np.uint8).astype(np.uint16)
    raise PixelsUnreadable(f"expected {entries} LUT entries, got {len(raw)} bytes")
