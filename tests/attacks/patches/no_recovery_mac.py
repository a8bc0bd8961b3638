"""The recovery record is believed as it is."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.crypto import recovery


def apply(put: Put) -> None:
    put(recovery, "verify_record", lambda _root, _record, _circumstances: None)
