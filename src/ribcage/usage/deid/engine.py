"""One instance without the identity: bytes in, parts out. One pass over the scanned elements.

Rules, in order:
1. What cannot be scanned, contradicts its file meta information, has an identifying attribute twice, or is of a class
   without an IOD table is `NotReleased`. Nothing is guessed and nothing is mended.
2. Each element at each level takes the step of `plan`; a VR other than the table's is a value that does not fit.
3. Patient's Name and Patient ID at the top are the project's pseudonym, also where they were absent.
4. File meta information is written anew, the preamble is zero, bytes behind the last element do not leave.
5. What a series repeats may be decided once for all its instances (`repeated`), never otherwise than by these rules.
6. Patient Identity Removed, De-identification Method and its codes, and Longitudinal Temporal Information Modified
   are written anew and name what was done to this instance; Burned In Annotation NO only when pixels were read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import takewhile
from typing import Final

from ribcage.dicom.errors import DataSetLimitExceeded, DicomError
from ribcage.dicom.part10 import FileMeta, check_uid, file_prefix, split
from ribcage.dicom.pixel_frames import pixel_facts
from ribcage.dicom.rewrite import deflate
from ribcage.dicom.scan import BULK_TAGS, DEFAULT_LIMITS, Buffer, Element, Scan, ScanLimits, scan
from ribcage.dicom.values import DEFAULT_CHARSET, Charset, charset_of, text_values
from ribcage.usage.deid.errors import NotReleased, Reason
from ribcage.usage.deid.handling import HANDLING
from ribcage.usage.deid.markers import markers
from ribcage.usage.deid.pixels import (
    PixelReader,
    PixelVerdict,
    checked_pixels,
    described,
    not_read,
    text_is_likely,
)
from ribcage.usage.deid.plan import Plan
from ribcage.usage.deid.profile import Profile
from ribcage.usage.deid.pseudonyms import Pseudonyms
from ribcage.usage.deid.repeated import Known, Repeated
from ribcage.usage.deid.tables import Option, actions, concepts, iod_of, listed_codes, safe_private, words
from ribcage.usage.deid.texts import Identities
from ribcage.usage.deid.walker import Facts, Traced, Walker

_CLASS, _INSTANCE, _STUDY, _SERIES = 0x00080016, 0x00080018, 0x0020000D, 0x0020000E
_CHARSET, _NAME, _ID, _ISSUER, _BIRTH = 0x00080005, 0x00100010, 0x00100020, 0x00100021, 0x00100030
_ONCE: Final = frozenset({_CLASS, _INSTANCE, _STUDY, _SERIES, _CHARSET, _NAME, _ID, _ISSUER})
_NUMBERS: Final = frozenset({_NAME, _ID, 0x00101000, 0x00080050, 0x00380010, 0x00102154, 0x00401002})
_MOST_NAME: Final = 4096
_STORAGE: Final = "1.2.840.10008.5.1.4.1.1."
_CT: Final = _STORAGE + "2"
_SOUND: Final = frozenset(
    _STORAGE + rest
    for rest in ("9.4.1", "9.4.2", "104.3", "104.4", "104.5", "77.1.1.1", "77.1.2.1", "77.1.4.1")
)


@dataclass(frozen=True, slots=True)
class Released:
    """One instance as it leaves. `patient`, `names`, `birth` are keyed tokens, to find contradictions in a set."""

    parts: tuple[Buffer, ...]
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    pseudonym: str
    sop_class_uid: str
    patient: bytes
    names: frozenset[bytes]
    birth: bytes
    trace: tuple[Traced, ...] = field(default=(), repr=False)

    def __bytes__(self) -> bytes:
        return b"".join(self.parts)


class Engine:
    """De-identifies instances of one project by one profile. Not for several threads at once."""

    def __init__(
        self,
        profile: Profile,
        pseudonyms: Pseudonyms,
        *,
        reader: PixelReader = not_read,
        limits: ScanLimits = DEFAULT_LIMITS,
    ) -> None:
        self._profile = profile
        self._pseudonyms = pseudonyms
        self._reader = reader
        self._limits = limits
        self._plans: dict[str, Plan] = {}
        self._repeated = Repeated(pseudonyms, limits, _ONCE | _NUMBERS | {_BIRTH})

    def warm(self) -> None:
        """Read all tables, so that processes made from this one share them."""
        self._plan(_CT)
        words(), listed_codes(), actions(), concepts(), safe_private()

    def release(self, data: Buffer, *, trace: bool = False) -> Released:
        """The whole file without the identity. Raises NotReleased."""
        try:
            meta = split(data)
        except DicomError:
            raise NotReleased(Reason.NO_DICOM) from None
        if not trace and self._reader is not_read:
            released = self._repeated_release(data, meta)
            if released is not None:
                return released
        return self._ordinary_release(data, meta, trace=trace)

    def _repeated_release(self, data: Buffer, meta: FileMeta) -> Released | None:
        """By what its series repeats; None for the ordinary way."""
        found = self._repeated.fitted(data, meta)
        if found is None:
            return None
        uid, known = _uid_text(found.sop_instance_uid), found.known
        try:
            check_uid(uid, "the data set")
        except DicomError:
            return None
        if meta.sop_class_uid not in ("", known.sop_class_uid) or meta.sop_instance_uid not in ("", uid):
            return None
        pixels = checked_pixels(found.scanned, found.bulk, known.described)
        return self._released(known, uid, found.scanned, [found.body, *pixels], ())

    def _ordinary_release(self, data: Buffer, meta: FileMeta, *, trace: bool) -> Released:
        scanned = self._scanned(data, meta)
        uids = {tag: _uid(scanned, tag) for tag in (_CLASS, _INSTANCE, _STUDY, _SERIES)}
        plan = self._plan(uids[_CLASS])
        facts = self._facts(scanned, uids[_STUDY])
        verdict = self._pixels(scanned, uids[_CLASS])
        walker = Walker(scanned, plan, self._pseudonyms, facts, HANDLING, trace=trace)
        merged = walker.merged(markers(self._profile, verdict is PixelVerdict.NO_TEXT, scanned.encoding))
        told = described(scanned)
        known = Known(plan, facts, told, uids[_CLASS], uids[_SERIES], uids[_STUDY], merged)
        try:
            body = walker.data_set(merged)
        except DicomError:  # a new value does not fit its VR's length
            raise NotReleased(Reason.NO_SAFE_VALUE) from None
        pixels = [] if scanned.bulk is None else checked_pixels(scanned, scanned.bulk, told)
        if not trace and self._reader is not_read:
            self._repeated.learn(scanned, known, body)
        body += pixels
        if scanned.deflated:
            body = deflate(body)
        return self._released(known, uids[_INSTANCE], scanned, body, tuple(walker.traced))

    def _released(
        self, known: Known, uid: str, scanned: Scan, body: Sequence[Buffer], traced: tuple[Traced, ...]
    ) -> Released:
        """An instance as it leaves, with its file meta information (rule 4)."""
        keep, facts = Option.UIDS in self._profile.options, known.facts
        instance, series, study = (
            one if keep else self._pseudonyms.uid(one)
            for one in (uid, known.series_instance_uid, known.study_instance_uid)
        )
        return Released(
            parts=(file_prefix(known.sop_class_uid, instance, scanned.transfer_syntax_uid), *body),
            sop_instance_uid=instance,
            series_instance_uid=series,
            study_instance_uid=study,
            pseudonym=facts.pseudonym,
            sop_class_uid=known.sop_class_uid,
            patient=facts.patient,
            names=facts.names,
            birth=facts.birth,
            trace=traced,
        )

    def _scanned(self, data: Buffer, meta: FileMeta) -> Scan:
        """The data set of a file (rule 1)."""
        try:
            scanned = scan(data, meta.transfer_syntax_uid, self._limits, meta.prefix_bytes)
        except DataSetLimitExceeded:
            raise NotReleased(Reason.TOO_LARGE) from None
        except DicomError:
            raise NotReleased(Reason.MALFORMED) from None
        if not scanned.elements:
            raise NotReleased(Reason.NO_DICOM)
        if scanned.notes & {"duplicate_tag", "unordered_tags"}:
            tags = [element.tag for element in scanned.elements]
            if len(set(tags)) != len(tags) or _repeated(scanned):
                raise NotReleased(Reason.CONTRADICTORY)
        for told, tag in ((meta.sop_class_uid, _CLASS), (meta.sop_instance_uid, _INSTANCE)):
            if told and told != _text(scanned, tag):
                raise NotReleased(Reason.CONTRADICTORY)
        behind = takewhile(lambda element: element.tag >= min(BULK_TAGS), reversed(scanned.elements))
        if sum(element.tag in BULK_TAGS for element in behind) > 1:
            raise NotReleased(Reason.CONTRADICTORY)
        return scanned

    def _plan(self, sop_class_uid: str) -> Plan:
        plan = self._plans.get(sop_class_uid)
        if plan is None:
            if iod_of(sop_class_uid) is None:
                raise NotReleased(Reason.CLASS_UNKNOWN)
            if sop_class_uid in _SOUND:
                raise NotReleased(Reason.DOCUMENT)
            plan = self._plans[sop_class_uid] = Plan(self._profile, sop_class_uid)
        return plan

    def _facts(self, scanned: Scan, study: str) -> Facts:
        """Who the instance is about."""
        element = scanned.find(_CHARSET)
        charset = DEFAULT_CHARSET if element is None else charset_of(scanned.value(element))
        patient_id, issuer = _text(scanned, _ID, charset), _text(scanned, _ISSUER, charset)
        named = [element for element in _everything(scanned) if element.vr == "PN" or element.tag in _NUMBERS]
        told = tuple(
            (found.vr == "PN" or found.tag == _NAME, scanned.value(found))
            for found in named
            if found.vr != "SQ" and 0 < found.length < _MOST_NAME
        )
        patient = self._pseudonyms.patient(patient_id, issuer, study)
        name, birth = _text(scanned, _NAME, charset), _text(scanned, _BIRTH)
        return Facts(
            charset=charset,
            patient=patient,
            pseudonym=self._pseudonyms.name(patient),
            days=self._pseudonyms.days(patient),
            identities=_identities(told, charset),
            names=self._pseudonyms.words(name),
            birth=self._pseudonyms.token("birth", birth) if birth else b"",
        )

    def _pixels(self, scanned: Scan, sop_class_uid: str) -> PixelVerdict:
        """What is known of the pixels; raises NotReleased where they may not leave."""
        if scanned.bulk is None:
            return PixelVerdict.NOT_READ
        if Option.VISUAL in self._profile.options:
            raise NotReleased(Reason.VISUAL_FEATURES)
        verdict = self._reader(scanned)
        if verdict is PixelVerdict.TEXT:
            raise NotReleased(Reason.TEXT_IN_PIXELS)
        if verdict is PixelVerdict.NO_TEXT:
            return verdict
        if Option.PIXELS in self._profile.options:
            raise NotReleased(Reason.BURNED_IN_TEXT)
        if self._profile.unread == "refuse" and text_is_likely(scanned, sop_class_uid, pixel_facts(scanned)):
            raise NotReleased(Reason.BURNED_IN_TEXT)
        return verdict


@lru_cache(maxsize=256)
def _identities(told: tuple[tuple[bool, bytes], ...], charset: Charset) -> Identities:
    """The same object for the same names and identifiers, so that what depends on it is found again."""
    names, numbers = [], []
    for is_name, raw in told:
        if is_name:
            names += text_values(raw, "PN", charset)
        else:
            numbers += text_values(raw, "LO", charset)
    return Identities(names, numbers)


def _everything(scanned: Scan) -> Sequence[Element]:
    if not scanned.nested:
        return scanned.elements
    found = list(scanned.elements)
    for items in scanned.nested.values():
        for item in items:
            found += item.elements
    return found


def _repeated(scanned: Scan) -> bool:
    """Whether an item has a tag twice."""
    for items in scanned.nested.values():
        for item in items:
            if len({element.tag for element in item.elements}) != len(item.elements):
                return True
    return False


def _text(scanned: Scan, tag: int, charset: Charset = DEFAULT_CHARSET) -> str:
    element = scanned.find(tag)
    if element is None or element.vr == "SQ" or not 0 < element.length < 4096:
        return ""
    vr = "PN" if tag == _NAME else "LO"
    values = text_values(scanned.value(element), vr, charset)
    return "\\".join(values)


def _uid_text(raw: bytes) -> str:
    return "\\".join(text_values(raw, "LO", DEFAULT_CHARSET)) if 0 < len(raw) < 4096 else ""


def _uid(scanned: Scan, tag: int) -> str:
    uid = _text(scanned, tag)
    try:
        check_uid(uid, "the data set")
    except DicomError:
        raise NotReleased(Reason.IDENTITY_MISSING) from None
    return uid
