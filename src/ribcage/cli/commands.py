"""The operator's short commands: persons, devices, grants, status."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

from ribcage.cli.break_glass import print_alarms
from ribcage.cli.destroy import read_approver
from ribcage.cli.errors import UsageError
from ribcage.cli.undefended import not_defended
from ribcage.guard.client import GuardClient
from ribcage.guard.protocol import (
    AddDevice,
    AddGrant,
    AddPerson,
    ApproveFactorReset,
    AskFactorReset,
    DeviceAdded,
    EdgeSeen,
    FactorResetCode,
    GetStatus,
    GrantAdded,
    Noted,
    Object,
    ParkedItems,
    ParkedPage,
    PersonAdded,
    RevokeGrant,
    SetDeviceCharset,
    Status,
    SuspendDevice,
    SuspendPerson,
    WitnessState,
)


async def person_add(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage person add NAME --role ROLE`."""
    request = AddPerson(
        username=options.name,
        display_name=options.display or options.name,
        roles=options.role,
        department=options.department,
    )
    added = await client.call(request, PersonAdded)
    print(f"person {options.name} added 已添加; shown once 仅显示一次:")
    print(f"  password 密码: {added.password}")
    print(f"  second factor 第二因素: {added.totp_uri}")


async def person_suspend(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage person suspend|restore NAME`."""
    suspended = options.action == "suspend"
    await client.call(SuspendPerson(username=options.name, suspended=suspended), Noted)
    print(f"person {options.name}: {'suspended, at once' if suspended else 'restored'}")


async def person_reset(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage person reset NAME`."""
    by = read_approver(options.approver_fd, "First administrator")
    await client.call(AskFactorReset(options.name, by), Noted)
    print(f"asked for: another administrator runs `ribcage person reset-approve {options.name}` within a day")


async def person_reset_approve(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage person reset-approve NAME`."""
    by = read_approver(options.approver_fd, "Second administrator")
    given = await client.call(ApproveFactorReset(options.name, by), FactorResetCode)
    print(f"all second factors of {options.name} are gone, sessions have ended")
    print(f"hand over in person, it works once: {given.code}")
    print(f"{options.name} logs in with the password and types it under Account")


async def device_add(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage device add NAME --ae AE --may store [--certificate FILE | --csr FILE] [--out FOLDER]`."""
    request = AddDevice(
        name=options.name,
        ae_titles=options.ae,
        may=options.may,
        department=options.department,
        certificate_pem=_read(options.certificate),
        csr_pem=_read(options.csr),
    )
    added = await client.call(request, DeviceAdded)
    print(f"device {options.name} registered; fingerprint {added.fingerprint.hex()}")
    if options.out:
        write_identity(Path(options.out), options.name, added)
        print(
            f"certificate, key and authority are in {options.out}: bring them to the device, then delete them"
        )


def write_identity(folder: Path, name: str, added: DeviceAdded) -> None:
    """Write `NAME.crt`, `NAME.key` (0600) and `ca.crt` for a device."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / f"{name}.crt").write_bytes(added.certificate_pem)
    (folder / "ca.crt").write_bytes(added.authority_pem)
    if added.private_key_pem:
        path = folder / f"{name}.key"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(added.private_key_pem)


def _read(path: str) -> bytes:
    if not path:
        return b""
    try:
        return Path(path).read_bytes()
    except OSError as failure:
        raise UsageError(f"{path}: {failure.strerror}", "give a PEM file") from failure


async def device_suspend(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage device suspend|restore NAME`."""
    suspended = options.action == "suspend"
    await client.call(SuspendDevice(name=options.name, suspended=suspended), Noted)
    print(f"device {options.name}: {'suspended, at once' if suspended else 'restored'}")


async def device_charset(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage device charset NAME CHARSET [--overrides]`."""
    charset = "" if options.charset == "none" else options.charset
    await client.call(SetDeviceCharset(options.name, charset, options.overrides), Noted)
    where = "whatever it declares" if options.overrides and charset else "where it declares none"
    print(
        f"device {options.name}: text is read as {charset or 'DICOM says'}, {where}; from its next association on"
    )
    print("what is stored stays as it is; what was indexed before is corrected by `ribcage patient correct`")


async def grant(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage grant SUBJECT RESOURCE --view full [--hours N]`."""
    until = time.time() + options.hours * 3600 if options.hours else 0.0
    request = AddGrant(
        subject=options.subject,
        resource=options.resource,
        view=options.view,
        purpose=options.purpose,
        valid_until=until,
    )
    added = await client.call(request, GrantAdded)
    print(f"grant {added.grant_id} on the ledger: {options.subject} → {options.view}, {options.purpose}")


async def revoke(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage revoke GRANT`."""
    await client.call(RevokeGrant(grant_id=options.grant), Noted)
    print(f"grant {options.grant} revoked, in force now")


async def objection(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage objection PATIENT [SUBJECT] [--withdraw]`."""
    request = Object(patient=options.patient, subject=options.subject, standing=not options.withdraw)
    await client.call(request, Noted)
    print("objection withdrawn" if options.withdraw else "objection in force now")


async def parked(client: GuardClient, options: argparse.Namespace) -> None:
    """`ribcage parked`: conflicts that wait for a person."""
    answer = await client.call(ParkedPage(start=0, count=options.count), ParkedItems)
    for item in answer.items:
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(item.received_at))
        print(f"{item.ordinal:6} {moment} {item.reason:18} from {item.device}")
    print(f"{len(answer.items)} parked")


async def status(client: GuardClient, _options: argparse.Namespace) -> None:
    """`ribcage status`: numbers, and what is not defended in this configuration."""
    s = await client.call(GetStatus(), Status)
    print(f"{s.hospital}: Ribcage {s.version}, configuration {' + '.join(s.configuration)}")
    print(f"studies {s.studies}  instances {s.instances}  parked {s.parked}")
    print(f"log {s.log_size} entries  ledger height {s.ledger_height}  key epoch {s.epoch}")
    if s.queue_waiting or s.queue_failed:
        print(
            f"sending queue {s.queue_waiting} jobs, the oldest {s.queue_oldest_seconds / 60:.0f} min old; "
            f"{s.queue_failed} failed: `ribcage queue list --state failed`"
        )
    if s.witness.state != "none":
        print(_witness(s.witness))
    for edge in s.edges:
        print(_edge(edge))
    await print_alarms(client)
    for finding in s.findings:
        print(f"finding: {finding}")
    for line in not_defended(s.configuration):
        print(line)


def _edge(known: EdgeSeen) -> str:
    """One line: when an edge was heard of last, and what waits there."""
    if not known.seen_at:
        return f"edge {known.name}: {known.sequence} films taken; silent since the start"
    seen = time.strftime("%H:%M:%S", time.localtime(known.seen_at))
    refused = f"; {known.refused} refused" if known.refused else ""
    return (
        f"edge {known.name}: {known.sequence} films taken, seen {seen}; {known.waiting} wait there, "
        f"the oldest for {known.oldest_seconds:.0f} s{refused}"
    )


def _witness(known: WitnessState) -> str:
    """One line: how much is out of reach of whoever writes the home, and since when not."""
    last = (
        time.strftime("%H:%M:%S", time.localtime(known.cosigned_at))
        if known.cosigned_at
        else "never since the start"
    )
    bound = (
        f"; entries of the last {known.uncovered_seconds:.0f} s could be cut"
        if known.uncovered_seconds
        else ""
    )
    trouble = f" ({known.trouble})" if known.trouble else ""
    return (
        f"witness {known.name}: {known.state}{trouble}; {known.cosigned_size} entries cosigned, {last}{bound}"
    )
