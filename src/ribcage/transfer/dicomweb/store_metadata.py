"""STOW-RS of metadata and bulk data (PS3.18 10.5.1): the parts of one request become DICOM files, sans-IO.

Rules, in order:
1. Metadata comes first: JSON as an array of data sets, XML as one document in each part. What a bulk part belongs to
   is known when it begins; one that nothing waits for is not kept.
2. A BulkDataURI is the `Content-Location` of a part of this request, letter for letter. It is never an address:
   nothing is fetched, from nowhere. An instance whose parts did not come is not stored.
3. Compressed pixels are one part for each frame, in order under one location or under `<location>/frames/<n>`; video
   is one part. Everything else is one part of `application/octet-stream`, little endian, or a document's own type.
4. The transfer syntax is that of the pixels' media type: its `transfer-syntax`, else (0002,0010) of the metadata,
   else the type's default (PS3.18 table 8.7.3-5). Where two of them differ the instance is refused, and native pixels
   must be as long as the image's attributes say.
5. Bytes, instances, elements and depth are limited. Metadata is kept as it came and read again when its parts are
   there, so that one instance at a time stands unfolded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, cast

import msgspec

from ribcage.dicom import model_writing
from ribcage.dicom.errors import DataSetMalformed, DicomError, UnsupportedTransferSyntax
from ribcage.dicom.model_writing import Bulk, Model, Reference, text_of
from ribcage.dicom.native_reading import read_native_model
from ribcage.dicom.part10 import file_prefix
from ribcage.dicom.scan import DEFAULT_LIMITS, PIXEL_DATA
from ribcage.dicom.statuses import Status
from ribcage.dicom.transfer_syntaxes import LITTLE_ENDIAN, lookup
from ribcage.transfer.dicomweb.errors import UnsupportedMedia
from ribcage.transfer.dicomweb.frame_types import DEFAULT_SYNTAXES, OCTETS, TYPE_OF_SYNTAX
from ribcage.transfer.dicomweb.limits import WebLimits
from ribcage.transfer.dicomweb.negotiation import EXPLICIT_LITTLE, MediaType, parse_media_type
from ribcage.transfer.dicomweb.store_response import Named
from ribcage.transfer.dicomweb.values import DOCUMENT, DOCUMENT_TYPES

_SYNTAX: Final = 0x00020010
_FRAME: Final = re.compile(r"(.+)/frames/([1-9][0-9]{0,6})")
_FORMER_NAMES: Final = {  # of media types, until DICOM 2016
    "image/x-jls": "image/jls",
    "image/x-dicom-rle": "image/dicom-rle",
    "image/dicom+rle": "image/dicom-rle",
}
_NODE_BYTES: Final = 64  # of a value that was unfolded
_MOST_SHARING: Final = 64  # instances that refer to one part


class Unfit(Exception):
    """An instance that is not stored; `status` is its Failure Reason (PS3.18 I.2.2)."""

    def __init__(self, status: int) -> None:
        super().__init__(f"{status:04X}H")
        self.status = status


@dataclass
class Draft:
    """An instance whose metadata has come."""

    raw: bytes
    named: Named
    frames: int
    stated: str  # (0002,0010)
    uris: frozenset[str] = frozenset()
    waits: set[str] = field(default_factory=set)  # of these, those whose parts are to come
    pixels: str = ""  # the location of the pixels
    over: bool = False


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a bulk part goes."""

    location: str
    kind: MediaType
    frame: int  # 0: the next one


@dataclass
class _Location:
    """What came under one name, and who waits for it."""

    drafts: list[Draft] = field(default_factory=list)
    kind: MediaType | None = None
    parts: dict[int, bytearray] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        return sum(map(len, self.parts.values()))


