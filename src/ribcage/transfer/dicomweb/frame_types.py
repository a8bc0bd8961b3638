"""Media types of frames (PS3.18 8.7.3.3): what a peer accepts, against what is stored. Sans-IO.

Rules, in order:
1. `application/octet-stream` without `transfer-syntax`, or with Explicit VR Little Endian, is uncompressed; with `*`
   frames leave as stored, each part named by its own type (as viewers expect it).
2. An image type without `transfer-syntax` means its default syntax (PS3.18 table 8.7.3-5), `*` any of its type.
3. Wildcards, and no Accept at all, take frames as stored. Nothing is compressed for a peer.
4. A single part is given only for one frame; both spellings of `type`, quoted or not, are one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from ribcage.dicom.transfer_syntaxes import lookup
from ribcage.transfer.dicomweb.errors import NotAcceptable
from ribcage.transfer.dicomweb.negotiation import AS_STORED, EXPLICIT_LITTLE, MediaType

OCTETS: Final = "application/octet-stream"
_ROOT: Final = "1.2.840.10008.1.2."
_ANY: Final = frozenset({"*/*", "application/*", "image/*", "video/*"})


def _types() -> dict[str, str]:
    rows = {
        "image/jpeg": (*range(50, 67), 70),
        "image/jls": (80, 81),
        "image/jp2": (90, 91),
        "image/jpx": (92, 93),
        "image/jxl": (110, 111, 112),
        "image/jphc": (201, 202, 203),
        "video/mpeg": (100, "100.1", 101, "101.1"),
        "video/mp4": (102, "102.1", 103, "103.1", 104, "104.1", 105, "105.1", 106, "106.1", 107, 108),
    }
    found = {f"{_ROOT}4.{number}": kind for kind, numbers in rows.items() for number in numbers}
    return found | {f"{_ROOT}5": "image/dicom-rle"}


TYPE_OF_SYNTAX: Final[Mapping[str, str]] = MappingProxyType(_types())
DEFAULT_SYNTAXES: Final[Mapping[str, str]] = MappingProxyType({
    "image/jpeg": f"{_ROOT}4.70", "image/jls": f"{_ROOT}4.80", "image/jp2": f"{_ROOT}4.90",
    "image/jpx": f"{_ROOT}4.92", "image/jxl": f"{_ROOT}4.110", "image/jphc": f"{_ROOT}4.201",
    "image/dicom-rle": f"{_ROOT}5", "video/mpeg": f"{_ROOT}4.100", "video/mp4": f"{_ROOT}4.102",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class FrameForm:
    """How frames leave: the type of a part, its syntax, one part or many, decoded or as stored."""

    essence: str
    transfer_syntax_uid: str
    multipart: bool
    decoded: bool

    @property
    def media_type(self) -> str:
        """Content-Type of one part."""
        return f"{self.essence}; transfer-syntax={self.transfer_syntax_uid}"


def frame_form(entries: Iterable[MediaType], stored: str, *, single: bool) -> FrameForm:
    """The best form that the peer accepts and that can be given. Raises NotAcceptable."""
    for entry in entries:
        multipart = entry.essence in ("*/*", "multipart/related", "multipart/*")
        if not multipart and not single:
            continue
        kind = entry.parameters.get("type", "*/*").lower() if multipart else entry.essence
        found = _form(kind, entry.parameters.get("transfer-syntax", ""), stored, multipart)
        if found is not None:
            return found
    offered = (f'multipart/related; type="{OCTETS}"; transfer-syntax=*', OCTETS)
    raise NotAcceptable("expected application/octet-stream or the stored media type", offered)


def _form(kind: str, syntax: str, stored: str, multipart: bool) -> FrameForm | None:
    encapsulated = lookup(stored).encapsulated
    own = TYPE_OF_SYNTAX.get(stored, OCTETS) if encapsulated else OCTETS
    as_stored = FrameForm(own, stored if encapsulated else EXPLICIT_LITTLE, multipart, decoded=False)
    if kind == OCTETS:
        if syntax in (AS_STORED, stored):
            return as_stored
        if syntax in ("", EXPLICIT_LITTLE):
            return FrameForm(OCTETS, EXPLICIT_LITTLE, multipart, decoded=encapsulated)
        return None
    if kind in _ANY:
        fits = kind in ("*/*", f"{own.split('/')[0]}/*")
        return as_stored if fits and syntax in ("", AS_STORED, as_stored.transfer_syntax_uid) else None
    if kind != own or kind == OCTETS:
        return None
    wanted = syntax or DEFAULT_SYNTAXES.get(kind, "")
    return as_stored if wanted in (AS_STORED, stored) else None
