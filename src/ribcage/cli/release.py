"""`ribcage release PROJECT OUT --study UID…`: from the archive to a research project, without identities.

Status 0: all of it was handed over; 1: something was not, and it is listed; 2: nothing was, or usage.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from ribcage.cli import settings
from ribcage.cli.deid import deid_errors
from ribcage.cli.destroy import add_approver, read_approver
from ribcage.cli.errors import UsageError, files_at
from ribcage.cli.operator import operator
from ribcage.cli.passphrase import read_passphrase
from ribcage.guard.client import GuardClient
from ribcage.guard.protocol import (
    AuditEntries,
    AuditPage,
    BeginRelease,
    Query,
    QueryAnswer,
    Release,
    ReleaseBegun,
    Response,
)
from ribcage.oversight.deid_making import make
from ribcage.oversight.release import ReleaseFailed, Releasing, Result, Withdrawn, release
from ribcage.storage.objects import ObjectStore
from ribcage.usage.disclose import WayOut

_SHOWN = 50
_PAGE = 1000


def add_verbs(verb: Callable[..., Any], verbs: Any) -> None:
    """The verb. `verb` is the command line's own."""
    one = verb(verbs, "release", "studies to a research project, without identities", run)
    one.add_argument("project", help="as `ribcage project add` named it")
    one.add_argument("out", type=Path, metavar="OUT", help="a new folder, or a new file NAME.zip")
    one.add_argument("--study", action="append", default=[], metavar="UID")
    one.add_argument(
        "--patient", action="append", default=[], metavar="ID", help="all studies: ID or ID|ISSUER"
    )
    one.add_argument("--modality", default="", help="studies with this modality that the project may have")
    one.add_argument("--dates", default="", metavar="FROM-TO", help="of study dates YYYYMMDD-YYYYMMDD")
    one.add_argument(
        "--least-k", type=int, default=1, metavar="K", help="refuse where fewer than K patients look alike"
    )
    add_approver(one)


def run(options: argparse.Namespace) -> int:
    """`ribcage release`. Raises UsageError."""
    if not (options.study or options.patient or options.modality or options.dates):
        raise UsageError("expected what to release, got nothing", "--study, --patient, --modality or --dates")
    passphrase = read_passphrase(options.passphrase_fd, demo=settings.load(options.home).demo)
    with deid_errors(), files_at("the release"):
        try:
            return asyncio.run(_release(options, passphrase))
        except Withdrawn as withdrawn:
            for line in withdrawn.findings[:_SHOWN]:
                print(f"finding: {line}")
            raise UsageError(str(withdrawn), withdrawn.hint) from withdrawn
        except ReleaseFailed as failure:
            raise UsageError(str(failure), failure.hint) from failure


async def _release(options: argparse.Namespace, passphrase: bytes) -> int:
    ways = list[WayOut]()

    def push(message: Response) -> None:
        for way in ways:
            way.on_push(message)

    by = read_approver(options.approver_fd, "The project's officer")
    async with operator(options.home, passphrase, push) as client:
        ways.append(WayOut(client, ObjectStore(options.home / "objects")))
        request = BeginRelease(options.project, by, options.study, options.patient)
        begun = await client.call(request, ReleaseBegun)
        wanted = [*begun.studies, *await _found(client, begun.ticket, options)]
        if not wanted:
            raise UsageError("no study of that kind that the project may have", "ribcage grant, consent give")
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
            running = Releasing(
                client=client,
                way=ways[0],
                begun=_with(begun, wanted),
                out=options.out,
                executor=executor,
                make=make,
                least=options.least_k,
                processes=len(os.sched_getaffinity(0)),
            )
            result = await release(running)
        return await _told(client, result, options.out)


def _with(begun: ReleaseBegun, studies: list[str]) -> ReleaseBegun:
    fields = {name: getattr(begun, name) for name in ReleaseBegun.__struct_fields__}
    return ReleaseBegun(**fields | {"studies": list(dict.fromkeys(studies))})


async def _found(client: GuardClient, ticket: bytes, options: argparse.Namespace) -> list[str]:
    """Studies that a query finds among those which the project may have."""
    filters = {"ModalitiesInStudy": options.modality, "StudyDate": options.dates}
    filters = {name: value for name, value in filters.items() if value}
    if not filters:
        return []
    uids, after = list[str](), ""
    while True:
        query = Query(Release(ticket), "release", "study", filters, "HRESCH", limit=_PAGE, after=after)
        answer = await client.call(query, QueryAnswer)
        uids += [str(each.attributes["StudyInstanceUID"]) for each in answer.records]
        if not answer.more or not answer.records:
            return uids
        after = answer.records[-1].position


async def _told(client: GuardClient, result: Result, out: Path) -> int:
    """What came of it, in lines; the status."""
    missing = 0
    for study in result.studies:
        if study.refused:
            missing += 1
            print(f"not released: study {study.uid}: {await _reason(client, study.entry) or study.refused}")
        for each in study.kept_back:
            missing += 1
            print(f"not released: study {study.uid}, instance {each.index + 1}: "
                  f"{each.reason.value if each.reason else ''}")  # fmt: skip
    handed = [study for study in result.studies if study.sealed >= 0 and not study.refused]
    print(f"{result.files} files of {len(handed)} studies in {out}" if handed else "nothing was handed over")
    if handed:
        print("\n".join(result.anonymity.lines()))
        print(f"entries {', '.join(str(study.sealed) for study in handed[:_SHOWN])}")
        print(f"python3 tools/verify_release.py {out} --key '{result.verifier_key}'")
    return 1 if missing else 0


async def _reason(client: GuardClient, entry: int) -> str:
    """Why, as the log has it; the operator may read it."""
    if entry < 0:
        return ""
    answer = await client.call(AuditPage(start=entry, count=1), AuditEntries)
    return str(json.loads(answer.entries[0][1]).get("outcomeDesc", "")) if answer.entries else ""
