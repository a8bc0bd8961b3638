"""`ribcage`: the command line. Errors are one line and a hint."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from ribcage import __version__
from ribcage.cli import (
    audit,
    backup,
    break_glass,
    care,
    certificate,
    clock,
    commands,
    commitments,
    conflict,
    consent,
    deid,
    deid_check,
    destinations,
    destroy,
    devices,
    doctor,
    edge,
    importing,
    invite,
    metrics,
    migrate,
    patient,
    project,
    queue,
    recovery,
    rejection,
    release,
    restore,
    routes,
    serving,
    settings,
    shield,
    witness,
)
from ribcage.cli.errors import UsageError
from ribcage.cli.operator import operator
from ribcage.cli.passphrase import read_passphrase
from ribcage.cli.verbs import complain, verb
from ribcage.crypto.errors import CryptoError, WrongPassphrase
from ribcage.database.errors import DatabaseError
from ribcage.evidence.errors import EvidenceError
from ribcage.guard.client import GuardClient
from ribcage.guard.devices import RIGHTS
from ribcage.guard.errors import GuardError, GuardRefused
from ribcage.guard.home import HomePlan, create_home
from ribcage.guard.people import ROLES
from ribcage.ledger.errors import LedgerError
from ribcage.storage.errors import StorageError
from ribcage.storage.verify import PARTS

Command = Callable[[GuardClient, argparse.Namespace], Awaitable[int | None]]
_REFUSALS = {
    "conflict": "that is registered already, or its state does not allow this",
    "invalid": "a value is out of its range or form",
    "not_found": "there is nothing of that name",
    "not_permitted": "that is not permitted",
    "not_authenticated": "user name, password or code is wrong, or the code was used already",
    "no_space": "the disk is below its watermark",
    "throttled": "too many failures; wait five minutes",
    "unavailable": "database, ledger or log cannot answer: see the server's own log",
}


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 done, 1 findings, 2 usage."""
    options = _parser().parse_args(deid.spelled_out(sys.argv[1:] if arguments is None else arguments))
    try:
        return int(options.run(options) or 0)
    except UsageError as error:
        complain(str(error), error.hint)
    except GuardRefused as refused:
        complain(
            f"refused: {_REFUSALS.get(refused.reason, refused.reason)}", "`ribcage --help` shows the forms"
        )
    except WrongPassphrase:
        complain("wrong passphrase", "nothing was changed; try again")
    except (GuardError, CryptoError, DatabaseError, EvidenceError, LedgerError, StorageError) as error:
        complain(str(error), "`ribcage status` and `ribcage verify` tell more")
    except KeyboardInterrupt:
        return 130
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ribcage", description="A medical-image archive that stays shut. 守护胸片的影像归档。"
    )
    parser.add_argument("--version", action="version", version=f"ribcage {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="COMMAND")
    _house_verbs(verbs)
    _people_verbs(verbs)
    _rights_verbs(verbs)
    _evidence_verbs(verbs)
    break_glass.add_verbs(verb, _with_guard, verbs)
    care.add_verbs(verb, _with_guard, verbs)
    destinations.add_verbs(verb, _with_guard, verbs)
    queue.add_verbs(verb, _with_guard, verbs)
    commitments.add_verbs(verb, _with_guard, verbs)
    routes.add_verbs(verb, _with_guard, verbs)
    destroy.add_verbs(verb, _with_guard, verbs)
    conflict.add_verbs(verb, _with_guard, verbs)
    rejection.add_verbs(verb, _with_guard, verbs)
    patient.add_verbs(verb, _with_guard, verbs)
    invite.add_verbs(verb, _with_guard, verbs)
    clock.add_verbs(verb, _with_guard, verbs)
    certificate.add_verbs(verb, _with_guard, verbs)
    witness.add_verbs(verb, _with_guard, verbs)
    edge.add_verbs(verb, _with_guard, verbs)
    metrics.add_verbs(verb, _with_guard, verbs)
    backup.add_verbs(verb, _with_guard, verbs)
    restore.add_verbs(verb, verbs)
    doctor.add_verbs(verb, verbs)
    shield.add_verbs(verb, verbs)
    recovery.add_verbs(verb, _with_guard, verbs)
    migrate.add_verbs(verb, _with_guard, verbs)
    consent.add_verbs(verb, _with_guard, verbs)
    project.add_verbs(verb, _with_guard, verbs)
    release.add_verbs(verb, verbs)
    deid_check.add_verb(deid.add_verbs(verbs))
    return parser


def _house_verbs(verbs: Any) -> None:
    init = verb(verbs, "init", "make a new archive", _init)
    init.add_argument("--hospital", default="Hospital")
    init.add_argument("--root", type=Path, help="where the authority's root key goes: take it offline")
    init.add_argument("--hostname", action="append", default=[], help="a DNS name peers will use")
    init.add_argument("--address", action="append", default=[], help="an IP address peers will use")
    serving.add_verb(verbs)
    verb(verbs, "status", "numbers, and what is not defended here", _with_guard(commands.status))
    bring = verb(verbs, "import", "import DICOM files and folders; run again to resume", None)
    bring.add_argument("path", nargs="+")
    bring.set_defaults(run=_with_guard(importing.import_paths))
    demo = verbs.add_parser("demo", help="the whole story on a throw-away home")
    demo.add_argument("--check", action="store_true", help="exit 0 or 1 instead of staying up")
    demo.add_argument("--no-browser", action="store_true", help="print addresses and open no browser")
    demo.set_defaults(run=_demo)
    drill = verbs.add_parser("drill", help="attack a throw-away home and its unprotected twin")
    drill.add_argument("--witness", action="store_true", help="the archive under attack has a witness")
    drill.add_argument("--shield", action="store_true", help="Orthanc, naked and behind the shield")
    drill.add_argument("--json", action="store_true")
    drill.set_defaults(run=_drill)


def _people_verbs(verbs: Any) -> None:
    person = verbs.add_parser("person", help="people").add_subparsers(dest="action", required=True)
    add = verb(person, "add", "add a person; password and second factor are shown once", None)
    add.add_argument("name")
    add.add_argument("--role", action="append", choices=ROLES, required=True)
    add.add_argument("--display", default="")
    add.add_argument("--department", default="")
    add.set_defaults(run=_with_guard(commands.person_add))
    for action in ("suspend", "restore"):
        one = verb(person, action, f"{action} a person, at once", _with_guard(commands.person_suspend))
        one.add_argument("name")
    for action, text, command in (
        ("reset", "first administrator: a person lost all second factors", commands.person_reset),
        ("reset-approve", "another administrator: reset them", commands.person_reset_approve),
    ):
        one = verb(person, action, text, _with_guard(command))
        one.add_argument("name")
        one.add_argument(
            "--approver-fd",
            type=int,
            metavar="N",
            help="read user name, password and code from descriptor N (JSON)",
        )
    device = verbs.add_parser("device", help="devices").add_subparsers(dest="action", required=True)
    add = verb(device, "add", "register a device", _with_guard(commands.device_add))
    add.add_argument("name")
    add.add_argument("--ae", action="append", required=True, help="AE title bound to the certificate")
    add.add_argument("--may", action="append", required=True, choices=RIGHTS)
    add.add_argument("--department", default="radiology")
    add.add_argument("--certificate", default="", help="the device's own certificate (PEM)")
    add.add_argument("--csr", default="", help="a request to be signed (PEM)")
    add.add_argument("--out", default="", help="folder for certificate, key and authority")
    charset = verb(device, "charset", "how its text is read", _with_guard(commands.device_charset))
    charset.add_argument("name")
    charset.add_argument("charset", help="as in (0008,0005): GB18030, 'ISO 2022 IR 6\\ISO 2022 IR 58'; none")
    charset.add_argument("--overrides", action="store_true", help="also where it declares another")
    devices.add_verbs(verb, _with_guard, device)
    for action in ("suspend", "restore"):
        one = verb(device, action, f"{action} a device, at once", _with_guard(commands.device_suspend))
        one.add_argument("name")


def _rights_verbs(verbs: Any) -> None:
    grant = verb(verbs, "grant", "put a grant on the ledger", _with_guard(commands.grant))
    grant.add_argument("subject", help="person:NAME, device:NAME or project:NAME")
    grant.add_argument("resource", help="study:UID, patient:ID[|ISSUER] or department:NAME")
    grant.add_argument("--view", choices=("masked", "full", "original"), required=True)
    grant.add_argument(
        "--purpose", choices=("TREAT", "ETREAT", "HRESCH", "HOPERAT", "PATRQT"), default="TREAT"
    )
    grant.add_argument("--hours", type=float, default=0.0, help="how long; 24 if not given")
    revoke = verb(verbs, "revoke", "end a grant, at once", _with_guard(commands.revoke))
    revoke.add_argument("grant", type=int)
    objection = verb(verbs, "objection", "a patient's objection, or its end", _with_guard(commands.objection))
    objection.add_argument("patient", help="ID or ID|ISSUER")
    objection.add_argument("subject", nargs="?", default="*", help="person:NAME; everybody if not given")
    objection.add_argument("--withdraw", action="store_true")
    parked = verb(verbs, "parked", "conflicts that wait for a person", _with_guard(commands.parked))
    parked.add_argument("--count", type=int, default=100)


def _evidence_verbs(verbs: Any) -> None:
    actions = verbs.add_parser("audit", help="the log").add_subparsers(dest="action", required=True)
    show = verb(actions, "show", "print entries", _with_guard(audit.show))
    show.add_argument("--start", type=int, default=-1, help="first entry; the last ones if not given")
    show.add_argument("--count", type=int, default=50)
    show.add_argument("--person", default="", help="only this person's")
    show.add_argument("--json", action="store_true")
    verify = verb(actions, "verify", "recompute log and ledger", _with_guard(audit.verify))
    verify.set_defaults(parts=("log", "ledger"))
    prove = verb(actions, "prove", "a proof of one entry that a stranger can check", _with_guard(audit.prove))
    prove.add_argument("index", type=int)
    prove.add_argument("--out", default="proof.json")
    export = verb(actions, "export", "the log's public bytes, to keep outside", _with_guard(audit.export))
    export.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="new, or an earlier export")
    export.add_argument("--open", action="store_true", help="the entries themselves too, for an auditor")
    everything = verb(verbs, "verify", "recompute everything from stored bytes", _with_guard(audit.verify))
    everything.set_defaults(parts=PARTS)


