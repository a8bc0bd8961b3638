"""Recovery shares and new passphrases: the guard's part.

Rules, in order:
1. The entry of a change is durable before the provider's file is replaced; that replacement is the last step.
2. The private key of the shares never comes here: whoever makes them sends the public key alone.
3. A new passphrase is set only while no guard runs: a supervisor would hand the old one to the next guard.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

from ribcage.crypto.errors import RecoveryTampered, SharesRefused, WrongPassphrase
from ribcage.crypto.provider import FileKeyProvider, check_passphrase
from ribcage.crypto.recovery import TAMPERED, RecoveryKey
from ribcage.evidence.audit_event import ConfigurationChanged, Event, OperatorActor, RecoveryChanged
from ribcage.guard import protocol as p
from ribcage.guard.admin import sign_checkpoint
from ribcage.guard.core import Actor, Core
from ribcage.guard.errors import GuardRefused
from ribcage.guard.home import Unlock, open_core
from ribcage.guard.limits import GuardLimits

PASSPHRASE = "passphrase"  # noqa: S105 - the setting's name in the log


class Recoveries:
    """Who may come back without the passphrase, for operators."""

    def __init__(self, core: Core, provider: FileKeyProvider) -> None:
        self._core = core
        self._provider = provider
        self._busy = asyncio.Lock()

    async def make(self, actor: Actor, request: p.MakeRecovery) -> p.RecoveryState:
        """New shares in place of the old ones. Raises GuardRefused('invalid' | 'not_authenticated')."""
        now = int(self._core.clock() * 1000)
        key = RecoveryKey(request.public_key, request.need, request.of, now)
        try:
            key.check()
        except SharesRefused as refused:
            raise GuardRefused("invalid") from refused
        event = RecoveryChanged(actor.evidence, "made", key.need, key.of, key.fingerprint)
        return await self._change(event, request.passphrase, key)

    async def forget(self, actor: Actor, request: p.ForgetRecovery) -> p.RecoveryState:
        """No shares any more. Raises GuardRefused('not_found' | 'not_authenticated')."""
        now = self.state()
        if not (now.need or now.changed):
            raise GuardRefused("not_found")
        event = RecoveryChanged(actor.evidence, "forgotten", now.need, now.of, now.fingerprint or bytes(32))
        return await self._change(event, request.passphrase, None)

    def state(self) -> p.RecoveryState:
        """Numbers and the set's fingerprint."""
        try:
            key = self._provider.recovery
        except RecoveryTampered:
            return p.RecoveryState(changed=True)
        return p.RecoveryState() if key is None else recovery_state(key)

    async def _change(self, event: Event, passphrase: bytes, key: RecoveryKey | None) -> p.RecoveryState:
        async with self._busy:
            try:
                await asyncio.to_thread(self._provider.check_passphrase, passphrase)
                await self._core.note(event)
                await asyncio.to_thread(self._provider.set_recovery, passphrase, key)
            except WrongPassphrase as wrong:
                raise GuardRefused("not_authenticated") from wrong
            except SharesRefused as refused:
                raise GuardRefused("invalid") from refused
        with contextlib.suppress(ValueError):
            self._core.findings.remove(TAMPERED)
        return self.state()


def recovery_state(key: RecoveryKey) -> p.RecoveryState:
    """What may be told of it."""
    return p.RecoveryState(key.need, key.of, key.made_ms, key.fingerprint)


def passphrase_changed(operator: str) -> Callable[[FileKeyProvider], Event]:
    """The entry of a change by who knew the old passphrase."""
    return lambda _provider: ConfigurationChanged(OperatorActor(operator), PASSPHRASE)


def shares_used(operator: str) -> Callable[[FileKeyProvider], Event]:
    """The entry of a change by who brought the shares."""

    def event(provider: FileKeyProvider) -> Event:
        key = provider.recovery
        if key is None:
            raise SharesRefused("there is no recovery record")
        return RecoveryChanged(OperatorActor(operator), "used", key.need, key.of, key.fingerprint)

    return event


async def renew_passphrase(
    home: Path,
    unlock: Unlock,
    passphrase: bytes,
    limits: GuardLimits,
    event: Callable[[FileKeyProvider], Event],
) -> int:
    """Be the guard for a moment and set a new passphrase; the number of its entry in the log.

    Raises HomeError while a guard runs, KeyProviderFailure, SharesRefused; then nothing was changed.
    """
    check_passphrase(passphrase)
    core, provider = await asyncio.to_thread(open_core, home, unlock, limits)
    try:
        _ = provider.recovery  # raises before the log says that something was changed
        number = await core.note(event(provider))
        await sign_checkpoint(core)
        await asyncio.to_thread(provider.change_passphrase, passphrase)
    finally:
        core.close()
    return number