class Assembly:
    """The instances of one request. `xml`: how its metadata is written."""

    def __init__(self, limits: WebLimits, *, xml: bool) -> None:
        self._limits = limits
        self._xml = xml
        self._locations: dict[str, _Location] = {}
        self._drafts: list[Draft] = []

    # --- metadata ---------------------------------------------------------------------------------------

    def cost(self, raw: bytes | bytearray) -> int:
        """Bytes that reading this metadata may take. Raises Unfit beyond the limit of its elements."""
        nodes = raw.count(b"<") if self._xml else raw.count(b",") + raw.count(b"[") + raw.count(b"{")
        if nodes > self._limits.max_metadata_nodes:
            raise Unfit(Status.OUT_OF_RESOURCES)
        return nodes * _NODE_BYTES

    def take_metadata(self, raw: bytes | bytearray) -> Iterator[Draft | tuple[Named, int]]:
        """The instances of one part, or what is wrong with each. Blocking. Raises Unfit for the whole part."""
        for one in self._split(bytes(raw)):
            named = Named("", "")
            try:
                model = self._read(one)
                named = Named(text_of(model, 0x00080016), text_of(model, 0x00080018))
                yield self._draft(one, model, named)
            except Unfit as unfit:
                yield named, unfit.status
            except DicomError as failure:
                yield named, failure.dimse_status

    def _split(self, raw: bytes) -> list[bytes]:
        if self._xml:
            return [raw]
        try:
            found = msgspec.json.decode(raw, type=list[msgspec.Raw])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as failure:
            raise Unfit(Status.CANNOT_UNDERSTAND) from failure
        if len(found) + len(self._drafts) > self._limits.max_parts:
            raise Unfit(Status.OUT_OF_RESOURCES)
        return [bytes(each) for each in found]

    def _read(self, raw: bytes) -> Model:
        if self._xml:
            return read_native_model(raw, DEFAULT_LIMITS.max_depth, self._limits.max_metadata_nodes)
        try:
            return cast("Model", msgspec.json.decode(raw, type=dict[str, dict[str, object]]))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as failure:
            raise DataSetMalformed("expected a data set of the DICOM JSON Model") from failure

    def _draft(self, raw: bytes, model: Model, named: Named) -> Draft:
        """Raises Unfit, DicomError."""
        frames = text_of(model, 0x00280008)
        draft = Draft(
            raw,
            named,
            int(frames) if frames.isascii() and frames.isdigit() and len(frames) < 8 else 1,
            text_of(model, _SYNTAX),
        )
        for each in model_writing.references(model):
            draft.waits.add(each.uri)
            if each.pixels:
                draft.pixels = each.uri
        draft.uris = frozenset(draft.waits)
        places = [self._locations.setdefault(uri, _Location()) for uri in draft.uris]
        if any(len(place.drafts) >= _MOST_SHARING for place in places):
            raise Unfit(Status.OUT_OF_RESOURCES)
        for place in places:
            place.drafts.append(draft)
        self._drafts.append(draft)
        return draft

    # --- bulk data --------------------------------------------------------------------------------------

    def slot(self, headers: Mapping[str, str]) -> Slot | None:
        """Where this part goes; None where nobody waits for it any more.

        Raises Unfit for what nothing refers to, and where its type fits nobody that waits.
        """
        location, frame = headers.get("content-location", ""), 0
        if location not in self._locations and (found := _FRAME.fullmatch(location)):
            location, frame = found[1], int(found[2])
        place = self._locations.get(location)
        if place is None:
            raise Unfit(Status.CANNOT_UNDERSTAND)
        if all(draft.over for draft in place.drafts):
            return None
        try:
            kind = parse_media_type(headers.get("content-type", OCTETS))
        except UnsupportedMedia as failure:
            raise Unfit(Status.CANNOT_UNDERSTAND) from failure
        kind = MediaType(_FORMER_NAMES.get(kind.essence, kind.essence), kind.parameters)
        if place.kind is not None and (kind.essence, kind.parameters) != (
            place.kind.essence,
            place.kind.parameters,
        ):
            raise Unfit(Status.CANNOT_UNDERSTAND)
        return Slot(location, kind, frame)

    def put(self, slot: Slot, data: bytearray) -> list[Draft]:
        """Keep a part; the instances that are complete with it. Raises Unfit."""
        place = self._locations[slot.location]
        place.kind = slot.kind
        number = slot.frame or len(place.parts) + 1
        if number in place.parts:
            raise Unfit(Status.CANNOT_UNDERSTAND)
        place.parts[number] = data
        complete = []
        for draft in place.drafts:
            if not draft.over and len(place.parts) >= self._due(draft, slot.location, slot.kind):
                draft.waits.discard(slot.location)
                if not draft.waits:
                    complete.append(draft)
        return complete

    @staticmethod
    def _due(draft: Draft, location: str, kind: MediaType) -> int:
        """Parts that this instance waits for there (rule 3)."""
        by_frame = location == draft.pixels and _by_frame(kind)
        return draft.frames if by_frame else 1

    def done(self, draft: Draft) -> int:
        """It was stored or refused: what nobody waits for goes. Bytes that were let go."""
        draft.over = True
        freed = 0
        for place in map(self._locations.__getitem__, draft.uris):
            if place.parts and all(each.over for each in place.drafts):
                freed += place.bytes
                place.parts.clear()
        return freed

    def unfinished(self) -> list[Draft]:
        """Instances whose parts did not come."""
        return [draft for draft in self._drafts if not draft.over]

    # --- files ------------------------------------------------------------------------------------------

    def size(self, draft: Draft) -> int:
        """About how long its file will be."""
        return len(draft.raw) + sum(self._locations[uri].bytes for uri in draft.uris)

    def build(self, draft: Draft) -> bytearray:
        """The file of a complete instance. Blocking. Raises Unfit, DicomError."""
        if self.size(draft) > self._limits.max_instance_bytes:
            raise Unfit(Status.OUT_OF_RESOURCES)
        model = self._read(draft.raw)
        syntax = self._syntax(draft)
        named = draft.named
        prefix = file_prefix(named.sop_class_uid, named.sop_instance_uid, syntax)

        def bulk(reference: Reference) -> Bulk:
            return self._bulk(reference, draft, model, syntax)

        return bytearray().join([prefix, *model_writing.write(model, bulk)])

    def _bulk(self, reference: Reference, draft: Draft, model: Model, syntax: str) -> Bulk:
        place = self._locations[reference.uri]
        parts = [part for _, part in sorted(place.parts.items())]
        essence = place.kind.essence if place.kind is not None else ""
        if reference.pixels:
            if lookup(syntax).encapsulated:
                if sorted(place.parts) != list(range(1, len(parts) + 1)):
                    raise Unfit(Status.CANNOT_UNDERSTAND)
                return Bulk(parts, encapsulated=True)
            if reference.tag == PIXEL_DATA and len(parts[0]) not in _lengths(model, draft.frames):
                raise Unfit(Status.DATA_SET_MISMATCH)
        elif essence != OCTETS and not (f"{reference.tag:08X}" == DOCUMENT and essence in DOCUMENT_TYPES):
            raise Unfit(Status.CANNOT_UNDERSTAND)
        return Bulk(parts[:1])

    def _syntax(self, draft: Draft) -> str:
        """Rule 4. Raises Unfit."""
        place = self._locations.get(draft.pixels)
        kind = place.kind if place is not None and place.kind is not None else MediaType(OCTETS, {})
        said = kind.parameters.get("transfer-syntax", "")
        default = DEFAULT_SYNTAXES.get(kind.essence, EXPLICIT_LITTLE)
        syntax = said or draft.stated or default
        try:
            own = TYPE_OF_SYNTAX.get(syntax, OCTETS)
            if own != kind.essence or not _fits(said or syntax, draft.stated):
                raise Unfit(Status.REFERENCED_TRANSFER_SYNTAX)
            if lookup(syntax).encapsulated:
                return syntax
        except UnsupportedTransferSyntax as failure:
            raise Unfit(Status.REFERENCED_TRANSFER_SYNTAX) from failure
        if syntax not in LITTLE_ENDIAN:
            raise Unfit(Status.REFERENCED_TRANSFER_SYNTAX)
        return EXPLICIT_LITTLE