def _with_guard(command: Command) -> Callable[[argparse.Namespace], int]:
    def run(options: argparse.Namespace) -> int:
        demo = settings.load(options.home).demo
        passphrase = read_passphrase(options.passphrase_fd, demo=demo)

        async def talk() -> int:
            async with operator(options.home, passphrase) as client:
                return int(await command(client, options) or 0)

        return asyncio.run(talk())

    return run


def _init(options: argparse.Namespace) -> int:
    root = options.root or options.home.with_name(options.home.name + "-root")
    wanted = settings.Settings(hospital=options.hospital, hostnames=options.hostname)
    wanted.validate()
    passphrase = read_passphrase(options.passphrase_fd, confirm=True)
    addresses = ["127.0.0.1", "::1", *options.address]
    plan = HomePlan(options.hospital, hostnames=options.hostname, addresses=addresses)
    create_home(options.home, root, passphrase, plan)
    settings.save(options.home, wanted)
    print(f"archive made in {options.home}; next: ribcage serve --home {options.home}")
    print(f"the authority's root key is in {root}, sealed: take that folder offline now")
    return 0


def _demo(options: argparse.Namespace) -> int:
    from ribcage.cli import demo  # the extra's packages are needed for this verb alone

    return demo.run(check=options.check, browser=not options.no_browser)


def _drill(options: argparse.Namespace) -> int:
    from ribcage.cli import drill  # as above

    return drill.run(as_json=options.json, witness=options.witness, shield=options.shield)


if __name__ == "__main__":
    sys.exit(main())
