"""The guard as a front of a shield sees it: what is asked about images is answered with the old PACS's.

Rules, in order (DESIGN rules 1, 5 and 7):
1. A query goes to the old PACS; whoever asks is named what the guard allows, study by study, and its entry is durable
   before an answer leaves. In the masked view nothing identifying is handed on, and nothing that was found by it.
2. A disclosure asks the old PACS whose study it is, then the guard; only under its receipt is a list of instances, or
   an instance, asked for. Each instance is checked with the guard again before it is fetched.
3. What comes must be of the study that was decided about. It is kept sealed in memory until it has left.
4. The old PACS's silence is the guard's: unavailable.
5. Series and instances are listed within one study alone.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from ribcage.crypto.sealing import Algorithm
from ribcage.dicom.attributes import extract
from ribcage.dicom.errors import DicomError
from ribcage.dicom.scan import ScanLimits, scan
from ribcage.guard.client import expect
from ribcage.guard.errors import GuardRefused, GuardUnavailable
from ribcage.guard.protocol import (
    Admitted,
    Attributes,
    CheckDisclosure,
    Disclose,
    Disclosed,
    DisclosureChecked,
    DisclosureClosed,
    InstanceRef,
    ListedElsewhere,
    ListElsewhere,
    Noted,
    Open,
    Opened,
    OpenedObject,
    Query,
    QueryAnswer,
    Record,
    Request,
    Response,
    View,
)
from ribcage.storage import ingest
from ribcage.storage.errors import StorageError
from ribcage.storage.ports import Guard
from ribcage.transfer.shield.errors import PacsError, TooManyAnswers
from ribcage.transfer.shield.facts import LEVELS, keys_of, record_of, reference, study_facts, text
from ribcage.transfer.shield.objects import MemoryObjects
from ribcage.transfer.shield.pacs import UNIQUE, Pacs

_Expected = TypeVar("_Expected")
_Answer = Mapping[int, str]
_PAGE = 400  # studies that the guard decides at once
_REMEMBERED, _REMEMBER_SECONDS = 16, 30.0


@dataclass(frozen=True)
class Bounds:
    """What one question may bring, and what an instance is scanned within."""

    answers: int = 10_000
    instances: int = 20_000
    scan: ScanLimits = field(default_factory=ScanLimits)


@dataclass
class _Live:
    """What a disclosure may fetch, and what it has fetched."""

    study: str
    refs: dict[bytes, InstanceRef]
    opened: dict[bytes, OpenedObject] = field(default_factory=dict)


class Gate:
    """Implements `ribcage.storage.ports.Guard`. Used on the front's event loop only."""

    def __init__(self, guard: Guard, pacs: Pacs, objects: MemoryObjects, bounds: Bounds) -> None:
        self._guard = guard
        self._pacs = pacs
        self._objects = objects
        self._bounds = bounds
        self._found: dict[tuple[str, tuple[tuple[str, str], ...]], tuple[float, list[_Answer]]] = {}
        self._under: dict[bytes, _Live] = {}  # by receipt

    async def call(self, request: Request, expected: type[_Expected]) -> _Expected:
        """As the guard's, for all but what is asked about images."""
        return expect(await self.ask(request), expected)

    async def ask(self, request: Request) -> Response:
        """The same. Raises GuardRefused, GuardUnavailable."""
        try:
            if isinstance(request, Query):
                return await self._query(request)
            if isinstance(request, Disclose):
                return await self._disclose(request)
            if isinstance(request, Open):
                return await self._open(request)
        except TooManyAnswers as failure:
            raise GuardRefused("throttled") from failure
        except (PacsError, StorageError) as failure:
            raise GuardUnavailable(str(failure)) from failure
        if isinstance(request, DisclosureClosed):
            self._forget(request.receipt)
        return await self._guard.ask(request)

    # --- queries ----------------------------------------------------------------------------------------

    async def _query(self, request: Query) -> QueryAnswer:
        """Rule 1."""
        if request.level in ("patient", "study"):
            studies = await self._answers("STUDY", request)
            return await self._studies(request, studies)
        own = request.filters.get("StudyInstanceUID", "")
        if not own or any(mark in own for mark in "\\*?"):
            raise GuardRefused("invalid")  # rule 5
        above = await self._study(own)
        listed = await self._list(request, [] if above is None else [study_facts(above)], more=False)
        view = listed.views.get(own, "none")
        if above is None or view == "none":
            return QueryAnswer([], False, listed.log_index, listed.promise)
        answers = await self._answers(LEVELS[request.level], request)
        chosen, more = _page(answers, UNIQUE[LEVELS[request.level]], request)
        records = [
            record_of((above, each), request.level, view, each[UNIQUE[LEVELS[request.level]]], {})
            for each in chosen
        ]
        return QueryAnswer(records, more, listed.log_index, listed.promise)

    async def _study(self, uid: str) -> _Answer | None:
        """Whose study it is, as the PACS says."""
        found = await self._pacs.find("STUDY", keys_of("STUDY", {"StudyInstanceUID": uid}), 2)
        return next((each for each in found if each[UNIQUE["STUDY"]] == uid), None)

    async def _answers(self, level: str, request: Query) -> list[_Answer]:
        """All that the PACS finds, in the order of its UIDs; what a page before found is used again for a while."""
        name = level, tuple(sorted(request.filters.items()))
        oldest = time.monotonic() - _REMEMBER_SECONDS
        self._found = {asked: found for asked, found in self._found.items() if found[0] > oldest}
        if (request.after or request.offset) and name in self._found:
            return self._found[name][1]
        filters = dict(request.filters)
        if level != "STUDY":  # what was matched above is not matched again
            filters = {k: v for k, v in filters.items() if k not in _ABOVE}
        found = await self._pacs.find(level, keys_of(level, filters), self._bounds.answers)
        answers: list[_Answer] = sorted(found, key=lambda each: each.get(UNIQUE[level], ""))
        self._found[name] = time.monotonic(), answers
        while len(self._found) > _REMEMBERED:
            del self._found[next(iter(self._found))]
        return answers

    async def _studies(self, request: Query, answers: Sequence[_Answer]) -> QueryAnswer:
        """Records of level study or patient, in pages of what the guard decides."""
        patients = request.level == "patient"
        key = _patient_of if patients else _study_of
        answers = [each for each in sorted(answers, key=key) if key(each) > request.after]
        rows: dict[str, list[tuple[_Answer, View]]] = {}
        wanted, position, index, promise = request.offset + request.limit + 1, 0, -1, b""
        while (position < len(answers) and len(rows) < wanted) or index < 0:
            page = answers[position : position + _PAGE]
            left = _PAGE if patients else max(wanted - len(rows), 1)
            more = position + len(page) < len(answers)
            listed = await self._list(request, [study_facts(each) for each in page], more=more, limit=left)
            index, promise = listed.log_index, listed.promise
            position += listed.looked
            for each in page[: listed.looked]:
                if each[UNIQUE["STUDY"]] in listed.views:
                    rows.setdefault(key(each), []).append((each, listed.views[each[UNIQUE["STUDY"]]]))
        chosen = list(rows.items())[request.offset : request.offset + request.limit]
        records = [_record(request, place, found) for place, found in chosen]
        more = len(rows) > request.offset + request.limit or position < len(answers)
        return QueryAnswer(records, more, index, promise)

    async def _list(
        self, request: Query, studies: list[Attributes], *, more: bool, limit: int = _PAGE
    ) -> ListedElsewhere:
        asked = ListElsewhere(
            request.principal,
            request.channel,
            request.level,
            list(request.filters),
            studies,
            limit,
            more,
            request.purpose,
        )
        return await self._guard.call(asked, ListedElsewhere)

    # --- disclosures ------------------------------------------------------------------------------------

    async def _disclose(self, request: Disclose) -> Disclosed:
        """Rule 2. Raises GuardRefused."""
        own = request.study_instance_uid
        found = await self._study(own)
        facts = None if found is None else study_facts(found)
        answer = await self._guard.call(msgspec.structs.replace(request, elsewhere=facts), Disclosed)
        refs: list[InstanceRef] = []
        try:
            refs = await self._instances(own, request.series_instance_uid, request.sop_instance_uid)
        finally:
            if not refs:
                await self._guard.call(DisclosureClosed(answer.receipt, 0, 0, "complete"), Noted)
        if not refs:
            raise GuardRefused("not_found")
        self._under[answer.receipt] = _Live(own, {ref.object_id: ref for ref in refs})
        return msgspec.structs.replace(answer, instances=refs)

    async def _instances(self, study: str, series: str, instance: str) -> list[InstanceRef]:
        """What of the study is asked for, as the PACS lists it."""
        above = {"StudyInstanceUID": study}
        listed: list[str] = [series]
        if not series:
            answers = await self._pacs.find("SERIES", keys_of("SERIES", above), self._bounds.answers)
            listed = sorted(each[UNIQUE["SERIES"]] for each in answers)
        refs: list[InstanceRef] = []
        for each in listed:
            filters = above | {"SeriesInstanceUID": each} | ({"SOPInstanceUID": instance} if instance else {})
            most = self._bounds.instances - len(refs)
            answers = await self._pacs.find("IMAGE", keys_of("IMAGE", filters), most)
            refs += [
                msgspec.structs.replace(reference(one), series_instance_uid=each)
                for one in sorted(answers, key=_number)
                if not instance or one[UNIQUE["IMAGE"]] == instance
            ]
        return refs

    async def _open(self, request: Open) -> Opened:
        """Fetch under a live receipt. Raises GuardRefused, PacsError."""
        live = self._under.get(request.receipt)
        if live is None or not live.refs.keys() >= set(request.object_ids):
            raise GuardRefused("not_permitted")
        for object_id in request.object_ids:
            await self._guard.call(CheckDisclosure(request.receipt, request.principal), DisclosureChecked)
            kept = live.opened.get(object_id)
            if kept is None or not self._objects.holds(kept.location):
                live.opened[object_id] = await self._fetch(live.study, live.refs[object_id])
        return Opened([live.opened[object_id] for object_id in request.object_ids])

    def _forget(self, receipt: bytes) -> None:
        live = self._under.pop(receipt, None)
        for each in live.opened.values() if live is not None else ():
            self._objects.remove_uncommitted(each.location)

    async def _fetch(self, study: str, ref: InstanceRef) -> OpenedObject:
        keys = {
            UNIQUE["STUDY"]: study,
            UNIQUE["SERIES"]: ref.series_instance_uid,
            UNIQUE["IMAGE"]: ref.sop_instance_uid,
        }
        syntax, data = await self._pacs.fetch(ref.sop_class_uid, keys)
        return await asyncio.to_thread(self._keep, study, ref, syntax, data)

    def _keep(self, study: str, ref: InstanceRef, syntax: str, data: bytearray) -> OpenedObject:
        """Rule 3. Blocking. Raises PacsError, StorageError."""
        try:
            found = scan(data, syntax, self._bounds.scan)
            said = extract(found)
        except DicomError as failure:
            raise PacsError("the PACS sent what cannot be read") from failure
        if said["study_instance_uid"] != study or said["sop_instance_uid"] != ref.sop_instance_uid:
            raise PacsError("the PACS sent another instance than was asked for")
        keys = os.urandom(16), os.urandom(32), os.urandom(32)
        admitted = Admitted(
            admission=b"", object_id=ref.object_id, key_id=keys[0], epoch=0, hospital=bytes(16),
            header_key=keys[1], bulk_key=keys[2], algorithm=int(Algorithm.AES_256_GCM),
        )  # fmt: skip
        view = memoryview(data)
        stored = ingest.store(self._objects, admitted, [view[: found.header_end]], [view[found.header_end :]])
        opened = ingest.opened_of(admitted, stored)
        return msgspec.structs.replace(
            opened,
            sop_class_uid=ref.sop_class_uid,
            sop_instance_uid=ref.sop_instance_uid,
            transfer_syntax_uid=syntax,
        )


