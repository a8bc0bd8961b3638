"""`ribcage edge …`: the edge's own side, at its own home. The archive's side is `ribcage trust-edge`."""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from ribcage.cli.errors import UsageError
from ribcage.cli.passphrase import read_passphrase
from ribcage.crypto.memory import forbid_core_dumps
from ribcage.guard.client import GuardClient
from ribcage.guard.durable import write_file
from ribcage.guard.protocol import EdgeModality, EdgeTrusted, TrustEdge
from ribcage.transfer.edge.errors import EdgeError
from ribcage.transfer.edge.home import (
    Behind,
    EdgePlan,
    Enrolment,
    Request,
    create_edge,
    enrol,
    open_edge,
    status_port,
)
from ribcage.transfer.edge.limits import DEFAULT_PORT, STATUS_PORT
from ribcage.transfer.edge.serve import serve_edge
from ribcage.transfer.edge.spool import read_receipts

_DEFAULT_HOME = Path("ribcage-edge")
_ANSWER_SECONDS = 5.0
_ANSWER_BYTES = 64 * 1024
_Kind = TypeVar("_Kind")


def add_verbs(verb: Callable[..., Any], with_guard: Callable[..., Any], verbs: Any) -> None:
    """Both sides' verbs. `verb` and `with_guard` are the command line's own."""
    actions = verbs.add_parser(
        "edge", help="beside a modality without TLS: seal its films and bring them to the archive"
    ).add_subparsers(dest="action", required=True)
    one = _own(verb, actions, "init", "make a new edge, with its own home and keys", _init)
    one.add_argument("--ae", required=True, metavar="TITLE", help="what the modalities call")
    one.add_argument("--listen", default="127.0.0.1", metavar="ADDRESS")
    one.add_argument("--port", type=int, default=DEFAULT_PORT)
    one.add_argument("--isolated", default="", metavar="ADDRESS", help="this address is on a wire of its own")
    one.add_argument("--status-port", type=int, default=STATUS_PORT)
    one.add_argument("--out", type=Path, default=Path("edge-request.json"), help="to bring to the archive")
    one = _own(verb, actions, "enrol", "keep what the archive said", _enrol)
    one.add_argument("enrolment", type=Path, help="made by `ribcage trust-edge`")
    one = _own(verb, actions, "run", "take films and bring them to the archive", _run)
    one.add_argument("--quiet", action="store_true", help="one JSON line when ready")
    one = _own(verb, actions, "status", "what waits, and how it goes with the archive", _status)
    one.add_argument("--json", action="store_true")
    one = _own(
        verb, actions, "receipts", "what the archive answered, for tools/verify_edge_receipt.py", _receipts
    )
    one.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    one = verb(verbs, "trust-edge", "at the archive: take films from this edge", with_guard(_trust))
    one.add_argument("name", help="what the archive calls it")
    one.add_argument("--request", type=Path, required=True, help="made by `ribcage edge init`")
    one.add_argument("--url", required=True, help="https://HOST:PORT, where the edge reaches the archive")
    one.add_argument(
        "--modality",
        action="append",
        required=True,
        metavar="AE@ADDRESS",
        help="a modality behind it, and where it calls from",
    )
    one.add_argument("--department", default="radiology")
    one.add_argument(
        "--go-on-at", type=int, default=0, metavar="N", help="numbers before N will never come: take N next"
    )
    one.add_argument("--out", type=Path, default=Path("edge-enrolment.json"), help="to bring to the edge")


def _own(verb: Callable[..., Any], actions: Any, name: str, text: str, run: Callable[..., int]) -> Any:
    def checked(options: argparse.Namespace) -> int:
        try:
            return run(options)
        except EdgeError as failure:
            raise UsageError(str(failure)) from failure

    parser = verb(actions, name, text, checked)
    parser.set_defaults(home=_DEFAULT_HOME)
    return parser


def _init(options: argparse.Namespace) -> int:
    passphrase = read_passphrase(options.passphrase_fd, confirm=True)
    plan = EdgePlan(options.ae, options.listen, options.port, options.isolated, options.status_port)
    request = create_edge(options.home, passphrase, plan)
    write_file(options.out, msgspec.json.encode(request) + b"\n")
    print(f"edge made in {options.home}; bring {options.out} to the archive, and there:")
    print(f"  ribcage trust-edge NAME --request {options.out} --url https://HOST:8443 --modality AE@ADDRESS")
    print(f"then bring back what it writes: ribcage edge enrol FILE --home {options.home}")
    return 0


