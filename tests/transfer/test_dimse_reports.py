"""Reports of storage commitment on an association that the archive opens, and C-ECHO to a destination."""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvloop

from helpers.front_house import (
    CT,
    EXPLICIT_LE,
    FrontHouse,
    client_context,
    ct_slice,
    front_house,
    make_template,
)
from helpers.queue_house import until
from helpers.raw_scu import RawAssociation
from helpers.report_listener import listening, tls_of
from ribcage.crypto.authority import Issued
from ribcage.dicom import commitment, dimse
from ribcage.dicom.commitment import Reference
from ribcage.dicom.dimse import OtherCommand
from ribcage.dicom.limits import UpperLayerLimits
from ribcage.dicom.sop_classes import STORAGE_COMMITMENT_INSTANCE, STORAGE_COMMITMENT_PUSH
from ribcage.guard import protocol as p
from ribcage.guard.errors import GuardRefused
from ribcage.guard.limits import GuardLimits
from ribcage.transfer.dimse.echo import EchoFailed, echo
from ribcage.transfer.dimse.sender import Peer

IMPATIENT = GuardLimits(
    queue_first_seconds=0.05, queue_most_seconds=0.2, queue_tries=3, commitment_wait_seconds=0.05
)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_template(tmp_path_factory.mktemp("template"))


@dataclass
class Modality:
    """CT1: what it sends with, and listens with."""

    house: FrontHouse
    context: ssl.SSLContext
    leaf: Issued
    trusted: bytes

    def ask(self, references: list[Reference], *stored: tuple[str, bytes]) -> None:
        """Store, ask for commitment, and leave before the report is confirmed. Blocking."""
        proposals = [(CT, [EXPLICIT_LE]), (STORAGE_COMMITMENT_PUSH, [EXPLICIT_LE])]
        address = self.house.address
        with RawAssociation(address, proposals, ssl_context=self.context, calling="CT1") as association:
            for instance in stored:
                assert association.store(CT, *instance) == 0
            elements: dict[int, dimse.Value] = {
                dimse.REQUESTED_SOP_CLASS: STORAGE_COMMITMENT_PUSH,
                dimse.MESSAGE_ID: 9,
                dimse.REQUESTED_SOP_INSTANCE: STORAGE_COMMITMENT_INSTANCE,
                dimse.ACTION_TYPE_ID: 1,
            }
            request = OtherCommand(dimse.N_ACTION_RQ, elements, has_data_set=True)
            data_set = commitment.write("1.2.77", references, [], EXPLICIT_LE)
            context = association.context_for(STORAGE_COMMITMENT_PUSH)
            answer = association.call(context, request, (data_set,)).command
            assert isinstance(answer, OtherCommand)
            assert answer.elements[dimse.STATUS] == 0

    async def report(self) -> p.ReportLine:
        """The newest report."""
        return (await self.house.house.admin.call(p.ReportPage(0, 1000), p.ReportLines)).reports[-1]

    async def reaches(self, state: str, refusal: str = "") -> p.ReportLine:
        """Wait until the newest report is in this state, for this reason."""

        async def there() -> bool:
            line = await self.report()
            return (line.state, line.refusal) == (state, refusal)

        await until(there, 20)
        return await self.report()

    async def at(self, port: int) -> None:
        """It listens there."""
        await self.house.house.admin.call(p.AddDestination("CT1", "ct1", "127.0.0.1", port), p.Noted)


async def modality(house: FrontHouse) -> Modality:
    leaf, trusted = await house.leaf("ct1", "CT1", ["store"])
    context = client_context(trusted, leaf.certificate_pem, leaf.private_key_pem)
    return Modality(house, context, leaf, trusted)


def test_a_device_that_left_hears_its_report_on_an_association_of_ours(
    template: Path, tmp_path: Path
) -> None:
    async def main() -> None:
        async with front_house(template, tmp_path, limits=IMPATIENT) as house:
            device, uid = await modality(house), ct_slice(1)[0]
            async with listening("CT1", tls_of(device.leaf, device.trusted)) as (heard, port):
                await device.at(port)
                references = [Reference(CT, uid), Reference(CT, "1.2.404")]
                await asyncio.to_thread(device.ask, references, ct_slice(1))
                line = await device.reaches("done")
            ((kind, found),) = heard.reports
            assert (kind, found.TransactionUID) == (2, "1.2.77")
            assert [item.ReferencedSOPInstanceUID for item in found.ReferencedSOPSequence] == [uid]
            assert [item.FailureReason for item in found.FailedSOPSequence] == [0x0112]
            assert heard.roles == [(False, True)]  # we ask for the association, and are its SCP
            assert (line.device, line.instances, line.failed) == ("ct1", 2, 1)

    uvloop.run(main())


