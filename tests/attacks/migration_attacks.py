"""Attacks around a migration: plain bytes where somebody listens, a stranger at the receiving end, a false report."""

from __future__ import annotations

import hashlib
import socket
from pathlib import Path

from attacks.guard_attacks import against_guard
from helpers.guard_house import House, attributes
from helpers.raw_scu import AssociationFailed, store
from ribcage.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from ribcage.evidence.migration_report import TITLE
from ribcage.guard import protocol as p
from ribcage.transfer.migration import peer
from ribcage.transfer.migration.errors import PlainRefused
from ribcage.transfer.migration.peer import Peer
from ribcage.transfer.migration.receiver import Expected, Receiver
from ribcage.transfer.migration.source import Arrived

_CR = "1.2.840.10008.5.1.4.1.1.1"


def migrated_in_plain(_: Path) -> bool:
    """An operator pulls from an old PACS across the hospital's network in plain, without naming it as isolated."""
    try:
        return peer.parse_peer("the old PACS", "dicom://10.1.2.3:104/OLD", peer.Pem()).context is None
    except PlainRefused:
        return False


def pushed_into_a_migration(_: Path) -> bool:
    """Somebody at the old PACS's address sends an image that the old PACS never listed."""
    came: list[Arrived] = []

    def take(one: Arrived) -> int:
        came.append(one)
        return 0

    with socket.create_server(("127.0.0.1", 0)) as free:
        at = free.getsockname()
    receiver = Receiver(at, Peer("it", "dicom", "127.0.0.1", 104, "OLD", None), "MIGRATE", None)
    try:
        receiver.expect(Expected({"1.2.3"}, take))
        store(
            at, None, "OLD", "MIGRATE", _CR, "1.2.9", EXPLICIT_VR_LITTLE_ENDIAN, b"\x08\x00\x18\x00UI\x00\x00"
        )
    except AssociationFailed:
        pass
    finally:
        receiver.close()
    return bool(came)


@against_guard
async def claimed_to_have_migrated(house: House) -> bool:
    """A carrier says that a film arrived and was acknowledged; another film is there."""
    modality = await house.device("cr-1", "CR1", ["store"])
    await house.store(modality, attributes(1), b"another film")
    study, uid = attributes(1).study_instance_uid, attributes(1).sop_instance_uid
    digest = hashlib.sha256(b"the film").digest()
    items = [p.MigrationItem(study, 1), p.MigrationItem(study, 0, uid, digest)]
    lines = await house.admin.call(p.MigrationPage(b"", items), p.MigrationLines)
    sealed = await house.admin.call(p.MigrationSeal(lines.report, "dicom", 0), p.MigrationSealed)
    return sealed.note.startswith(TITLE.encode()) and b'"complete":true' in sealed.note
