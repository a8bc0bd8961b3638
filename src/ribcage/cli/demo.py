"""`ribcage demo`: the story of `oversight.story` on a throw-away home; afterwards the server stays up."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ribcage.cli import demo_edge
from ribcage.cli.demo_browser import show
from ribcage.cli.demo_screens import Cast
from ribcage.cli.demo_stay import stay
from ribcage.cli.drill import SEED, STUDIES, Ground, write_foreign_pair
from ribcage.cli.errors import UsageError
from ribcage.guard import protocol as p
from ribcage.guard.proof_file import bundle_of
from ribcage.oversight.drill.attackers import dicom, kit
from ribcage.oversight.drill.attackers.replayed_code import totp
from ribcage.oversight.drill.attackers.search import Search
from ribcage.oversight.drill.attackers.wire_tap import Relay
from ribcage.oversight.drill.runner import AttackReport, run_drill
from ribcage.oversight.drill.target import Cookie, StudyRef, Target
from ribcage.oversight.drill.twin import KNOWN_AE, Stock, running_twins
from ribcage.oversight.story import Brought, Killed, Leak, Proven, Shown, Teller, tell
from ribcage.oversight.story_screens import Screens
from ribcage.oversight.studies import (
    Study,
    StudyError,
    film_identity,
    generate,
    load_film,
    make_study,
    seed_film,
)

_TWIN_STUDIES = 20
_KILLED_STORES = 40
_PATIENCE_SECONDS = 60.0
_PAGE = 1000
_VERIFIER = Path(__file__).parents[3] / "tools" / "verify_proof.py"
_VIEW_HEADER = "x-ribcage-view"


class DemoStage:
    """The stage: a `Ground` whose first study becomes the film, and the twins beside it."""

    def __init__(
        self, ground: Ground, film: Study, others: Sequence[Study], twins: dict[str, Target]
    ) -> None:
        self._ground = ground
        self._film = film
        self._others = others
        self._twins = twins
        self._cookie: Cookie | None = None
        self._grant_id = -1
        self.cast: Cast | None = None  # of the last acts
        identity = film.identity
        self._words = {
            identity.latin_name: f"name {identity.latin_name.replace('^', ' ')} {identity.chinese_name}",
            identity.id_number: f"ID number {identity.id_number}",
            identity.patient_id: f"patient ID {identity.patient_id}",
            identity.latitude: f"GPS {identity.latitude} N {identity.longitude} E",
        }

    def leak(self) -> Leak:
        """C-FIND by whoever knows the AE title, and a relay before the open archive's port."""
        twin = self._twins["archive"]
        brief = twin.holdings().brief()
        file = dicom.split_file(self._film.file)
        relay = Relay((brief["dicom"]["host"], brief["dicom"]["port"]))
        try:
            tapped = {**brief, "dicom": {**brief["dicom"], "port": relay.port}}
            sender = dicom.open_association(tapped, KNOWN_AE, [(file.sop_class, file.syntax)])
            sender.store(file)
            sender.release()
        finally:
            relay.close()
        stranger = dicom.open_association(brief, KNOWN_AE, [(dicom.STUDY_ROOT_FIND, dicom.EXPLICIT_LE)])
        answers = b"\n".join(stranger.find(dicom.everybody()))
        stranger.release()
        copied = b"\n".join(bytes(copy) for copy in relay.copies)
        return Leak(twin.name, self._read(answers), self._read(copied))

    def store_film(self) -> float:
        """Store, and make the film the study at stake."""
        started = time.perf_counter()
        self._ground.store_all([self._film.file])
        milliseconds = (time.perf_counter() - started) * 1000
        self._ground.studies.insert(
            0, StudyRef(self._film.study_uid, self._film.series_uid, self._film.instance_uid)
        )
        self._ground.grant("doctor", self._film.study_uid)
        return milliseconds

    def edge_takes(self) -> float:
        """The film that the drill's attackers carry: the archive has not got it yet."""
        return demo_edge.take(self._ground)

    def edge_brings(self) -> Brought:
        """Its receipt is checked by `tools/verify_edge_receipt.py` in a process of its own."""
        return demo_edge.bring(self._ground)

    def store_others(self) -> tuple[int, float]:
        """The generated studies, on one association."""
        started = time.perf_counter()
        self._ground.store_all([one.file for one in self._others])
        self._ground.write_seeds([self._film, *self._others])
        return len(self._others), time.perf_counter() - started

    def kill(self) -> Killed:
        """SIGKILL to all processes when a quarter of a transfer is acknowledged. Raises UsageError when none is."""
        parts = [dicom.split_file(make_study(SEED, STUDIES + 2 + n).file) for n in range(_KILLED_STORES)]
        before = self._ground.ask(p.GetStatus(), p.Status).instances
        under_way, acknowledged = threading.Event(), list[bool]()
        sender = threading.Thread(target=self._send, args=(parts, acknowledged, under_way))
        sender.start()
        if not under_way.wait(_PATIENCE_SECONDS):
            raise UsageError("the transfer did not get on", "look into the server's log")
        started = time.perf_counter()
        self._ground.kill()
        sender.join()
        self._ground.start()
        seconds = time.perf_counter() - started
        after = self._ground.ask(p.GetStatus(), p.Status).instances
        differences = len(self._ground.verify())
        return Killed(len(parts), sum(acknowledged), before, after, differences, seconds)

    def _send(
        self, parts: Sequence[dicom.File], acknowledged: list[bool], under_way: threading.Event
    ) -> None:
        """Store one after the other until the connection is gone; `acknowledged` grows by each answer."""
        with contextlib.suppress(OSError, kit.GaveUp):
            association = self._ground.associate(parts)
            for part in parts:
                acknowledged.append(association.store(part) == 0)
                if len(acknowledged) == len(parts) // 4:
                    under_way.set()

    def prove(self) -> Proven:
        """The newest disclosure of the log, checked by `tools/verify_proof.py` in a process of its own."""
        proof = self._ground.folder / "proof.json"
        index = self._newest_disclosure()
        entry = self._ground.ask(p.ProveEntry(index=index), p.EntryProof)
        bundle = bundle_of(entry)
        self._ground.stop()
        proof.write_bytes(bundle)
        said = _verify_proof(proof, entry.verifier_key)
        proof.write_bytes(bundle.replace(b"disclosure-allowed", b"disclosure-refused", 1))
        changed = _verify_proof(proof, entry.verifier_key)
        self._ground.start()
        verdict = (said.stdout or said.stderr).partition("\n")[0]
        return Proven(verdict, said.returncode == 0, changed.returncode == 1)

    def _newest_disclosure(self) -> int:
        page = self._ground.ask(p.AuditPage(start=-1, count=_PAGE), p.AuditEntries)
        found = [index for index, body in page.entries if '"disclosure-allowed"' in body]
        if not found:
            raise UsageError(
                f"no disclosure in the last {_PAGE} entries", "the film should have been shown by now"
            )
        return found[-1]

    def show(self) -> Shown:
        """WADO-RS of the film in the visitor's session."""
        if self._cookie is None:
            self._cookie = self._ground.log_in("visitor")
        started = time.perf_counter()
        answer = kit.fetch_study(self._brief(), (self._cookie.name, self._cookie.value))
        milliseconds = (time.perf_counter() - started) * 1000
        search = Search([self._film.identity.needles()])
        search.feed(answer.body)
        view = answer.headers.get(_VIEW_HEADER, "none")
        return Shown(
            answer.status, view, bool(search.found), b"DICM" in answer.body, milliseconds, _contract(answer)
        )

    def grant(self) -> float:
        """For the visitor."""
        started = time.perf_counter()
        self._grant_id = self._ground.grant("visitor", self._film.study_uid)
        return (time.perf_counter() - started) * 1000

    def step_up(self) -> None:
        """With the visitor's code of this half minute. Raises UsageError when it is refused."""
        if self._cookie is None:
            self._cookie = self._ground.log_in("visitor")
        code = totp(self._ground.people["visitor"].totp_secret, int(time.time() // 30))
        status = kit.step_up(self._brief(), (self._cookie.name, self._cookie.value), code)
        if status >= 300:
            raise UsageError(f"the second factor was refused (HTTP {status})", "is the clock right?")

    def revoke(self) -> float:
        """The visitor's grant."""
        started = time.perf_counter()
        self._ground.ask(p.RevokeGrant(grant_id=self._grant_id), p.Noted)
        return (time.perf_counter() - started) * 1000

    def attack(self, names: Sequence[str]) -> tuple[AttackReport, ...]:
        """The drill, these attacks only."""
        return run_drill(self._ground, self._twins, only=names, progress=_attempts).attacks

    def screens(self) -> contextlib.AbstractContextManager[Screens]:
        """In a browser where there is one."""
        self.cast = Cast(self._ground, self._film)
        return show(self.cast, self._ground.folder / "browser")

    def invitation(self) -> Sequence[str]:
        """Where to look; the password belongs to a home that is gone when the demonstration ends."""
        ground, doctor = self._ground, self._ground.people["doctor"]
        return (
            f"https://localhost:{ground.web.port}/app/",
            f"  user {doctor.username}   password {doctor.password}   second factor {doctor.totp_secret}",
            f"DICOM TLS {ground.dicom.host}:{ground.dicom.port}, called AE {ground.dicom.called_ae}",
            f"authority and the modality's certificate: {ground.folder / 'devices'}",
        )

    def _brief(self) -> dict[str, Any]:
        return self._ground.holdings().brief("study")

    def _read(self, data: bytes) -> tuple[str, ...]:
        return tuple(words for needle, words in self._words.items() if needle.encode() in data)


def _verify_proof(proof: Path, key: str) -> subprocess.CompletedProcess[str]:
    """A stranger's check: the program shares no code with this one."""
    command = [sys.executable, "-I", str(_VERIFIER), str(proof), "--key", key]
    return subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_SECONDS, check=False)  # noqa: S603 - our own tool


def _contract(answer: kit.Answer) -> float:
    """Microseconds of the contract's view call, from Server-Timing; 0 where it is not told."""
    _, _, milliseconds = answer.headers.get("server-timing", "").partition("contract;dur=")
    return float(milliseconds or 0) * 1000


def run(*, check: bool, browser: bool = True) -> int:
    """Tell the story; with `check` exit 0 or 1, else stay up until Ctrl-C. Raises UsageError.

    `browser`: open the person's own one at the end, where there is one.
    """
    try:
        film = seed_film(load_film(), film_identity(SEED))
    except StudyError as missing:
        raise UsageError(str(missing)) from missing
    _progress(f"making a throw-away home and {STUDIES} small studies 正在准备")
    others = list(generate(SEED, STUDIES))
    teller = Teller()
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))  # nothing is left behind
    with tempfile.TemporaryDirectory(prefix="ribcage-demo-") as folder, contextlib.ExitStack() as stack:
        ground = Ground(Path(folder), others[:2])
        stack.callback(ground.stop)
        ground.write_seeds([film, *others])
        server = write_foreign_pair(Path(folder), "twin")
        stock = Stock([film, *others[:_TWIN_STUDIES]], ground.holdings(), server)
        with running_twins(stock) as twins:
            stage = DemoStage(ground, film, others[2:], dict(twins))
            holds = tell(stage, teller)
        for failure in teller.failures:
            _progress(f"NOT as it should be: {failure}")
        if not check:
            stay(stage.cast, stage.invitation(), teller, browser=browser)
    return 0 if holds else 1


def _progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _attempts(line: str) -> None:
    """What is being tried; what came of it stands in the story."""
    if line.startswith("["):
        _progress(line)
