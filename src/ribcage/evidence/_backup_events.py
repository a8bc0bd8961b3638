"""Events about copies of the archive: backups made, and the lawful restore of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ribcage.evidence._agents import Actor, audit_event, entity
from ribcage.evidence.entry import AUDIT_TYPE, LIFECYCLE, Json, Stamp, coding, count, detail, identity, token

_OBJECT = coding(AUDIT_TYPE, "object", "Object")
_RESOURCE = ("4", "Domain Resource")


@dataclass(frozen=True)
class BackupMade:
    """A copy was made: of the data (`digest`: SHA-256 of the manifest's text) or of the key store (of the file)."""

    actor: Actor
    part: Literal["data", "keys"]
    digest: bytes
    log_size: int
    generation: int = 0
    objects: int = 0

    def to_entry(self, stamp: Stamp) -> Json:
        """FHIR type `object`, life cycle event `archive` (ISO 21089)."""
        details = [
            detail("digest", identity(self.digest)),
            detail("generation", count(self.generation)),
            detail("log-size", count(self.log_size)),
            detail("objects", count(self.objects)),
        ]
        return _copy_event(
            stamp, "backup-made", self.actor, ("archive", "Archive"), token(self.part), details
        )


@dataclass(frozen=True)
class HomeRestored:
    """A backup came back to life: the log's first entry of a new epoch.

    `known_*` is the newest head that anybody remembered; what lies between it and `restored_size` is lost.
    `approved_by` are two persons' ids. `replayed` changes of rights came from the key store.
    """

    actor: Actor
    approved_by: tuple[bytes, bytes]
    reason: str
    manifest: bytes
    log_epoch: int
    restored_size: int
    known_size: int
    known_root: bytes
    replayed: int
    destroyed: int
    rights_lost: bool

    def to_entry(self, stamp: Stamp) -> Json:
        """FHIR type `object`, life cycle event `restore` (ISO 21089)."""
        details = [
            *(detail("approved-by", identity(each)) for each in sorted(self.approved_by)),
            detail("destroyed-again", count(self.destroyed)),
            detail("known-root", identity(self.known_root)),
            detail("known-size", count(self.known_size)),
            detail("log-epoch", count(self.log_epoch)),
            detail("manifest", identity(self.manifest)),
            detail("reason", token(self.reason)),
            detail("replayed", count(self.replayed)),
            detail("restored-size", count(self.restored_size)),
            detail("rights", "lost" if self.rights_lost else "kept"),
        ]
        return _copy_event(stamp, "home-restored", self.actor, ("restore", "Restore"), "archive", details)


def _copy_event(
    stamp: Stamp, kind: str, actor: Actor, cycle: tuple[str, str], part: str, details: list[Json]
) -> Json:
    entry = audit_event(
        stamp,
        kind=kind,
        event=_OBJECT,
        action="E",
        actor=actor,
        entities=[entity("part", part, role=_RESOURCE, details=details)],
    )
    subtypes = entry["subtype"]
    if isinstance(subtypes, list):
        subtypes.append(coding(LIFECYCLE, *cycle))
    return entry
