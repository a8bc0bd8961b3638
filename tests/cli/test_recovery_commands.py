"""`ribcage recovery`, `ribcage passphrase change` as people meet them: one line for a mistake, nothing changed."""

from __future__ import annotations

import asyncio
import contextlib
import io
import itertools
import os
import pty
import select
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from shamir_mnemonic.share import Share

from helpers.guard_house import PASSPHRASE, new_home, running
from ribcage.cli import recovery, settings
from ribcage.cli.main import main
from ribcage.crypto.errors import WrongPassphrase
from ribcage.crypto.provider import FileKeyProvider
from ribcage.guard.errors import GuardUnavailable
from ribcage.guard.protocol import MakeRecovery, RecoveryState

NEW = b"a new passphrase"
MAIN = [sys.executable, "-m", "ribcage.cli.main"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = new_home(tmp_path)
    settings.save(made, settings.Settings())
    return made


@dataclass
class Done:
    returncode: int
    stdout: str
    stderr: str


def ribcage(*words: object, **passphrases: bytes) -> Done:
    """One command, in this process; `passphrase=…` and `new_passphrase=…` go in by descriptors."""
    command, held = [str(word) for word in words], []
    for name, value in passphrases.items():
        reading, writing = os.pipe()
        os.write(writing, value)
        os.close(writing)
        held.append(reading)
        command += [f"--{name.replace('_', '-')}-fd", str(reading)]
    out, errors = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            status = main(command)
    finally:
        for each in held:
            os.close(each)
    return Done(status, out.getvalue(), errors.getvalue())


def complaint(done: Done) -> str:
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) <= 2
    return lines[0]


def make(home: Path, out: Path, need: int = 2, of: int = 3) -> list[Path]:
    done = ribcage(
        *("recovery", "make", "--of", of, "--need", need, "--out-dir", out, "--home", home),
        passphrase=PASSPHRASE,
    )
    assert done.returncode == 0, done.stderr
    assert f"any {need} of {of}" in done.stdout
    return sorted(out.iterdir())


def given(files: list[Path]) -> list[object]:
    return [word for file in files for word in ("--share-file", file)]


def words_of(file: Path) -> str:
    return file.read_text().splitlines()[-1]


def test_lost_passphrase_comes_back_by_two_of_three(home: Path, tmp_path: Path) -> None:
    shares = make(home, tmp_path / "out")
    assert [each.name for each in shares] == [f"share-{n}-of-3.txt" for n in (1, 2, 3)]
    assert {each.stat().st_mode & 0o077 for each in shares} == {0}
    rehearsed = ribcage("recovery", "check", "--home", home, *given(shares[1:]))
    assert "nothing was changed" in rehearsed.stdout
    used = ribcage("recovery", "use", "--home", home, *given(shares[:2]), new_passphrase=NEW)
    assert used.returncode == 0, used.stderr
    with pytest.raises(WrongPassphrase):
        FileKeyProvider.open(home / "keys" / "provider.json", PASSPHRASE)
    changed = ribcage("passphrase", "change", "--home", home, passphrase=NEW, new_passphrase=PASSPHRASE)
    assert changed.returncode == 0, changed.stderr
    assert ribcage("recovery", "check", "--home", home, *given(shares)).returncode == 0
    log = ribcage("audit", "show", "--home", home, passphrase=PASSPHRASE).stdout
    assert ["change=made" in log, "change=used" in log, "setting passphrase" in log] == [True] * 3


def test_wrong_mixed_few_double_and_damaged_shares_are_one_line_each(home: Path, tmp_path: Path) -> None:
    first, second, _third = make(home, tmp_path / "out")
    other = new_home(tmp_path / "elsewhere")
    settings.save(other, settings.Settings())
    theirs = make(other, tmp_path / "theirs")
    damaged, forged, long = (tmp_path / name for name in ("damaged", "forged", "long"))
    text = words_of(second).split()
    damaged.write_text(" ".join([*text[:7], "academic" if text[7] != "academic" else "acid", *text[8:]]))
    forged.write_text(replace(Share.from_mnemonic(words_of(second)), value=bytes(32)).mnemonic())
    long.write_bytes(b"academic " * 100_000)
    before = (home / "keys" / "provider.json").read_bytes()
    for files, said in (
        ([first], "expected 2 shares, got 1"),
        ([first, first], "share 2 is the same as share 1"),
        ([first, theirs[1]], "another set"),
        (theirs[:2], "another home"),
        ([first, damaged], "share 2 is damaged"),
        ([first, forged], "not genuine"),
        ([first, long], "expected 33 words"),
        ([first, tmp_path / "nowhere"], "No such file"),
        ([first, tmp_path], "directory"),
    ):
        for verb in ("check", "use"):
            more = {"new_passphrase": NEW} if verb == "use" else {}
            line = complaint(ribcage("recovery", verb, "--home", home, *given(files), **more))
            assert said in line, line
            # Some of our own words are words of shares, two in a row are not.
            assert not set(itertools.pairwise(text[4:])) & set(itertools.pairwise(line.split()))
    assert (home / "keys" / "provider.json").read_bytes() == before


def test_new_shares_make_the_old_ones_worthless(home: Path, tmp_path: Path) -> None:
    old, new = make(home, tmp_path / "old"), make(home, tmp_path / "new", 3, 5)
    assert "replaced by newer ones" in complaint(ribcage("recovery", "check", "--home", home, *given(old)))
    assert ribcage("recovery", "check", "--home", home, *given(new[2:])).returncode == 0
    forgotten = ribcage("recovery", "forget", "--home", home, passphrase=PASSPHRASE)
    assert "no shares open" in forgotten.stdout
    assert "no recovery shares" in complaint(ribcage("recovery", "check", "--home", home, *given(new)))
    assert "no recovery shares" in ribcage("recovery", "status", "--home", home, passphrase=PASSPHRASE).stdout


