"""What of this machine is open to others: facts about listening sockets in, findings out.

Rules, in order:
1. How far a socket reaches follows from its address; one on every address reaches as far as the machine's widest one.
2. Plain DICOM that answers is an open archive: on loopback alone it is a note, further it is bad. The old PACS behind
   this shield is plain on purpose; bad is when it listens for others too.
3. A program that is not ours on a port of DICOM is named, whatever it speaks.
4. Our own listeners that the internet reaches are named unless the settings name them.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from ribcage.oversight.doctor.finding import Finding, Level

DICOM_PORTS: Final = (104, 2761, 2762, 4242, 8042, 8043, 11112)
Scope = Literal["loopback", "private", "global"]
What = Literal["plain-dicom", "foreign-program", "own-listener", "old-pacs"]
_SCOPES: Final[tuple[Scope, ...]] = ("loopback", "private", "global")
_REACH: Final[dict[Scope, str]] = {
    "loopback": "from this machine alone",
    "private": "from its network",
    "global": "from the internet, where no firewall stands between",
}


@dataclass(frozen=True)
class Listening:
    """A socket that listens. `program` '' where this user may not see it; `plain` where it answered plain DICOM."""

    address: str
    port: int
    program: str = ""
    own: bool = False
    plain: bool = False


@dataclass(frozen=True)
class ExposureFacts:
    """`addresses`: the machine's own; `public`: those the settings name; `pacs`: the old PACS's port, or 0."""

    sockets: tuple[Listening, ...]
    addresses: tuple[str, ...]
    public: frozenset[str] = frozenset()
    pacs: int = 0


@dataclass(frozen=True)
class Exposed:
    """One thing that is open, without addresses and names: for alarm and entry."""

    what: What
    scope: Scope
    port: int


def scope_of(address: str, machine: Iterable[str]) -> Scope:
    """Rule 1."""
    parsed = ipaddress.ip_address(address)
    if parsed.is_unspecified:
        reached = [
            scope_of(each, ()) for each in machine if ":" in each or parsed.version == 4 or ":" in address
        ]
        return max(reached, key=_SCOPES.index, default="loopback")
    if parsed.is_loopback:
        return "loopback"
    mapped = getattr(parsed, "ipv4_mapped", None)
    if mapped is not None:
        return scope_of(str(mapped), ())
    return "private" if parsed.is_private or parsed.is_link_local else "global"


def exposed(facts: ExposureFacts) -> list[tuple[Exposed, Finding]]:
    """What is open, and what to say of it; nothing for what only loopback reaches but plain DICOM of strangers."""
    found = []
    for each in facts.sockets:
        scope = scope_of(each.address, facts.addresses)
        if each.own:
            if scope == "global" and each.address not in facts.public:
                found.append(_named(each, "own-listener", scope, "warning", "our own listener"))
        elif facts.pacs and each.port == facts.pacs:
            if scope != "loopback":
                found.append(_named(each, "old-pacs", scope, "bad", "the old PACS behind this shield"))
        elif each.plain:
            level: Level = "note" if scope == "loopback" else "bad"
            found.append(_named(each, "plain-dicom", scope, level, "plain DICOM"))
        elif each.port in DICOM_PORTS and scope != "loopback":
            found.append(
                _named(each, "foreign-program", scope, "warning", "another program on a port of DICOM")
            )
    return found


_REMEDIES: Final[dict[What, str]] = {
    "plain-dicom": "whoever knows an AE title reads it: close it, or put a shield before it",
    "foreign-program": "make sure that you know what it is; an open archive beside this one leaks",
    "own-listener": "listen on a private address, or name this one under listen.public on purpose",
    "old-pacs": "`ribcage shield init --firewall FILE` writes rules that close it; this check cannot see a firewall",
}


def _named(each: Listening, what: What, scope: Scope, level: Level, words: str) -> tuple[Exposed, Finding]:
    program = f" ({each.program})" if each.program else ""
    text = f"{words}{program} listens on {each.address} port {each.port}, reachable {_REACH[scope]}"
    return Exposed(what, scope, each.port), Finding("exposure", level, text, _REMEDIES[what])


def exposure(facts: ExposureFacts) -> list[Finding]:
    """For `ribcage doctor`."""
    found = [finding for _, finding in exposed(facts)]
    return found or [Finding("exposure", "ok", "nothing that speaks plain DICOM is reachable from elsewhere")]


def alarming(facts: ExposureFacts) -> list[Exposed]:
    """For alarm and entry: each once, and nothing that is a note."""
    return list(
        dict.fromkeys(each for each, finding in exposed(facts) if finding.level in ("warning", "bad"))
    )
