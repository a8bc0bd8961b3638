"""A suspended person's session lives on."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard.people import People, Visitor, split_proof
from ribcage.guard.protocol import Session


def apply(put: Put) -> None:
    strict = People.visitor

    def visitor(self: People, shown: Session, now: float) -> Visitor:
        session = self._sessions.get(split_proof(shown.proof)[0])
        if session is not None:
            owner = bytes(session["person_id"])
            self._persons[owner] = dict(self._persons[owner], suspended=0)
        return strict(self, shown, now)

    put(People, "visitor", visitor)
