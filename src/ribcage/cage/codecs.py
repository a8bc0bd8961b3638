"""The codecs: one function for each way of encoding a frame (PS3.5 8.2), and the table of transfer syntaxes.

Rules, in order:
1. A transfer syntax that is not in the table is refused with its reason. Nothing is guessed.
2. Rows, columns, samples and precision of the codestream must be those of the header, where the codestream tells:
   looked up before anything is decoded.
3. A codec returns samples side by side, in the smallest type that holds its precision; colour stays as the
   codestream holds it, but for JPEG's YCbCr, which its decoder turns into RGB.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

import gdcm
import jpeg_ls
import numpy as np
from numpy.typing import NDArray
from openjpeg.utils import decode_pixel_data, get_parameters
from PIL import Image
from rle.rle import decode_frame as decode_rle

from ribcage.cage.errors import PixelsUnreadable
from ribcage.cage.header import Shape
from ribcage.dicom.transfer_syntaxes import TRANSFER_SYNTAXES

Samples = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Coded:
    """What a codec made: `samples` of shape rows × columns or rows × columns × 3, how many `bits` each has, whether
    they are `signed`, and the photometric interpretation they are in."""

    samples: Samples
    bits: int
    signed: bool
    photometric: str


Codec = Callable[[bytes, Shape], Coded]


def codec_of(transfer_syntax_uid: str) -> Codec | None:
    """The codec of an encapsulated syntax, None for native ones. Raises PixelsUnreadable (rule 1)."""
    syntax = TRANSFER_SYNTAXES.get(transfer_syntax_uid)
    if syntax is None:
        raise PixelsUnreadable("expected a transfer syntax of PS3.6 Annex A, got another")
    if transfer_syntax_uid in _NATIVE:
        return None
    if transfer_syntax_uid not in _CODECS:
        raise PixelsUnreadable(
            f"{syntax.name}: no decoder here; ask for the frame in its stored transfer syntax instead"
        )
    return _CODECS[transfer_syntax_uid]


def _jpeg(frame: bytes, shape: Shape) -> Coded:
    """JPEG with DCT: 8 bits by libjpeg, 12 bits by GDCM."""
    head = read_jpeg_head(frame)
    _same(head.rows, head.columns, head.samples, shape)
    if head.precision != 8:
        return _gdcm(frame, shape, head)
    image = Image.open(BytesIO(frame), formats=("JPEG",))
    if shape.samples == 3 and shape.photometric == "RGB" and not head.says_its_colours:
        image.draft("YCbCr", image.size)  # no conversion: the samples are red, green and blue already
    samples = np.asarray(image)
    if samples.shape[2:] != (() if shape.samples == 1 else (3,)):
        raise PixelsUnreadable(f"expected {shape.samples} samples per pixel in the JPEG, got another number")
    return Coded(samples, 8, False, "RGB" if shape.samples == 3 else shape.photometric)


def _jpeg_lossless(frame: bytes, shape: Shape) -> Coded:
    head = read_jpeg_head(frame)
    _same(head.rows, head.columns, head.samples, shape)
    return _gdcm(frame, shape, head)


@dataclass(frozen=True, slots=True)
class JpegHead:
    """The frame header of a JPEG codestream (ISO/IEC 10918-1 B.2.2). `says_its_colours`: by JFIF or Adobe marker,
    or by components called R, G and B."""

    precision: int
    rows: int
    columns: int
    samples: int
    says_its_colours: bool


def read_jpeg_head(frame: bytes) -> JpegHead:
    """Walk the markers up to the frame header. Raises PixelsUnreadable."""
    position, says = 2, False
    if frame[:2] != b"\xff\xd8":
        raise PixelsUnreadable("expected a JPEG codestream, got other bytes")
    while position + 4 <= len(frame) and frame[position] == 0xFF:
        marker, length = frame[position + 1], int.from_bytes(frame[position + 2 : position + 4], "big")
        if marker == 0xFF:
            position += 1
            continue
        body = frame[position + 4 : position + 2 + length]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and len(body) >= 6:
            names = body[6::3]
            return JpegHead(
                precision=body[0],
                rows=int.from_bytes(body[1:3], "big"),
                columns=int.from_bytes(body[3:5], "big"),
                samples=body[5],
                says_its_colours=says or names in (b"RGB", b"rgb"),
            )
        says = says or body.startswith((b"JFIF", b"Adobe"))
        position += 2 + length
    raise PixelsUnreadable("expected a JPEG frame header, got the end of its markers")


def _gdcm(frame: bytes, shape: Shape, head: JpegHead) -> Coded:
    """What libjpeg does not read, by GDCM."""
    if head.precision > shape.bits_allocated:
        raise PixelsUnreadable(f"expected {shape.bits_allocated} bits at most, got {head.precision}")
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(frame)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((shape.columns, shape.rows, 1))
    image.SetDataElement(element)
    colours = gdcm.PhotometricInterpretation.GetPIType("RGB" if shape.samples == 3 else "MONOCHROME2")
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(colours))
    syntax = _GDCM_LOSSLESS if head.precision != 12 or _is_lossless(frame) else _GDCM_EXTENDED
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(syntax)))
    allocated = 8 if head.precision <= 8 else 16
    image.SetPixelFormat(
        gdcm.PixelFormat(shape.samples, allocated, head.precision, head.precision - 1, int(shape.signed))
    )
    decoded = image.GetBuffer().encode("utf-8", "surrogateescape")  # GDCM hands out char* as str
    return Coded(_arranged(decoded, allocated, shape), head.precision, False, shape.photometric)


_GDCM_EXTENDED, _GDCM_LOSSLESS = "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.57"


def _is_lossless(frame: bytes) -> bool:
    return b"\xff\xc3" in frame[: frame.find(b"\xff\xda")]


def _jpeg_ls(frame: bytes, shape: Shape) -> Coded:
    head = read_jpeg_head(frame.replace(b"\xff\xf7", b"\xff\xc3", 1))  # SOF55, laid out as any frame header
    _same(head.rows, head.columns, head.samples, shape)
    decoded, info = jpeg_ls.decode_pixel_data(frame)
    allocated = 8 if info["bits_per_sample"] <= 8 else 16
    by_plane = info["components"] > 1 and info["interleave_mode"] == 0
    samples = _arranged(decoded, allocated, shape, planar=by_plane)
    return Coded(samples, info["bits_per_sample"], False, shape.photometric)


def _jpeg_2000(frame: bytes, shape: Shape) -> Coded:
    """JPEG 2000 and HTJ2K by OpenJPEG, which undoes the component transforms ICT and RCT."""
    head = get_parameters(frame)
    _same(int(head["rows"]), int(head["columns"]), int(head["samples_per_pixel"]), shape)
    precision = int(head["precision"])
    allocated = 8 if precision <= 8 else 16 if precision <= 16 else 32
    decoded = bytes(decode_pixel_data(frame, version=2))
    photometric = "RGB" if shape.photometric in ("YBR_ICT", "YBR_RCT") else shape.photometric
    return Coded(_arranged(decoded, allocated, shape), precision, bool(head["is_signed"]), photometric)


def _rle(frame: bytes, shape: Shape) -> Coded:
    """RLE Lossless (PS3.5 G): one segment for each byte plane of each sample."""
    decoded = decode_rle(frame, shape.pixels, shape.bits_allocated, "<")
    samples = _arranged(decoded, max(shape.bits_allocated, 8), shape, planar=True)
    return Coded(samples, shape.bits_allocated, False, shape.photometric)


def _arranged(decoded: bytes | bytearray, allocated: int, shape: Shape, planar: bool = False) -> Samples:
    """Decoded bytes as rows × columns (× samples). Raises PixelsUnreadable for a wrong number of them."""
    expected = shape.pixels * shape.samples * allocated // 8
    if len(decoded) < expected:
        raise PixelsUnreadable(f"expected {expected} decoded bytes, got {len(decoded)}")
    flat = np.frombuffer(decoded, f"<u{allocated // 8}", count=shape.pixels * shape.samples)
    if shape.samples == 1:
        return flat.reshape(shape.rows, shape.columns)
    if planar:
        return flat.reshape(shape.samples, shape.rows, shape.columns).transpose(1, 2, 0)
    return flat.reshape(shape.rows, shape.columns, shape.samples)


def _same(rows: int, columns: int, samples: int, shape: Shape) -> None:
    """Rule 2. Raises PixelsUnreadable."""
    if (rows, columns, samples) != (shape.rows, shape.columns, shape.samples):
        raise PixelsUnreadable(
            f"expected a codestream of {shape.rows} x {shape.columns} x {shape.samples}, "
            f"got {rows} x {columns} x {samples}"
        )


def inflate_frame(frame: bytes, most_bytes: int) -> bytes:
    """A frame of Deflated Image Frame Compression (PS3.5 A.4.13), within its size. Raises PixelsUnreadable."""
    try:
        return zlib.decompressobj(wbits=-zlib.MAX_WBITS).decompress(frame, most_bytes)
    except zlib.error:
        raise PixelsUnreadable("expected a deflated frame, got damaged bytes") from None


DEFLATED_FRAMES: Final = "1.2.840.10008.1.2.8.1"
_NATIVE: Final = frozenset(
    {
        "1.2.840.10008.1.2",
        "1.2.840.10008.1.2.1",
        "1.2.840.10008.1.2.1.98",
        "1.2.840.10008.1.2.1.99",
        "1.2.840.10008.1.2.2",
        DEFLATED_FRAMES,
    }
)
_CODECS: Final[dict[str, Codec]] = {
    "1.2.840.10008.1.2.4.50": _jpeg,
    "1.2.840.10008.1.2.4.51": _jpeg,
    "1.2.840.10008.1.2.4.57": _jpeg_lossless,
    "1.2.840.10008.1.2.4.70": _jpeg_lossless,
    "1.2.840.10008.1.2.4.80": _jpeg_ls,
    "1.2.840.10008.1.2.4.81": _jpeg_ls,
    "1.2.840.10008.1.2.4.90": _jpeg_2000,
    "1.2.840.10008.1.2.4.91": _jpeg_2000,
    "1.2.840.10008.1.2.4.201": _jpeg_2000,
    "1.2.840.10008.1.2.4.202": _jpeg_2000,
    "1.2.840.10008.1.2.4.203": _jpeg_2000,
    "1.2.840.10008.1.2.5": _rle,
}
