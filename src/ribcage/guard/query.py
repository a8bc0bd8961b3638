"""QIDO-RS and C-FIND on the sealed index.

Rules, in order:
1. Candidates come by clear columns and keyed tokens (`guard.candidates`); the exact match is made on the opened
   attributes.
2. A study is answered only in the view the asker has now; filtering comes before counting and paging.
3. In the masked view identifying attributes neither match nor return: who may not see a name cannot probe for it.
4. In a fault only studies of the actor's broken glass are listed, and never an empty list.
5. One entry names the studies answered (receipt kind `query`); it holds no query value. A patient of more studies
   than one entry holds has several.
6. What was rejected is not there (`guard.rejections`).
7. A page begins behind the position of the last record of the page before, and decides anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import sqlalchemy as sa

from ribcage.database.schema import instance, series
from ribcage.evidence.audit_event import QueryAnswered, QueryRefused
from ribcage.guard import catalogue, matching, positions
from ribcage.guard.candidates import Candidates
from ribcage.guard.catalogue import HeldStudy
from ribcage.guard.core import Actor, Core
from ribcage.guard.decision import Denied, decide, decide_in_a_fault, fault
from ribcage.guard.emergency_records import QueryRecord
from ribcage.guard.errors import GuardRefused, GuardUnavailable
from ribcage.guard.glass_in_a_fault import GlassInAFault
from ribcage.guard.positions import Position
from ribcage.guard.protocol import Query, QueryAnswer, Record, View
from ribcage.guard.rejections import shown

_SLICE_ROWS = 200
_STUDIES_IN_ONE_ENTRY = 400
_UIDS_BELOW: dict[str, sa.Column[str]] = {"SeriesInstanceUID": series.c.uid, "SOPInstanceUID": instance.c.uid}

Values = dict[str, str | int | list[str]]


@dataclass
class _Match:
    held: HeldStudy
    view: View
    values: Values
    position: Position


@dataclass
class _Page:
    """One answer while it grows."""

    wanted: int
    skip: int
    records: list[Record] = field(default_factory=list)
    studies: dict[bytes, HeldStudy] = field(default_factory=dict)
    more: bool = False

    def take(self, matches: list[_Match], values: Values, position: str) -> bool:
        """Add a record that names these studies. False: it is full, and there is more."""
        if self.skip:
            self.skip -= 1
        elif len(self.records) >= self.wanted or len(self.studies) >= _STUDIES_IN_ONE_ENTRY:
            self.more = True
        else:
            self.records.append(Record(view=matches[0].view, attributes=values, position=position))
            self.studies |= {match.held.key_id: match.held for match in matches}
        return not self.more


class Queries:
    """Answers queries for one guard."""

    def __init__(self, core: Core, in_a_fault: GlassInAFault) -> None:
        self._core = core
        self._candidates = Candidates(core)
        self._in_a_fault = in_a_fault

    async def answer(self, actor: Actor, request: Query) -> QueryAnswer:
        """Rows the actor may see. Raises GuardRefused('invalid') for an unknown attribute or a wrong range."""
        matching.check(request.filters, request.level)
        await self._check_right(actor, request)
        self._check_state(actor)
        wanted = min(max(request.limit, 0), self._core.limits.query_answer_records)
        if request.level == "study":
            wanted = min(wanted, _STUDIES_IN_ONE_ENTRY)
        page = _Page(wanted, max(request.offset, 0))
        matches, undecided = await self._studies(actor, request)
        if request.level == "patient":
            _take_patients(page, matches, positions.read_patient(request.after))
        for match in matches if request.level != "patient" else ():
            rows: Iterable[tuple[Values, Position]] = [(match.values, match.position)]
            if request.level != "study":
                rows = await self._below(actor, match, request, page.skip + wanted + 1)
            if not all(page.take([match], values, str(position)) for values, position in rows):
                break
        if not page.records and (undecided or fault(self._core)):
            raise GuardRefused("unavailable")  # an empty list would say that there is nothing
        index = await self._entry(actor, request, page)
        promise = self._core.log.promise() if index >= 0 else b""
        return QueryAnswer(records=page.records, more=page.more, log_index=index, promise=promise)

    def _check_state(self, actor: Actor) -> None:
        """In a fault nothing is listed but what the actor's broken glass opens. Raises GuardRefused."""
        core = self._core
        if fault(core) and not self._glass(actor):
            raise GuardRefused("unavailable")

    def _glass(self, actor: Actor) -> bool:
        return self._core.permits.any_live(actor.identifier, self._core.clock_watch.trusted())

    def _opened(self, actor: Actor, request: Query, held: HeldStudy) -> bool:
        """Whether the actor's broken glass opens this study, whatever grants say."""
        try:
            return decide_in_a_fault(self._core, actor, held, "best", request.purpose) is not None
        except Denied:
            return False

    async def _check_right(self, actor: Actor, request: Query) -> None:
        if actor.kind != "operator" and (actor.device is None or "query" in actor.device.may):
            return
        event = QueryRefused(actor.evidence, request.channel, request.level, f"{actor.kind}-without-query")
        index = await self._core.note(event)
        raise GuardRefused("not_permitted", index)

    async def _entry(self, actor: Actor, request: Query, page: _Page) -> int:
        studies, keywords = tuple(page.studies), tuple(request.filters)
        index = -1
        try:
            for first in range(0, max(len(studies), 1), _STUDIES_IN_ONE_ENTRY):
                event = QueryAnswered(
                    actor=actor.evidence,
                    channel=request.channel,
                    level=request.level,
                    keywords=keywords,
                    studies=studies[first : first + _STUDIES_IN_ONE_ENTRY],
                    records=len(page.records),
                    more=page.more,
                    purpose=request.purpose,
                )
                index = await self._core.note(event)
            return index
        except GuardUnavailable:
            if not studies or not all(self._opened(actor, request, held) for held in page.studies.values()):
                raise
        record = QueryRecord(
            at=self._core.clock_watch.trusted(),
            person=actor.identifier,
            address=actor.address,
            channel=request.channel,
            level=request.level,
            keywords=keywords,
            studies=studies,
            records=len(page.records),
            more=page.more,
        )
        await self._in_a_fault.query(record)
        return -1

    # --- studies ----------------------------------------------------------------------------------------

    async def _studies(self, actor: Actor, request: Query) -> tuple[list[_Match], bool]:
        """What matches; and whether there was a study of which nothing could be decided."""
        enough = max(request.offset, 0) + max(request.limit, 0) + 1
        found, undecided, number = list[_Match](), False, 0
        place = positions.read(request.after) if request.level != "patient" else None
        begin = place.studies(request.level) if place is not None else None
        async for rows in self._candidates.slices(request.filters, begin, enough, shown(self._core, actor)):
            for row in rows:
                number += 1
                if number % _SLICE_ROWS == 0:
                    await asyncio.sleep(0)
                match = self._consider(actor, request, row)
                if isinstance(match, Denied):
                    undecided = True
                elif match is not None:
                    found.append(match)
                    if request.level == "study" and len(found) >= enough:
                        return found, undecided
        return found, undecided

    def _consider(self, actor: Actor, request: Query, row: sa.RowMapping) -> _Match | Denied | None:
        try:
            held = catalogue.open_row(self._core, row)
            view = decide(self._core, actor, held, "best", request.purpose, "query").view
        except Denied as denied:
            if denied.reason != "unavailable":
                return None
            if not self._glass(actor):
                raise GuardRefused("unavailable") from denied  # an empty list would say that there is nothing
            return denied
        except GuardRefused:
            return None
        values = self._study_values(held, row, view)
        study_filters = {k: v for k, v in request.filters.items() if k in matching.STUDY_KEYWORDS}
        if not matching.matches(study_filters, values, masked=view == "masked", combined=request.combined):
            return None
        return _Match(held, view, values, Position(str(row["study_date"]), held.pk))

    def _study_values(self, held: HeldStudy, row: sa.RowMapping, view: View) -> Values:
        values: Values = {
            "StudyInstanceUID": held.uid,
            "ModalitiesInStudy": sorted(filter(None, str(row["modalities"] or "").split(","))),
            "NumberOfStudyRelatedSeries": int(row["series"]),
            "NumberOfStudyRelatedInstances": int(row["instances"]),
        }
        if view == "masked":
            return values
        facts = catalogue.facts_of(held, bytes(row["sealed"]))
        values |= {
            "StudyDate": str(row["study_date"]),
            "StudyTime": str(row["study_time"]),
            "PatientID": facts.patient_id,
            "IssuerOfPatientID": facts.issuer_of_patient_id,
            "PatientName": facts.patient_name,
            "PatientBirthDate": facts.patient_birth_date,
            "PatientSex": facts.patient_sex,
            "AccessionNumber": facts.accession_number,
            "StudyID": facts.study_id,
            "StudyDescription": facts.study_description,
            "ReferringPhysicianName": facts.referring_physician_name,
        }
        return values

    # --- series and instances ---------------------------------------------------------------------------

    async def _below(
        self, actor: Actor, match: _Match, request: Query, at_most: int
    ) -> Iterator[tuple[Values, Position]]:
        below = {k: v for k, v in request.filters.items() if k not in matching.STUDY_KEYWORDS}
        place = positions.read(request.after)
        after = place if place is not None and place.study == match.held.pk else None
        chosen: list[sa.ColumnElement[bool]] = [
            column.in_(matching.uid_list(below[keyword]))
            for keyword, column in _UIDS_BELOW.items()
            if below.get(keyword)
        ]
        chosen += shown(self._core, actor)
        if after is not None:
            chosen.append(after.below(request.level))
        limit = at_most if below.keys() <= _UIDS_BELOW.keys() else None  # else more rows are looked at
        rows = await asyncio.to_thread(self._rows_below, match.held, request.level, chosen, limit)
        return self._matching_below(match, request.level, below, rows)

    def _matching_below(
        self, match: _Match, level: str, below: Mapping[str, str], rows: list[sa.RowMapping]
    ) -> Iterator[tuple[Values, Position]]:
        masked = match.view == "masked"
        opened: dict[int, Values] = {}
        for row in rows:
            if row["in_series"] not in opened:
                opened[row["in_series"]] = self._series_values(match.held, row, masked)
            values = match.values | opened[row["in_series"]]
            position = replace(match.position, series=int(row["in_series"]))
            if level == "instance":
                values |= _instance_values(row)
                position = replace(position, instance=int(row["pk"]))
            else:
                values["NumberOfSeriesRelatedInstances"] = int(row["instances"])
            if matching.matches(below, values, masked=masked):
                yield values, position

    def _rows_below(
        self, held: HeldStudy, level: str, chosen: list[sa.ColumnElement[bool]], limit: int | None
    ) -> list[sa.RowMapping]:
        columns = (
            series.c.pk.label("in_series"), series.c.uid.label("series_uid"), series.c.modality, series.c.sealed,
        )  # fmt: skip
        if level == "series":
            query = sa.select(*columns, sa.func.count(instance.c.pk).label("instances")).group_by(series.c.pk)
        else:
            query = sa.select(*columns, instance)
        query = query.join_from(series, instance, instance.c.series_pk == series.c.pk)
        query = query.where(series.c.study_pk == held.pk, *chosen)
        query = query.order_by(*((series.c.pk,) if level == "series" else (series.c.pk, instance.c.pk)))
        with self._core.engine.connect() as connection:
            return list(connection.execute(query.limit(limit)).mappings())

    def _series_values(self, held: HeldStudy, row: sa.RowMapping, masked: bool) -> Values:
        values: Values = {"SeriesInstanceUID": str(row["series_uid"]), "Modality": str(row["modality"])}
        if masked:
            return values
        facts = catalogue.open_series(held.patient_key, str(row["series_uid"]), bytes(row["sealed"]))
        values["SeriesNumber"] = facts.series_number
        values["SeriesDescription"] = facts.series_description
        values["BodyPartExamined"] = facts.body_part_examined
        return values


