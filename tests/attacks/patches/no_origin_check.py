"""Pages of other sites may act with the browser's cookie."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.transfer.dicomweb import headers


def apply(put: Put) -> None:
    put(headers, "_check_site", lambda *_: None)
