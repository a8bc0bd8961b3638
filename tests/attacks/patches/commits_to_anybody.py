"""Storage commitment answers for everything that is held, whoever sent it."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard.ingest import Ingest


def apply(put: Put) -> None:
    put(Ingest, "was_sent_again", lambda *_: True)
