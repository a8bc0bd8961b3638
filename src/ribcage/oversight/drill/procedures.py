"""How each attack is staged against a target: what the attacker is given, and when.

Rules, in order:
1. The same procedure runs against the archive and against its twin.
2. An attack that edits the home finds it stopped, and the home is put back afterwards.
3. `findings` are what `verify` names now and did not name before.
"""

from __future__ import annotations

import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ribcage.oversight.drill.scripts import ScriptResult, run_script
from ribcage.oversight.drill.target import Target, TargetDown


@dataclass(frozen=True)
class Execution:
    """One attack on one target. `findings` are new differences that the archive's verification named."""

    succeeded: bool
    evidence: str
    broken: bool = False
    findings: tuple[str, ...] = field(default=())


Procedure = Callable[[str, Target], Execution]


def _plain(*names: str, **renamed: str) -> Procedure:
    """The attacker gets the named holdings; `renamed` gives a holding under the script's own name for it."""

    def procedure(attack: str, target: Target) -> Execution:
        holdings = target.holdings()
        whole = asdict(holdings)
        more = {theirs: whole[ours] for theirs, ours in renamed.items()}
        return _from(run_script(attack, holdings.brief(*names, **more)))

    return procedure


def _denial(*names: str) -> Procedure:
    """As `_plain`; an archive that was brought down is started anew for the attacks that follow."""

    def procedure(attack: str, target: Target) -> Execution:
        done = _plain(*names)(attack, target)
        if done.succeeded or done.broken:
            target.stop()
            target.start()
        return done

    return procedure


def _stolen_disk(attack: str, target: Target) -> Execution:
    with tempfile.TemporaryDirectory(prefix="ribcage-thief-") as folder:
        copy = target.steal_disk(Path(folder))
        return _from(run_script(attack, {"folder": str(copy), "seeds": target.holdings().seeds}))


def _stolen_edge_disk(attack: str, target: Target) -> Execution:
    with tempfile.TemporaryDirectory(prefix="ribcage-thief-") as folder:
        copy = Path(folder) / "stolen"
        copy_home(target.waiting_edge().folder, copy)
        return _from(run_script(attack, target.holdings().brief("files", "seeds", folder=str(copy))))


def _stolen_edge_credential(attack: str, target: Target) -> Execution:
    device = asdict(target.waiting_edge().credential)
    return _from(run_script(attack, target.holdings().brief("study", "seeds", device=device)))


def _session_in_url(attack: str, target: Target) -> Execution:
    cookie = asdict(target.open_session())
    return _from(run_script(attack, target.holdings().brief("study", cookie=cookie)))


def _revoked_grant(attack: str, target: Target) -> Execution:
    cookie = asdict(target.granted_session())
    brief = target.holdings().brief("study", "seeds", cookie=cookie)
    before = run_script(attack, brief)
    if not before.succeeded:
        return Execution(False, f"the live grant opened nothing: {before.evidence}", broken=True)
    target.revoke()
    return _from(run_script(attack, brief))


def _audit_row_edit(attack: str, target: Target) -> Execution:
    with _tampering(target) as known:
        target.stop()
        edit = run_script(attack, {"database": asdict(target.database())})
        return _restarted(target, edit, known)


def _in_steps(**more: str) -> Procedure:
    """`arm` while the archive is up, `edit` while it is down, `use` when it is up again."""

    def procedure(attack: str, target: Target) -> Execution:
        whole = asdict(target.holdings())
        given = {theirs: whole[ours] for theirs, ours in more.items()}

        def brief(step: str) -> dict[str, Any]:
            return target.holdings().brief("study", step=step, **given)

        armed = run_script(attack, brief("arm"))
        if armed.broken or armed.succeeded:
            return Execution(False, f"before the edit: {armed.evidence}", broken=True)
        with _tampering(target) as known:
            stolen = brief("edit")
            target.stop()
            edit = run_script(attack, {**stolen, "database": asdict(target.database())})
            if edit.broken or not edit.succeeded:
                return _restarted(target, edit, known)
            try:
                target.start()
            except TargetDown as refusal:
                return Execution(False, f"{edit.evidence}; the archive did not start: {refusal}")
            use = run_script(attack, brief("use"))
            findings = _new(target, known)
            told = f"{edit.evidence}; then {use.evidence}"
            return Execution(use.succeeded, told, use.broken, findings)

    return procedure


