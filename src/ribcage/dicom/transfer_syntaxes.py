"""The transfer syntaxes of PS3.6 Annex A, retired ones included, and how each encodes a data set (PS3.5 A).

Rules, in order:
1. A UID that is not in the table is refused: `UnsupportedTransferSyntax`. Nothing is guessed from a prefix.
2. `lossy` means that the syntax can lose information, not that an instance did.
3. JPIP syntaxes carry a URL in place of pixels: not encapsulated. Deflated Image Frame Compression deflates
   frames, not the data set: encapsulated and not deflated.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from ribcage.dicom.errors import UnsupportedTransferSyntax


@dataclass(frozen=True, slots=True)
class TransferSyntax:
    """How a data set is encoded; `encapsulated` speaks of its pixels, `deflated` of the whole."""

    uid: str
    name: str
    implicit: bool
    little: bool
    encapsulated: bool
    deflated: bool
    retired: bool
    lossy: bool


IMPLICIT_VR_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2"
EXPLICIT_VR_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2.1"
DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN: Final = "1.2.840.10008.1.2.1.99"
LITTLE_ENDIAN: Final = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)  # what every peer takes
EXPLICIT_VR_BIG_ENDIAN: Final = "1.2.840.10008.1.2.2"

# Flags: i implicit VR, b big endian, e encapsulated, d deflated, l can lose information, r retired.
_ROWS: Final = (
    ("1.2.840.10008.1.2", "i", "Implicit VR Little Endian"),
    ("1.2.840.10008.1.2.1", "", "Explicit VR Little Endian"),
    ("1.2.840.10008.1.2.1.98", "e", "Encapsulated Uncompressed Explicit VR Little Endian"),
    ("1.2.840.10008.1.2.1.99", "d", "Deflated Explicit VR Little Endian"),
    ("1.2.840.10008.1.2.2", "br", "Explicit VR Big Endian"),
    ("1.2.840.10008.1.2.4.50", "el", "JPEG Baseline (Process 1)"),
    ("1.2.840.10008.1.2.4.51", "el", "JPEG Extended (Process 2 and 4)"),
    ("1.2.840.10008.1.2.4.52", "elr", "JPEG Extended (Process 3 and 5)"),
    ("1.2.840.10008.1.2.4.53", "elr", "JPEG Spectral Selection, Non-Hierarchical (Process 6 and 8)"),
    ("1.2.840.10008.1.2.4.54", "elr", "JPEG Spectral Selection, Non-Hierarchical (Process 7 and 9)"),
    ("1.2.840.10008.1.2.4.55", "elr", "JPEG Full Progression, Non-Hierarchical (Process 10 and 12)"),
    ("1.2.840.10008.1.2.4.56", "elr", "JPEG Full Progression, Non-Hierarchical (Process 11 and 13)"),
    ("1.2.840.10008.1.2.4.57", "e", "JPEG Lossless, Non-Hierarchical (Process 14)"),
    ("1.2.840.10008.1.2.4.58", "er", "JPEG Lossless, Non-Hierarchical (Process 15)"),
    ("1.2.840.10008.1.2.4.59", "elr", "JPEG Extended, Hierarchical (Process 16 and 18)"),
    ("1.2.840.10008.1.2.4.60", "elr", "JPEG Extended, Hierarchical (Process 17 and 19)"),
    ("1.2.840.10008.1.2.4.61", "elr", "JPEG Spectral Selection, Hierarchical (Process 20 and 22)"),
    ("1.2.840.10008.1.2.4.62", "elr", "JPEG Spectral Selection, Hierarchical (Process 21 and 23)"),
    ("1.2.840.10008.1.2.4.63", "elr", "JPEG Full Progression, Hierarchical (Process 24 and 26)"),
    ("1.2.840.10008.1.2.4.64", "elr", "JPEG Full Progression, Hierarchical (Process 25 and 27)"),
    ("1.2.840.10008.1.2.4.65", "er", "JPEG Lossless, Hierarchical (Process 28)"),
    ("1.2.840.10008.1.2.4.66", "er", "JPEG Lossless, Hierarchical (Process 29)"),
    (
        "1.2.840.10008.1.2.4.70",
        "e",
        "JPEG Lossless, Non-Hierarchical, First-Order Prediction (Process 14 [Selection Value 1])",
    ),
    ("1.2.840.10008.1.2.4.80", "e", "JPEG-LS Lossless Image Compression"),
    ("1.2.840.10008.1.2.4.81", "el", "JPEG-LS Lossy (Near-Lossless) Image Compression"),
    ("1.2.840.10008.1.2.4.90", "e", "JPEG 2000 Image Compression (Lossless Only)"),
    ("1.2.840.10008.1.2.4.91", "el", "JPEG 2000 Image Compression"),
    ("1.2.840.10008.1.2.4.92", "e", "JPEG 2000 Part 2 Multi-component Image Compression (Lossless Only)"),
    ("1.2.840.10008.1.2.4.93", "el", "JPEG 2000 Part 2 Multi-component Image Compression"),
    ("1.2.840.10008.1.2.4.94", "l", "JPIP Referenced"),
    ("1.2.840.10008.1.2.4.95", "dl", "JPIP Referenced Deflate"),
    ("1.2.840.10008.1.2.4.100", "el", "MPEG2 Main Profile / Main Level"),
    ("1.2.840.10008.1.2.4.100.1", "el", "Fragmentable MPEG2 Main Profile / Main Level"),
    ("1.2.840.10008.1.2.4.101", "el", "MPEG2 Main Profile / High Level"),
    ("1.2.840.10008.1.2.4.101.1", "el", "Fragmentable MPEG2 Main Profile / High Level"),
    ("1.2.840.10008.1.2.4.102", "el", "MPEG-4 AVC/H.264 High Profile / Level 4.1"),
    ("1.2.840.10008.1.2.4.102.1", "el", "Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.1"),
    ("1.2.840.10008.1.2.4.103", "el", "MPEG-4 AVC/H.264 BD-compatible High Profile / Level 4.1"),
    (
        "1.2.840.10008.1.2.4.103.1",
        "el",
        "Fragmentable MPEG-4 AVC/H.264 BD-compatible High Profile / Level 4.1",
    ),
    ("1.2.840.10008.1.2.4.104", "el", "MPEG-4 AVC/H.264 High Profile / Level 4.2 For 2D Video"),
    (
        "1.2.840.10008.1.2.4.104.1",
        "el",
        "Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.2 For 2D Video",
    ),
    ("1.2.840.10008.1.2.4.105", "el", "MPEG-4 AVC/H.264 High Profile / Level 4.2 For 3D Video"),
    (
        "1.2.840.10008.1.2.4.105.1",
        "el",
        "Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.2 For 3D Video",
    ),
    ("1.2.840.10008.1.2.4.106", "el", "MPEG-4 AVC/H.264 Stereo High Profile / Level 4.2"),
    ("1.2.840.10008.1.2.4.106.1", "el", "Fragmentable MPEG-4 AVC/H.264 Stereo High Profile / Level 4.2"),
    ("1.2.840.10008.1.2.4.107", "el", "HEVC/H.265 Main Profile / Level 5.1"),
    ("1.2.840.10008.1.2.4.108", "el", "HEVC/H.265 Main 10 Profile / Level 5.1"),
    ("1.2.840.10008.1.2.4.110", "e", "JPEG XL Lossless"),
    ("1.2.840.10008.1.2.4.111", "el", "JPEG XL JPEG Recompression"),
    ("1.2.840.10008.1.2.4.112", "el", "JPEG XL"),
    ("1.2.840.10008.1.2.4.201", "e", "High-Throughput JPEG 2000 Image Compression (Lossless Only)"),
    (
        "1.2.840.10008.1.2.4.202",
        "e",
        "High-Throughput JPEG 2000 with RPCL Options Image Compression (Lossless Only)",
    ),
    ("1.2.840.10008.1.2.4.203", "el", "High-Throughput JPEG 2000 Image Compression"),
    ("1.2.840.10008.1.2.4.204", "l", "JPIP HTJ2K Referenced"),
    ("1.2.840.10008.1.2.4.205", "dl", "JPIP HTJ2K Referenced Deflate"),
    ("1.2.840.10008.1.2.5", "e", "RLE Lossless"),
    ("1.2.840.10008.1.2.6.1", "r", "RFC 2557 MIME encapsulation"),
    ("1.2.840.10008.1.2.6.2", "r", "XML Encoding"),
    ("1.2.840.10008.1.2.7.1", "", "SMPTE ST 2110-20 Uncompressed Progressive Active Video"),
    ("1.2.840.10008.1.2.7.2", "", "SMPTE ST 2110-20 Uncompressed Interlaced Active Video"),
    ("1.2.840.10008.1.2.7.3", "", "SMPTE ST 2110-30 PCM Digital Audio"),
    ("1.2.840.10008.1.2.8.1", "e", "Deflated Image Frame Compression"),
    ("1.2.840.10008.1.20", "ir", "Papyrus 3 Implicit VR Little Endian"),
)

TRANSFER_SYNTAXES: Final = MappingProxyType(
    {
        uid: TransferSyntax(
            uid=uid,
            name=name,
            implicit="i" in flags,
            little="b" not in flags,
            encapsulated="e" in flags,
            deflated="d" in flags,
            retired="r" in flags,
            lossy="l" in flags,
        )
        for uid, flags, name in _ROWS
    }
)


def lookup(uid: str) -> TransferSyntax:
    """The row of this UID (without padding). Raises UnsupportedTransferSyntax when PS3.6 Annex A has none."""
    syntax = TRANSFER_SYNTAXES.get(uid)
    if syntax is None:
        raise UnsupportedTransferSyntax(
            "expected a transfer syntax of PS3.6 Annex A, got another UID; resend in a standard one"
        )
    return syntax
