"""A session is also read from the query string."""

from __future__ import annotations

import base64

from starlette.requests import Request

from attacks.patches._put import Put
from ribcage.guard.protocol import Session
from ribcage.transfer.dicomweb import principal


def apply(put: Put) -> None:
    strict = principal.session_of

    def session_of(request: Request) -> Session | None:
        for value in request.query_params.values():
            proof = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
            return Session(proof, principal.peer_of(request).address, principal.client_of(request))
        return strict(request)

    put(principal, "session_of", session_of)
