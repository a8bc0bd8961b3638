"""A suspended person's session lives on."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard.people import People, Visitor, split_proof


def apply(put: Put) -> None:
    strict = People.visitor

    def visitor(self: People, proof: bytes, now: float) -> Visitor:
        session = self._sessions.get(split_proof(proof)[0])
        if session is not None:
            owner = bytes(session["person_id"])
            self._persons[owner] = dict(self._persons[owner], suspended=0)
        return strict(self, proof, now)

    put(People, "visitor", visitor)
