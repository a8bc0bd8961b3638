"""`ribcage recovery` and `ribcage passphrase change`: ways back to a home, and new passphrases.

The key pair of a set of shares is made and split here; the guard learns the public key alone. The shares are out
before the guard is told, so that a set which could not be shown or written never replaces one that people hold.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ribcage.cli import settings
from ribcage.cli.errors import UsageError, files_at
from ribcage.cli.moments import minute
from ribcage.cli.operator import login, operator
from ribcage.cli.passphrase import read_new_passphrase, read_passphrase
from ribcage.crypto.errors import SharesRefused
from ribcage.crypto.provider import FileKeyProvider, check_passphrase, provider_facts
from ribcage.crypto.recovery import RecoveryKey, new_pair
from ribcage.crypto.shares import check_numbers, check_share, join, split
from ribcage.guard.client import GuardClient
from ribcage.guard.durable import sync_folder
from ribcage.guard.home import Unlock
from ribcage.guard.place import socket_path
from ribcage.guard.protocol import ForgetRecovery, GetRecovery, MakeRecovery, RecoveryState
from ribcage.guard.recovery import passphrase_changed, renew_passphrase, shares_used

_WORDS_A_LINE = 4
_MOST_BYTES = 4096
_CLEAR = "\x1b[2J\x1b[3J\x1b[H"  # the screen and what was scrolled away
_UNCHANGED = "nothing was changed; ask the keepers again, or use other shares"


def add_verbs(verb: Callable[..., Any], with_guard: Callable[..., Any], verbs: Any) -> None:
    """The verbs. `verb` and `with_guard` are the command line's own."""
    actions = verbs.add_parser("recovery", help="shares for a lost passphrase").add_subparsers(
        dest="action", required=True
    )
    one = verb(actions, "make", "make shares; the ones of before become worthless", make)
    one.add_argument("--of", type=int, required=True, metavar="N", help="how many shares, 2 to 16")
    one.add_argument("--need", type=int, required=True, metavar="K", help="how many of them open the archive")
    one.add_argument("--out-dir", type=Path, metavar="FOLDER", help="one file a share, outside the home")
    verb(actions, "status", "whether there are shares, and which", with_guard(status))
    one = verb(actions, "check", "prove that shares fit; changes nothing, needs no passphrase", check)
    add_share_files(one)
    one = verb(actions, "use", "set a new passphrase by shares; stop the server first", use)
    add_share_files(one)
    _new_passphrase(one)
    verb(actions, "forget", "no shares open the archive any more", forget)
    actions = verbs.add_parser("passphrase", help="the passphrase").add_subparsers(
        dest="action", required=True
    )
    one = verb(actions, "change", "set a new passphrase; stop the server first", change)
    _new_passphrase(one)


def add_share_files(parser: Any) -> None:
    """`--share-file`, for verbs that shares open."""
    parser.add_argument(
        "--share-file", type=Path, action="append", default=[], metavar="FILE", help="a share; once for each"
    )


def _new_passphrase(parser: Any) -> None:
    parser.add_argument(
        "--new-passphrase-fd", type=int, metavar="N", help="read the new passphrase from descriptor N"
    )


# --- making ---------------------------------------------------------------------------------------------


def make(options: argparse.Namespace) -> int:
    """`ribcage recovery make --of N --need K [--out-dir FOLDER]`. Raises UsageError, GuardRefused."""
    with _one_line("2 <= K <= N <= 16, for example --of 5 --need 3"):
        check_numbers(options.need, options.of)
    if options.out_dir is None and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("there is no terminal to show the shares on", "use --out-dir FOLDER")
    passphrase = _passphrase(options)
    before = _with_operator(options, passphrase, GetRecovery())
    if before.need:
        print(f"the shares of set {_name(before.fingerprint)} become worthless when this is done")
    private, public = new_pair()
    shares = split(private, options.need, options.of)
    name = _name(RecoveryKey(public, options.need, options.of, 0).fingerprint)
    if options.out_dir is None:
        _show(shares, options.need, name)
    else:
        with files_at("the shares"):
            _write(options.home, options.out_dir, shares, options.need, name)
    try:
        state = _with_operator(
            options, passphrase, MakeRecovery(public, options.need, options.of, passphrase)
        )
    except BaseException:
        print(
            f"set {name} counts only if `ribcage recovery status` names it; else destroy it", file=sys.stderr
        )
        raise
    _show_state(state)
    print("copy provider.json anew and destroy its older copies; rehearse now: ribcage recovery check")
    return 0


