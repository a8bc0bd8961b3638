"""Registered devices: a certificate's fingerprint is the identity, the AE title is a label bound to it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, get_args

import sqlalchemy as sa

from ribcage.crypto.errors import RowTampered
from ribcage.database.schema import device, device_charset, device_renewal
from ribcage.guard.committer import Transaction
from ribcage.guard.errors import GuardRefused
from ribcage.guard.protocol import DeviceRight, Term
from ribcage.guard.rows import MacRows

_ID_BYTES = 16
_AE_BYTES = 16
RIGHTS = get_args(DeviceRight)
# Defined terms of Specific Character Set (PS3.3 C.12.1.1.2); the last two and UTF-8 stand alone.
_PARTS = (6, 13, 58, 87, 100, 101, 109, 110, 126, 127, 138, 144, 148, 149, 159, 166, 203)
_CHARSETS = frozenset(
    {"ISO_IR 192", "GB18030", "GBK", *(f"{kind} {n}" for n in _PARTS for kind in ("ISO_IR", "ISO 2022 IR"))}
)
_MOST_TERMS = 8


@dataclass(frozen=True)
class KnownDevice:
    """A device whose row holds."""

    device_id: bytes
    name: str
    ae_titles: frozenset[str]
    may: frozenset[str]
    department: str


@dataclass(frozen=True)
class NewDevice:
    """What a registration says."""

    name: str
    fingerprint: bytes
    certificate_pem: bytes
    foreign_authority: bool
    not_after: datetime
    ae_titles: list[str]
    may: list[str]
    department: str


@dataclass(frozen=True)
class NewCertificate:
    """A renewed certificate. Times in Unix seconds; `old_until`: how long the one before holds."""

    fingerprint: bytes
    certificate_pem: bytes
    not_after: datetime
    issued_at: float
    old_until: float


class Devices:
    """The registry, in memory, with its durable copy in the database."""

    def __init__(self, engine: sa.Engine, rows: MacRows) -> None:
        self._rows = rows
        self._by_fingerprint: dict[bytes, dict[str, Any]] = {}
        self.findings: list[str] = []
        self.version = 1
        self._charsets: dict[bytes, dict[str, Any]] = {}
        self._renewals: dict[bytes, dict[str, Any]] = {}  # by device
        with engine.connect() as connection:
            for number, row in enumerate(rows.all(connection, device), 1):
                try:
                    self._keep(rows.check(device, row))
                except RowTampered:
                    self.findings.append(f"device row {number} does not carry the guard's MAC: ignored")
            for row in rows.all(connection, device_charset):
                self._keep_charset(row)
            for row in rows.all(connection, device_renewal):
                self._keep_renewal(row)

    def _keep_renewal(self, row: sa.RowMapping) -> None:
        try:
            self._renewals[bytes(row["id"])] = self._rows.check(device_renewal, row)
        except RowTampered:
            self._renewals.pop(bytes(row["id"]), None)
            self.findings.append("a device's renewal does not carry the guard's MAC: ignored")

    def row(self, device_id: bytes) -> dict[str, Any]:
        """The device's row by its id. Raises GuardRefused('not_found')."""
        for row in self._by_fingerprint.values():
            if bytes(row["id"]) == device_id:
                return row
        raise GuardRefused("not_found")

    def pending(self, device_id: bytes) -> dict[str, Any] | None:
        """A renewed certificate that the device has not used yet."""
        return self._renewals.get(device_id)

    def offer(self, tx: Transaction, device_id: bytes, new: NewCertificate) -> None:
        """Keep a renewed certificate, in the place of one never used."""
        tx.connection.execute(sa.delete(device_renewal).where(device_renewal.c.id == device_id))
        values = {
            "id": device_id,
            "fingerprint": new.fingerprint,
            "certificate_pem": new.certificate_pem,
            "not_after": new.not_after.astimezone(UTC).timestamp(),
            "issued_at": new.issued_at,
            "old_until": new.old_until,
        }
        self._rows.insert(tx.connection, device_renewal, values)

    def take_over(self, tx: Transaction, device_id: bytes) -> None:
        """The renewed certificate is the device's from now on. Raises GuardRefused('not_found')."""
        new = self._renewals.get(device_id)
        if new is None:
            raise GuardRefused("not_found")
        changed = {name: new[name] for name in ("fingerprint", "certificate_pem", "not_after")}
        self._rows.update(tx.connection, device, dict(self.row(device_id), **changed))
        tx.connection.execute(sa.delete(device_renewal).where(device_renewal.c.id == device_id))

    def _shown(self, fingerprint: bytes, now: float) -> dict[str, Any] | None:
        """The row of whoever shows this certificate: the device's own, or its renewed one (`guard.renewal`)."""
        row = self._by_fingerprint.get(fingerprint)
        if row is not None:
            new = self._renewals.get(bytes(row["id"]))
            return row if new is None or now < float(new["old_until"]) else None
        for device_id, new in self._renewals.items():
            if bytes(new["fingerprint"]) == fingerprint:
                return dict(self.row(device_id), not_after=new["not_after"])
        return None

    def _keep_charset(self, row: sa.RowMapping) -> None:
        try:
            self._charsets[bytes(row["id"])] = self._rows.check(device_charset, row)
        except RowTampered:
            self._charsets.pop(bytes(row["id"]), None)
            self.findings.append("a device's character set does not carry the guard's MAC: ignored")

    def charset_of(self, device_id: bytes) -> tuple[str, bool]:
        """How a device's text is read: a value of (0008,0005), '' where nothing is set, and whether it overrides."""
        row = self._charsets.get(device_id)
        return ("", False) if row is None else (str(row["charset"]), bool(row["overrides"]))

    def set_charset(self, tx: Transaction, name: str, charset: str, overrides: bool) -> dict[str, Any]:
        """Write how a device's text is read; the device's row. Raises GuardRefused('invalid' | 'not_found')."""
        terms, whose = charset.split("\\"), self.find(name)
        if charset and (len(terms) > _MOST_TERMS or not set(terms) <= _CHARSETS):
            raise GuardRefused("invalid")
        values = {"id": whose["id"], "charset": charset, "overrides": int(overrides and bool(charset))}
        held = self._charsets.get(bytes(whose["id"]))
        if held is None:
            tx.connection.execute(sa.delete(device_charset).where(device_charset.c.id == whose["id"]))
            self._rows.insert(tx.connection, device_charset, values)
        else:
            self._rows.update(tx.connection, device_charset, dict(held, **values))
        return whose

    def _keep(self, row: dict[str, Any]) -> None:
        self._by_fingerprint[bytes(row["fingerprint"])] = row

    def all(self) -> list[dict[str, Any]]:
        """Every device, by name."""
        return sorted(self._by_fingerprint.values(), key=lambda row: str(row["name"]))

    def get(self, fingerprint: bytes) -> dict[str, Any] | None:
        """The device's row by its certificate's fingerprint, suspended or not; None where there is none."""
        return self._by_fingerprint.get(fingerprint)

    def find(self, name: str) -> dict[str, Any]:
        """The row of device `name`. Raises GuardRefused('not_found')."""
        for row in self._by_fingerprint.values():
            if row["name"] == name:
                return row
        raise GuardRefused("not_found")

    def identify(self, fingerprint: bytes, ae_title: str | None, now: float) -> KnownDevice:
        """The device behind a certificate. `ae_title` None: HTTP, where there is none.

        Raises GuardRefused('not_authenticated') for an unknown, suspended or expired certificate, or an AE
        title that is not bound to it (DESIGN rule 4).
        """
        row = self._shown(fingerprint, now)
        if row is None or row["suspended"] or now >= float(row["not_after"]):
            raise GuardRefused("not_authenticated")
        known = _known(row)
        if ae_title is not None and ae_title not in known.ae_titles:
            raise GuardRefused("not_authenticated")
        return known

    def of_id(self, device_id: bytes) -> KnownDevice | None:
        """A device by its id, suspended or not; None where there is none."""
        row = next((row for row in self._by_fingerprint.values() if row["id"] == device_id), None)
        return None if row is None else _known(row)

    def terms(self) -> list[Term]:
        """Certificates of the devices that are not suspended; their beginning is not kept."""
        live = (row for row in self._by_fingerprint.values() if not row["suspended"])
        return [Term(str(row["name"]), 0.0, float(row["not_after"])) for row in live]

    def add(self, tx: Transaction, new: NewDevice) -> bytes:
        """Register; returns the device id. Raises GuardRefused('conflict' | 'invalid')."""
        if any(r["name"] == new.name for r in self._by_fingerprint.values()):
            raise GuardRefused("conflict")
        if new.fingerprint in self._by_fingerprint:
            raise GuardRefused("conflict")
        bad_title = any(not t or len(t) > _AE_BYTES or "\\" in t or not t.isascii() for t in new.ae_titles)
        if bad_title or not new.may or not set(new.may) <= set(RIGHTS):
            raise GuardRefused("invalid")
        identifier = os.urandom(_ID_BYTES)
        self._rows.insert(
            tx.connection,
            device,
            {
                "id": identifier,
                "name": new.name,
                "fingerprint": new.fingerprint,
                "certificate_pem": new.certificate_pem,
                "foreign_authority": int(new.foreign_authority),
                "not_after": new.not_after.astimezone(UTC).timestamp(),
                "ae_titles": "\\".join(new.ae_titles),
                "may": " ".join(sorted(set(new.may))),
                "department": new.department,
                "suspended": 0,
            },
        )
        return identifier

    def suspend(self, tx: Transaction, name: str, suspended: bool) -> bytes:
        """Suspend or restore a device by name; returns its id."""
        row = self.find(name)
        self._rows.update(tx.connection, device, dict(row, suspended=int(suspended)))
        return bytes(row["id"])

    def refresh(self, connection: sa.Connection, device_id: bytes) -> None:
        """Take a committed row into memory; one that does not hold is absent."""
        row = connection.execute(sa.select(device).where(device.c.id == device_id)).mappings().one()
        self._by_fingerprint = {f: r for f, r in self._by_fingerprint.items() if r["id"] != device_id}
        try:
            self._keep(self._rows.check(device, row))
        except RowTampered:
            self.findings.append("a row of device was changed while the guard ran: ignored")
        query = sa.select(device_charset).where(device_charset.c.id == device_id)
        charset = connection.execute(query).mappings().one_or_none()
        if charset is not None:
            self._keep_charset(charset)
        self._renewals.pop(device_id, None)
        pending = sa.select(device_renewal).where(device_renewal.c.id == device_id)
        renewal = connection.execute(pending).mappings().one_or_none()
        if renewal is not None:
            self._keep_renewal(renewal)
        self.version += 1

    def foreign_leaves_pem(self) -> bytes:
        """Certificates registered as they are (their authority is not ours): trusted leaf by leaf."""
        live = (r for r in self._by_fingerprint.values() if r["foreign_authority"] and not r["suspended"])
        return b"\n".join(bytes(r["certificate_pem"]) for r in live)


def _known(row: dict[str, Any]) -> KnownDevice:
    return KnownDevice(
        device_id=bytes(row["id"]),
        name=str(row["name"]),
        ae_titles=frozenset(str(row["ae_titles"]).split("\\")),
        may=frozenset(str(row["may"]).split()),
        department=str(row["department"]),
    )
