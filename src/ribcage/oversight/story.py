"""The demonstration as acts: what happens to one film on an open archive, and what happens to it here.

The composition root supplies the `Stage`; this module knows the order, the words and what must be true.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, TextIO

from ribcage.oversight.drill.promises import load_promises
from ribcage.oversight.drill.runner import AttackReport
from ribcage.oversight.story_screens import Screens, tell_screens

_BOLD, _RED, _GREEN, _DIM, _END = "\x1b[1m", "\x1b[31m", "\x1b[32m", "\x1b[2m", "\x1b[0m"
_DOORS = (
    "plain_association",
    "foreign_certificate",
    "no_certificate",
    "wrong_ae_for_certificate",
    "wire_tap",
)
_EDGE = ("stolen_edge_disk", "stolen_edge_credential")
_DISK = ("stolen_disk",)
_USE = ("query_as_stranger", "retrieve_without_grant", "masked_leak", "session_in_url", "revoked_grant")
_INSIDER = ("audit_row_edit",)


@dataclass(frozen=True)
class Leak:
    """What a stranger read of the film's made-up person on the open archive."""

    archive: str
    by_query: tuple[str, ...]
    by_relay: tuple[str, ...]


@dataclass(frozen=True)
class Shown:
    """One attempt to see the film: HTTP status, view as the archive named it, whether the name was in it."""

    status: int
    view: str
    named: bool
    image: bool
    milliseconds: float
    contract_microseconds: float


@dataclass(frozen=True)
class Brought:
    """What became of a film that waited at an edge, when its line to the archive was mended.

    `named`: whether its person stood in what passed on the line, `copied_bytes` of it; `proven`: a stranger's program
    says that these very bytes were taken; `refused_when_changed`: and refuses the film with one byte changed.
    """

    milliseconds: float
    copied_bytes: int
    named: bool
    verdict: str
    proven: bool
    refused_when_changed: bool


@dataclass(frozen=True)
class Killed:
    """What `kill -9` of every process left of a transfer.

    `before`, `after`: instances stored; `differences`: found by verify; `seconds` until it was back.
    """

    offered: int
    acknowledged: int
    before: int
    after: int
    differences: int
    seconds: float


@dataclass(frozen=True)
class Proven:
    """What the offline program said of a proof, and whether it refused the same proof with one letter changed."""

    verdict: str
    holds: bool
    refused_when_changed: bool


class Stage(Protocol):
    """What the composition root makes happen."""

    def leak(self) -> Leak:
        """Store the film on the open archive through a relay, ask it as a stranger."""

    def store_film(self) -> float:
        """Store the film over mutual TLS; milliseconds until it was acknowledged."""

    def edge_takes(self) -> float:
        """A modality stores a film in plain at an edge that cannot reach the archive; milliseconds."""

    def edge_brings(self) -> Brought:
        """The line is mended: the film goes to the archive, and its receipt to a stranger's program."""

    def store_others(self) -> tuple[int, float]:
        """Store the generated studies; how many, and seconds."""

    def kill(self) -> Killed:
        """Kill every process in the middle of a transfer, start again, count and verify."""

    def prove(self) -> Proven:
        """Take the proof of the newest disclosure, stop the server, have a stranger's program check it."""

    def show(self) -> Shown:
        """Fetch the film in the doctor's session as it is now."""

    def grant(self) -> float:
        """Grant the doctor the film; milliseconds."""

    def step_up(self) -> None:
        """Prove the doctor's second factor."""

    def revoke(self) -> float:
        """Take the grant back; milliseconds."""

    def attack(self, names: Sequence[str]) -> tuple[AttackReport, ...]:
        """Run the named attacks and their controls."""

    def screens(self) -> AbstractContextManager[Screens]:
        """A doctor's screen and a patient's telephone, for the last acts."""

    def invitation(self) -> Sequence[str]:
        """Lines that tell a person where to look now: addresses, a way to log in."""


class Teller:
    """Prints the story; remembers whether everything was as it should be. Colours on terminals only."""

    def __init__(self, out: TextIO = sys.stdout) -> None:
        self._out = out
        self._colours = out.isatty()
        self.failures: list[str] = []

    def act(self, english: str, chinese: str) -> None:
        """A heading in both languages."""
        self.line(f"\n{self._paint(_BOLD, f'{english}  {chinese}')}")

    def line(self, text: str) -> None:
        """Plain text."""
        print(text, file=self._out, flush=True)

    def check(self, text: str, holds: bool) -> None:
        """One statement, marked by whether it holds."""
        mark = self._paint(_GREEN, "ok ") if holds else self._paint(_RED, "NOT")
        self.line(f"  {mark} {text}")
        if not holds:
            self.failures.append(text)

    def note(self, text: str) -> None:
        """A quieter line."""
        self.line(self._paint(_DIM, f"      {text}"))

    def _paint(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_END}" if self._colours else text


def tell(stage: Stage, teller: Teller) -> bool:
    """The whole story. True when every statement held."""
    started = time.monotonic()
    reports: list[AttackReport] = []
    _act_leak(stage, teller)
    _act_in(stage, teller, reports)
    _act_disk(stage, teller, reports)
    _act_use(stage, teller, reports)
    _act_insider(stage, teller, reports)
    _act_proof(stage, teller)
    with stage.screens() as screens:
        tell_screens(screens, teller)
    _table(teller, reports)
    _not_yet(teller)
    teller.line(f"\n{time.monotonic() - started:.0f} s")
    return not teller.failures