def _take_patients(page: _Page, matches: list[_Match], after: bytes) -> None:
    """One record for each patient behind `after`: attributes of the newest study, counts of what may be seen."""
    patients: dict[bytes, list[_Match]] = {}
    for match in matches:
        patients.setdefault(match.held.patient_id, []).append(match)
    for identity in sorted(each for each in patients if each > after):
        found = patients[identity]
        values = {k: v for k, v in found[0].values.items() if k in matching.PATIENT_KEYWORDS}
        values["NumberOfPatientRelatedStudies"] = len(found)
        for level in ("Series", "Instances"):
            counted = (match.values[f"NumberOfStudyRelated{level}"] for match in found)
            values[f"NumberOfPatientRelated{level}"] = sum(n for n in counted if isinstance(n, int))
        if not page.take(found, values, identity.hex()):
            return


def _instance_values(row: sa.RowMapping) -> Values:
    return {
        "SOPClassUID": str(row["sop_class_uid"]),
        "SOPInstanceUID": str(row["uid"]),
        "InstanceNumber": str(row["instance_number"]),
        "Rows": int(row["rows"]),
        "Columns": int(row["columns"]),
        "BitsAllocated": int(row["bits_allocated"]),
        "NumberOfFrames": int(row["number_of_frames"]),
        "AvailableTransferSyntaxUID": str(row["transfer_syntax_uid"]),
    }
