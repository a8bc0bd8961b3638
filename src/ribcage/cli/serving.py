"""`ribcage serve`: one plan for the supervisor, built from one `Settings`, and the start-up report."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ribcage.cli import exposure, settings
from ribcage.cli.errors import UsageError
from ribcage.cli.passphrase import read_passphrase
from ribcage.cli.settings import Settings
from ribcage.cli.undefended import not_defended
from ribcage.cli.verbs import complain, verb
from ribcage.guard.client import GuardClient
from ribcage.guard.errors import GuardError
from ribcage.guard.place import read_facts, socket_path
from ribcage.guard.protocol import GetReadiness, Readiness
from ribcage.transfer.errors import TransferError
from ribcage.transfer.supervisor import SupervisorPlan, run_supervisor

_ASK_SECONDS = 5.0
_DEFENDED = (
    "DICOM and HTTPS by TLS 1.2/1.3 only; registered certificates only; every retrieval asks the contract",
    "objects, index, keys and log sealed; core dumps off; every decision in a tamper-evident log",
)


def main(arguments: list[str]) -> int:
    """`ribcage serve …` alone: the supervisor stays, so it loads what it needs and not every verb."""
    parser = argparse.ArgumentParser(prog="ribcage")
    add_verb(parser.add_subparsers(dest="verb", required=True, metavar="COMMAND"))
    options = parser.parse_args(arguments)
    try:
        return int(options.run(options))
    except UsageError as error:
        complain(str(error), error.hint)
    except GuardError as error:
        complain(str(error), "`ribcage doctor` tells more")
    except KeyboardInterrupt:
        return 130
    return 2


def add_verb(verbs: Any) -> None:
    """The verb with its options."""
    serve = verb(verbs, "serve", "start supervisor, guard and fronts", _serve)
    serve.add_argument("--quiet", action="store_true", help="no start-up report")


def _serve(options: argparse.Namespace) -> int:
    wanted = settings.load(options.home)
    passphrase = read_passphrase(options.passphrase_fd, demo=wanted.demo)
    return run(options.home, wanted, passphrase, quiet=options.quiet)


def plan_of(home: Path, wanted: Settings) -> SupervisorPlan:
    """What the supervisor runs for this home."""
    python = (sys.executable, "-m")
    place = ("--home", str(home.resolve()))
    guard = ("--ready", "{ready}", "--passphrase", "{passphrase}", "--lifeline", "{lifeline}")
    return SupervisorPlan(
        listeners=wanted.addresses(),
        guard_command=(*python, "ribcage.cli.guard_process", *place, *guard),
        front_command=(*python, "ribcage.cli.front_process", *place, "--control", "{control}"),
        fronts=wanted.fronts,
        named_public=frozenset(wanted.listen.public),
        beside=lambda: exposure.watch(home, wanted),
    )


def run(home: Path, wanted: Settings, passphrase: bytes, *, quiet: bool) -> int:
    """Run until SIGTERM or SIGINT. Raises UsageError."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    read_facts(home)

    def announce(line: str) -> None:
        if quiet:
            print(line, flush=True)
            return
        where = json.loads(line)
        print(f"Ribcage guards {wanted.hospital}. Ready:")
        print(
            f"  DICOM TLS  {where['dicom'][0]} port {where['dicom'][1]}, AE {', '.join(wanted.called_ae_titles)}"
        )
        if "hl7" in where:
            print(f"  HL7 TLS    {where['hl7'][0]} port {where['hl7'][1]}")
        print(f"  HTTPS      https://{_host(where['https'])}/login")
        for each in _DEFENDED:
            print(f"  defended: {each}")
        for each in not_defended(_configuration(home)):
            print(f"  {each}")
        sys.stdout.flush()

    try:
        run_supervisor(plan_of(home, wanted), passphrase, announce)
    except TransferError as failure:
        raise UsageError(str(failure)) from failure
    return 0


def _configuration(home: Path) -> list[str]:
    """The words of the running guard, the least of them when it does not answer; on a thread: our loop is busy."""

    async def ask() -> list[str]:
        client = await GuardClient.connect(socket_path(home))
        try:
            return (await client.call(GetReadiness(), Readiness)).configuration
        finally:
            await client.close()

    with ThreadPoolExecutor(1) as aside:
        try:
            return aside.submit(asyncio.run, asyncio.wait_for(ask(), _ASK_SECONDS)).result()
        except (GuardError, TimeoutError):
            return ["embedded"]


def _host(address: list[object]) -> str:
    host, port = str(address[0]), address[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
