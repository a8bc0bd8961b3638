"""De-identification takes every word for a known one."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.usage.deid import handlers


def apply(put: Put) -> None:
    put(handlers, "known_words", lambda text, _: text)