def _act_leak(stage: Stage, teller: Teller) -> None:
    teller.act("Act 0: the leak", "第零幕：泄露")
    leak = stage.leak()
    teller.line(f"  The film lies on an open archive ({leak.archive}); the person in it is made up.")
    teller.check(f"a stranger asked by C-FIND and read: {', '.join(leak.by_query)}", bool(leak.by_query))
    teller.check(f"a relay on the way copied: {', '.join(leak.by_relay)}", bool(leak.by_relay))


def _act_in(stage: Stage, teller: Teller, reports: list[AttackReport]) -> None:
    teller.act("Act 1: sealed at capture, trusted in transfer", "第一幕：采集加密，传输可信")
    milliseconds = stage.store_film()
    teller.check(f"stored over mutual TLS, sealed, logged, acknowledged after {milliseconds:.0f} ms", True)
    tell_edge(stage, teller, reports)
    _attacks(stage, teller, reports, _DOORS)


def tell_edge(stage: Stage, teller: Teller, reports: list[AttackReport]) -> None:
    """Beside a modality that cannot speak TLS: a film is taken, stolen, brought and proven."""
    teller.line(
        "  An edge stands beside a modality without TLS; the network is cut. 边缘网关旁的老设备；网络中断"
    )
    milliseconds = stage.edge_takes()
    teller.check(f"plain on loopback, sealed on the spot, acknowledged after {milliseconds:.0f} ms", True)
    _attacks(stage, teller, reports, _EDGE)
    teller.line("  The network is back. 网络恢复")
    brought = stage.edge_brings()
    teller.check(
        f"the edge brought the film in {brought.milliseconds:.0f} ms, "
        f"no name in {brought.copied_bytes} bytes on the way",
        brought.copied_bytes > 0 and not brought.named,
    )
    teller.check("one file of Python checks the receipt for the bytes that the modality sent", brought.proven)
    teller.note(brought.verdict)
    teller.check("the same receipt for other bytes is refused", brought.refused_when_changed)


def _act_disk(stage: Stage, teller: Teller, reports: list[AttackReport]) -> None:
    teller.act("Act 2: reliable in storage", "第二幕：存储可靠")
    count, seconds = stage.store_others()
    teller.check(f"{count} studies more, stored in {seconds:.1f} s; now a thief copies the disk", count > 0)
    _attacks(stage, teller, reports, _DISK)
    _kill(stage, teller)


def _kill(stage: Stage, teller: Teller) -> None:
    killed = stage.kill()
    there = killed.after - killed.before
    # the one on its way may be there without its answer, no other
    whole = killed.acknowledged > 0 and there - killed.acknowledged in (0, 1) and not killed.differences
    teller.check(
        f"kill -9 of every process in the middle of {killed.offered} stores: {killed.acknowledged} acknowledged, "
        f"{there} there {killed.seconds:.1f} s later, verify finds {killed.differences} differences",
        whole,
    )


def _act_use(stage: Stage, teller: Teller, reports: list[AttackReport]) -> None:
    teller.act("Act 3: controlled in use", "第三幕：使用可控")
    shown = stage.show()
    teller.check(
        f"no grant: HTTP {shown.status}, no image, contract {shown.contract_microseconds:.0f} µs, "
        f"whole answer {shown.milliseconds:.0f} ms",
        not shown.image,
    )
    teller.line(f"      a grant goes on the ledger ({stage.grant():.0f} ms)")
    shown = stage.show()
    masked = shown.image and shown.view == "masked" and not shown.named
    teller.check(f"with grant: the image, {shown.view}, no name in it, {shown.milliseconds:.0f} ms", masked)
    stage.step_up()
    shown = stage.show()
    full = shown.image and shown.view in ("full", "original") and shown.named
    teller.check(f"after the second factor: the image, {shown.view}, {shown.milliseconds:.0f} ms", full)
    teller.line(f"      the grant is revoked ({stage.revoke():.0f} ms)")
    shown = stage.show()
    teller.check(
        f"after revocation: HTTP {shown.status}, no image, {shown.milliseconds:.0f} ms", not shown.image
    )
    _attacks(stage, teller, reports, _USE)


def _act_insider(stage: Stage, teller: Teller, reports: list[AttackReport]) -> None:
    teller.act("Act 4: the insider edits the log", "第四幕：内部人员篡改日志")
    _attacks(stage, teller, reports, _INSIDER)


def _act_proof(stage: Stage, teller: Teller) -> None:
    teller.act("Act 5: proof without the server", "第五幕：离线举证")
    proven = stage.prove()
    teller.check("the server is stopped; one file of Python checks who saw the film", proven.holds)
    teller.note(proven.verdict)
    teller.check("the same proof with one letter changed is refused", proven.refused_when_changed)


def _attacks(stage: Stage, teller: Teller, reports: list[AttackReport], names: Sequence[str]) -> None:
    titles = {one.name: one for one in load_promises().attacks}
    for report in stage.attack(names):
        reports.append(report)
        promise = titles[report.name]
        teller.check(f"{promise.title} {promise.title_zh}: {report.outcome}", report.kept)
        teller.note(report.evidence)


def _table(teller: Teller, reports: Sequence[AttackReport]) -> None:
    teller.act("What was tried", "攻击一览")
    titles = {one.name: one.title for one in load_promises().attacks}
    width = max(len(titles[report.name]) for report in reports)
    teller.line(f"  {'attack':{width}} | open archive | Ribcage")
    teller.line(f"  {'-' * width}-|--------------|--------")
    for report in reports:
        control = "open" if report.control == "succeeded" else "no control"
        teller.line(f"  {titles[report.name]:{width}} | {control:12} | {report.outcome}")


def _not_yet(teller: Teller) -> None:
    teller.act("Not yet", "尚未实现")
    for one in load_promises().not_yet:
        teller.line(f"  - {one.text}")
        teller.line(f"    {one.text_zh}")
