"""Storage commitment over mutual TLS: pynetdicom and our own requestor against a real front and a real guard."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop
from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.pdu import P_DATA_TF

from helpers.front_house import CT, EXPLICIT_LE, FrontHouse, ct_slice, front_house, make_template
from helpers.raw_scu import RawAssociation
from ribcage.dicom import commitment, dimse
from ribcage.dicom.commitment import Reference
from ribcage.dicom.dimse import OtherCommand
from ribcage.dicom.errors import DataSetMalformed
from ribcage.dicom.sop_classes import STORAGE_COMMITMENT_INSTANCE, STORAGE_COMMITMENT_PUSH
from ribcage.guard import protocol as p

_SUCCESS, _UNKNOWN, _CLASS_CONFLICT = 0, 0x0112, 0x0119


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_template(tmp_path_factory.mktemp("template"))


def _run(template: Path, folder: Path, work: Callable[[FrontHouse], object]) -> None:
    async def main() -> None:
        async with front_house(template, folder) as house:
            await work(house)  # type: ignore[misc]  # a coroutine function

    uvloop.run(main())


def _association(house: FrontHouse, context: ssl.SSLContext, calling: str) -> RawAssociation:
    proposals = [(CT, [EXPLICIT_LE]), (STORAGE_COMMITMENT_PUSH, [EXPLICIT_LE])]
    return RawAssociation(house.address, proposals, ssl_context=context, calling=calling)


def _stored(house: FrontHouse, context: ssl.SSLContext, calling: str, instance: tuple[str, bytes]) -> int:
    with _association(house, context, calling) as association:
        return association.store(CT, *instance)


async def reports(house: FrontHouse) -> list[p.ReportLine]:
    return (await house.house.admin.call(p.ReportPage(0, 1000), p.ReportLines)).reports


def _action(association: RawAssociation, references: list[Reference], **more: int | str) -> int:
    """Send an N-ACTION; the status of its response."""
    elements = {
        dimse.REQUESTED_SOP_CLASS: STORAGE_COMMITMENT_PUSH,
        dimse.MESSAGE_ID: 1,
        dimse.REQUESTED_SOP_INSTANCE: more.get("instance", STORAGE_COMMITMENT_INSTANCE),
        dimse.ACTION_TYPE_ID: more.get("action", 1),
    }
    data_set = commitment.write("1.2.99", references, [], EXPLICIT_LE)
    request = OtherCommand(dimse.N_ACTION_RQ, elements, has_data_set=True)
    answer = association.call(association.context_for(STORAGE_COMMITMENT_PUSH), request, (data_set,)).command
    assert isinstance(answer, OtherCommand)
    assert answer.command_field == dimse.N_ACTION_RQ | dimse.RESPONSE
    return int(str(answer.elements[dimse.STATUS]))


def _report(association: RawAssociation, *, confirm: bool = True) -> tuple[int, bytes]:
    """Wait for the N-EVENT-REPORT: event type and data set."""
    message = association.next_message()
    command = message.command
    assert isinstance(command, OtherCommand)
    assert command.command_field == dimse.N_EVENT_REPORT_RQ
    if confirm:
        elements = {
            dimse.MESSAGE_ID_RESPONDED: command.elements[dimse.MESSAGE_ID],
            dimse.STATUS: 0,
            dimse.AFFECTED_SOP_CLASS: STORAGE_COMMITMENT_PUSH,
        }
        answer = OtherCommand(dimse.N_EVENT_REPORT_RQ | dimse.RESPONSE, elements, has_data_set=False)
        association.send(message.context_id, answer)
    return int(str(command.elements[dimse.EVENT_TYPE_ID])), bytes(message.data_set or b"")


def test_pynetdicom_hears_what_is_held_and_why_the_rest_is_not(template: Path, tmp_path: Path) -> None:
    def modality(house: FrontHouse, context: ssl.SSLContext, references: list[tuple[str, str]]) -> Dataset:
        heard, reports = threading.Event(), list[tuple[int, Dataset]]()

        def report(event: evt.Event) -> tuple[int, None]:
            reports.append((event.event_type, event.event_information))
            return 0, None

        def answered(event: evt.Event) -> None:
            if reports and isinstance(
                event.pdu, P_DATA_TF
            ):  # pynetdicom cannot send it once it asked for release
                heard.set()

        ae = AE("CT1")
        ae.add_requested_context(STORAGE_COMMITMENT_PUSH)
        association = ae.associate(
            *house.address, ae_title="RIBCAGE", tls_args=(context, "localhost"),
            evt_handlers=[(evt.EVT_N_EVENT_REPORT, report), (evt.EVT_PDU_SENT, answered)],
        )  # fmt: skip
        assert association.is_established
        request = Dataset()
        request.TransactionUID = "1.2.99"
        request.ReferencedSOPSequence = []
        for sop_class, uid in references:
            item = Dataset()
            item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
            request.ReferencedSOPSequence.append(item)
        status, _ = association.send_n_action(
            request, 1, STORAGE_COMMITMENT_PUSH, STORAGE_COMMITMENT_INSTANCE
        )
        assert status.Status == _SUCCESS
        assert heard.wait(10)
        association.release()
        ((kind, found),) = reports
        assert kind == (2 if "FailedSOPSequence" in found else 1)
        return found

    async def work(house: FrontHouse) -> None:
        context = await house.device("ct1", "CT1", ["store"])
        other = await house.device("ct2", "CT2", ["store"])
        own, theirs = ct_slice(1), ct_slice(2)
        assert await asyncio.to_thread(_stored, house, context, "CT1", own) == _SUCCESS
        assert await asyncio.to_thread(_stored, house, other, "CT2", theirs) == _SUCCESS
        found = await asyncio.to_thread(
            modality, house, context, [(CT, own[0]), (CT, theirs[0]), (CT, "1.2.404")]
        )
        assert found.TransactionUID == "1.2.99"
        assert [item.ReferencedSOPInstanceUID for item in found.ReferencedSOPSequence] == [own[0]]
        assert {item.ReferencedSOPInstanceUID: item.FailureReason for item in found.FailedSOPSequence} == {
            theirs[0]: _UNKNOWN,  # another device's instance is not told from one that does not exist
            "1.2.404": _UNKNOWN,
        }
        conflict = await asyncio.to_thread(modality, house, context, [("1.2.840.10008.5.1.4.1.1.4", own[0])])
        assert [item.FailureReason for item in conflict.FailedSOPSequence] == [_CLASS_CONFLICT]
        again = await asyncio.to_thread(_stored, house, context, "CT1", theirs)  # sent again, kept once
        assert again == _SUCCESS
        both = await asyncio.to_thread(modality, house, context, [(CT, own[0]), (CT, theirs[0])])
        assert "FailedSOPSequence" not in both

    _run(template, tmp_path, work)


def test_an_instance_whose_file_is_gone_is_not_committed_to(template: Path, tmp_path: Path) -> None:
    async def work(house: FrontHouse) -> None:
        context = await house.device("ct1", "CT1", ["store"])
        uid, data = ct_slice(1, 1024)

        def ask() -> tuple[int, bytes]:
            with _association(house, context, "CT1") as association:
                assert association.store(CT, uid, data) == _SUCCESS
                (location,) = house.objects.list_files()
                (house.objects._root / location).unlink()
                assert _action(association, [Reference(CT, uid)]) == _SUCCESS
                return _report(association)

        kind, data_set = await asyncio.to_thread(ask)
        assert kind == 2
        assert data_set == commitment.write("1.2.99", [], [(Reference(CT, uid), _UNKNOWN)], EXPLICIT_LE)

    _run(template, tmp_path, work)


def test_a_report_nobody_confirmed_is_delivered_on_the_next_association(
    template: Path, tmp_path: Path
) -> None:
    async def work(house: FrontHouse) -> None:
        context = await house.device("ct1", "CT1", ["store"])
        other = await house.device("ct2", "CT2", ["store"])

        def unheard() -> None:
            with _association(house, context, "CT1") as association:
                assert _action(association, [Reference(CT, "1.2.3")]) == _SUCCESS

        def next_time(*, confirm: bool) -> int:
            with _association(house, context, "CT1") as association:
                return _report(association, confirm=confirm)[0]

        def nothing(who: ssl.SSLContext, calling: str) -> None:
            with _association(house, who, calling) as association:
                assert _action(association, [], action=1) == 0x0115  # the first message is the answer to this

        await asyncio.to_thread(unheard)
        await asyncio.to_thread(nothing, other, "CT2")  # another device hears nothing of it
        assert await asyncio.to_thread(next_time, confirm=False) == 2
        assert await asyncio.to_thread(next_time, confirm=True) == 2
        async with asyncio.timeout(5):
            while (await reports(house))[0].state != "done":
                await asyncio.sleep(0)
        await asyncio.to_thread(nothing, context, "CT1")

    _run(template, tmp_path, work)


def test_requests_out_of_form_are_refused_with_their_status(template: Path, tmp_path: Path) -> None:
    async def work(house: FrontHouse) -> None:
        context = await house.device("ct1", "CT1", ["store"])
        one = [Reference(CT, "1.2.3")]

        def ask() -> list[int]:
            with _association(house, context, "CT1") as association:
                return [
                    _action(association, one, action=2),
                    _action(association, one, instance="1.2.3"),
                    _action(association, []),
                    _action(association, one * 2),
                ]

        assert await asyncio.to_thread(ask) == [0x0123, 0x0112, 0x0115, 0x0115]
        reader = await house.house.device("ws1", "WS1", ["query"])
        with pytest.raises(Exception, match="not_permitted"):
            await house.house.front.ask(p.CheckCommitment(reader, [(CT, "1.2.3")]))

    _run(template, tmp_path, work)


def test_a_request_reads_back_and_one_with_two_transactions_does_not() -> None:
    for syntax in ("1.2.840.10008.1.2", EXPLICIT_LE):
        data = commitment.write("1.2.9", [Reference(CT, "1.2.3"), Reference(CT, "1.2.4")], [], syntax)
        request = commitment.read(data, syntax)
        assert (request.transaction, [each.sop_instance for each in request.references]) == (
            "1.2.9", ["1.2.3", "1.2.4"],
        )  # fmt: skip
        first = commitment.write("1.2.8", [], [], syntax)
        with pytest.raises(DataSetMalformed):
            commitment.read(first + data, syntax)
