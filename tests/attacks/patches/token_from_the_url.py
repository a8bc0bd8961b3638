"""An invitation's token is also read from the query string."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from attacks.patches._put import Put
from ribcage.transfer.dicomweb import patients
from ribcage.transfer.dicomweb.limits import WebLimits


def apply(put: Put) -> None:
    strict = patients.read_json

    async def read_json(request: Request, limits: WebLimits, kind: type[Any]) -> Any:
        if kind is patients.EnterBody and "token" in request.query_params:
            return patients.EnterBody(request.query_params["token"], request.query_params["birth_date"])
        return await strict(request, limits, kind)

    put(patients, "read_json", read_json)
