"""From samples to RGB of 8 bits (PS3.3 C.7.6.3): RGB, YBR, palettes with and without segments (C.7.9).

Rules, in order:
1. YBR_FULL and YBR_FULL_422 are converted by C.7.6.3.1.2; of two neighbours in 422 both take the pair's colours.
2. More than 8 bits are cut to the upper 8.
3. A palette's index below its first value takes the first entry, above its last the last (C.7.6.3.1.5).
4. Segments (C.7.9.2) are expanded within the number of entries that the descriptor gives; an indirect segment
   leads to discrete and linear ones only.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ribcage.cage.decode import Pixels
from ribcage.cage.errors import PixelsUnreadable
from ribcage.cage.grey import read_descriptor, read_entries
from ribcage.cage.header import Header, raw_value, words

_DESCRIPTORS: Final = (0x00281101, 0x00281102, 0x00281103)
_ENTRIES: Final = (0x00281201, 0x00281202, 0x00281203)
_SEGMENTS: Final = (0x00281221, 0x00281222, 0x00281223)
_DISCRETE, _LINEAR, _INDIRECT = 0, 1, 2


def to_rgb(header: Header, pixels: Pixels) -> Image.Image:
    """The frame in colour. Raises PixelsUnreadable."""
    samples = pixels.samples
    if pixels.photometric == "PALETTE COLOR":
        return Image.fromarray(_painted(header, samples))
    if samples.dtype.itemsize > 1:
        samples = (samples.view(np.uint16) >> max(pixels.bits - 8, 0)).clip(0, 255).astype(np.uint8)
    samples = samples.view(np.uint8)
    if pixels.photometric == "RGB":
        return Image.fromarray(np.ascontiguousarray(samples))
    if pixels.photometric == "YBR_FULL_422" and samples.shape[2] == 2:
        samples = _spread(samples)
    if pixels.photometric not in ("YBR_FULL", "YBR_FULL_422"):
        raise PixelsUnreadable("expected RGB, YBR_FULL or YBR_FULL_422 when uncompressed, got another")
    return Image.frombytes(
        "YCbCr", (header.shape.columns, header.shape.rows), np.ascontiguousarray(samples).tobytes()
    ).convert("RGB")


def _spread(pairs: NDArray[Any]) -> NDArray[Any]:
    """Y Y Cb Cr of two pixels as Y Cb Cr of each (rule 1)."""
    rows, columns, _ = pairs.shape
    quads = pairs.reshape(rows, columns // 2, 4)
    spread = np.empty((rows, columns, 3), np.uint8)
    spread[:, :, 0] = quads[:, :, :2].reshape(rows, columns)
    spread[:, :, 1] = np.repeat(quads[:, :, 2], 2, axis=1)
    spread[:, :, 2] = np.repeat(quads[:, :, 3], 2, axis=1)
    return spread


def _painted(header: Header, indices: NDArray[Any]) -> NDArray[np.uint8]:
    """Look every index up in three palettes (rule 3)."""
    if indices.dtype.kind not in "iu" or indices.dtype.itemsize > 2:
        raise PixelsUnreadable("expected palette indices of at most 16 bits, got others")
    palettes = [_palette(header, number) for number in range(3)]
    first, length = palettes[0][0], len(palettes[0][1])
    if any(one[0] != first or len(one[1]) != length for one in palettes):
        raise PixelsUnreadable("expected three palettes of one size, got different ones")
    table = np.stack([entries for _, entries in palettes], axis=1)
    return table[np.clip(indices.astype(np.int32) - first, 0, length - 1)]


def _palette(header: Header, number: int) -> tuple[int, NDArray[np.uint8]]:
    """First index and entries, of 8 bits, of one colour."""
    data_set = header.data_set
    entries, first, bits = read_descriptor(words(data_set, _DESCRIPTORS[number]), header.shape.signed)
    raw, little = raw_value(data_set, _ENTRIES[number])
    if raw:
        found = read_entries(raw, little, entries)
    else:
        raw, little = raw_value(data_set, _SEGMENTS[number])
        kind = ("<u2" if little else ">u2") if bits > 8 else "u1"
        found = expand_segments(np.frombuffer(raw[: len(raw) & ~1], kind).astype(np.int64), entries)
    return first, (found >> max(bits - 8, 0)).clip(0, 255).astype(np.uint8)


def expand_segments(segments: NDArray[np.int64], entries: int) -> NDArray[np.uint16]:
    """The table that a segmented palette stands for (C.7.9.2). Raises PixelsUnreadable (rule 4)."""
    table: list[int] = []
    position = 0
    while position + 2 <= len(segments) and len(table) < entries:
        if segments[position] == _INDIRECT:
            position = _indirect(segments, position, table, entries)
        else:
            position = _direct(segments, position, table)
    if len(table) != entries:
        raise PixelsUnreadable(f"expected segments of {entries} entries, got {len(table)}")
    return np.array(table, np.uint16)


def _direct(segments: NDArray[np.int64], position: int, table: list[int]) -> int:
    """Append a discrete or linear segment; where the next one begins."""
    if position + 2 > len(segments):
        raise PixelsUnreadable("expected a palette segment, got the end of the palette")
    kind, length = int(segments[position]), int(segments[position + 1])
    behind = position + 2 + (length if kind == _DISCRETE else 1)
    if kind not in (_DISCRETE, _LINEAR) or behind > len(segments) or (kind == _LINEAR and not table):
        raise PixelsUnreadable("expected a discrete, linear or indirect palette segment, got another")
    if kind == _DISCRETE:
        table.extend(int(one) for one in segments[position + 2 : behind])
    else:
        steps = np.linspace(table[-1], int(segments[position + 2]), length + 1)[1:]
        table.extend(int(one) for one in np.rint(steps))
    return behind


def _indirect(segments: NDArray[np.int64], position: int, table: list[int], entries: int) -> int:
    """Append segments that stand elsewhere; their offset counts in entries of this palette, low word first."""
    if position + 4 > len(segments):
        raise PixelsUnreadable("expected an indirect palette segment, got the end of the palette")
    count = int(segments[position + 1])
    other = int(segments[position + 2]) | int(segments[position + 3]) << 16
    for _ in range(count):
        if len(table) >= entries:
            break
        other = _direct(segments, other, table)
    return position + 4
