"""One frame from its stored bytes to samples (PS3.5 8.1, 8.2).

Rules, in order:
1. A native frame has at least the bytes its attributes demand; more than a pad byte behind them is ignored.
2. Samples are read from their bits: between the high bit and the bits stored, signed by two's complement. What
   stands in other bits (overlays, dirt) is no part of the picture.
3. A decoded frame goes out in the header's bits allocated, sign extended, samples side by side.
4. A native frame goes out as it is, little endian; 1 bit allocated is moved to the first bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ribcage.cage.codecs import DEFLATED_FRAMES, Coded, codec_of, inflate_frame
from ribcage.cage.errors import PixelsUnreadable
from ribcage.cage.header import Header, Shape, read_header, read_shape
from ribcage.cage.messages import CageLimits, FrameSource, NativeFrame
from ribcage.dicom.transfer_syntaxes import lookup


@dataclass(frozen=True, slots=True)
class Pixels:
    """Samples of rows × columns or rows × columns × 3; of integers `bits` are meant, from bit 0, in two's
    complement where `signed`. Native YBR_FULL_422 is not spread out yet: rows × columns × 2 bytes."""

    samples: NDArray[Any]
    bits: int
    signed: bool
    photometric: str


def decode(source: FrameSource, limits: CageLimits) -> NativeFrame:
    """The frame as Explicit VR Little Endian would hold it. Raises PixelsUnreadable."""
    shape = read_shape(source, limits)
    codec = codec_of(source.transfer_syntax_uid)
    if codec is None:
        data = _native_bytes(source, shape)
        return _frame(data, shape, shape.photometric, shape.planar)
    coded = codec(source.frame, shape)
    if shape.bits_allocated == 1:
        data = np.packbits(coded.samples.reshape(-1) != 0, bitorder="little").tobytes()
    else:
        samples = _as_stored(coded, shape)
        data = samples.astype(f"<{samples.dtype.kind}{shape.bits_allocated // 8}", copy=False).tobytes()
    return _frame(data, shape, coded.photometric, 0)


def read_pixels(source: FrameSource, limits: CageLimits) -> tuple[Header, Pixels]:
    """Header and samples of a frame, for rendering. Raises PixelsUnreadable."""
    header = read_header(source, limits)
    shape = header.shape
    codec = codec_of(source.transfer_syntax_uid)
    if codec is None:
        return header, _native_pixels(_native_bytes(source, shape), shape)
    coded = codec(source.frame, shape)
    samples = _as_stored(coded, shape)
    return header, Pixels(samples, shape.bits_stored, shape.signed, coded.photometric)


def _frame(data: bytes, shape: Shape, photometric: str, planar: int) -> NativeFrame:
    return NativeFrame(
        data=data,
        photometric_interpretation=photometric,
        samples_per_pixel=shape.samples,
        rows=shape.rows,
        columns=shape.columns,
        bits_allocated=shape.bits_allocated,
        planar_configuration=planar if shape.samples > 1 else 0,
    )


def _native_bytes(source: FrameSource, shape: Shape) -> bytes:
    """Exactly the frame's bytes, little endian (rules 1 and 4)."""
    frame, expected = source.frame, (shape.native_bits + 7) // 8
    if source.transfer_syntax_uid == DEFLATED_FRAMES:
        frame = inflate_frame(frame, expected + 1)
    if shape.bits_allocated == 1:
        return _bits_from(frame, source.index * shape.native_bits % 8, shape.native_bits)
    if len(frame) < expected:
        raise PixelsUnreadable(f"expected a frame of {expected} bytes, got {len(frame)}")
    if not lookup(source.transfer_syntax_uid).little and shape.bits_allocated > 8:
        return np.frombuffer(frame[:expected], f">u{shape.bits_allocated // 8}").byteswap().tobytes()
    return frame[:expected] if len(frame) != expected else frame


def _bits_from(frame: bytes, first: int, count: int) -> bytes:
    """`count` bits from bit `first` on, packed from bit 0 (PS3.5 8.1.1: the first pixel is the lowest bit)."""
    bits = np.unpackbits(np.frombuffer(frame, np.uint8), bitorder="little")[first : first + count]
    if len(bits) < count:
        raise PixelsUnreadable(f"expected a frame of {count} bits, got {len(bits)}")
    return np.packbits(bits, bitorder="little").tobytes()


def _native_pixels(data: bytes, shape: Shape) -> Pixels:
    """Samples of an uncompressed frame, read from their bits (rule 2)."""
    if shape.floating:
        flat: NDArray[Any] = np.frombuffer(data, f"<f{shape.bits_allocated // 8}")
        return Pixels(flat.reshape(shape.rows, shape.columns), 0, True, shape.photometric)
    if shape.bits_allocated == 1:
        flat = np.unpackbits(np.frombuffer(data, np.uint8), count=shape.pixels, bitorder="little")
        return Pixels(flat.reshape(shape.rows, shape.columns), 1, False, shape.photometric)
    flat = np.frombuffer(data, f"<u{shape.bits_allocated // 8}")
    flat = _only_stored(flat, shape.high_bit + 1 - shape.bits_stored, shape.bits_stored, shape)
    if shape.subsampled:
        flat = flat.reshape(shape.rows, shape.columns, 2)
    elif shape.samples == 1:
        flat = flat.reshape(shape.rows, shape.columns)
    elif shape.planar == 1:
        flat = flat.reshape(shape.samples, shape.rows, shape.columns).transpose(1, 2, 0)
    else:
        flat = flat.reshape(shape.rows, shape.columns, shape.samples)
    return Pixels(flat, shape.bits_stored, shape.signed, shape.photometric)


def _only_stored(flat: NDArray[Any], shift: int, bits: int, shape: Shape) -> NDArray[Any]:
    """The stored bits alone, moved to bit 0, as a signed or unsigned type."""
    allocated = 8 * flat.dtype.itemsize
    if not shape.signed:
        if shift:
            flat = flat >> shift
        return flat & ((1 << bits) - 1) if shift + bits < allocated else flat
    left = allocated - bits - shift
    signed = (flat << left if left else flat).view(f"<i{allocated // 8}")
    return signed >> (allocated - bits) if allocated != bits else signed


def _as_stored(coded: Coded, shape: Shape) -> NDArray[Any]:
    """A codec's samples signed as the header says (rule 3): the codestream may not know of signs."""
    samples = coded.samples
    container = 8 * samples.dtype.itemsize
    if container > shape.bits_allocated > 1:
        raise PixelsUnreadable(f"expected {shape.bits_allocated} bits at most, got {coded.bits}")
    if shape.signed:
        meant = coded.bits if coded.signed else min(shape.bits_stored, coded.bits)
        left = container - meant
        signed = samples.view(f"<i{container // 8}")
        return (signed << left) >> left if left else signed
    return samples & ((1 << coded.bits) - 1) if coded.signed and coded.bits < container else samples