def _show(shares: list[str], need: int, name: str) -> None:
    """One person after the other, each alone with the screen."""
    for number, share in enumerate(shares, 1):
        print(_CLEAR, end="")
        input(
            f"Share {number} of {len(shares)}: only its keeper may look. Enter shows it. 仅限保管人，回车显示 "
        )
        print(f"\nSet {name}, {need} of {len(shares)} open the archive. Write down all words, in order:\n")
        words = share.split()
        for start in range(0, len(words), _WORDS_A_LINE):
            some = enumerate(words[start : start + _WORDS_A_LINE], start + 1)
            print("   ".join(f"{place:2} {word:10}" for place, word in some))
        input("\nWritten down and read again? Enter clears the screen. 抄好并核对后回车清屏 ")
        print(_CLEAR, end="")


def _write(home: Path, folder: Path, shares: list[str], need: int, name: str) -> None:
    """One file a share, durably; none when not all could be written. Raises UsageError, OSError."""
    if folder.resolve().is_relative_to(home.resolve()):
        raise UsageError("the shares would lie inside the home", "give --out-dir another medium")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty", "give --out-dir a new folder")
    with contextlib.ExitStack() as undo:
        for number, share in enumerate(shares, 1):
            path = folder / f"share-{number}-of-{len(shares)}.txt"
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            undo.callback(path.unlink)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(
                    f"# Ribcage recovery share {number} of {len(shares)}, set {name}; any {need} open it.\n"
                )
                file.write("# Keep it secret and alone. 恢复份额：请单独保密保管。\n" + share + "\n")
                file.flush()
                os.fsync(file.fileno())
        sync_folder(folder)
        undo.pop_all()
    print(f"{len(shares)} shares are in {folder}: one to each keeper, then delete the folder")


# --- the rest -------------------------------------------------------------------------------------------


async def status(client: GuardClient, _options: argparse.Namespace) -> int:
    """`ribcage recovery status`; 1 when the record was changed by somebody."""
    return _show_state(await client.call(GetRecovery(), RecoveryState))


def forget(options: argparse.Namespace) -> int:
    """`ribcage recovery forget`."""
    passphrase = _passphrase(options)
    _with_operator(options, passphrase, ForgetRecovery(passphrase))
    print("no shares open this archive any more; destroy them, and older copies of provider.json")
    return 0


def unlock_by_shares(options: argparse.Namespace, provider: Path) -> Unlock:
    """What opens this provider's file, by `--share-file` or asked for. Raises UsageError."""
    key = provider_facts(provider).recovery
    with _one_line(_UNCHANGED):
        private = join(_shares(options, key))
        FileKeyProvider.recover(provider, private)
    return lambda path: FileKeyProvider.recover(path, private)


def check(options: argparse.Namespace) -> int:
    """`ribcage recovery check [--share-file FILE]…`: changes nothing."""
    settings.load(options.home)
    unlock_by_shares(options, _provider(options))
    print("these shares open the archive 份额有效; nothing was changed")
    return 0


def use(options: argparse.Namespace) -> int:
    """`ribcage recovery use [--share-file FILE]…`: a new passphrase by shares."""
    _stopped(options)
    return _renew(options, unlock_by_shares(options, _provider(options)), by_shares=True)


def change(options: argparse.Namespace) -> int:
    """`ribcage passphrase change`."""
    _stopped(options)
    old = _passphrase(options)
    return _renew(options, lambda path: FileKeyProvider.open(path, old), by_shares=False)


