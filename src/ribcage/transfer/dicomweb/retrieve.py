"""WADO-RS: instances and their metadata, out through `usage.disclose` alone (PS3.18 10.4).

Rules, in order:
1. What the peer accepts is known before the disclosure is asked for; a stored transfer syntax it does not accept
   ends in 406 before a byte is read. Objects leave as stored in this version: nothing is transcoded.
2. The view and the receipt's log index stand in the answer's head.
3. The disclosure lives exactly as long as the answer: it is closed with what really left, also when the peer
   goes away or the guard cuts it.
4. In the masked view instances of a class without a masking rule are withheld and counted in a Warning, with
   206; when nothing is left, the answer is 403 with the offer of a step-up (DESIGN rule 7).
5. File names in a download are ordinals.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final, cast

from starlette.requests import Request
from starlette.responses import Response

from ribcage.guard.protocol import InstanceRef
from ribcage.transfer.dicomweb.context import WebContext
from ribcage.transfer.dicomweb.errors import BadRequest, StepUpNeeded, TooLarge
from ribcage.transfer.dicomweb.headers import promise_header, server_timing
from ribcage.transfer.dicomweb.metadata import data_set_json
from ribcage.transfer.dicomweb.negotiation import (
    MediaType,
    acceptable_syntaxes,
    parse_accept,
    require_json,
    require_syntaxes,
)
from ribcage.transfer.dicomweb.principal import identify, purpose_of
from ribcage.transfer.dicomweb.qido import check_uid
from ribcage.transfer.dicomweb.streaming import StreamedResponse, closing, new_boundary, part_head, zip_stream
from ribcage.usage.disclose import Disclosure, Want, open_disclosure
from ribcage.usage.masking import NoMaskingRule, require_rule

_WANTS: Final = frozenset({"best", "masked", "full", "original"})


class RetrieveResources:
    """Handlers of study, series and instance, their metadata, and the download for people."""

    def __init__(self, context: WebContext) -> None:
        self._context = context

    async def instances(self, request: Request) -> Response:
        """GET a study, series or instance as multipart/related of DICOM files."""
        accepted = acceptable_syntaxes(_accept(request))
        leaving = await self._open(request)
        async with _closing_on_failure(leaving.stack):
            require_syntaxes(accepted, (ref.transfer_syntax_uid for ref in leaving.refs))
        boundary = new_boundary()
        media_type = f'multipart/related; type="application/dicom"; boundary={boundary}'
        return self._stream(_multipart(leaving, boundary), leaving, {"Content-Type": media_type})

    async def metadata(self, request: Request) -> Response:
        """GET the metadata of a study, series or instance as DICOM JSON (PS3.18 10.4.1.1.2)."""
        media_type = require_json(_accept(request))
        leaving = await self._open(request)
        async with _closing_on_failure(leaving.stack):
            if len(leaving.refs) > self._context.limits.max_metadata_instances:
                raise TooLarge("expected a study within the limit of metadata; ask series by series")
        return self._stream(_metadata(leaving), leaving, {"Content-Type": media_type})

    async def download(self, request: Request) -> Response:
        """GET a study as a ZIP of DICOM files, for the link on the page."""
        leaving = await self._open(request)
        headers = {
            "Content-Type": "application/zip",
            "Content-Disposition": 'attachment; filename="images.zip"',
        }
        return self._stream(_zip(leaving), leaving, headers)

    async def _open(self, request: Request) -> _Leaving:
        """A live disclosure of what the path names. Raises DisclosureError, StepUpNeeded."""
        principal = identify(request)
        want = request.headers.get("x-ribcage-view", "best")
        if want not in _WANTS:
            raise BadRequest("expected X-Ribcage-View of masked, full, original")
        uids = {name: check_uid(uid) for name, uid in request.path_params.items()}
        disclosure = await open_disclosure(
            self._context.way_out(), principal, "dicomweb", uids["study"], uids.get("series", ""),
            uids.get("instance", ""), cast(Want, want), purpose_of(request),
        )  # fmt: skip
        stack = AsyncExitStack()
        await stack.enter_async_context(disclosure)
        async with _closing_on_failure(stack):
            refs = disclosure.instances
            if disclosure.view == "masked":
                refs = [ref for ref in refs if _has_masked_view(ref)]
            if not refs:
                raise StepUpNeeded("nothing here has a masked view")
        return _Leaving(stack, disclosure, refs)

    def _stream(
        self, body: AsyncGenerator[bytes, None], leaving: _Leaving, headers: dict[str, str]
    ) -> StreamedResponse:
        headers |= {
            "X-Ribcage-View": leaving.disclosure.view,
            "X-Ribcage-Receipt": str(leaving.disclosure.answer.log_index),
            **promise_header(leaving.disclosure.answer.promise),
            **server_timing(leaving.disclosure.answer.decided_microseconds),
        }
        if leaving.disclosure.view == "masked":
            # Nobody has looked for text burned into these pixels: treating roles only, and marked (DESIGN rule 7).
            headers["X-Ribcage-Pixels"] = "unchecked"
        withheld = len(leaving.disclosure.instances) - len(leaving.refs)
        if withheld:
            headers["Warning"] = f'299 ribcage "{withheld} instances have no masked view and were withheld."'
            headers["X-Ribcage-Step-Up"] = "totp"
        status = 206 if withheld else 200
        return StreamedResponse(body, headers, self._context.limits.send_stall_seconds, status)


@dataclass(frozen=True, slots=True)
class _Leaving:
    """A live disclosure, what of it leaves, and the stack that closes it."""

    stack: AsyncExitStack
    disclosure: Disclosure
    refs: list[InstanceRef]


def _has_masked_view(ref: InstanceRef) -> bool:
    try:
        require_rule(ref.sop_class_uid)
    except NoMaskingRule:
        return False
    return True


def _accept(request: Request) -> list[MediaType]:
    return parse_accept(request.query_params.get("accept") or request.headers.get("accept"))


@asynccontextmanager
async def _closing_on_failure(stack: AsyncExitStack) -> AsyncIterator[None]:
    """Close the disclosure when the body fails; otherwise leave it open."""
    async with AsyncExitStack() as guarded:
        guarded.push_async_exit(stack)
        yield
        guarded.pop_all()


async def _multipart(leaving: _Leaving, boundary: str) -> AsyncGenerator[bytes, None]:
    async with leaving.stack:
        for ref in leaving.refs:
            stream = await leaving.disclosure.instance_stream(ref)
            yield part_head(boundary, stream.transfer_syntax_uid)
            async for part in stream.parts():
                yield part
        yield closing(boundary)


async def _metadata(leaving: _Leaving) -> AsyncGenerator[bytes, None]:
    async with leaving.stack:
        lead = b"["
        for ref in leaving.refs:
            stream = await leaving.disclosure.instance_stream(ref)
            item = await data_set_json(stream.header, stream.transfer_syntax_uid)
            leaving.disclosure.count(len(item))
            yield lead + item
            lead = b","
        yield b"]"


async def _zip(leaving: _Leaving) -> AsyncGenerator[bytes, None]:
    async def files() -> AsyncIterator[tuple[str, AsyncIterator[bytes]]]:
        for number, ref in enumerate(leaving.refs, 1):
            stream = await leaving.disclosure.instance_stream(ref)
            yield f"{number:06d}.dcm", stream.parts()

    async with leaving.stack:
        async for piece in zip_stream(files()):
            yield piece
