"""`ribcage drill`: a throw-away home of this build, attacked beside its unprotected twins.

The home's passphrase is random and goes to the server by an inherited descriptor; nothing of it is on the disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import sys
import tempfile
import urllib.parse
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from ribcage.cli import settings
from ribcage.cli.commands import write_identity
from ribcage.cli.edge_ground import EdgeGround
from ribcage.cli.errors import UsageError
from ribcage.cli.operator import operator
from ribcage.cli.own_process import MAIN, OwnProcess
from ribcage.cli.witness_ground import WitnessGround
from ribcage.crypto import authority
from ribcage.crypto.provider import Argon2Parameters, FileKeyProvider
from ribcage.guard import protocol as p
from ribcage.guard.home import HomePlan, create_home
from ribcage.guard.keyring import Keyring
from ribcage.guard.place import read_facts, socket_path
from ribcage.oversight.drill.attackers import dicom, kit
from ribcage.oversight.drill.open_archive import Pair as ServerPair
from ribcage.oversight.drill.procedures import copy_home
from ribcage.oversight.drill.runner import DrillReport, run_drill
from ribcage.oversight.drill.target import (
    Cookie,
    Database,
    Holdings,
    Listener,
    Login,
    Modality,
    Pair,
    StudyRef,
    Target,
    TargetDown,
    WaitingEdge,
)
from ribcage.oversight.drill.twin import (
    KNOWN_AE,
    MODALITIES,
    OPEN_AE,
    Stock,
    running_orthanc_over_tls,
    running_pacs,
    running_twins,
)
from ribcage.oversight.studies import Study, generate, make_study
from ribcage.storage.verify import verify_home

SEED = 2025
STUDIES = 1000
_TWIN_STUDIES = 20
AT_THE_DOOR = (  # what a shield promises; the old PACS's own disk is not its to guard
    "plain_association",
    "foreign_certificate",
    "no_certificate",
    "wrong_ae_for_certificate",
    "wire_tap",
    "query_as_stranger",
    "retrieve_without_grant",
    "masked_leak",
    "replayed_code",
    "session_in_url",
    "session_guess",
    "revoked_grant",
    "hostile_pdu",
    "hostile_data_set",
    "connection_hoard",
)
# Shown on Orthanc as well; it knows no sessions, and refuses a certificate of a foreign authority.
ON_ORTHANC = {
    "no_certificate": "orthanc-tls",
    "wrong_ae_for_certificate": "orthanc-tls",
    "hostile_pdu": "archive",
    "hostile_data_set": "archive",
    "connection_hoard": "archive",
}
_ASSOCIATIONS = 4
_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_COST = Argon2Parameters(memory_kib=64 * 1024, iterations=1, lanes=2)  # the passphrase is 256 random bits
_Answer = TypeVar("_Answer")


class Ground:
    """A throw-away home with its server as a process, and everything attackers may be given of it."""

    name = "Ribcage"
    configuration = "embedded"

    def __init__(
        self,
        folder: Path,
        studies: Sequence[Study],
        program: Sequence[str] = MAIN,
        *,
        witness: bool = False,
        shield: settings.Shield | None = None,
    ) -> None:
        """Create home, devices and persons, start, and store `studies` over mutual TLS. Raises TargetDown.

        `witness`: with a witness process beside, which knows this log and which the archive trusts. `shield`: the
        PACS that the studies go to.
        """
        self.folder = folder
        self.passphrase = secrets.token_urlsafe(32).encode()
        self._home = folder / "home"
        serve = ("serve", "--quiet", "--home", str(self._home))
        self._process = OwnProcess(serve, program, start_seconds=_START_SECONDS, stop_seconds=_STOP_SECONDS)
        self._grant = -1
        self._edge: EdgeGround | None = None
        self._edges = 0
        create_home(self._home, folder / "root", self.passphrase, HomePlan("Demo Hospital", cost=_COST))
        listen = settings.Listen(dicom_port=0, https_port=0)
        wanted = settings.Settings(
            hospital="Demo Hospital", demo=True, listen=listen, shield=shield or settings.Shield()
        )
        settings.save(self._home, wanted)
        self.dicom = Listener("127.0.0.1", 0, tls=True, called_ae="RIBCAGE")
        self.web = Listener("127.0.0.1", 0, tls=True)
        self._witness = WitnessGround(folder / "witness", _COST) if witness else None
        self.start()
        try:
            if self._witness is not None:
                answer = self.ask(self._witness.trust(), p.WitnessTrusted)
                self._witness.trust_log(answer.log)
                self.configuration = "witness"
            self._furnish(studies)
        except BaseException:
            self.stop()
            raise

    def _furnish(self, studies: Sequence[Study]) -> None:
        self.device = self.add_device("modality", MODALITIES[0])
        self.innocent = self.add_device("other", MODALITIES[1])
        self.people = {name: self.add_person(name) for name in ("intruder", "doctor", "forgetful", "visitor")}
        self.studies = [StudyRef(one.study_uid, one.series_uid, one.instance_uid) for one in studies]
        self.store_all([one.file for one in studies])
        self.grant("doctor", self.studies[0].study_uid)
        self.write_seeds(studies)

    # --- what an archive under drill offers (`Target`) --------------------------------------------------

    def holdings(self) -> Holdings:
        """As of the last start."""
        return Holdings(
            dicom=self.dicom,
            web=self.web,
            ca=str(self.folder / "devices" / "ca.crt"),
            own=Pair(str(self.folder / "stranger.crt"), str(self.folder / "stranger.key")),
            device=self.device,
            innocent=self.innocent,
            known_ae=KNOWN_AE,
            intruder=self.people["intruder"],
            doctor=self.people["doctor"],
            forgetful=self.people["forgetful"],
            study=self.studies[0],
            other=self.studies[1],
            seeds=str(self.folder / "seeds.json"),
            files=(str(self.folder / "fresh.dcm"),),
        )

    def steal_disk(self, into: Path) -> Path:
        """Home and server log; the authority's root is offline and not on this disk."""
        copy_home(self._home, into / "stolen" / "home")
        (into / "stolen" / "server.log").write_bytes((self.folder / "server.log").read_bytes())
        return into / "stolen"

    def open_session(self) -> Cookie:
        """The doctor's, without second factor."""
        return self.log_in("doctor")

    def granted_session(self) -> Cookie:
        """The visitor's, with a grant of this moment."""
        self._grant = self.grant("visitor", self.studies[0].study_uid)
        return self.log_in("visitor")

    def revoke(self) -> None:
        """Take that grant back."""
        self.ask(p.RevokeGrant(grant_id=self._grant), p.Noted)

    def waiting_edge(self) -> WaitingEdge:
        """An edge of its own beside the home, with the film that nobody has stored yet."""
        edge = self.edge()
        if not edge.waiting():
            edge.take((self.folder / "fresh.dcm").read_bytes())
        return WaitingEdge(edge.home, edge.credential)

    def edge(self) -> EdgeGround:
        """A running edge whose line to this archive is cut; one until `end_edge`. Raises TargetDown."""
        if self._edge is None:
            self._edges += 1
            self._edge = EdgeGround(self.folder, f"edge-{self._edges}", _COST, self.ask)
        return self._edge

    def end_edge(self) -> None:
        """Stop that edge; the next one is another."""
        if self._edge is not None:
            self._edge.stop()
            self._edge = None

    def stop(self) -> None:
        """Stop the edge, the server, then the witness."""
        self.end_edge()
        self._process.stop()
        if self._witness is not None:
            self._witness.stop()

    def kill(self) -> None:
        """SIGKILL to the server and to every process it started; the witness ends in order."""
        self._process.kill()
        if self._witness is not None:
            self._witness.stop()

    def start(self) -> None:
        """Start and wait for the ready line. Raises TargetDown."""
        if self._witness is not None:
            self._witness.start()
        with (self.folder / "server.log").open("ab") as log:
            line = self._process.start(self.passphrase, log)
        if not line:
            self.stop()
            last = (self.folder / "server.log").read_text(errors="replace").strip().splitlines()[-1:]
            raise TargetDown(last[0][:200] if last else "the server ended without a word")
        where = json.loads(line)
        self.dicom = Listener(where["dicom"][0], where["dicom"][1], tls=True, called_ae="RIBCAGE")
        self.web = Listener(where["https"][0], where["https"][1], tls=True)

    def home(self) -> Path:
        """Its folder."""
        return self._home

    def outside(self) -> list[Path]:
        """The witness's home, if there is one."""
        return [] if self._witness is None else [self._witness.home]

    def database(self) -> Database:
        """What a database administrator holds: file and raw key."""
        provider = FileKeyProvider.open(self._home / "keys" / "provider.json", self.passphrase)
        keyring = Keyring.open(self._home / "keys" / "keystore.db", provider, read_facts(self._home).hospital)
        try:
            key = keyring.service("database").hex()
        finally:
            keyring.close()
        return Database(str(self._home / "database" / "ribcage.db"), key)

    def verify(self) -> list[str]:
        """`ribcage verify` and the findings of `ribcage status`."""

        async def talk() -> list[str]:
            async with operator(self._home, self.passphrase) as client:
                report = await verify_home(client, self._home / "objects", lambda _part, _count: None)
                status = await client.call(p.GetStatus(), p.Status)
            named = [
                f"{d.part}: {d.where}: expected {d.expected}, found {d.found}" for d in report.differences
            ]
            return [*named, *status.findings]

        return asyncio.run(talk())

    # --- the operator's hands ---------------------------------------------------------------------------

    def ask(self, request: p.Request, expected: type[_Answer]) -> _Answer:
        """One administrative call. Raises GuardError."""

        async def talk() -> _Answer:
            async with operator(self._home, self.passphrase) as client:
                return await client.call(request, expected)

        return asyncio.run(talk())

    def add_device(self, name: str, ae: str) -> Modality:
        """Register a device that may store; its pair lies beside the home, not in it."""
        added = self.ask(p.AddDevice(name=name, ae_titles=[ae], may=["store"]), p.DeviceAdded)
        write_identity(self.folder / "devices", name, added)
        place = self.folder / "devices"
        return Modality(str(place / f"{name}.crt"), str(place / f"{name}.key"), ae)

    def add_person(self, name: str) -> Login:
        """A clinician without grants."""
        request = p.AddPerson(username=name, display_name=name, roles=["clinician"])
        added = self.ask(request, p.PersonAdded)
        secret = urllib.parse.parse_qs(urllib.parse.urlsplit(added.totp_uri).query)["secret"][0]
        return Login(name, added.password, secret)

    def grant(self, name: str, study_uid: str) -> int:
        """A grant for the full view; without a fresh second factor it shows the masked one. Its number."""
        request = p.AddGrant(subject=f"person:{name}", resource=f"study:{study_uid}", view="full")
        return self.ask(request, p.GrantAdded).grant_id

    def log_in(self, name: str) -> Cookie:
        """A session of assurance 1. Raises GaveUp."""
        person = self.people[name]
        found = kit.log_in(self._brief(), {"username": person.username, "password": person.password})
        return Cookie(*found)

    def store_all(self, files: Sequence[bytes]) -> None:
        """C-STORE over mutual TLS on up to four associations. Raises TargetDown when one is not acknowledged."""
        shares = [files[start::_ASSOCIATIONS] for start in range(min(_ASSOCIATIONS, len(files)))]
        with ThreadPoolExecutor(_ASSOCIATIONS) as pool:
            for _ in pool.map(self._store, shares):
                pass

    def _store(self, files: Sequence[bytes]) -> None:
        parts = [dicom.split_file(file) for file in files]
        association = self.associate(parts)
        for part in parts:
            if (status := association.store(part)) != 0:
                raise TargetDown(f"a study was not stored: status {status:04X}")
        association.release()

    def associate(self, parts: Sequence[dicom.File]) -> dicom.Association:
        """An association of the modality that may store these. Raises GaveUp, OSError."""
        contexts = sorted({(part.sop_class, part.syntax) for part in parts})
        device = {"certificate": self.device.certificate, "key": self.device.key}
        return dicom.open_association(self._brief(), self.device.ae, contexts, device)

    def guard_socket(self) -> Path:
        """Where the guard listens."""
        return socket_path(self._home)

    def _brief(self) -> dict[str, Any]:
        holdings = {"dicom": vars(self.dicom), "web": vars(self.web)}
        return {**holdings, "ca": str(self.folder / "devices" / "ca.crt")}

    def write_seeds(self, studies: Sequence[Study]) -> None:
        """Identities at stake, a file nobody has stored yet, and a pair of a foreign authority."""
        fresh = make_study(SEED, STUDIES + 1)
        (self.folder / "fresh.dcm").write_bytes(fresh.file)
        texts = [list(one.identity.needles()) for one in [*studies, fresh]]
        (self.folder / "seeds.json").write_text(json.dumps(texts), encoding="utf-8")
        write_foreign_pair(self.folder, "stranger")