def test_making_is_refused_before_anything_is_written(home: Path, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "something").touch()
    link = tmp_path / "link"
    link.symlink_to(home / "keys", target_is_directory=True)
    before = (home / "keys" / "provider.json").read_bytes()
    for need, of, out, passphrase, said in (
        (2, 3, home / "keys" / "shares", PASSPHRASE, "inside the home"),
        (2, 3, link / "shares", PASSPHRASE, "inside the home"),
        (2, 3, full, PASSPHRASE, "not empty"),
        (2, 3, tmp_path / "out", NEW, "wrong passphrase"),
        (1, 3, tmp_path / "out", PASSPHRASE, "2 <="),
        (4, 3, tmp_path / "out", PASSPHRASE, "2 <="),
        (2, 17, tmp_path / "out", PASSPHRASE, "2 <="),
    ):
        command = ("recovery", "make", "--need", need, "--of", of, "--out-dir", out, "--home", home)
        assert said in complaint(ribcage(*command, passphrase=passphrase))
    command = ("recovery", "make", "--need", 2, "--of", 3, "--home", home)
    assert "no terminal" in complaint(ribcage(*command, passphrase=PASSPHRASE))
    assert (home / "keys" / "provider.json").read_bytes() == before
    assert not (tmp_path / "out").exists()
    assert not (home / "keys" / "shares").exists()


def test_a_share_that_cannot_be_written_leaves_none_and_the_old_set_in_force(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(folder: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(recovery, "sync_folder", full)
    with pytest.raises(OSError, match="No space"):
        recovery._write(home, tmp_path / "out", ["academic"] * 3, 2, "0123")
    assert list((tmp_path / "out").iterdir()) == []


def test_nothing_is_changed_while_the_archive_runs(home: Path, tmp_path: Path) -> None:
    shares = make(home, tmp_path / "out")
    before = (home / "keys" / "provider.json").read_bytes()

    async def run() -> None:
        async with running(home):
            for words, passphrases in (
                (("recovery", "use", *given(shares)), {"new_passphrase": NEW}),
                (("passphrase", "change"), {"passphrase": PASSPHRASE, "new_passphrase": NEW}),
            ):
                done = await asyncio.to_thread(ribcage, *words, "--home", home, **passphrases)
                assert "is running" in complaint(done)

    asyncio.run(run())
    assert (home / "keys" / "provider.json").read_bytes() == before


# --- at a terminal --------------------------------------------------------------------------------------


class Terminal:
    """A command at a terminal, and what stood on its screen."""

    def __init__(self, *words: object, passphrase: bytes | None = None) -> None:
        command, held = [*MAIN, *map(str, words)], ()
        if passphrase is not None:
            reading, writing = os.pipe()
            os.write(writing, passphrase)
            os.close(writing)
            command, held = [*command, "--passphrase-fd", str(reading)], (reading,)
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            command, pass_fds=held, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
        )
        for each in (slave, *held):
            os.close(each)
        self.seen = ""

    def until(self, words: str) -> str:
        """Read until these words came; what came before them since the last time."""
        end = time.monotonic() + 40
        while words not in self.seen:
            assert time.monotonic() < end, self.seen
            if select.select([self._master], [], [], 1)[0]:
                self.seen += os.read(self._master, 65536).decode()
        before, self.seen = self.seen.split(words, 1)
        return before

    def types(self, text: str) -> None:
        os.write(self._master, text.encode() + b"\n")

    def ends(self) -> int:
        return self.process.wait(40)


def _shown(text: str) -> str:
    words = text.split("in order:")[1].split("\x1b")[0].split()
    return " ".join(word for word in words if not word.isdigit())


def test_each_keeper_sees_one_share_and_the_screen_is_cleared(home: Path) -> None:
    shares = []
    terminal = Terminal("recovery", "make", "--of", 3, "--need", 2, "--home", home, passphrase=PASSPHRASE)
    for number in (1, 2, 3):
        terminal.until(f"Share {number} of 3")
        terminal.types("")
        shares.append(_shown(terminal.until("Written down")))
        terminal.types("")
        terminal.until("\x1b[2J\x1b[3J\x1b[H")
    terminal.until("any 2 of 3")
    assert terminal.ends() == 0
    asked = Terminal("recovery", "use", "--home", home)
    asked.until("Share 1 of 2")
    asked.types(shares[2] + " academic")
    asked.until("try again")
    asked.until("Share 1 of 2")
    asked.types(shares[2])
    asked.until("Share 2 of 2")
    asked.types(shares[0])
    for prompt in ("New passphrase", "Again"):
        asked.until(prompt)
        asked.types(NEW.decode())
    asked.until("is in force")
    assert asked.ends() == 0
    FileKeyProvider.open(home / "keys" / "provider.json", NEW)


def test_a_guard_that_goes_away_leaves_the_shares_and_says_how_to_tell(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = recovery._with_operator

    def lost(options: object, passphrase: bytes, request: object) -> RecoveryState:
        state = ask(options, passphrase, request)
        if isinstance(request, MakeRecovery):
            raise GuardUnavailable("the guard went away")
        return state

    monkeypatch.setattr(recovery, "_with_operator", lost)
    command = ("recovery", "make", "--need", 2, "--of", 3, "--out-dir", tmp_path / "out", "--home", home)
    done = ribcage(*command, passphrase=PASSPHRASE)
    assert done.returncode == 2
    assert "counts only if" in done.stderr
    shares = sorted((tmp_path / "out").iterdir())
    assert ribcage("recovery", "check", "--home", home, *given(shares)).returncode == 0
