"""Staff and devices as one patient may know them: a name or a role, and a label that another patient cannot compare.

Rules, in order:
1. A label is a keyed digest under the patient's own key: stable for this patient, another for every other.
2. Role, department and label are always shown; names unless the hospital decided against (`patient_sees`).
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from ribcage.crypto.derive import derive
from ribcage.guard.core import Core
from ribcage.guard.projects import all_projects, find_project
from ribcage.guard.protocol import Somebody

_LABEL_BYTES = 5
_ROLES = ("radiologist", "clinician", "technologist", "officer", "administrator")
_PLAIN = {"operator": "operator", "patient": "patient", "component": "archive"}


class PatientPeople:
    """Names of others for one patient, whose key it holds."""

    def __init__(self, core: Core, key: bytes) -> None:
        self._core = core
        self._key = key

    def by_agent(self, system: str, identifier: str) -> Somebody:
        """Whom an entry names (`patient_entries.agent_of`)."""
        if system == "person":
            row = self._core.people.get(bytes.fromhex(identifier))
            if row is not None:
                return self._person(row)
        if system == "certificate-sha256":
            row = self._core.devices.get(bytes.fromhex(identifier))
            if row is not None:
                return self._device(row)
        return Somebody("", "", _PLAIN.get(system, "unknown"), "")

    def by_subject(self) -> dict[bytes, Somebody]:
        """Everybody, by identifier on the ledger."""
        return dict(self._everybody())

    def find(self, label: str) -> bytes | None:
        """The ledger identifier behind a label, None where it is nobody's."""
        return next((subject for subject, who in self._everybody() if who.label == label), None)

    def by_name(self, subject: str) -> Somebody:
        """Whom a grant names: 'person:', 'device:' or 'project:NAME'. Raises GuardRefused('not_found')."""
        kind, _, name = subject.partition(":")
        if kind == "person":
            return self._person(self._core.people.find(name))
        if kind == "project":
            return self._project(find_project(self._core, name))
        return self._device(self._core.devices.find(name))

    def _everybody(self) -> Iterator[tuple[bytes, Somebody]]:
        core = self._core
        for row in core.people.all():
            yield core.subject("person", bytes(row["id"])), self._person(row)
        for row in core.devices.all():
            yield core.subject("device", bytes(row["id"])), self._device(row)
        for row in all_projects(core):
            yield core.subject("project", bytes(row["id"])), self._project(row)

    def _person(self, row: dict[str, Any]) -> Somebody:
        roles = str(row["roles"]).split()
        role = next((each for each in _ROLES if each in roles), "unknown")
        return self._somebody(row, str(row["display_name"]), role)

    def _device(self, row: dict[str, Any]) -> Somebody:
        return self._somebody(row, str(row["name"]), "device")

    def _project(self, row: dict[str, Any]) -> Somebody:
        label = label_of(self._key, bytes(row["id"]))
        return Somebody(str(row["name"]), label, "project", "")

    def _somebody(self, row: dict[str, Any], name: str, role: str) -> Somebody:
        department = str(row["department"])
        if self._core.limits.patient_sees != "names":
            name = ", ".join(filter(None, (role, department)))
        return Somebody(name, label_of(self._key, bytes(row["id"])), role, department)


def label_of(patient_key: bytes, identifier: bytes) -> str:
    """`XXXX-XXXX` (rule 1; `docs/formats.md` 6.4)."""
    digest = derive(patient_key, "patient/label", identifier)[:_LABEL_BYTES]
    text = base64.b32encode(digest).decode()
    return f"{text[:4]}-{text[4:]}"