def write_foreign_pair(folder: Path, name: str) -> ServerPair:
    """A certificate and key of an authority that nobody knows, as `NAME.crt` and `NAME.key`."""
    now = datetime.now(UTC)
    issued = authority.issue_client(authority.make_root("Nobody", now=now), name, now=now, kind="ec")
    pair = ServerPair(folder / f"{name}.crt", folder / f"{name}.key")
    pair.certificate.write_bytes(issued.certificate_pem)
    pair.key.write_bytes(issued.private_key_pem)
    return pair


@contextlib.contextmanager
def open_ground(
    studies: Sequence[Study],
    program: Sequence[str] = MAIN,
    *,
    witness: bool = False,
    shield: settings.Shield | None = None,
) -> Iterator[Ground]:
    """A running `Ground` in a temporary folder, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="ribcage-drill-") as folder:
        ground = Ground(Path(folder), studies, program, witness=witness, shield=shield)
        try:
            yield ground
        finally:
            ground.stop()


def drill(only: Sequence[str] = (), studies: int = STUDIES, *, witness: bool = False) -> DrillReport:
    """The whole drill, or the named attacks. Raises TargetDown when the ground cannot be prepared."""
    print(f"preparing a throw-away home with {studies} studies 正在准备", file=sys.stderr, flush=True)
    stock = list(generate(SEED, studies))
    with open_ground(stock, witness=witness) as ground:
        holdings = ground.holdings()
        server = ServerPair(Path(holdings.own.certificate), Path(holdings.own.key))
        with running_twins(Stock(stock[:_TWIN_STUDIES], holdings, server)) as twins:
            return run_drill(ground, dict(twins), only=only)


def drill_shield(only: Sequence[str] = AT_THE_DOOR, studies: int = _TWIN_STUDIES) -> DrillReport:
    """The attacks at the door: against naked Orthanc, and against Orthanc behind the shield. Raises TargetDown.

    What Orthanc cannot show is shown on the open archive (`ON_ORTHANC`); each report names its control.
    """
    print("preparing Orthanc, and Orthanc behind a shield 正在准备", file=sys.stderr, flush=True)
    stock = list(generate(SEED, studies))
    with running_pacs() as pacs:
        before = settings.Shield("127.0.0.1", pacs.dicom_port, OPEN_AE, KNOWN_AE)
        with open_ground(stock, shield=before) as ground:
            holdings = ground.holdings()
            server = ServerPair(Path(holdings.own.certificate), Path(holdings.own.key))
            held = Stock(stock, holdings, server)
            with running_twins(held) as twins, running_orthanc_over_tls(held) as over_tls:
                controls: dict[str, Target] = {**twins, "orthanc-tls": over_tls}
                return run_drill(ground, controls, only=only, controls=ON_ORTHANC)


def run(*, as_json: bool, witness: bool, shield: bool = False) -> int:
    """`ribcage drill [--witness | --shield] [--json]`: 0 when every outcome is the promised one, else 1."""
    try:
        report = drill_shield() if shield else drill(witness=witness)
    except TargetDown as failure:
        raise UsageError(str(failure)) from failure
    if as_json:
        print(json.dumps(report.as_json(), indent=2, ensure_ascii=False))
        return report.exit_status
    for one in report.attacks:
        mark = "as promised" if one.kept else f"PROMISED {one.promised}"
        print(f"{one.name:26} {one.outcome:13} {mark}; {one.evidence}")
    if shield:
        shown = sum(one.control_on.startswith("Orthanc") for one in report.attacks)
        print(f"{shown} of {len(report.attacks)} controls on Orthanc itself, the others on the open archive")
    print(f"{sum(one.kept for one in report.attacks)} of {len(report.attacks)} outcomes as promised")
    return report.exit_status
