"""POST /api/device/certificate: a device renews its certificate with the present one, over mutual TLS.

The body is a PKCS #10 request in PEM; the answer is the new certificate with its chain. Nobody but a registered
certificate is answered: a session names a person.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from ribcage.guard.protocol import Device, DeviceRenewed, RenewDevice
from ribcage.transfer.dicomweb.bodies import read_small
from ribcage.transfer.dicomweb.context import WebContext
from ribcage.transfer.dicomweb.errors import Unauthenticated
from ribcage.transfer.dicomweb.principal import identify

_PEM = "application/x-pem-file"


def renewal(context: WebContext) -> Callable[[Request], Awaitable[Response]]:
    """The handler."""

    async def answer(request: Request) -> Response:
        asker = identify(request)
        if not isinstance(asker, Device):
            raise Unauthenticated("expected a device's client certificate and no session")
        body = await read_small(request, context.limits)
        told = await context.guard().call(RenewDevice(asker, body), DeviceRenewed)
        return Response(told.certificate_pem, headers={"Content-Type": _PEM})

    return answer
