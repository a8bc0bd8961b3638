"""The parts of a migration: plain only where it was named, pace, hours, journal, receiving end."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from helpers.raw_scu import AssociationFailed, store
from ribcage.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from ribcage.transfer.migration.errors import GivenUp, JournalUnusable, PeerLost, PlainRefused
from ribcage.transfer.migration.journal import Listed, open_journal
from ribcage.transfer.migration.pace import Hours, Pace
from ribcage.transfer.migration.peer import Peer, check_plain
from ribcage.transfer.migration.pull import Plan, pull
from ribcage.transfer.migration.receiver import Expected, Receiver
from ribcage.transfer.migration.source import Arrived, Take

CR = "1.2.840.10008.5.1.4.1.1.1"
_INSTANCE = bytes.fromhex("08001800") + b"UI\x06\x001.2.3\x00"


@pytest.mark.parametrize(
    ("host", "isolated"),
    [
        ("10.1.2.3", ""),
        ("10.1.2.3", "10.1.2.4"),
        ("10.1.2.3", "10.1.2.0/24"),
        ("8.8.8.8", "8.8.8.8"),
        ("localhost", ""),
        ("pacs.example", "pacs.example"),
        ("0.0.0.0", "0.0.0.1"),
    ],
)
def test_plain_goes_nowhere_else(host: str, isolated: str) -> None:
    with pytest.raises(PlainRefused):
        check_plain(host, isolated)


@pytest.mark.parametrize(("host", "isolated"), [("127.0.0.1", ""), ("::1", ""), ("10.1.2.3", "10.1.2.3")])
def test_plain_goes_to_loopback_and_the_named_address(host: str, isolated: str) -> None:
    check_plain(host, isolated)


def test_the_pace_holds_over_all_workers() -> None:
    pace = Pace(1000.0, clock=lambda: 5.0)
    pace.stop.set()  # nobody really waits
    assert [pace.take(500) for _ in range(3)] == [0.5, 1.0, 1.5]
    assert Pace().take(1 << 30) == 0.0


def test_hours_may_go_over_midnight() -> None:
    night = Hours(19 * 60, 6 * 60)
    assert [night.open_at(hour * 60) for hour in (18, 19, 23, 0, 5, 6, 12)] == [
        False, True, True, True, True, False, False,
    ]  # fmt: skip
    assert Hours().open_at(0)


def test_the_journal_remembers_and_belongs_to_one_source(tmp_path: Path) -> None:
    journal = open_journal(tmp_path / "work", "dicom:OLD")
    journal.announce([("1.2", 3), ("1.1", 1)])
    study = journal.claim()
    assert study is not None
    assert study.uid == "1.2"
    listed = [Listed("1.2.1", "1.2.0", CR), Listed("1.2.2", "1.2.0", CR)]
    assert journal.list_instances(study, listed) == listed
    journal.note(study, "1.2.1", "acknowledged", "", bytes(32), 10)
    with pytest.raises(JournalUnusable, match="another process"):
        open_journal(tmp_path / "work", "dicom:OLD")
    journal.close()
    assert (tmp_path / "work").stat().st_mode & 0o777 == 0o700
    with pytest.raises(JournalUnusable, match="another source"):
        open_journal(tmp_path / "work", "dicom:OTHER")
    journal = open_journal(tmp_path / "work", "dicom:OLD")
    study = journal.claim()
    assert study is not None
    assert journal.list_instances(study, listed) == listed[1:], "what was acknowledged is not due"
    journal.finish(study, "not-sent")
    lines = [(one.study_uid, one.announced, one.uid, one.reason) for one in journal.lines()]
    assert lines == [
        ("1.1", 1, "", ""),
        ("1.2", 3, "", ""),
        ("1.2", 0, "1.2.1", ""),
        ("1.2", 0, "1.2.2", "not-sent"),
    ]
    assert journal.progress().done == 1
    journal.open_failed()
    assert journal.progress().done == 0
    journal.close()
    journal = open_journal(tmp_path / "work", "dicom:OLD")
    study = journal.claim()
    assert study is not None
    assert journal.list_instances(study, listed) == listed[1:], "what did not come is due again"
    journal.finish(study, "not-sent")
    journal.announce([("1.2", 3)])
    assert journal.progress().done == 1
    journal.announce([("1.2", 4)])
    assert journal.progress().done == 0, "the old PACS has more now"
    journal.close()


class _Lost:
    """Both ends of a run; the archive never answers."""

    asked = 0

    def studies(self) -> Iterator[tuple[str, int]]:
        yield from (("1.1", 1), ("1.2", 1), ("1.3", 1), ("1.4", 1))

    def instances(self, study_uid: str) -> list[Listed]:
        _Lost.asked += 1
        return [Listed(f"{study_uid}.1", f"{study_uid}.0", CR)]

    def fetch(self, study_uid: str, wanted: Sequence[Listed], whole: bool, take: Take) -> None:
        take(Arrived(CR, wanted[0].uid, EXPLICIT_VR_LITTLE_ENDIAN, b"film"))

    def store(self, one: Arrived) -> tuple[int, str]:
        raise PeerLost("the archive does not answer")

    def close(self) -> None:
        pass


class _Silent(_Lost):
    """An old PACS that breaks off whatever study is asked for."""

    def fetch(self, study_uid: str, wanted: Sequence[Listed], whole: bool, take: Take) -> None:
        raise PeerLost("the old PACS broke off")


@pytest.mark.parametrize(("ends", "asked", "error"), [(_Lost, 1, GivenUp), (_Silent, 3, PeerLost)])
def test_a_run_gives_up_in_the_end_and_loses_nothing(
    tmp_path: Path, ends: type[_Lost], asked: int, error: type[Exception]
) -> None:
    journal = open_journal(tmp_path, "dicom:OLD")
    _Lost.asked = 0
    plan = Plan(ends, ends, Pace(), at_once=1, patience_seconds=0.0)  # type: ignore[arg-type]  # a stand-in for the archive
    with pytest.raises(error):
        pull(plan, journal)
    assert _Lost.asked == asked
    assert (journal.progress().studies, journal.progress().done) == (4, 0)
    journal.close()


def test_a_damaged_journal_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(b"no database at all, but long enough to be read as one" * 9)
    with pytest.raises(JournalUnusable, match="damaged"):
        open_journal(tmp_path, "dicom:OLD")


def test_the_receiving_end_takes_what_is_expected_and_nothing_else() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    came: list[Arrived] = []

    def take(one: Arrived) -> int:
        came.append(one)
        return 0

    def send(uid: str, called: str = "MIGRATE") -> int:
        where = ("127.0.0.1", port)
        return store(where, None, "OLD", called, CR, uid, EXPLICIT_VR_LITTLE_ENDIAN, _INSTANCE)

    receiver = Receiver(
        ("127.0.0.1", port), Peer("it", "dicom", "127.0.0.1", 104, "OLD", None), "MIGRATE", None
    )
    try:
        assert send("1.2.3") == 0xA900, "nothing is expected"
        receiver.expect(Expected({"1.2.3"}, take))
        assert send("1.2.4") == 0xA900
        assert send("1.2.3") == 0
        with pytest.raises(AssociationFailed):
            send("1.2.3", "ANOTHER")
        assert [(one.uid, bytes(one.data)) for one in came] == [("1.2.3", _INSTANCE)]
    finally:
        receiver.close()
    stranger = Receiver(
        ("127.0.0.1", port), Peer("it", "dicom", "127.0.0.9", 104, "OLD", None), "MIGRATE", None
    )
    try:
        stranger.expect(Expected({"1.2.3"}, take))
        with pytest.raises((AssociationFailed, OSError)):
            send("1.2.3")
    finally:
        stranger.close()
    assert len(came) == 1
