"""What every attacker carries: the frame of a script, TLS contexts, a small HTTP client.

Printed is `{"succeeded", "evidence", "broken"}`: a broken attack lacked what it starts from.
The JSON object on standard input (`docs/threat-model.md`, drill) has of these what the attack needs:
    dicom      {"host", "port", "tls": bool, "called_ae"}
    web        {"host", "port", "tls": bool}
    ca         path of the authority that signed the archive's certificate, "" when unknown
    own        {"certificate", "key"}: the attacker's own pair, of no authority the archive knows
    device     {"certificate", "key", "ae"}: a registered modality (stolen, malicious or merely observed)
    innocent   the same of another modality, which must go on working
    known_ae   an AE title that everybody knows
    person     {"username", "password", "totp_secret"}
    cookie     {"name", "value"} of a session
    study      {"study_uid", "series_uid", "instance_uid"}
    files      paths of DICOM files
    seeds      path of a JSON list of lists of texts: the identities at stake
    folder     a stolen folder
    seconds    how long to wait for an answer
    database   {"path", "key"}: what the database administrator holds; key in hex, "" when there is none
"""

from __future__ import annotations

import http.client
import json
import ssl
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SECONDS = 8.0
Brief = dict[str, Any]


@dataclass(frozen=True)
class Result:
    """What came of it. The evidence never quotes an identity."""

    succeeded: bool
    evidence: str


class GaveUp(Exception):
    """The archive did not let the attacker go on; the text says at which step."""


class NotArmed(Exception):
    """What the attack starts from is not there, so that its failure would prove nothing."""


def patience(brief: Brief) -> float:
    """Seconds to wait for one answer."""
    return float(brief.get("seconds", SECONDS))


def run(attack: Callable[[Brief], Result]) -> None:
    """The frame of each script: brief in, result out. A refused or broken connection is a failed attack."""
    brief = json.load(sys.stdin)
    broken = False
    try:
        result = attack(brief)
    except (NotArmed, ConnectionRefusedError) as failure:
        result, broken = Result(False, f"not armed: {plain(failure)}"), True
    except GaveUp as failure:
        result = Result(False, plain(failure))
    except (OSError, EOFError, http.client.HTTPException) as failure:
        result = Result(False, f"{type(failure).__name__}: {plain(failure)}")
    print(json.dumps({"succeeded": result.succeeded, "evidence": result.evidence, "broken": broken}))


def plain(failure: BaseException) -> str:
    """One short line of an exception."""
    return " ".join(str(failure).split())[:160]


def tls_context(ca: str = "", certificate: str = "", key: str = "") -> ssl.SSLContext:
    """A client's context; a server certificate that cannot be checked is accepted, as attackers do."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if ca:
        context.load_verify_locations(ca)
    else:
        context.verify_mode = ssl.CERT_NONE
    if certificate:
        context.load_cert_chain(certificate, key)
    return context


@dataclass(frozen=True)
class Answer:
    """One HTTP answer."""

    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes
    cookies: dict[str, str]


def ask(
    brief: Brief,
    method: str,
    path: str,
    *,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
    cookie: tuple[str, str] | None = None,
    certificate: dict[str, str] | None = None,
) -> Answer:
    """One request on a connection of its own. Raises OSError or HTTPException."""
    web = brief["web"]
    connection: http.client.HTTPConnection
    if web["tls"]:
        pair = certificate or {"certificate": "", "key": ""}
        context = tls_context(str(brief.get("ca", "")), pair["certificate"], pair["key"])
        connection = http.client.HTTPSConnection(
            web["host"], web["port"], timeout=patience(brief), context=context
        )
    else:
        connection = http.client.HTTPConnection(web["host"], web["port"], timeout=patience(brief))
    sent = dict(headers or {})
    if cookie:
        sent["Cookie"] = f"{cookie[0]}={cookie[1]}"
    try:
        connection.request(method, path, body=body, headers=sent)
        answer = connection.getresponse()
        content = answer.read()
        cookies = dict(_cookie(value) for name, value in answer.getheaders() if name.lower() == "set-cookie")
        return Answer(answer.status, {n.lower(): v for n, v in answer.getheaders()}, content, cookies)
    finally:
        connection.close()


def log_in(brief: Brief, person: dict[str, str]) -> tuple[str, str]:
    """Log in with a password; the session's cookie. Raises GaveUp."""
    told = json.dumps({"username": person["username"], "password": person["password"]}).encode()
    answer = ask(brief, "POST", "/api/login", body=told, headers={"Content-Type": "application/json"})
    if answer.status >= 300 or not answer.cookies:
        raise GaveUp(f"log-in answered {answer.status}")
    return next(iter(answer.cookies.items()))


def enter(brief: Brief, person: dict[str, str]) -> tuple[str, str]:
    """Log in where the log-in itself is no part of the attack. Raises NotArmed."""
    try:
        return log_in(brief, person)
    except GaveUp as failure:
        raise NotArmed(str(failure)) from None


def step_up(brief: Brief, cookie: tuple[str, str], code: str) -> int:
    """Offer a one-time code as a browser on the archive's own page would; the HTTP status."""
    web = brief["web"]
    origin = f"{'https' if web['tls'] else 'http'}://{web['host']}:{web['port']}"
    headers = {"Content-Type": "application/json", "Origin": origin}
    told = json.dumps({"code": code}).encode()
    return ask(brief, "POST", "/api/step-up", body=told, headers=headers, cookie=cookie).status


STORED_AS_IS = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}


def fetch_study(brief: Brief, cookie: tuple[str, str] | None) -> Answer:
    """WADO-RS: the whole study, as stored."""
    path = f"/dicom-web/studies/{brief['study']['study_uid']}"
    return ask(brief, "GET", path, headers=STORED_AS_IS, cookie=cookie)


def load_seeds(brief: Brief) -> list[list[str]]:
    """The identities at stake."""
    seeds: list[list[str]] = json.loads(Path(brief["seeds"]).read_text(encoding="utf-8"))
    return seeds


def _cookie(header: str) -> tuple[str, str]:
    name, _, rest = header.partition("=")
    return name.strip(), rest.split(";", 1)[0].strip()
