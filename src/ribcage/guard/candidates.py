"""Which study rows a query has to look at: by clear columns and keyed tokens, newest first, slice by slice.

Rules, in order:
1. Every row that matches is a candidate; what is none too many is sorted out on the opened attributes
   (`guard.query`).
2. A slice is no longer than what the answer still needs, then longer; at most `query_candidates` rows are looked at.
3. Of a name's tokens the rarest are used, and where one is rare the search begins there: a million studies share
   most pairs of letters.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from ribcage.database.schema import instance, name_token, series, study
from ribcage.guard import catalogue, matching
from ribcage.guard.core import Core
from ribcage.guard.positions import Position

_TOKENS_USED = 6
_RARE = (
    500  # studies with a token: fewer are fetched and sorted, more are met soon on the way from the newest
)
_SLICE_GROWTH, _SLICE_ROWS = 4, 2000


@dataclass(frozen=True)
class _Token:
    token: int
    studies: int  # at most _RARE + 1


class Candidates:
    """Reads the index for one guard. Blocking parts run in a thread."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def slices(
        self,
        filters: Mapping[str, str],
        place: sa.ColumnElement[bool] | None,
        wanted: int,
        seen: Sequence[sa.ColumnElement[bool]] = (),
    ) -> AsyncIterator[list[sa.RowMapping]]:
        """Rows of study, patient and counts; `place`: where the page begins, `wanted`: studies the answer needs.

        `seen`: conditions on the instances that count at all (`guard.rejections`).
        """
        left = self._core.limits.query_candidates
        size = min(wanted, left, _SLICE_ROWS)
        conditions = await asyncio.to_thread(self._conditions, filters)
        where = [*conditions, *([] if place is None else [place])]
        while left > 0:
            rows = await asyncio.to_thread(self._rows, where, size, seen)
            yield rows
            if len(rows) < size:
                return
            left -= size
            size = min(size * _SLICE_GROWTH, left, _SLICE_ROWS)
            last = Position(str(rows[-1]["study_date"]), int(rows[-1]["pk"]))
            where = [*conditions, last.studies("study")]

    def _rows(
        self, where: list[sa.ColumnElement[bool]], size: int, seen: Sequence[sa.ColumnElement[bool]]
    ) -> list[sa.RowMapping]:
        held = [instance.c.study_pk == study.c.pk, *seen]
        in_series = [sa.exists().where(instance.c.series_pk == series.c.pk, *seen)] if seen else []
        instances, all_series = (
            sa.select(counted).where(*held).scalar_subquery()
            for counted in (sa.func.count(), sa.func.count(sa.distinct(instance.c.series_pk)))
        )
        modalities = (
            sa.select(sa.func.group_concat(sa.distinct(series.c.modality)))
            .where(series.c.study_pk == study.c.pk, *in_series)
            .scalar_subquery()
        )
        query = (
            catalogue.JOINED.add_columns(
                instances.label("instances"), all_series.label("series"), modalities.label("modalities")
            )
            .where(sa.exists().where(*held))
            .where(*where)
            .order_by(study.c.study_date.desc(), study.c.pk.desc())
            .limit(size)
        )
        with self._core.engine.connect() as connection:
            return list(connection.execute(query).mappings())

    def _conditions(self, filters: Mapping[str, str]) -> list[sa.ColumnElement[bool]]:
        conditions: list[sa.ColumnElement[bool]] = []
        if uids := filters.get("StudyInstanceUID"):
            conditions.append(study.c.uid.in_(matching.uid_list(uids)))
        if dates := filters.get("StudyDate"):
            low, high = matching.date_range(dates)
            if low:
                conditions.append(study.c.study_date >= low)
            if high:
                conditions.append(study.c.study_date <= high)
        if (accession := filters.get("AccessionNumber", "").strip()) and not matching.has_wildcard(accession):
            conditions.append(study.c.accession_token == self._core.blind.exact("accession", accession))
        if (identifier := filters.get("PatientID", "").strip()) and not matching.has_wildcard(identifier):
            conditions.append(study.c.patient_id_token == self._core.blind.exact("patient-id", identifier))
        if name := filters.get("PatientName"):
            conditions += self._named(name)
        return conditions

    def _named(self, name: str) -> list[sa.ColumnElement[bool]]:
        """Rule 3."""
        with self._core.engine.connect() as connection:
            tokens = sorted(
                (_Token(token, _count(connection, token)) for token in self._core.blind.pattern_tokens(name)),
                key=lambda each: each.studies,
            )[:_TOKENS_USED]
        conditions: list[sa.ColumnElement[bool]] = []
        if tokens and tokens[0].studies <= _RARE:
            first = sa.select(name_token.c.study_pk).where(name_token.c.token == tokens.pop(0).token)
            conditions.append(study.c.pk.in_(first))
        for each in tokens:
            here = (name_token.c.token == each.token, name_token.c.study_pk == study.c.pk)
            conditions.append(sa.exists().where(*here))
        return conditions


def _count(connection: sa.Connection, token: int) -> int:
    some = sa.select(name_token.c.study_pk).where(name_token.c.token == token).limit(_RARE + 1).subquery()
    return int(connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one())
