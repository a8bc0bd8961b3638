"""Queries on the sealed index, every answer audited: beside Orthanc at 3,000 studies, alone at a million.

`query.qido.{name,exact}.3k.orthanc`: milliseconds of one QIDO-RS answer by name with a wildcard and by Patient ID,
over a connection that stands; the same studies in both, the same number found. `query.{qido,cfind}.p95.1m`: the 95th
percentile over exact, prefix, Chinese name, date range and paging in turns; `more` has each kind's. The million
studies are written by the guard's own code, without films. `--quick` writes 50,000.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import random
import ssl
import statistics
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from unittest import mock

import harness
from films import KINDS, Made, Target, send, study_of
from harness import Figure, Run, against, alone, in_turns, percentile
from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from helpers.archive import Archive, Identity, new_archive
from helpers.guard_house import PASSPHRASE
from helpers.raw_scu import RawAssociation
from peers import Orthanc, orthanc
from ribcage.database.prepared import Prepared, driver
from ribcage.database.schema import instance, series
from ribcage.dicom import dimse
from ribcage.dicom.sop_classes import STUDY_ROOT_FIND
from ribcage.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from ribcage.guard import catalogue
from ribcage.guard import protocol as p
from ribcage.guard.committer import Transaction
from ribcage.guard.core import Core
from ribcage.guard.home import open_core
from ribcage.guard.identities import Named
from ribcage.guard.limits import GuardLimits

STUDIES, QUICK_STUDIES, BESIDE = 1_000_000, 50_000, 3000
_STEP = 5000
_TOKENS = "INSERT INTO name_token (token, study_pk) VALUES (?, ?)"
_ADD_SERIES = Prepared(series.insert(), ["uid", "study_pk", "modality", "sealed"])
_ADD_INSTANCE = Prepared(
    instance.insert(), [column.name for column in instance.columns if column.name != "pk"]
)
_FAMILY = [
    "Zhang",
    "Wang",
    "Li",
    "Zhao",
    "Chen",
    "Yang",
    "Huang",
    "Wu",
    "Zhou",
    "Xu",
    "Sun",
    "Ma",
    "Zhu",
    "Hu",
    "Guo",
]
_GIVEN = [
    "Wei",
    "Fang",
    "Na",
    "Min",
    "Jing",
    "Li",
    "Qiang",
    "Lei",
    "Jun",
    "Yang",
    "Yong",
    "Yan",
    "Jie",
    "Tao",
    "Ming",
]
_HAN = dict(zip(_FAMILY, "张王李赵陈杨黄吴周徐孙马朱胡郭", strict=True))
_HAN_GIVEN = dict(zip(_GIVEN, "伟芳娜敏静丽强磊军洋勇艳杰涛明", strict=True))


@dataclass(frozen=True)
class Person:
    """A made-up patient."""

    identifier: str
    name: str
    date: str

    @property
    def chinese(self) -> str:
        """The ideographic group alone."""
        return self.name.split("=")[1]


def person(number: int) -> Person:
    """The same number is the same person; names repeat as they do in a hospital."""
    draw = random.Random(number)
    family = draw.choice(_FAMILY)
    given = [draw.choice(_GIVEN) for _ in range(draw.choice([1, 2, 2]))]
    more = f"{draw.randrange(36**3):04d}"
    han = _HAN[family] + "^" + "".join(_HAN_GIVEN[each] for each in given)
    date = f"{2015 + draw.randrange(11)}{1 + draw.randrange(12):02d}{1 + draw.randrange(28):02d}"
    return Person(f"P{number:07d}", f"{family}^{''.join(given)}{more}={han}", date)


def measure(run: Run) -> list[Figure]:
    """All figures of queries."""
    return [*_beside(run), *_million(run, QUICK_STUDIES if run.quick else STUDIES)]


# --- beside Orthanc -------------------------------------------------------------------------------------


def _beside(run: Run) -> list[Figure]:
    folder = run.folder / "beside"
    folder.mkdir()
    count = BESIDE // 10 if run.quick else BESIDE
    with new_archive(folder, fronts=2) as archive:
        scu = archive.device("cr1", "CR1", "store")
        station = archive.device("ws1", "WS1", "query")
        archive.grant("device:ws1", "department:radiology", "full")
        assert archive.process is not None
        ours = Target("ours", archive.dicom[1], "RIBCAGE", archive.process.pid)
        with orthanc(run, scu) as beside:
            run.say(f"storing {count} studies twice")
            for number in range(count):
                made = _small(number)
                send(ours, scu, made)
                if beside is not None:
                    send(beside.target, scu, made)
            return [
                _qido_pair(run, kind, path, found, archive, station, beside)
                for kind, path, found in _asked(count)
            ]


def _small(number: int) -> list[Made]:
    who = person(number)
    return study_of(KINDS["small"], number, 1, who.identifier, who.name.split("=")[0])


def _asked(count: int) -> list[tuple[str, Callable[[int], str], Callable[[int], int]]]:
    names = [person(number).name.split("=")[0] for number in range(count)]

    def prefix(number: int) -> str:
        return names[number * 37 % count][:-2]

    return [
        (
            "name",
            lambda n: f"PatientName={prefix(n)}*",
            lambda n: sum(x.startswith(prefix(n)) for x in names),
        ),
        ("exact", lambda n: f"PatientID={person(n * 37 % count).identifier}", lambda n: 1),
    ]


def _qido_pair(
    run: Run,
    kind: str,
    query: Callable[[int], str],
    found: Callable[[int], int],
    archive: Archive,
    station: Identity,
    beside: Orthanc | None,
) -> Figure:
    run.say(f"QIDO by {kind}")
    sides = {"ours": http.client.HTTPSConnection("localhost", archive.https[1], context=station.context())}
    if beside is not None:
        sides["Orthanc"] = http.client.HTTPConnection("127.0.0.1", beside.http)  # type: ignore[assignment]  # a plain one

    def asked(connection: http.client.HTTPConnection) -> Callable[[int], float]:
        def one(round_: int) -> float:
            times = []
            connection.close()  # Orthanc ends one that waits a second for its turn
            connection.connect()
            for number in range(round_ * 20, round_ * 20 + 20):
                taken, answer = _qido(connection, query(number))
                if len(answer) != found(number):
                    raise SystemExit(
                        f"expected {found(number)} studies of {query(number)}, got {len(answer)}"
                    )
                times.append(taken)
            return statistics.median(times)

        return one

    taken = in_turns({name: asked(each) for name, each in sides.items()}, run.rounds(9))
    for each in sides.values():
        each.close()
    name = f"query.qido.{kind}.3k.orthanc"
    return against(name, "ms", taken["ours"], "Orthanc in clear", taken.get("Orthanc", []), 3.0, 10.0)


def _qido(connection: http.client.HTTPConnection, query: str) -> tuple[float, list[object]]:
    """Milliseconds, and what was answered. Raises SystemExit."""
    path = "/dicom-web/studies?" + urllib.parse.quote(query, safe="=&*-^")
    start = time.perf_counter()
    connection.request("GET", path, headers={"Accept": "application/dicom+json"})
    answer = connection.getresponse()
    body = answer.read()
    taken = (time.perf_counter() - start) * 1000
    if answer.status not in (200, 204):
        raise SystemExit(f"expected studies, got HTTP {answer.status} to {query}")
    return taken, json.loads(body) if body else []


# --- a million ------------------------------------------------------------------------------------------


def _million(run: Run, studies: int) -> list[Figure]:
    folder = run.folder / "million"
    folder.mkdir()
    archive = Archive(folder, fronts=1)
    archive.create()
    _load(run, archive, studies)
    archive.start()
    try:
        station = archive.device("ws1", "WS1", "query")
        archive.grant("device:ws1", "department:radiology", "full")
        figures = []
        with _Qido(archive.https[1], station.context()) as qido:
            figures.append(_mixed(run, "query.qido.p95.1m", qido.ask, studies))
        with _Find(archive.dicom[1], station) as find:
            figures.append(_mixed(run, "query.cfind.p95.1m", find.ask, studies))
        return figures
    finally:
        archive.stop()


Keys = dict[str, str]


def _kinds(studies: int) -> dict[str, Callable[[int], Keys]]:
    def drawn(number: int) -> Person:
        return person(number * 7919 % studies)

    return {
        "exact": lambda n: {"PatientID": drawn(n).identifier},
        "prefix": lambda n: {"PatientName": drawn(n).name.split("=")[0][:-2] + "*"},
        "common": lambda n: {"PatientName": drawn(n).name.split("^")[0] + "*"},
        "chinese": lambda n: {"PatientName": "*" + drawn(n).chinese.replace("^", "") + "*"},
        "dates": lambda n: {"StudyDate": f"{drawn(n).date}-{drawn(n).date}"},
        "year": lambda n: {"StudyDate": f"{drawn(n).date[:4]}0101-{drawn(n).date[:4]}1231"},
        "page": lambda n: {"StudyDate": f"{drawn(n).date[:4]}0101-", "offset": str(n % 5 * 25)},
    }


def _mixed(run: Run, name: str, ask: Callable[[Keys], tuple[float, int]], studies: int) -> Figure:
    run.say(name)
    rounds, each_kind = [], dict[str, list[float]]()
    for round_ in range(run.rounds(5) + 1):
        times = []
        for kind, keys in _kinds(studies).items():
            for number in range(round_ * 10, round_ * 10 + 10):
                taken, found = ask(keys(number + 1))
                if not found:
                    raise SystemExit(f"expected studies, got none: {kind}")
                if round_:
                    times.append(taken)
                    each_kind.setdefault(kind, []).append(taken)
        if round_:
            rounds.append(percentile(times, 0.95))
    more = {f"{kind}_p95": percentile(times, 0.95) for kind, times in each_kind.items()}
    return alone(name, "ms", rounds, 50, 20, more | {"studies": float(studies)})


class _Qido:
    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        self._connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=120)

    def ask(self, keys: Keys) -> tuple[float, int]:
        """Milliseconds and studies; at most 25."""
        taken, answer = _qido(
            self._connection, "&".join(f"{k}={v}" for k, v in (keys | {"limit": "25"}).items())
        )
        return taken, len(answer)

    def __enter__(self) -> _Qido:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()


class _Find:
    """C-FIND over one association; the first 25 are read, then it is cancelled."""

    def __init__(self, port: int, station: Identity) -> None:
        self._association = RawAssociation(
            ("127.0.0.1", port),
            [(STUDY_ROOT_FIND, [EXPLICIT_VR_LITTLE_ENDIAN])],
            ssl_context=station.context(),
            calling=station.ae_title,
            timeout_seconds=120,
        )
        self._number = 0

    def ask(self, keys: Keys) -> tuple[float, int]:
        """Milliseconds to the 25th answer, or the end; and how many came."""
        self._number += 1
        identifier = _identifier({key: value for key, value in keys.items() if key != "offset"})
        request = dimse.CFindRq(self._number, STUDY_ROOT_FIND)
        start = time.perf_counter()
        self._association.send(self._association.context_for(STUDY_ROOT_FIND), request, (identifier,))
        found, taken = 0, 0.0
        for status in self._statuses():
            found += status == 0xFF00
            taken = taken or ((time.perf_counter() - start) * 1000 if found == 25 else 0.0)
            if found == 25:
                cancel = dimse.CCancelRq(self._number)
                self._association.send(self._association.context_for(STUDY_ROOT_FIND), cancel)
        return taken or (time.perf_counter() - start) * 1000, found

    def _statuses(self) -> Iterator[int]:
        while True:
            command = self._association.next_message().command
            if not isinstance(command, dimse.CFindRsp) or command.status not in (0xFF00, 0xFF01, 0, 0xFE00):
                raise SystemExit(f"expected a C-FIND response, got {command}")
            if command.status in (0, 0xFE00):
                return
            yield 0xFF00

    def __enter__(self) -> _Find:
        return self

    def __exit__(self, *_: object) -> None:
        self._association.release()


def _identifier(keys: Keys) -> bytes:
    wanted = Dataset()
    wanted.SpecificCharacterSet = "ISO_IR 192"
    wanted.QueryRetrieveLevel = "STUDY"
    for name in ("StudyInstanceUID", "PatientName", "PatientID", "StudyDate", "AccessionNumber"):
        setattr(wanted, name, keys.get(name, ""))
    target = DicomBytesIO(BytesIO().getvalue())
    target.is_little_endian, target.is_implicit_VR = True, False
    write_dataset(target, wanted)
    return target.getvalue()


def _load(run: Run, archive: Archive, studies: int) -> None:
    """Study, series and instance rows by the guard's own code; no entry and no file stand behind them.

    Name tokens come last and in order: twelve million of them, each at a place of its own, would take hours.
    """
    core, _ = open_core(archive.home, PASSPHRASE, GuardLimits())
    tokens: list[tuple[int, int]] = []

    def gather(core: Core, _connection: object, pk: int, named: Named) -> None:
        tokens.extend((token, pk) for token in core.blind.name_tokens(named.patient_name))

    async def fill() -> None:
        for first in range(0, studies, _STEP):
            if first % 50_000 == 0:
                run.say(f"studies: {first} of {studies}")
            await core.committer.run(lambda tx, first=first: _write(core, tx, first))
        run.say(f"name tokens: {len(tokens)}")
        tokens.sort()
        await core.committer.run(lambda tx: driver(tx.connection).executemany(_TOKENS, tokens) and None)

    try:
        with mock.patch.object(catalogue, "_add_name_tokens", gather):
            asyncio.run(fill())
    finally:
        core.close()


def _write(core: Core, tx: Transaction, first: int) -> None:
    for number in range(first, first + _STEP):
        who = person(number)
        uid = f"2.25.7{number:09d}"
        attributes = p.Attributes(
            sop_class_uid=KINDS["small"].sop_class,
            sop_instance_uid=f"{uid}.1.1",
            study_instance_uid=uid,
            series_instance_uid=f"{uid}.1",
            patient_id=who.identifier,
            patient_name=who.name,
            study_date=who.date,
            study_time="101500",
            modality="CR",
            accession_number=f"A{number:07d}",
        )
        held = catalogue.make_study(core, tx, attributes, "radiology")
        begun = {"uid": f"{uid}.1", "study_pk": held.pk, "modality": "CR", "sealed": b""}
        added = _ADD_SERIES.write(tx.connection, begun)
        _ADD_INSTANCE.write(tx.connection, _instance(held.pk, added, uid))


def _instance(study_pk: int, series_pk: int, uid: str) -> dict[str, object]:
    empty: dict[str, object] = {
        column.name: b"" if isinstance(column.type, type(instance.c.object_id.type)) else 0
        for column in instance.columns
        if column.name != "pk"
    }
    texts = {
        "uid": f"{uid}.1.1",
        "sop_class_uid": KINDS["small"].sop_class,
        "location": "",
        "source": "operator",
    }
    texts |= {"transfer_syntax_uid": EXPLICIT_VR_LITTLE_ENDIAN, "instance_number": "1"}
    return empty | texts | {"object_id": os.urandom(16), "study_pk": study_pk, "series_pk": series_pk}


if __name__ == "__main__":
    sys.exit(harness.script(__doc__ or "", measure))
