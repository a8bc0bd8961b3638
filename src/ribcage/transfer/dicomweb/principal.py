"""Who asks: a person by the session cookie, else a device by its certificate, else nobody.

Rules, in order:
1. The cookie `__Host-ribcage` carries the session proof in base64url. A cookie that cannot be read is refused;
   it never falls back to the certificate. It is read from the Cookie field alone, never from a URL.
2. Without a cookie the TLS certificate is the identity; on HTTP a device has no AE title (DESIGN rule 4).
3. A patient's cookie is another one, read by the patient's routes alone; they read no other.
4. Neither: 401. Whether session and certificate are valid is the guard's decision, at each request.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import time
from typing import Final, cast

from starlette.requests import Request

from ribcage.guard.protocol import Device, PatientSession, Principal, Purpose, Session
from ribcage.transfer.dicomweb.errors import BadRequest, Unauthenticated
from ribcage.transfer.dicomweb.headers import COOKIE_NAME, PATIENT_COOKIE
from ribcage.transfer.dicomweb.peer import PEER_EXTENSION, Peer

_PROOF: Final = re.compile(r"[A-Za-z0-9_\-]{16,1400}")
_PURPOSES: Final = frozenset({"TREAT", "ETREAT", "HRESCH", "HOPERAT", "PATRQT"})
_ATTRIBUTES: Final = "Path=/; Secure; HttpOnly; SameSite=Strict"


def peer_of(request: Request) -> Peer:
    """What the connection proves (`serve`); nothing where the protocol put nothing."""
    peer = request.scope.get("extensions", {}).get(PEER_EXTENSION, {}).get("peer")
    return peer if isinstance(peer, Peer) else Peer(b"", "")


def identify(request: Request) -> Principal:
    """The principal of this request. Raises Unauthenticated."""
    session = session_of(request)
    if session is not None:
        return session
    peer = peer_of(request)
    if not peer.fingerprint:
        raise Unauthenticated("expected a session cookie or a client certificate")
    return Device(fingerprint=peer.fingerprint, ae_title="", address=peer.address)


def session_of(request: Request) -> Session | None:
    """The session of the cookie, None without one. Raises Unauthenticated where it cannot be read (rule 1)."""
    proof = _cookie(request, COOKIE_NAME)
    if proof is None:
        return None
    return Session(proof, peer_of(request).address, client_of(request), time.time())


def require_patient(request: Request) -> PatientSession:
    """The session of the patient's own cookie; no other is looked at. Raises Unauthenticated."""
    proof = _cookie(request, PATIENT_COOKIE)
    if proof is None:
        raise Unauthenticated("expected a patient's session cookie")
    return PatientSession(proof, peer_of(request).address, client_of(request))


def _cookie(request: Request, wanted: str) -> bytes | None:
    values = [
        value.strip()
        for field in request.headers.getlist("cookie")
        for name, _, value in (pair.partition("=") for pair in field.split(";"))
        if name.strip() == wanted
    ]
    if not values:
        return None
    if len(values) > 1 or _PROOF.fullmatch(values[0]) is None:
        raise Unauthenticated("expected one readable session cookie")
    try:
        return base64.urlsafe_b64decode(values[0] + "=" * (-len(values[0]) % 4))
    except binascii.Error as failure:
        raise Unauthenticated("expected one readable session cookie") from failure


def client_of(request: Request) -> bytes:
    """SHA-256 of what the browser calls itself: a session belongs to the client that logged in."""
    return hashlib.sha256(request.headers.get("user-agent", "").encode()).digest()


def require_session(request: Request) -> Session:
    """The session of the cookie. Raises Unauthenticated without one."""
    session = session_of(request)
    if session is None:
        raise Unauthenticated("expected a session cookie")
    return session


def session_cookie(proof: bytes, seconds: int, name: str = COOKIE_NAME) -> str:
    """A Set-Cookie value for a new session that lasts `seconds`."""
    text = base64.urlsafe_b64encode(proof).rstrip(b"=").decode("ascii")
    return f"{name}={text}; Max-Age={max(0, seconds)}; {_ATTRIBUTES}"


def dead_cookie(name: str = COOKIE_NAME) -> str:
    """A Set-Cookie value that removes the session cookie."""
    return f"{name}=; Max-Age=0; {_ATTRIBUTES}"


def purpose_of(request: Request) -> Purpose:
    """The purpose of use from X-Ribcage-Purpose, TREAT where absent. Raises BadRequest."""
    purpose = request.headers.get("x-ribcage-purpose", "TREAT")
    if purpose not in _PURPOSES:
        raise BadRequest("expected X-Ribcage-Purpose of TREAT, ETREAT, HRESCH, HOPERAT, PATRQT")
    return cast(Purpose, purpose)
