"""Whoever asks for gzip gets it, a browser too."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.transfer.dicomweb import models


def apply(put: Put) -> None:
    put(models, "takes_gzip", lambda request: "gzip" in request.headers.get("accept-encoding", ""))
