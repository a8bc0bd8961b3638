"""What one WADO-RS request is about to send: a live disclosure, the instances that leave, and the answer's head.

Rules, in order:
1. A whole study or series in files, and a download, are a disclosure of their own; everything a viewer asks for in
   pieces joins a viewing (`usage.viewing`).
2. The view, the receipt's log index and the entry promise stand in the answer's head.
3. In the masked view instances of a class without a masking rule, and files of such a compression, are withheld and
   counted in a Warning, with 206; when nothing is left, it is 403 with the offer of a step-up (DESIGN rule 7).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final, cast

from starlette.requests import Request

from ribcage.guard.protocol import InstanceRef
from ribcage.transfer.dicomweb.context import WebContext
from ribcage.transfer.dicomweb.errors import BadRequest, NotFound, StepUpNeeded
from ribcage.transfer.dicomweb.headers import promise_header, server_timing
from ribcage.transfer.dicomweb.negotiation import MediaType, parse_accept, require_charset
from ribcage.transfer.dicomweb.principal import identify, purpose_of
from ribcage.transfer.dicomweb.qido import check_uid
from ribcage.usage.disclose import Disclosure, Want, open_disclosure
from ribcage.usage.masking import NoMaskingRule, require_rule
from ribcage.usage.masking.codestreams import has_rule
from ribcage.usage.viewing import Viewing

_WANTS: Final = frozenset({"best", "masked", "full", "original"})
_UIDS: Final = ("study", "series", "instance")


@dataclass(frozen=True, slots=True)
class Leaving:
    """A live disclosure, what of it leaves, and the stack that leaves it."""

    stack: AsyncExitStack
    disclosure: Disclosure
    refs: list[InstanceRef]
    withheld: int
    viewing: Viewing | None = None

    @property
    def status(self) -> int:
        """200, or 206 where instances were withheld."""
        return 206 if self.withheld else 200

    def headers(self, more: Mapping[str, str]) -> dict[str, str]:
        """The answer's head: `more`, and what rules 2 and 3 say."""
        answer = self.disclosure.answer
        headers = {
            **more,
            "X-Ribcage-View": answer.view,
            "X-Ribcage-Receipt": str(answer.log_index),
            **promise_header(answer.promise),
            **server_timing(answer.decided_microseconds),
        }
        if answer.view == "masked":
            # Nobody has looked for text burned into these pixels: treating roles only, and marked (DESIGN rule 7).
            headers["X-Ribcage-Pixels"] = "unchecked"
        if self.withheld:
            text = f"{self.withheld} instances have no masked view and were withheld."
            headers |= {"Warning": f'299 ribcage "{text}"', "X-Ribcage-Step-Up": "totp"}
        return headers


async def open_own(context: WebContext, request: Request) -> Leaving:
    """A disclosure of its own of what the path names. Raises DisclosureError, StepUpNeeded."""
    principal, want, uids = identify(request), want_of(request), uids_of(request)
    disclosure = await open_disclosure(
        context.way_out(), principal, "dicomweb", uids["study"], uids.get("series", ""),
        uids.get("instance", ""), want, purpose_of(request),
    )  # fmt: skip
    stack = AsyncExitStack()
    await stack.enter_async_context(disclosure)
    async with closing_on_failure(stack):
        return _leaving(stack, disclosure, disclosure.instances, files=True)


async def join_viewing(context: WebContext, request: Request, *, files: bool = False) -> Leaving:
    """The viewing of the study, and what of it the path names. Raises DisclosureError, StepUpNeeded, NotFound."""
    principal, want, uids = identify(request), want_of(request), uids_of(request)
    stack = AsyncExitStack()
    viewing = await stack.enter_async_context(
        context.viewings.join(principal, uids["study"], want, purpose_of(request))
    )
    async with closing_on_failure(stack):
        refs = [ref for ref in viewing.disclosure.instances if _named(ref, uids)]
        if not refs:
            raise NotFound("expected an instance of the study")
        return _leaving(stack, viewing.disclosure, refs, viewing, files=files)


def viewing_of(leaving: Leaving) -> Viewing:
    """The viewing that was joined."""
    if leaving.viewing is None:
        raise TypeError("expected a joined viewing, got a disclosure of its own")
    return leaving.viewing


def want_of(request: Request) -> Want:
    """The view that is asked for. Raises BadRequest."""
    want = request.headers.get("x-ribcage-view", "best")
    if want not in _WANTS:
        raise BadRequest("expected X-Ribcage-View of masked, full, original")
    return cast(Want, want)


def uids_of(request: Request) -> dict[str, str]:
    """The UIDs of the path. Raises BadRequest."""
    return {name: check_uid(request.path_params[name]) for name in _UIDS if name in request.path_params}


def accept_of(request: Request) -> list[MediaType]:
    """What the peer accepts: the query parameter, else the header field (PS3.18 8.3.3.1).

    Raises BadRequest, and NotAcceptable for a charset other than UTF-8.
    """
    require_charset(request.query_params.get("charset"))
    return parse_accept(request.query_params.get("accept") or request.headers.get("accept"))


@asynccontextmanager
async def closing_on_failure(stack: AsyncExitStack) -> AsyncIterator[None]:
    """Leave the disclosure when the body fails; otherwise stay in it."""
    async with AsyncExitStack() as guarded:
        guarded.push_async_exit(stack)
        yield
        guarded.pop_all()


def _leaving(
    stack: AsyncExitStack,
    disclosure: Disclosure,
    named: list[InstanceRef],
    viewing: Viewing | None = None,
    *,
    files: bool,
) -> Leaving:
    refs = named
    if disclosure.view == "masked":
        refs = [ref for ref in named if _has_masked_view(ref, files=files)]
    if not refs:
        raise StepUpNeeded("nothing here has a masked view")
    return Leaving(stack, disclosure, refs, len(named) - len(refs), viewing)


def _named(ref: InstanceRef, uids: Mapping[str, str]) -> bool:
    series, instance = uids.get("series"), uids.get("instance")
    return series in (None, ref.series_instance_uid) and instance in (None, ref.sop_instance_uid)


def _has_masked_view(ref: InstanceRef, *, files: bool) -> bool:
    """Whether the class, and of a whole file its compression, has a masked view."""
    try:
        require_rule(ref.sop_class_uid)
    except NoMaskingRule:
        return False
    return not files or has_rule(ref.transfer_syntax_uid)
