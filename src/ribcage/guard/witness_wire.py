"""One question to the witness: HTTPS on a thread of its own, pinned, bounded in bytes and seconds.

Rules, in order:
1. The certificate's SHA-256 is the pinned one before a byte of the request is sent. Names and authorities count for
   nothing.
2. The whole exchange has one deadline. The answer is read to its end, at most 72 KiB, and its length must be right.
3. The answer is bytes for `evidence.witness_protocol`; nothing else of it is used.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import re
import ssl

from ribcage.evidence.witness_protocol import MAX_ANSWER_BYTES, PATH
from ribcage.guard.witness_trust import WitnessTrust

_HEAD_BYTES = 8 * 1024
_READ_BYTES = 16 * 1024
_STATUS = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2})(?: [^\r\n]*)?")

Answer = tuple[int, str, bytes]  # status, content type, body


class WitnessSilent(Exception):
    """No answer that could be used; the text says why, in words without an address."""


def ask(trust: WitnessTrust, body: bytes, seconds: float) -> Answer:
    """Send `body` and return the answer. Blocking, at most `seconds`. Raises WitnessSilent."""
    return asyncio.run(_within(trust, body, seconds))


async def _within(trust: WitnessTrust, body: bytes, seconds: float) -> Answer:
    try:
        async with asyncio.timeout(seconds):
            return await _exchange(trust, body)
    except TimeoutError:
        raise WitnessSilent(f"no answer in {seconds:g} s") from None
    except ssl.SSLError as failure:
        raise WitnessSilent(f"TLS failed: {failure.reason or 'handshake'}") from failure
    except OSError as failure:
        raise WitnessSilent(f"not reachable: {type(failure).__name__}") from failure


async def _exchange(trust: WitnessTrust, body: bytes) -> Answer:
    host, port, prefix = trust.place
    reader, writer = await asyncio.open_connection(host, port, ssl=_context(), limit=_READ_BYTES)
    try:
        session: ssl.SSLObject = writer.get_extra_info("ssl_object")
        leaf = session.getpeercert(True) or b""
        if not hmac.compare_digest(hashlib.sha256(leaf).digest(), trust.certificate):
            raise WitnessSilent(
                "another certificate than the pinned one: somebody stands between, or it was renewed"
            )
        shown = f"[{host}]" if ":" in host else host
        head = (
            f"POST {prefix}{PATH} HTTP/1.1\r\nhost: {shown}:{port}\r\ncontent-type: text/plain\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        writer.write(head.encode("ascii") + body)
        await writer.drain()
        answer = bytearray()
        while piece := await reader.read(_READ_BYTES):
            answer += piece
            if len(answer) > _HEAD_BYTES + MAX_ANSWER_BYTES:
                raise WitnessSilent("the answer is too long")
        return read_http(bytes(answer))
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def read_http(data: bytes) -> Answer:
    """Status, content type and body of a whole HTTP/1.1 answer with `content-length`. Raises WitnessSilent."""
    head, separator, body = data.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    found = _STATUS.fullmatch(first)
    if not separator or found is None or len(head) > _HEAD_BYTES:
        raise WitnessSilent("the answer is not HTTP")
    fields = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)
    }
    if fields.get(b"content-length") != str(len(body)).encode():
        raise WitnessSilent("the answer was cut")
    return int(found[1]), fields.get(b"content-type", b"").decode("ascii", "replace"), body


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # rule 1: pinned, which is more than any authority says
    return context