_ABOVE = frozenset(
    {"PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime",
     "AccessionNumber", "StudyID", "StudyDescription", "ReferringPhysicianName", "ModalitiesInStudy"}
)  # fmt: skip


def _study_of(answer: _Answer) -> str:
    return answer[UNIQUE["STUDY"]]


def _patient_of(answer: _Answer) -> str:
    """A patient's place among the answers; one without an id is as many as there are studies."""
    named = text(answer, "PatientID")
    return f"{named}\\{text(answer, 'IssuerOfPatientID')}" if named else f"\\{_study_of(answer)}"


def _number(answer: _Answer) -> tuple[int, str]:
    written = text(answer, "InstanceNumber")
    return (int(written) if written.isdigit() else 0, answer[UNIQUE["IMAGE"]])


def _page(answers: Sequence[_Answer], tag: int, request: Query) -> tuple[list[_Answer], bool]:
    left = [each for each in answers if each[tag] > request.after]
    end = request.offset + request.limit
    return list(left[request.offset : end]), len(left) > end


def _record(request: Query, place: str, found: Sequence[tuple[_Answer, View]]) -> Record:
    """One study, or one patient by the last of the studies that may be named."""
    answer, view = found[-1]
    if request.level == "study":
        return record_of((answer,), "study", view, place, {})
    counts = {"NumberOfPatientRelatedStudies": len(found)}
    for name in ("Series", "Instances"):
        numbers = (text(each, f"NumberOfStudyRelated{name}") for each, _ in found)
        counts[f"NumberOfPatientRelated{name}"] = sum(int(each) for each in numbers if each.isdigit())
    shown = min((each for _, each in found), key=("none", "masked", "full", "original").index)
    return record_of((answer,), "patient", shown, place, counts)
