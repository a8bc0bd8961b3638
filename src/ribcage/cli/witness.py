"""`ribcage witness …`: the witness's own side, at its own home. The archive's side is `ribcage trust-witness`."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ribcage.cli.errors import UsageError
from ribcage.cli.passphrase import read_passphrase
from ribcage.crypto.memory import forbid_core_dumps
from ribcage.evidence.errors import EvidenceError
from ribcage.evidence.fork import MAX_STATEMENT_BYTES, read_fork
from ribcage.evidence.note import VerifierKey, to_base64
from ribcage.evidence.witness_protocol import LogMemory
from ribcage.guard.client import GuardClient
from ribcage.guard.protocol import ForgetWitness, Noted, TrustWitness, WitnessTrusted
from ribcage.oversight.witness.errors import WitnessError
from ribcage.oversight.witness.home import (
    DEFAULT_PORT,
    WitnessHome,
    WitnessPlan,
    create_witness,
    open_witness,
    public_key,
)
from ribcage.oversight.witness.memory import WitnessMemory
from ribcage.oversight.witness.server import serve_witness

_DEFAULT_HOME = Path("ribcage-witness")


def add_verbs(verb: Callable[..., Any], with_guard: Callable[..., Any], verbs: Any) -> None:
    """Both sides' verbs. `verb` and `with_guard` are the command line's own."""
    actions = verbs.add_parser(
        "witness", help="be a witness: a log's memory outside its home"
    ).add_subparsers(dest="action", required=True)
    one = _own(verb, actions, "init", "make a new witness, with its own home, key and certificate", _init)
    one.add_argument("--name", default="", help="the witness's name; made up if not given")
    one.add_argument("--listen", default="127.0.0.1", metavar="ADDRESS")
    one.add_argument("--port", type=int, default=DEFAULT_PORT)
    one.add_argument("--public", action="store_true", help="the address may be reachable from everywhere")
    one = _own(verb, actions, "serve", "cosign the checkpoints of trusted logs", _serve)
    one.add_argument("--quiet", action="store_true", help="one JSON line when ready")
    one = _own(verb, actions, "trust-log", "remember an archive's log from now on", _trust_log)
    one.add_argument("key", help="the log's verifier key, as `ribcage trust-witness` prints it")
    one = _own(verb, actions, "show", "what this witness remembers", _show)
    one.add_argument("--origin", default="", help="one log, with every checkpoint that was cosigned")
    one.add_argument("--json", action="store_true")
    one.add_argument(
        "--note", action="store_true", help="only the newest checkpoint, as `restore --witnessed` takes it"
    )
    one = _own(verb, actions, "fork", "record that a log lawfully goes on under a new origin", _fork)
    one.add_argument("--statement", type=Path, required=True, help="made by `ribcage restore`")
    one = verb(
        verbs, "trust-witness", "at the archive: disclose nothing behind this witness", with_guard(_trust)
    )
    one.add_argument("url", help="https://ADDRESS:PORT")
    one.add_argument("--key", required=True, help="the witness's verifier key")
    one.add_argument("--certificate", required=True, metavar="SHA256", help="its certificate's fingerprint")
    verb(verbs, "forget-witness", "at the archive: no witness any more", with_guard(_forget))


def _own(verb: Callable[..., Any], actions: Any, name: str, text: str, run: Callable[..., int]) -> Any:
    def checked(options: argparse.Namespace) -> int:
        try:
            return run(options)
        except (WitnessError, EvidenceError) as failure:
            raise UsageError(str(failure)) from failure

    parser = verb(actions, name, text, checked)
    parser.set_defaults(home=_DEFAULT_HOME)
    return parser


def _init(options: argparse.Namespace) -> int:
    passphrase = read_passphrase(options.passphrase_fd, confirm=True)
    plan = WitnessPlan(options.name, options.listen, options.port, options.public)
    home = create_witness(options.home, passphrase, plan)
    print(f"witness made in {options.home}: keep it off the archive's machine")
    print(f"next: ribcage witness serve --home {options.home}, then at the archive:")
    print(_at_the_archive(home, home.address, home.port))
    return 0


def _at_the_archive(home: WitnessHome, address: str, port: int) -> str:
    host = f"[{address}]" if ":" in address else address
    return (
        f"  ribcage trust-witness https://{host}:{port} \\\n"
        f"    --key '{home.cosigner.key.encode()}' \\\n"
        f"    --certificate {home.fingerprint.hex()}"
    )


def _serve(options: argparse.Namespace) -> int:
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    forbid_core_dumps()
    home = open_witness(options.home, read_passphrase(options.passphrase_fd))

    def ready(address: str, port: int) -> None:
        if options.quiet:
            print(json.dumps({"https": [address, port]}), flush=True)
            return
        print(f"Ribcage witness {home.cosigner.key.name} at https://{address}:{port}. At the archive:")
        print(_at_the_archive(home, address, port), flush=True)

    try:
        asyncio.run(serve_witness(home, ready))
    except OSError as failure:
        raise UsageError(f"cannot listen at {home.address} port {home.port}: {failure.strerror}") from failure
    return 0


def _memory(options: argparse.Namespace) -> WitnessMemory:
    return WitnessMemory(options.home / "memory.db")


def _trust_log(options: argparse.Namespace) -> int:
    key = VerifierKey.parse(options.key)
    memory = _memory(options)
    memory.trust(key)
    memory.close()
    print(f"log {key.name} is remembered from now on; key {key.key_id.hex()}")
    return 0


def _fork(options: argparse.Namespace) -> int:
    try:
        statement = options.statement.read_bytes()[: MAX_STATEMENT_BYTES + 1]
    except OSError as failure:
        raise UsageError(
            f"{options.statement}: {failure.strerror}", "`ribcage restore` writes it"
        ) from failure
    memory = _memory(options)
    fork = memory.fork(statement, int(time.time()))
    memory.close()
    print(f"{fork.old.origin} is closed at {fork.old.size} entries and goes on as {fork.new_origin}")
    print(f"restored {fork.restored.size} entries, reason {fork.reason}; approved by two persons:")
    print("  " + ", ".join(each.hex() for each in fork.approved_by))
    return 0


def _show(options: argparse.Namespace) -> int:
    memory = _memory(options)
    logs = memory.logs()
    if options.origin and options.origin not in logs:
        raise UsageError(f"this witness does not know {options.origin}", "`ribcage witness show` lists them")
    shown = {name: one for name, one in logs.items() if options.origin in ("", name)}
    if options.note:
        return _newest_note(memory, options.origin)
    told = [_described(memory, name, one, whole=bool(options.origin)) for name, one in shown.items()]
    if options.json:
        whole = {"witness": public_key(options.home), "logs": told, "forks": _forks(memory)}
        print(json.dumps(whole, indent=1, ensure_ascii=False))
        return 0
    print(f"witness {public_key(options.home)}")
    for each in told:
        state = f"closed, goes on as {each['closed']}" if each["closed"] else "open"
        print(f"{each['origin']}: {each['size']} entries, {state}")
        for one in each.get("checkpoints", ()):
            print(f"  {one['size']:10}  {_moment(one['at'])}  {one['root']}")
    for fork in _forks(memory):
        print(f"fork {fork['old']} -> {fork['new']}: {fork['restored_size']} of {fork['old_size']} entries")
    return 0


def _newest_note(memory: WitnessMemory, origin: str) -> int:
    history = memory.history(origin)
    if not history:
        raise UsageError(
            "no checkpoint of that log was cosigned", "give --origin; `ribcage witness show` lists them"
        )
    print(history[-1].note.decode(), end="")
    return 0


def _described(memory: WitnessMemory, name: str, one: LogMemory, *, whole: bool) -> dict[str, Any]:
    told: dict[str, Any] = {
        "origin": name,
        "key": one.key.encode(),
        "size": one.size,
        "root": to_base64(one.root),
        "closed": one.closed,
    }
    if whole:
        told["checkpoints"] = [
            {"size": each.size, "root": to_base64(each.root), "at": each.at, "note": each.note.decode()}
            for each in memory.history(name)
        ]
    return told


def _forks(memory: WitnessMemory) -> list[dict[str, Any]]:
    told = []
    for statement, at in memory.forks():
        fork = read_fork(statement)
        told.append(
            {
                "old": fork.old.origin,
                "old_size": fork.old.size,
                "new": fork.new_origin,
                "restored_size": fork.restored.size,
                "at": at,
                "statement": statement.decode(),
            }
        )
    return told


def _moment(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


# --- the archive's side -----------------------------------------------------------------------------------


async def _trust(client: GuardClient, options: argparse.Namespace) -> None:
    try:
        fingerprint = bytes.fromhex(options.certificate.replace(":", ""))
    except ValueError as failure:
        raise UsageError("--certificate: expected 64 hexadecimal digits") from failure
    request = TrustWitness(url=options.url, witness=options.key, certificate_sha256=fingerprint)
    answer = await client.call(request, WitnessTrusted)
    print("from now on nothing is disclosed after a start before this witness has cosigned it")
    print("at the witness, now:")
    print(f"  ribcage witness trust-log '{answer.log}'")


async def _forget(client: GuardClient, _options: argparse.Namespace) -> None:
    await client.call(ForgetWitness(), Noted)
    print("no witness any more: a rollback of the whole home is not noticed")
