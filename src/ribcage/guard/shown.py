"""Which studies a live session was shown: what its pages must clear when a right falls, long after the bytes left.

Rules, in order:
1. Only the newest studies of a session and of all sessions are remembered; what falls out is not pushed, and still
   refused on the next request.
2. A second factor that grew old is no fallen right: the masked view stays.
3. No study key is kept, only what the contract is asked with.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from ribcage.guard.catalogue import HeldStudy
from ribcage.guard.core import Actor, Core
from ribcage.guard.decision import Denied, ask_contract
from ribcage.guard.errors import GuardRefused
from ribcage.guard.protocol import Purpose, Told, View
from ribcage.ledger import calls

_OF_ONE_SESSION = 64
_OF_ALL = 4096


@dataclasses.dataclass(frozen=True)
class _Shown:
    actor: Actor
    study: HeldStudy
    purpose: Purpose
    view: View


class ShownStudies:
    """Memory of one guard process."""

    def __init__(self, core: Core, push: Callable[[Told], None]) -> None:
        self._core = core
        self._push = push
        self._shown: dict[tuple[bytes, str], _Shown] = {}

    def add(self, actor: Actor, study: HeldStudy, purpose: Purpose, view: View) -> None:
        """This session is about to see this study."""
        if actor.visitor is None:
            return
        session = actor.visitor.session_id
        self._shown.pop((session, study.uid), None)
        own = [key for key in self._shown if key[0] == session]
        for key in own[: max(0, len(own) - _OF_ONE_SESSION + 1)]:
            del self._shown[key]
        if len(self._shown) >= _OF_ALL:
            del self._shown[next(iter(self._shown))]
        self._shown[session, study.uid] = _Shown(actor, dataclasses.replace(study, key=b""), purpose, view)

    def identity_changed(self, held: Mapping[str, HeldStudy]) -> None:
        """These studies are somebody else's now; they are asked about under what they are."""
        for key, shown in self._shown.items():
            study = held.get(key[1])
            if study is not None:
                self._shown[key] = dataclasses.replace(shown, study=dataclasses.replace(study, key=b""))

    def rights_changed(self) -> None:
        """Ask again for everything that was shown; tell the pages what fell."""
        for (session, uid), shown in list(self._shown.items()):
            try:
                actor = self._core.again(shown.actor)
            except GuardRefused:
                del self._shown[session, uid]  # the session has ended, which its pages hear by itself
                continue
            if self._fallen(actor, shown):
                del self._shown[session, uid]
                self._push(Told(session, "revoked", study=uid))

    def _fallen(self, actor: Actor, shown: _Shown) -> bool:
        """The contract alone is asked: looking at what may be seen is no use of the second factor."""
        if self._core.closed.closes(shown.study.key_id):
            return True
        try:
            verdict = ask_contract(self._core, actor, shown.study, shown.purpose)
        except Denied:
            return True
        return verdict.view < calls.View[shown.view.upper()]
