"""Reading request bodies within limits of bytes and time; nothing else reads a body in this room."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Final, TypeVar
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import Request

from ribcage.transfer.dicomweb.errors import BadRequest, TooLarge, TooSlow, UnsupportedMedia
from ribcage.transfer.dicomweb.limits import WebLimits
from ribcage.transfer.dicomweb.negotiation import parse_media_type

_FORM: Final = "application/x-www-form-urlencoded"
_Body = TypeVar("_Body", bound=msgspec.Struct)


async def iter_body(request: Request, most: int, idle_seconds: float) -> AsyncIterator[bytes]:
    """The body as it arrives. Raises TooLarge beyond `most` bytes (announced or sent), TooSlow, ClientDisconnect."""
    announced = request.headers.get("content-length")
    if announced is not None and (
        not announced.isascii() or not announced.isdigit() or int(announced) > most
    ):
        raise TooLarge(f"expected a body of at most {most} bytes")
    received = 0
    stream = request.stream()
    while True:
        try:
            async with asyncio.timeout(idle_seconds):
                piece = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError as failure:
            raise TooSlow(f"expected more of the body within {idle_seconds:g} s") from failure
        received += len(piece)
        if received > most:
            raise TooLarge(f"expected a body of at most {most} bytes")
        if piece:
            yield piece


async def read_small(request: Request, limits: WebLimits) -> bytes:
    """A whole form or JSON body. Raises TooLarge, TooSlow."""
    body = bytearray()
    async for piece in iter_body(request, limits.max_form_bytes, limits.body_idle_seconds):
        body += piece
    return bytes(body)


async def read_form(request: Request, limits: WebLimits) -> Mapping[str, str]:
    """A form without files; each field once. Raises UnsupportedMedia, BadRequest, TooLarge, TooSlow."""
    _require_type(request, _FORM)
    body = await read_small(request, limits)
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(body),
            errors="strict",
            max_num_fields=32,
        )
    except ValueError as failure:
        raise BadRequest("expected form fields in UTF-8, percent-encoded") from failure
    form = dict(pairs)
    if len(form) != len(pairs):
        raise BadRequest("expected each form field once")
    return form


async def read_json(request: Request, limits: WebLimits, kind: type[_Body]) -> _Body:
    """A JSON body of exactly this kind. Raises UnsupportedMedia, BadRequest, TooLarge, TooSlow."""
    _require_type(request, "application/json")
    try:
        return msgspec.json.decode(await read_small(request, limits), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as failure:
        raise BadRequest(f"expected the JSON fields {', '.join(kind.__struct_fields__)}") from failure


def _require_type(request: Request, essence: str) -> None:
    if parse_media_type(request.headers.get("content-type", "")).essence != essence:
        raise UnsupportedMedia(f"expected {essence}")
