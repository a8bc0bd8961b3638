"""What the log says of a witness is not read at the start."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.guard import home


def apply(put: Put) -> None:
    put(home, "log_knows_a_witness", lambda *_: False)