def _home_rollback(attack: str, target: Target) -> Execution:
    with _tampering(target) as known, tempfile.TemporaryDirectory(prefix="ribcage-older-") as folder:
        target.granted_session()
        target.stop()
        older = Path(folder) / "home"
        copy_home(target.home(), older)
        target.start()
        target.revoke()
        target.stop()
        back = run_script(attack, {"folder": str(target.home()), "older": str(older)})
        return _restarted(target, back, known)


def _log_tail_cut(attack: str, target: Target) -> Execution:
    with _tampering(target) as known, tempfile.TemporaryDirectory(prefix="ribcage-notes-") as folder:
        target.granted_session()
        target.stop()
        given = {
            "folder": str(target.home()),
            "database": asdict(target.database()),
            "notes": str(Path(folder) / "notes.json"),
        }
        noted = run_script(attack, {**given, "step": "note"})
        target.start()
        target.revoke()
        target.open_session()
        target.stop()
        if noted.broken or noted.succeeded:
            return _restarted(target, noted, known)
        return _restarted(target, run_script(attack, {**given, "step": "cut"}), known)


def _restarted(target: Target, edit: ScriptResult, known: set[str]) -> Execution:
    """Start on the edited home and ask `verify`. Refusing to start is a finding."""
    try:
        target.start()
    except TargetDown as refusal:
        return Execution(
            edit.succeeded, edit.evidence, edit.broken, (f"the archive did not start: {refusal}",)
        )
    return Execution(edit.succeeded, edit.evidence, edit.broken, _new(target, known))


def _new(target: Target, known: set[str]) -> tuple[str, ...]:
    return tuple(line for line in target.verify() if line not in known)


@contextmanager
def _tampering(target: Target) -> Iterator[set[str]]:
    """Keep a copy of the home, yield what `verify` names already, and put the copy back.

    A witness is put back with it: its memory is for the attack, and would hold the copy to be one.
    """
    known = set(target.verify())
    with tempfile.TemporaryDirectory(prefix="ribcage-keep-") as folder:
        target.stop()
        kept = [target.home(), *target.outside()]
        for number, each in enumerate(kept):
            copy_home(each, Path(folder) / str(number))
        target.start()
        try:
            yield known
        finally:
            target.stop()
            for number, each in enumerate(kept):
                _empty(each)
                copy_home(Path(folder) / str(number), each)
            target.start()


def copy_home(source: Path, into: Path) -> None:
    """Copy files and folders with their modes; sockets and pipes are left out."""

    def special(folder: str, names: list[str]) -> list[str]:
        modes = {name: (Path(folder) / name).lstat().st_mode for name in names}
        return [name for name, mode in modes.items() if stat.S_ISSOCK(mode) or stat.S_ISFIFO(mode)]

    shutil.copytree(source, into, ignore=special, dirs_exist_ok=True, symlinks=True)


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _from(result: ScriptResult) -> Execution:
    return Execution(result.succeeded, result.evidence, result.broken)


PROCEDURES: dict[str, Procedure] = {
    "plain_association": _plain("known_ae", "files"),
    "foreign_certificate": _plain("known_ae", "own"),
    "no_certificate": _plain("known_ae"),
    "wrong_ae_for_certificate": _plain("device", "innocent"),
    "wire_tap": _plain("device", "files", "seeds"),
    "query_as_stranger": _plain("known_ae", "seeds"),
    "retrieve_without_grant": _plain("study", "seeds", person="intruder"),
    "masked_leak": _plain("study", "seeds", person="doctor"),
    "replayed_code": _plain(person="forgetful"),
    "session_in_url": _session_in_url,
    "session_guess": _plain("study", person="intruder"),
    "revoked_grant": _revoked_grant,
    "stolen_disk": _stolen_disk,
    "stolen_edge_disk": _stolen_edge_disk,
    "stolen_edge_credential": _stolen_edge_credential,
    "audit_row_edit": _audit_row_edit,
    "self_promotion_by_sql": _in_steps(person="intruder", victim="doctor"),
    "row_swap": _in_steps(person="doctor", other="other"),
    "hostile_pdu": _denial("device", "innocent"),
    "hostile_data_set": _denial("device", "innocent"),
    "connection_hoard": _denial("innocent"),
    "home_rollback": _home_rollback,
    "log_tail_cut": _log_tail_cut,
}