def _enrol(options: argparse.Namespace) -> int:
    enrolment = _read(options.enrolment, Enrolment)
    enrol(options.home, read_passphrase(options.passphrase_fd), enrolment)
    print(
        f"enrolled with {len(enrolment.modalities)} modalities; next: ribcage edge run --home {options.home}"
    )
    return 0


def _run(options: argparse.Namespace) -> int:
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    forbid_core_dumps()
    home = open_edge(options.home, read_passphrase(options.passphrase_fd))

    def ready(dicom: tuple[str, int], page: tuple[str, int]) -> None:
        if options.quiet:
            print(json.dumps({"dicom": dicom, "page": page}), flush=True)
            return
        print(f"Ribcage edge: plain DICOM at {dicom[0]} port {dicom[1]}")
        print(f"how it goes: http://{page[0]}:{page[1]}/", flush=True)

    try:
        asyncio.run(serve_edge(home, ready))
    except OSError as failure:
        raise UsageError(f"cannot listen: {failure.strerror}", "is another program there?") from failure
    return 0


def _status(options: argparse.Namespace) -> int:
    port = status_port(options.home)
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=_ANSWER_SECONDS)
    try:
        link.request("GET", "/state.json")
        state = json.loads(link.getresponse().read(_ANSWER_BYTES))
    except (OSError, http.client.HTTPException, ValueError):
        waiting = sum(1 for path in (options.home / "spool").glob("*.entry"))
        print(f"not running; {waiting} films wait: ribcage edge run --home {options.home}")
        return 1
    finally:
        link.close()
    if options.json:
        print(json.dumps(state, indent=1))
        return 0
    last = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(state["last_receipt"]))
    print(
        f"archive: {state['archive']}; last receipt {last if state['last_receipt'] else 'not since the start'}"
    )
    print(
        f"{state['waiting']} films wait ({state['waiting_bytes']} bytes), the oldest for {state['oldest_seconds']} s"
    )
    if state["waiting"]:
        print(f"next is number {state['next_number']}")
    for name, text in (
        ("refused", "films the archive refused for good"),
        ("damaged", "films the disk damaged"),
    ):
        if state[name]:
            print(f"finding: {state[name]} {text}")
    for cause, count in sorted(state["turned_away"].items()):
        print(f"turned away: {count} times {cause}")
    return 0


def _receipts(options: argparse.Namespace) -> int:
    kept = read_receipts(options.home)
    options.out.mkdir(parents=True, exist_ok=True)
    for sequence, note in kept:
        (options.out / f"{sequence}.note").write_bytes(note)
    print(f"{len(kept)} receipts in {options.out}; tools/verify_edge_receipt.py checks each, offline")
    return 0


def _read(path: Path, kind: type[_Kind]) -> _Kind:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except OSError as failure:
        raise UsageError(f"{path}: {failure.strerror}") from failure
    except msgspec.DecodeError as failure:
        raise UsageError(f"{path} is not what was expected", "bring it again, unchanged") from failure


# --- the archive's side -----------------------------------------------------------------------------------


async def _trust(client: GuardClient, options: argparse.Namespace) -> None:
    request = _read(options.request, Request)
    places: dict[str, str] = {}
    for each in options.modality:
        title, separator, address = each.partition("@")
        if not separator or title in places:
            raise UsageError(f"--modality {each}: expected AE@ADDRESS, each AE once")
        places[title] = address
    asked = TrustEdge(
        options.name,
        request.ae_title,
        request.csr_pem.encode(),
        request.signing_key,
        [EdgeModality(title) for title in places],
        options.department,
        options.go_on_at,
    )
    enrolment = enrolment_of(await client.call(asked, EdgeTrusted), options.url, places)
    write_file(options.out, msgspec.json.encode(enrolment) + b"\n")
    print(f"edge {options.name} trusted: it may send, and neither ask nor fetch")
    print(f"bring {options.out} to it, and there: ribcage edge enrol {options.out}")


def enrolment_of(told: EdgeTrusted, url: str, places: dict[str, str]) -> Enrolment:
    """What the edge is handed: the modalities that were named, each where it calls from."""
    return Enrolment(
        url=url,
        edge=told.edge,
        hospital=told.hospital,
        certificate_pem=told.certificate_pem.decode("ascii"),
        authority_pem=told.authority_pem.decode("ascii"),
        log_key=told.log_key,
        seal_key=told.seal_key,
        modalities=[
            Behind(each.ae_title, places[each.ae_title], each.device)
            for each in told.modalities
            if each.ae_title in places
        ],
    )
