"""Where a page of a query ended, as text that a front hands back: the next one begins behind it.

Rules, in order:
1. Studies come newest first; series and instances inside a study in the order they came; patients by internal
   identity.
2. Whoever changes a position goes on elsewhere, and sees nothing that the decision does not allow.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import sqlalchemy as sa

from ribcage.database.schema import instance, series, study
from ribcage.guard.errors import GuardRefused

_FORM = re.compile(r"(\d{0,8})\.(\d{1,18})\.(\d{1,18})\.(\d{1,18})", re.ASCII)
_PATIENT = re.compile(r"[0-9a-f]{32}", re.ASCII)


@dataclass(frozen=True)
class Position:
    """Study Date and row numbers; 0 where the level has none."""

    date: str
    study: int
    series: int = 0
    instance: int = 0

    def __str__(self) -> str:
        return f"{self.date}.{self.study}.{self.series}.{self.instance}"

    def studies(self, level: str) -> sa.ColumnElement[bool]:
        """Studies that still have something to answer."""
        date, pk = study.c.study_date, study.c.pk
        here = pk < self.study if level == "study" else pk <= self.study
        return sa.and_(date <= self.date, sa.or_(date < self.date, here))  # a range of the index first

    def below(self, level: str) -> sa.ColumnElement[bool]:
        """Series, or instances, of this very study behind the position."""
        if level == "series":
            return series.c.pk > self.series
        here = sa.and_(series.c.pk == self.series, instance.c.pk > self.instance)
        return sa.or_(series.c.pk > self.series, here)


def read(text: str) -> Position | None:
    """The position of a query below patients, None for its beginning. Raises GuardRefused('invalid')."""
    if not text:
        return None
    found = _FORM.fullmatch(text)
    if found is None:
        raise GuardRefused("invalid")
    return Position(found[1], int(found[2]), int(found[3]), int(found[4]))


def read_patient(text: str) -> bytes:
    """The internal identity behind which to go on, b'' for the beginning. Raises GuardRefused('invalid')."""
    if text and _PATIENT.fullmatch(text) is None:
        raise GuardRefused("invalid")
    return bytes.fromhex(text)
