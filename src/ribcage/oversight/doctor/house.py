"""Checks of the home itself: opening it, certificates, files, key provider, log, ledger, witness, versions."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final, Literal

from ribcage.guard.protocol import Status, Term, WitnessState
from ribcage.oversight.doctor.finding import Finding, Level, unasked

_DAY: Final = 86400.0
_LEAF_DAYS, _AUTHORITY_DAYS = 30, 180
_NAMED_DEVICES: Final = 10
_WEAK_KIB, _USUAL_KIB = 19 * 1024, 64 * 1024  # OWASP's least for Argon2id; ours is 256 MiB
_SHARED: Final = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "vboxsf", "virtiofs", "exfat", "vfat"}
)
_SHARED_NAMES: Final = (
    "backup", "dropbox", "onedrive", "google drive", "googledrive", "nextcloud", "owncloud", "icloud", "syncthing",
    "nutstore", "baidu", "public", "share", "samba", "www", "html",
)  # fmt: skip

Trouble = Literal[
    "none", "no_passphrase", "wrong_passphrase", "not_a_home", "settings", "superseded", "restoring", "newer",
    "locked", "provider", "key_store", "database", "ledger", "permission", "silent", "other",
]  # fmt: skip
_REMEDIES: Final[dict[Trouble, str]] = {
    "wrong_passphrase": "try again; the passphrase may have been changed since",
    "not_a_home": "check --home; put home.json back from the newest backup",
    "settings": "mend settings.toml; compare it with docs/operations.md",
    "superseded": "use the home that the restore made; leave this one closed",
    "restoring": "run the same `ribcage restore` again",
    "newer": "install the Ribcage that wrote this home, or a newer one",
    "locked": "use the running server, or stop it first",
    "provider": "put provider.json back from its own copy, mode 0600, then try again",
    "key_store": "put keystore.db back from `ribcage backup --keys-to`; never from before the last destruction",
    "database": "do not copy files over it: `ribcage restore` from the newest backup",
    "ledger": "`ribcage restore` from the newest backup",
    "permission": "run it as the archive's own user; look at the files' owner",
    "silent": "stop the server, start it again; see its own log",
    "other": "see the server's own log; `ribcage restore` from the newest backup if it stays",
}


def opening(trouble: Trouble, text: str) -> list[Finding]:
    """Whether the home opens, and if not why."""
    if trouble == "none":
        return [Finding("home", "ok", "the home opens")]
    if trouble == "no_passphrase":
        return [unasked("home", "whether the home opens")]
    return [Finding("home", "bad", text, _REMEDIES[trouble])]


@dataclass(frozen=True)
class CertificateFacts:
    """`names` None: the listener's certificate was not seen. `devices` and `authorities` None without the guard."""

    now: float
    listener: Term | None
    names: tuple[str, ...] | None
    addresses: tuple[str, ...]  # where the archive listens
    hostnames: tuple[str, ...]  # by which peers call it
    authorities: tuple[Term, ...] | None
    devices: tuple[Term, ...] | None


def certificates(facts: CertificateFacts) -> list[Finding]:
    """Days left, names that cover the listeners, and devices that will soon be refused."""
    found = []
    if facts.listener is None or facts.names is None:
        found.append(unasked("certificates", "the listeners' certificate"))
    else:
        found += _term(
            facts.listener,
            facts.now,
            _LEAF_DAYS,
            "`ribcage certificate renew`; running fronts take it at once",
        )
        found += _coverage(facts.names, facts.addresses, facts.hostnames)
    if facts.authorities is None:
        found.append(unasked("certificates", "the authority's certificates"))
    for each in facts.authorities or ():
        remedy = "what it issued ends with it: plan a new authority and new device certificates"
        found += _term(each, facts.now, _AUTHORITY_DAYS, remedy)
    if facts.devices is None:
        found.append(unasked("certificates", "certificates of registered devices"))
    found += _devices(facts.devices or (), facts.now)
    return found or [Finding("certificates", "ok", "certificates of listeners, authority and devices")]