def test_a_report_is_tried_again_fails_visibly_and_is_retried_by_an_operator(
    template: Path, tmp_path: Path
) -> None:
    async def main() -> None:
        async with front_house(template, tmp_path, limits=IMPATIENT) as house:
            device = await modality(house)
            tls = tls_of(device.leaf, device.trusted)
            admin = house.house.admin
            async with listening("CT1", tls, status=0x0110) as (heard, port):
                await device.at(port)
                await asyncio.to_thread(device.ask, [Reference(CT, "1.2.404")])
                line = await device.reaches("failed", "refused_by_destination")
                assert (line.tries, len(heard.reports)) == (3, 3)
            await admin.call(p.RetryReport(line.report), p.Noted)
            await device.reaches("failed", "no_association")
            async with listening("CT1", tls, port=port, role=False):
                await admin.call(p.RetryReport(line.report), p.Noted)
                await device.reaches("failed", "refused_by_destination")
            async with listening("CT1", tls, port=port) as (heard, _):
                await admin.call(p.RetryReport(line.report), p.Noted)
                await device.reaches("done")
                assert len(heard.reports) == 1
            with pytest.raises(GuardRefused, match="conflict"):
                await admin.call(p.RetryReport(line.report), p.Noted)
            await admin.call(p.DropReport(line.report), p.Noted)
            assert (await admin.call(p.ReportPage(0, 10), p.ReportLines)).reports == []
            events = await house.events()
            assert "report-retried" in events
            assert "report-dropped" in events

    uvloop.run(main())


def test_another_certificate_in_the_devices_place_hears_nothing(template: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with front_house(template, tmp_path, limits=IMPATIENT) as house:
            device = await modality(house)
            other, trusted = await house.leaf("ct2", "CT2", ["store"])
            async with listening("CT1", tls_of(other, trusted)) as (heard, port):
                await device.at(port)
                await asyncio.to_thread(device.ask, [Reference(CT, "1.2.404")])
                await device.reaches("failed", "no_association")
                assert heard.reports == []

    uvloop.run(main())


def test_without_a_destination_a_report_waits_for_the_device(template: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with front_house(template, tmp_path, limits=IMPATIENT) as house:
            device = await modality(house)
            await asyncio.to_thread(device.ask, [Reference(CT, "1.2.404")])
            line = await device.reaches("waiting", "destination_unknown")
            assert line.tries == 0
            async with listening("CT1", tls_of(device.leaf, device.trusted)) as (heard, port):
                await device.at(port)  # registered later
                await device.reaches("done")
                assert len(heard.reports) == 1

    uvloop.run(main())


def test_what_is_gone_when_it_is_delivered_is_not_called_held(template: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with front_house(template, tmp_path, limits=IMPATIENT) as house:
            device = await modality(house)
            uid, data = ct_slice(1, 1024)
            await asyncio.to_thread(device.ask, [Reference(CT, uid)], (uid, data))
            (location,) = house.objects.list_files()
            (house.objects._root / location).unlink()
            async with listening("CT1", tls_of(device.leaf, device.trusted)) as (heard, port):
                await device.at(port)
                await device.reaches("done")
            ((kind, found),) = heard.reports
            assert kind == 2
            assert "ReferencedSOPSequence" not in found

    uvloop.run(main())


def test_a_destination_is_verified_and_what_fails_is_named(template: Path, tmp_path: Path) -> None:
    async def main() -> None:
        async with front_house(template, tmp_path, limits=IMPATIENT) as house:
            device = await modality(house)
            stranger, trusted = await house.leaf("ct2", "CT2", ["store"])
            limits = UpperLayerLimits(artim_seconds=1.0, idle_seconds=1.0)

            async def verdict(port: int, title: str = "CT1") -> str:
                await device.at(port)
                known = await house.house.admin.call(p.ShowDestination("CT1"), p.DestinationKnown)
                peer = Peer(known.address, known.port, known.fingerprint, title, "RIBCAGE")
                try:
                    await echo(peer, house.front._client_context(), limits)
                except EchoFailed as failed:
                    return str(failed)
                return "well"

            async with listening("CT1", tls_of(device.leaf, device.trusted)) as (_, port):
                assert await verdict(port) == "well"
                assert "called AE title not recognized" in await verdict(port, "CT9")
            assert "nothing listens there" in await verdict(port)
            async with listening("CT1", tls_of(stranger, trusted)) as (_, other):
                assert "another certificate" in await verdict(other)
            async with listening("CT1", None) as (_, plain):
                assert "TLS" in await verdict(plain)
            async with listening("CT1", tls_of(device.leaf, stranger.certificate_pem)) as (_, unwilling):
                assert "may not trust the archive's certificate" in await verdict(unwilling)
            with socket.create_server(("127.0.0.1", 0)) as silent:
                assert "in time" in await verdict(silent.getsockname()[1])
            with pytest.raises(GuardRefused, match="not_found"):
                await house.house.admin.call(p.ShowDestination("NOBODY"), p.DestinationKnown)

    uvloop.run(main())
