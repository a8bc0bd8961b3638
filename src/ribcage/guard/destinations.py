"""Where C-MOVE may send: a registered device's AE title and the address at which it listens.

Rules, in order (DESIGN rules 3 and 4):
1. A destination is a registered device: its AE title is bound to that device's certificate, and who listens there
   must prove that certificate. Address and title alone are no identity.
2. The address is a literal one and private, or settings name it; asked when it is added and at every use.
3. An unknown, removed or suspended destination is answered alike.
4. Whether what a C-MOVE could not send is queued is a setting of the destination, off until an operator sets it.
5. Whether a study may go there is no matter of this registry: the disclosure asks the contract for the recipient too.
"""

from __future__ import annotations

import ipaddress
import os
from typing import Any

import sqlalchemy as sa

from ribcage.crypto.errors import RowTampered
from ribcage.database.schema import destination, destination_retry
from ribcage.evidence.audit_event import DeviceChanged, RoutingChange, RoutingChanged
from ribcage.guard.committer import Transaction
from ribcage.guard.core import Actor, Core
from ribcage.guard.errors import GuardRefused
from ribcage.guard.protocol import (
    AddDestination,
    DestinationItem,
    DestinationItems,
    DestinationKnown,
    FindDestination,
    Noted,
    RemoveDestination,
    SetDestinationRetry,
)

_ID_BYTES = 16