def _by_frame(kind: MediaType) -> bool:
    """Whether each frame is a part of its own."""
    said = kind.parameters.get("transfer-syntax", "")
    try:
        encapsulated = bool(said) and lookup(said).encapsulated
    except UnsupportedTransferSyntax:
        encapsulated = False
    return kind.essence.startswith("image/") or (kind.essence == OCTETS and encapsulated)


def _fits(syntax: str, stated: str) -> bool:
    """Whether two names of the transfer syntax agree; both uncompressed ones in little endian are one here."""
    return not stated or syntax == stated or {syntax, stated} <= set(LITTLE_ENDIAN)


def _lengths(model: Model, frames: int) -> tuple[int, ...]:
    """How long native pixels may be (PS3.3 C.7.6.3.1). Raises Unfit where an attribute is missing."""
    facts = [text_of(model, tag) for tag in (0x00280010, 0x00280011, 0x00280002, 0x00280100)]
    if not all(fact.isascii() and fact.isdigit() and len(fact) < 8 for fact in facts):
        raise Unfit(Status.DATA_SET_MISMATCH)
    rows, columns, samples, bits = map(int, facts)
    if text_of(model, 0x00280004) == "YBR_FULL_422":
        samples = 2
    octets = (rows * columns * samples * bits * frames + 7) // 8
    return octets, octets + (octets & 1)


def is_metadata(headers: Mapping[str, str], root: str) -> bool:
    """Whether a part is metadata; one that says nothing and has no location inherits the root type (RFC 2387 3.1)."""
    content_type = headers.get("content-type")
    if content_type is None:
        return "content-location" not in headers
    try:
        return parse_media_type(content_type).essence == root
    except UnsupportedMedia:
        return False