def _term(term: Term, now: float, days: int, remedy: str) -> list[Finding]:
    left = (term.not_after - now) / _DAY
    if left <= 0:
        return [Finding("certificates", "bad", f"{term.name}: expired {-left:.0f} days ago", remedy)]
    if now < term.not_before:
        text = f"{term.name}: not valid yet; is the clock right?"
        return [Finding("certificates", "bad", text, "set the clock right")]
    if left < days:
        return [Finding("certificates", "warning", f"{term.name}: {left:.0f} days left", remedy)]
    return []


def _coverage(
    names: tuple[str, ...], addresses: tuple[str, ...], hostnames: tuple[str, ...]
) -> list[Finding]:
    remedy = (
        "peers that check names refuse it: `ribcage certificate renew --hostname NAME --address IP`, "
        "or use a name it has"
    )
    known = {name.lower() for name in names}
    missing = [each for each in hostnames if each.lower() not in known]
    missing += [each for each in addresses if not _everywhere(each) and each not in known]
    if missing:
        text = f"the listeners' certificate does not cover {', '.join(sorted(set(missing)))}"
        return [Finding("certificates", "warning", text, remedy)]
    if any(map(_everywhere, addresses)) and all(map(_local, names)):
        text = "the archive listens on every address, its certificate names this machine's loopback alone"
        return [Finding("certificates", "warning", text, remedy)]
    return []


def _everywhere(address: str) -> bool:
    return address in ("0.0.0.0", "::", "")  # noqa: S104 - compared, never bound