class Destinations:
    """The registry, in memory, with its durable copy in the database."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._by_title: dict[str, dict[str, Any]] = {}
        with core.engine.connect() as connection:
            for row in core.rows.all(connection, destination):
                self._keep(row)

    def _keep(self, row: sa.RowMapping) -> None:
        try:
            held = self._core.rows.check(destination, row)
        except RowTampered:
            self._by_title.pop(str(row["ae_title"]), None)
            self._core.findings.append("a row of destination does not carry the guard's MAC: ignored")
            return
        self._by_title[str(held["ae_title"])] = held

    async def add(self, actor: Actor, request: AddDestination) -> Noted:
        """Register or replace one. Raises GuardRefused('invalid' | 'not_found')."""
        core = self._core
        device = core.devices.find(request.device)
        bound = request.ae_title in str(device["ae_titles"]).split("\\")
        if not bound or not self._reachable(request.address) or not 0 < request.port <= 65535:
            raise GuardRefused("invalid")
        values = {
            "ae_title": request.ae_title,
            "device_id": bytes(device["id"]),
            "address": request.address,
            "port": request.port,
            "removed": 0,
        }
        await self._write(actor, values, bytes(device["fingerprint"]))
        return Noted()

    async def remove(self, actor: Actor, request: RemoveDestination) -> Noted:
        """End one. Raises GuardRefused('not_found')."""
        row = self._by_title.get(request.ae_title)
        if row is None or row["removed"]:
            raise GuardRefused("not_found")
        fingerprint = next(
            (bytes(d["fingerprint"]) for d in self._core.devices.all() if d["id"] == row["device_id"]), b""
        )
        await self._write(actor, {"removed": 1}, fingerprint, row)
        return Noted()

    def page(self) -> DestinationItems:
        """All that stand, by AE title."""
        names = {bytes(row["id"]): str(row["name"]) for row in self._core.devices.all()}
        return DestinationItems(
            items=[
                DestinationItem(
                    ae_title=title,
                    device=names.get(bytes(row["device_id"]), ""),
                    address=str(row["address"]),
                    port=int(row["port"]),
                )
                for title, row in sorted(self._by_title.items())
                if not row["removed"]
            ]
        )

    async def find(self, actor: Actor, request: FindDestination) -> DestinationKnown:
        """Where a title listens and with which certificate, for a device that may retrieve. Raises GuardRefused."""
        if actor.device is None or "retrieve" not in actor.device.may:
            raise GuardRefused("not_permitted")
        return self.known(request.ae_title)

    def known(self, ae_title: str) -> DestinationKnown:
        """Where a title listens now (rules 2 and 3). Raises GuardRefused('not_found')."""
        row = self._by_title.get(ae_title)
        if row is None or row["removed"] or not self._reachable(str(row["address"])):
            raise GuardRefused("not_found")
        for held in self._core.devices.all():
            if held["id"] == row["device_id"]:
                fingerprint = bytes(held["fingerprint"])
                try:
                    self._core.devices.identify(fingerprint, ae_title, self._core.clock())
                except GuardRefused:
                    break
                return DestinationKnown(fingerprint, str(row["address"]), int(row["port"]))
        raise GuardRefused("not_found")

    def of_device(self, device_id: bytes, ae_title: str) -> tuple[str, DestinationKnown] | None:
        """Where this device listens, under this AE title if it does; None where nothing is registered for it."""
        titles = [title for title, row in self._by_title.items() if row["device_id"] == device_id]
        for title in sorted(titles, key=lambda each: (each != ae_title, each)):
            try:
                return title, self.known(title)
            except GuardRefused:
                continue
        return None

    def device_of(self, ae_title: str) -> bytes:
        """The id of the device behind a title, b"" where there is none."""
        row = self._by_title.get(ae_title)
        return b"" if row is None or row["removed"] else bytes(row["device_id"])

    def retries_moves(self, ae_title: str) -> bool:
        """Rule 4."""
        row = self._by_title.get(ae_title)
        with self._core.engine.connect() as connection:
            setting = None if row is None else self._retry(connection, bytes(row["id"]))
        return setting is not None and bool(setting["moves"])

    async def set_retry(self, actor: Actor, request: SetDestinationRetry) -> Noted:
        """Change the setting of rule 4. Raises GuardRefused('not_found')."""
        core, fingerprint = self._core, self.known(request.ae_title).fingerprint
        identifier = bytes(self._by_title[request.ae_title]["id"])
        values = {"id": identifier, "moves": int(request.moves)}

        def write(tx: Transaction) -> Noted:
            old = self._retry(tx.connection, identifier)
            if old is None:
                tx.connection.execute(
                    sa.delete(destination_retry).where(destination_retry.c.id == identifier)
                )
                core.rows.insert(tx.connection, destination_retry, values)
            else:
                core.rows.update(tx.connection, destination_retry, old | values)
            word: RoutingChange = "moves-retried" if request.moves else "moves-not-retried"
            tx.append(core.entry(RoutingChanged(actor.evidence, word, 0, fingerprint)))
            return Noted()

        return await core.committer.run(write)

    def _retry(self, connection: sa.Connection, identifier: bytes) -> dict[str, Any] | None:
        query = sa.select(destination_retry).where(destination_retry.c.id == identifier)
        row = connection.execute(query).mappings().one_or_none()
        try:
            return None if row is None else self._core.rows.check(destination_retry, row)
        except RowTampered:
            return None  # off, as if nobody had set it

    def _reachable(self, address: str) -> bool:
        """Rule 2."""
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        inside = parsed.is_loopback or (parsed.is_private and not parsed.is_unspecified)
        return (inside and not parsed.is_link_local) or address in self._core.limits.public_destinations

    async def _write(
        self, actor: Actor, values: dict[str, Any], fingerprint: bytes, old: dict[str, Any] | None = None
    ) -> None:
        core = self._core
        old = old or self._by_title.get(str(values["ae_title"]))

        def write(tx: Transaction) -> bytes:
            if old is None:
                identifier = os.urandom(_ID_BYTES)
                core.rows.insert(tx.connection, destination, dict(values, id=identifier))
            else:
                identifier = bytes(old["id"])
                core.rows.update(tx.connection, destination, old | values)
            change = DeviceChanged(
                actor.evidence,
                fingerprint,
                "destination-removed" if values["removed"] else "destination-added",
            )
            tx.append(core.entry(change))
            return identifier

        identifier = await core.committer.run(write)
        with core.engine.connect() as connection:
            query = sa.select(destination).where(destination.c.id == identifier)
            self._keep(connection.execute(query).mappings().one())