def _renew(options: argparse.Namespace, unlock: Unlock, *, by_shares: bool) -> int:
    passphrase = read_new_passphrase(options.new_passphrase_fd)
    check_passphrase(passphrase)
    limits = settings.load(options.home).guard_limits()
    event = (shares_used if by_shares else passphrase_changed)(login())
    number = asyncio.run(renew_passphrase(options.home, unlock, passphrase, limits, event))
    print(f"the new passphrase is in force, the old one opens nothing; log entry {number}")
    print("copy provider.json anew and destroy its older copies; give the service its new passphrase")
    if by_shares:
        print("these shares were seen together: make new ones with `ribcage recovery make`")
    return 0


def _stopped(options: argparse.Namespace) -> None:
    """Raises UsageError while a guard answers: its supervisor would hand the old passphrase to the next."""
    settings.load(options.home)

    async def answers() -> bool:
        try:
            _, writer = await asyncio.open_unix_connection(str(socket_path(options.home)))
        except OSError:
            return False
        writer.close()
        return True

    if asyncio.run(answers()):
        raise UsageError("the archive is running", "stop `ribcage serve` first; nothing was changed")


def _shares(options: argparse.Namespace, key: RecoveryKey | None) -> list[str]:
    """The shares of the files, else asked for. Raises UsageError, SharesRefused."""
    if key is None:
        raise UsageError("there are no recovery shares of this archive", "only the passphrase opens it")
    if options.share_file:
        return [_read_share(path) for path in options.share_file]
    if not sys.stdin.isatty():
        raise UsageError("no shares: there is no terminal to ask on", "use --share-file FILE for each")
    print(f"set {_name(key.fingerprint)}: {key.need} of {key.of} shares are needed, the words in order")
    return [_ask_share(number, key.need) for number in range(1, key.need + 1)]


def _ask_share(number: int, need: int) -> str:
    """One keeper's share, asked until its checksum holds; the screen is cleared after it."""
    while True:
        share = input(f"Share {number} of {need} 第 {number} 份: ")
        print(_CLEAR, end="")
        try:
            check_share(number, share)
        except SharesRefused as refused:
            print(f"{refused}; try again 请重新输入")
        else:
            return share


def _read_share(path: Path) -> str:
    with files_at("the share"), path.open("rb") as file:
        content = file.read(_MOST_BYTES)
    lines = content.decode("utf-8", "replace").splitlines()
    return " ".join(line for line in lines if not line.lstrip().startswith("#"))


def _show_state(state: RecoveryState) -> int:
    if state.changed:
        print("ALARM: somebody without the passphrase changed the recovery record 恢复记录被篡改")
        print("find out who wrote to HOME/keys; then `ribcage recovery make` or `forget`")
        return 1
    if not state.need:
        print("no recovery shares: a lost passphrase cannot be recovered 未设置恢复份额")
        return 0
    made = minute(state.made_ms / 1000)
    print(
        f"recovery shares 恢复份额: any {state.need} of {state.of}, set {_name(state.fingerprint)}, made {made}"
    )
    return 0


def _name(fingerprint: bytes) -> str:
    """A set of shares by the first digits of its fingerprint, as people compare it."""
    return fingerprint.hex()[:12]


def _provider(options: argparse.Namespace) -> Path:
    return Path(options.home) / "keys" / "provider.json"


def _passphrase(options: argparse.Namespace) -> bytes:
    return read_passphrase(options.passphrase_fd, demo=settings.load(options.home).demo)


def _with_operator(
    options: argparse.Namespace, passphrase: bytes, request: MakeRecovery | ForgetRecovery | GetRecovery
) -> RecoveryState:
    async def talk() -> RecoveryState:
        async with operator(options.home, passphrase) as client:
            return await client.call(request, RecoveryState)

    return asyncio.run(talk())


@contextlib.contextmanager
def _one_line(hint: str) -> Iterator[None]:
    try:
        yield
    except SharesRefused as refused:
        raise UsageError(str(refused), hint) from refused
