"""GET /metrics: the guard's numbers, for a registered device with the right `observe` and for nobody else.

The guard decides; persons are refused there too. Nothing in the answer came from a peer (`transfer.exposition`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from ribcage.guard.protocol import GetMetrics, Metrics
from ribcage.transfer.dicomweb.context import WebContext
from ribcage.transfer.dicomweb.principal import identify
from ribcage.transfer.exposition import CONTENT_TYPE, expose


def metrics(context: WebContext) -> Callable[[Request], Awaitable[Response]]:
    """The handler."""

    async def answer(request: Request) -> Response:
        asked = GetMetrics(principal=identify(request))
        told = await context.guard().call(asked, Metrics)
        return Response(expose(told), headers={"Content-Type": CONTENT_TYPE})

    return answer
