"""The guard and its witness: every checkpoint is shown, every cosignature is kept on it (`witness_watch`: the rules).

One question is under way at any time, at most one a second; the question itself runs on a thread (`witness_wire`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from ribcage.database.schema import checkpoint
from ribcage.evidence import witness_protocol as protocol
from ribcage.evidence.audit_event import ConfigurationChanged
from ribcage.evidence.checkpoint import add_signature, verify_cosignatures
from ribcage.evidence.errors import EvidenceError
from ribcage.evidence.note import Note, VerifierKey
from ribcage.guard import protocol as p
from ribcage.guard.committer import Transaction
from ribcage.guard.core import Actor, Core
from ribcage.guard.errors import GuardUnavailable
from ribcage.guard.log import newest_checkpoint
from ribcage.guard.witness_trust import FORGOTTEN, TRUSTED, WitnessTrust, store_trust
from ribcage.guard.witness_wire import WitnessSilent, ask

_log = logging.getLogger("ribcage.guard")
_TRIES = 3  # the first tells the size that the witness knows, the second proves from there
_UNKNOWN = "the witness does not know this log: there, `ribcage witness trust-log`, or `fork` after a restore"
_CLOCKS_APART_SECONDS = 600


class WitnessLink:
    """Asks for cosignatures. `closed` is called when the archive turns out to be behind."""

    def __init__(self, core: Core, closed: Callable[[], None]) -> None:
        self._core = core
        self._watch = core.witness
        self._closed = closed
        self._busy = asyncio.Lock()

    # --- operators --------------------------------------------------------------------------------------

    async def trust(self, actor: Actor, request: p.TrustWitness) -> p.WitnessTrusted:
        """Trust this witness from now on. Raises GuardRefused('invalid')."""
        trust = WitnessTrust(request.url, request.witness, request.certificate_sha256)
        trust.check()
        await self._change(actor, TRUSTED, trust)
        return p.WitnessTrusted(log=self._core.log.verifier_key)

    async def forget(self, actor: Actor, _request: p.ForgetWitness) -> p.Noted:
        """Trust none. An archive that is behind its witness stays closed until its next start."""
        await self._change(actor, FORGOTTEN, None)
        return p.Noted()

    async def _change(self, actor: Actor, word: str, trust: WitnessTrust | None) -> None:
        core, entry = self._core, ConfigurationChanged(actor.evidence, word)
        async with self._busy:
            await core.note(entry)
            await asyncio.to_thread(store_trust, core.keyring, trust)
            self._watch.change(trust)

    # --- asking -----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Ask for ever, once a second; after a failure every few seconds. Ends by cancellation."""
        limits = self._core.limits
        while True:
            troubled = bool(self._watch.state(0.0).trouble)
            await asyncio.sleep(limits.witness_retry_seconds if troubled else limits.witness_seconds)
            try:
                await self.step()
            except Exception as failure:  # noqa: BLE001 - the task must live; the next round tries again
                _log.error("asking the witness failed: %s", type(failure).__name__)

    async def step(self) -> None:
        """Show the newest checkpoint, if the witness has not cosigned it yet."""
        async with self._busy:
            trust = self._watch.trust
            if trust is None or self._watch.behind:
                return
            size, note = await asyncio.to_thread(self._newest)
            if not size or self._watch.covers(size):
                return
            asked_at = self._core.clock()
            self._watch.asking(asked_at)
            try:
                lines = await self._ask(trust, size, note)
                await self._keep(trust, size, note, lines, asked_at)
            except (protocol.SizeConflict, protocol.RootConflict, protocol.ProofRefused) as beside:
                self._fall_behind(f"this archive is behind its witness or beside it: {_told(beside, size)}")
            except protocol.LogClosed:
                self._fall_behind("the witness was told that this log goes on elsewhere: this is an old copy")
            except (protocol.LogUnknown, protocol.KeyRefused):
                self._watch.failed(_UNKNOWN)
            except (WitnessSilent, EvidenceError, GuardUnavailable) as failure:
                self._watch.failed(str(failure))

    async def last(self) -> None:
        """One more question before the home is closed, unless the witness was silent anyway."""
        if self._watch.state(0.0).trouble:
            return
        try:
            await self.step()
        except Exception as failure:  # noqa: BLE001 - the home must be closed whatever the witness does
            _log.error("asking the witness failed: %s", type(failure).__name__)

    def _newest(self) -> tuple[int, bytes]:
        with self._core.engine.connect() as connection:
            return newest_checkpoint(connection) or (0, b"")

    async def _ask(self, trust: WitnessTrust, size: int, note: bytes) -> tuple[str, ...]:
        for _ in range(_TRIES):
            known = self._watch.known_size
            try:
                return protocol.read_answer(
                    *await asyncio.to_thread(self._exchange, trust, known, size, note)
                )
            except protocol.SizeConflict as conflict:
                if conflict.size > size or conflict.size == known:
                    raise
                self._watch.known_size = conflict.size
        raise protocol.WitnessBusy("the witness changes its mind")

    def _exchange(self, trust: WitnessTrust, known: int, size: int, note: bytes) -> tuple[int, str, bytes]:
        with self._core.engine.connect() as connection:
            path = self._core.log.prove_consistency(connection, known, size)
        request = protocol.AddCheckpoint(known, tuple(path), note)
        return ask(trust, request.encode(), self._core.limits.witness_answer_seconds)

    async def _keep(
        self, trust: WitnessTrust, size: int, note: bytes, lines: tuple[str, ...], asked_at: float
    ) -> None:
        """Verify the lines against our own note and store them on it."""
        core = self._core
        ours = [line for line in lines if line.split(" ")[1] == trust.key.name]
        for line in ours:
            note = add_signature(note, line)
        latest = int(core.clock()) + _CLOCKS_APART_SECONDS
        verify_cosignatures(note, [trust.key], 1, not_after=latest)

        def write(tx: Transaction) -> None:
            statement = sa.update(checkpoint).where(checkpoint.c.size == size).values(note=note)
            tx.connection.execute(statement)

        await core.committer.run(write)
        self._watch.cosigned(size, asked_at, core.clock(), newest=core.log.size == size)

    def _fall_behind(self, why: str) -> None:
        _log.critical("ALARM: %s", why)
        self._watch.fell_behind(why)
        self._closed()


def _told(beside: protocol.WitnessRefused, size: int) -> str:
    if isinstance(beside, protocol.SizeConflict):
        return f"it has {size} entries, the witness saw {beside.size}"
    return f"the witness saw other entries before entry {size}"


def best_checkpoint(rows: list[Any], witness: VerifierKey | None) -> Any:
    """Of rows that cover an entry, newest first: the newest that the witness cosigned, else the first, if any."""
    if witness is not None:
        for row in rows:
            if Note.parse(bytes(row.note)).by(witness):
                return row
    return rows[0] if rows else None
