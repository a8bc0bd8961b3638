"""Whose study is whose, where that is not what its instances say: the guard's memory of corrections and merges.

Rules, in order (docs/adr/0013):
1. A study that was moved, merged or corrected has layers: what its instances say, and above it each change. The top
   one counts. Layers are sealed under the study's own key and die with it.
2. While keys are on their way to another patient, the study answers nobody.
3. A merged patient is found as the one it was merged into. What it objected to holds for both.
4. A row that does not carry the guard's MAC closes its study, or its patient: breaking a row undoes no change.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import sqlalchemy as sa

from ribcage.crypto.columns import column_context, open_column, seal_column
from ribcage.crypto.errors import RowTampered
from ribcage.database.schema import patient_link, study_identity
from ribcage.guard.rows import MacRows


class Named(msgspec.Struct, frozen=True):
    """How a patient is named: the part of the patient module that a change may correct."""

    patient_id: str
    issuer_of_patient_id: str
    patient_name: str
    patient_birth_date: str
    patient_sex: str


class Layer(msgspec.Struct, frozen=True):
    """A study's identity since one change (0: as its instances say). Ids have 16 bytes; `at` in Unix seconds.

    `kept`: the patient below is the same person, so that rights given about the study under that identity hold.
    """

    change: int
    patient: bytes
    patient_key: bytes
    named: Named
    kept: bool
    at: float


Layers = list[Layer]


def seal_layers(study_key: bytes, key_id: bytes, layers: Layers) -> bytes:
    """As the row has them (docs/formats.md 10)."""
    context = column_context("study_identity", "sealed", key_id)
    return seal_column(study_key, context, msgspec.json.encode(layers))


def open_layers(study_key: bytes, key_id: bytes, sealed: bytes) -> Layers:
    """The opposite. Raises CryptoError."""
    context = column_context("study_identity", "sealed", key_id)
    return msgspec.json.decode(open_column(study_key, context, sealed), type=Layers)


class Identities:
    """The tables `study_identity` and `patient_link` in memory."""

    def __init__(self, engine: sa.Engine, rows: MacRows) -> None:
        self._rows = rows
        self._studies: dict[bytes, dict[str, Any]] = {}
        self._into: dict[bytes, dict[str, Any]] = {}
        self._below: dict[bytes, list[dict[str, Any]]] = {}  # links that stand, by whom they lead to
        self._broken: set[bytes] = set()  # ids of studies' keys and of patients
        self._on_their_way: frozenset[bytes] = frozenset()
        self.findings: list[str] = []
        self.reload(engine)

    def reload(self, engine: sa.Engine) -> None:
        """Learn all rows as they were committed."""
        with engine.connect() as connection:
            studies = list(self._rows.all(connection, study_identity))
            links = list(self._rows.all(connection, patient_link))
        self.take(studies, links)

    def take(
        self,
        studies: Iterable[sa.RowMapping | dict[str, Any]],
        links: Iterable[sa.RowMapping | dict[str, Any]] = (),
    ) -> None:
        """Learn committed rows."""
        for table, rows, memory in (
            (study_identity, studies, self._studies),
            (patient_link, links, self._into),
        ):
            for row in rows:
                identifier = bytes(row["id"])
                try:
                    memory[identifier] = self._rows.check(table, row)  # type: ignore[arg-type]  # a dict serves
                except RowTampered:
                    self._broken.add(identifier)
                    self.findings.append(
                        f"a row of {table.name} does not carry the guard's MAC: it stays shut"
                    )
        below: dict[bytes, list[dict[str, Any]]] = {}
        for link in self.links():
            below.setdefault(bytes(link["into_id"]), []).append(link)
        self._below = below  # at once: decisions read it on another thread

    def forget(self, key_id: bytes) -> None:
        """A study was destroyed."""
        self._studies.pop(key_id, None)

    def on_their_way(self, key_ids: Iterable[bytes]) -> None:
        """Rule 2: these studies, and no others, answer nobody."""
        self._on_their_way = frozenset(key_ids)

    def is_shut(self, key_id: bytes, patient_id: bytes) -> bool:
        """Whether a study answers nobody: rules 2 and 4, or memory and row differ for a moment."""
        if key_id in self._on_their_way or key_id in self._broken or patient_id in self._broken:
            return True
        row = self._studies.get(key_id)
        return row is not None and bytes(row["patient_id"]) != patient_id

    def row(self, key_id: bytes) -> dict[str, Any] | None:
        """The checked row of a study that ever changed."""
        return self._studies.get(key_id)

    def rows(self) -> list[dict[str, Any]]:
        """All of them."""
        return list(self._studies.values())

    def link(self, patient_id: bytes) -> dict[str, Any] | None:
        """The row of a patient that is merged into another now."""
        row = self._into.get(patient_id)
        return row if row is not None and row["standing"] else None

    def known_link(self, patient_id: bytes) -> dict[str, Any] | None:
        """The same of one that ever was."""
        return self._into.get(patient_id)

    def into(self, patient_id: bytes) -> bytes:
        """The patient that this one is now (rule 3)."""
        while (row := self.link(patient_id)) is not None:
            patient_id = bytes(row["into_id"])
        return patient_id

    def links(self) -> list[dict[str, Any]]:
        """All merges that stand now."""
        return [row for row in self._into.values() if row["standing"]]

    def merged_into(self, patient_id: bytes) -> list[dict[str, Any]]:
        """The links that lead to this patient, of however many steps."""
        found, pending = list[dict[str, Any]](), [patient_id]
        while pending:
            below = self._below.get(pending.pop(), [])
            found += below
            pending += [bytes(row["id"]) for row in below]
        return found