def _local(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def _devices(devices: tuple[Term, ...], now: float) -> list[Finding]:
    found = []
    gone = sorted(each.name for each in devices if each.not_after <= now)
    soon = sorted(each.name for each in devices if now < each.not_after < now + _LEAF_DAYS * _DAY)
    remedy = "register the device again with a new certificate"
    for names, words in (
        (gone, "are refused: their certificates expired"),
        (soon, f"expire within {_LEAF_DAYS} days"),
    ):
        if names:
            more = f" and {len(names) - _NAMED_DEVICES} more" if len(names) > _NAMED_DEVICES else ""
            text = f"devices {', '.join(names[:_NAMED_DEVICES])}{more} {words}"
            found.append(Finding("certificates", "warning", text, remedy))
    return found


@dataclass(frozen=True)
class Place:
    """A file or folder of the home, relative to it. `ours`: it belongs to whoever runs the doctor."""

    name: str
    mode: int
    ours: bool


@dataclass(frozen=True)
class PlaceFacts:
    """`keys_path` is resolved; `keys_marks` are signs of a synchronised folder found in it or above it."""

    places: tuple[Place, ...]
    keys_path: str
    keys_kind: str  # of the file system
    keys_marks: tuple[str, ...]
    root_beside: str = ""  # the root authority's folder, where it lies beside the home


def places(facts: PlaceFacts) -> list[Finding]:
    """Nobody else reads home, keys and database; keys and root authority lie where nobody copies them away."""
    found = [each for place in facts.places for each in _open_place(place, facts.places)]
    foreign = [each.name or "the home" for each in facts.places if not each.ours]
    if foreign:
        text = f"{foreign[0]} and {len(foreign) - 1} more belong to another user"
        found.append(Finding("files", "warning", text, "run the doctor as the archive's user, or chown them"))
    apart = "move the keys to a local disk of the archive alone, outside every backup and share"
    if facts.keys_kind in _SHARED or facts.keys_kind.startswith("fuse."):
        found.append(Finding("files", "bad", f"the keys lie on {facts.keys_kind}, which others reach", apart))
    words = [word for word in _SHARED_NAMES if word in facts.keys_path.lower().replace("_", " ")]
    for sign in (*facts.keys_marks, *(f"the name {word!r}" for word in words)):
        text = f"the keys seem to lie in a shared or copied place ({sign})"
        found.append(Finding("files", "warning", text, apart))
    if facts.root_beside:
        text = f"the authority's root key still lies beside the home, in {facts.root_beside}"
        found.append(
            Finding("files", "warning", text, "take that folder offline; every-day issuing does not need it")
        )
    return found or [Finding("files", "ok", "home, keys and database are the archive's alone")]


def _open_place(place: Place, others: tuple[Place, ...]) -> list[Finding]:
    """Others' bits on a place; inside a closed folder they matter for keys and database alone."""
    if not place.mode & 0o077:
        return []
    above = {each.name for each in others if not each.mode & 0o077}
    sheltered = place.name and ("" in above or place.name.partition("/")[0] in above)
    secret = place.name.startswith(("keys", "database"))
    if sheltered and not secret:
        return []
    name = place.name or "the home"
    text = f"others may use {name} (mode {place.mode & 0o777:04o})"
    level: Level = "bad" if secret and not sheltered else "warning"
    return [Finding("files", level, text, f"chmod go-rwx {name}")]


@dataclass(frozen=True)
class ProviderFacts:
    """`trouble` is why the provider's file cannot be read, '' where it can. The cost is of Argon2id."""

    trouble: str
    kind: str = "file"
    slots: int = 0
    memory_kib: int = 0
    iterations: int = 0


def provider(facts: ProviderFacts) -> list[Finding]:
    """Readable, of a known format, and dear enough to guess at."""
    if facts.trouble:
        return [Finding("key provider", "bad", facts.trouble, _REMEDIES["provider"])]
    cost = f"Argon2id with {facts.memory_kib >> 10} MiB and {facts.iterations} passes"
    remedy = "this home was made with a low cost: make a new one and restore into it"
    if facts.memory_kib < _WEAK_KIB:
        return [
            Finding("key provider", "bad", f"a stolen passphrase file is cheap to guess at: {cost}", remedy)
        ]
    if facts.memory_kib < _USUAL_KIB or facts.slots == 0:
        text = f"{cost} is little" if facts.slots else "the provider holds no key"
        return [Finding("key provider", "warning", text, remedy)]
    return [Finding("key provider", "ok", f"{facts.kind} provider, {facts.slots} keys, {cost}")]


@dataclass(frozen=True)
class LogFacts:
    """Sizes in entries. `findings` are the guard's own."""

    size: int
    checkpoint_size: int
    key_store_size: int
    checkpoint_age_seconds: float
    missing: int
    ledger_height: int
    ledger_behind: bool
    findings: tuple[str, ...]


def log(facts: LogFacts | None) -> list[Finding]:
    """Entries are there, checkpoints keep up, nothing was cut."""
    if facts is None:
        return [unasked("log", "size, gaps and checkpoints of the log")]
    found = [
        Finding("guard", "bad", each, "`ribcage verify` names each difference") for each in facts.findings
    ]
    if facts.missing:
        text = f"{facts.missing} of the newest entries are missing"
        found.append(Finding("log", "bad", text, "`ribcage verify`, then `ribcage restore`"))
    if facts.checkpoint_size < facts.key_store_size:
        text = (
            f"the newest checkpoint covers {facts.checkpoint_size} entries, the key store remembers one of "
            f"{facts.key_store_size}: checkpoints were removed, or the database is an older copy"
        )
        found.append(Finding("log", "bad", text, "`ribcage verify`; with an older copy `ribcage restore`"))
    elif facts.checkpoint_size < facts.size and facts.checkpoint_age_seconds > 60:
        late = facts.size - facts.checkpoint_size
        text = f"{late} entries wait for a checkpoint since {facts.checkpoint_age_seconds:.0f} s"
        found.append(Finding("log", "warning", text, "see the server's own log"))
    if found:
        return found
    text = f"{facts.size} entries, {facts.checkpoint_size} under the newest checkpoint, none of the newest missing"
    return [Finding("log", "ok", text)]


def ledger(facts: LogFacts | None) -> list[Finding]:
    """The ledger holds every change of rights that the log knows."""
    if facts is None:
        return [unasked("ledger", "whether the ledger is behind the log")]
    if facts.ledger_behind:
        text = "the ledger lacks a change of rights that log or key store know: nothing is disclosed"
        return [Finding("ledger", "bad", text, "`ribcage restore` from the newest backup")]
    return [Finding("ledger", "ok", f"height {facts.ledger_height}, not behind the log")]


def witness(state: WitnessState | None, now: float) -> list[Finding]:
    """None, silent, behind, or when it last cosigned."""
    if state is None:
        return [unasked("witness", "whether a witness is trusted")]
    if state.state == "none":
        text = "no witness: nobody notices that the whole home was put back to an older copy"
        return [Finding("witness", "note", text, "`ribcage witness` on another machine; docs/operations.md")]
    if state.state == "behind":
        text = f"behind the witness ({state.trouble}): nothing is disclosed or stored"
        return [Finding("witness", "bad", text, "find out who put what back; then `ribcage restore`")]
    ask = f"ask the administrator of {state.name}; is it reachable from here?"
    if state.state == "waiting":
        text = f"no cosignature since the start ({state.trouble or 'asking'}): nothing is disclosed yet"
        return [Finding("witness", "bad", text, ask)]
    if state.trouble or state.uncovered_seconds > 60:
        text = f"silent for {state.uncovered_seconds:.0f} s ({state.trouble}): newer entries could be cut unnoticed"
        return [Finding("witness", "warning", text, ask)]
    ago = max(now - state.cosigned_at, 0.0)
    return [
        Finding("witness", "ok", f"{state.name} cosigned {state.cosigned_size} entries, last {ago:.0f} s ago")
    ]


_OLD_SECONDS: Final = 24 * 3600


def queue(status: Status | None) -> list[Finding]:
    """What is sent to destinations gets there."""
    if status is None:
        return [unasked("sending queue", "whether jobs wait or have failed")]
    look = "`ribcage queue list`; then `ribcage queue retry` or `drop`"
    if status.queue_failed:
        text = f"{status.queue_failed} jobs failed and are not tried again"
        return [Finding("sending queue", "warning", text, look)]
    if status.queue_oldest_seconds > _OLD_SECONDS:
        text = f"the oldest job waits since {status.queue_oldest_seconds / 3600:.0f} h"
        return [Finding("sending queue", "warning", text, look)]
    return [Finding("sending queue", "ok", f"{status.queue_waiting} jobs wait, none failed")]


@dataclass(frozen=True)
class Version:
    """`found` and what is needed: from `least` to below `below` (0: no bound)."""

    name: str
    found: str
    least: tuple[int, ...] = ()
    below: tuple[int, ...] = ()


def versions(facts: tuple[Version, ...]) -> list[Finding]:
    """Programs and formats this archive was made for."""
    found = []
    for each in facts:
        numbers = _numbers(each.found)
        if (each.least and numbers < each.least) or (each.below and numbers >= each.below):
            wanted = " ".join(
                word for word in (_bound("from", each.least), _bound("below", each.below)) if word
            )
            text = f"{each.name} {each.found or 'unknown'}, expected {wanted}"
            found.append(Finding("versions", "warning", text, "use the locked dependencies of this release"))
    text = ", ".join(f"{each.name} {each.found}" for each in facts)
    return [*found, Finding("versions", "ok", text)]


def _bound(word: str, numbers: tuple[int, ...]) -> str:
    return f"{word} {'.'.join(map(str, numbers))}" if numbers else ""


def _numbers(text: str) -> tuple[int, ...]:
    digits = "".join(each if each.isdigit() else " " for each in text)
    return tuple(int(each) for each in digits.split())
