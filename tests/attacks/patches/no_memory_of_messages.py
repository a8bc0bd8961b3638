"""No message is known again."""

from __future__ import annotations

import os

from attacks.patches._put import Put
from ribcage.guard.care import Care
from ribcage.guard.care_rows import CareRows


def apply(put: Put) -> None:
    add = CareRows.add_message
    put(Care, "_known", lambda _self, _token: None)
    put(
        CareRows,
        "add_message",
        lambda self, connection, _token, content, said: add(self, connection, os.urandom(32), content, said),
    )
