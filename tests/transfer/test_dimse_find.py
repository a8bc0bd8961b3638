"""C-FIND over mutual TLS: pynetdicom and our own requestor against a real front and a real guard."""

from __future__ import annotations

import asyncio
import resource
import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import uvloop
from pydicom import Dataset
from pynetdicom import AE
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation

from helpers.front_house import QUICK, FrontHouse, front_house, make_template
from helpers.guard_house import attributes
from helpers.raw_scu import AssociationFailed, RawAssociation
from ribcage.dicom import dimse
from ribcage.dicom.limits import UpperLayerLimits
from ribcage.dicom.sop_classes import PATIENT_ROOT_FIND, STUDY_ROOT_FIND
from ribcage.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from ribcage.guard import protocol as p
from ribcage.transfer.limits import FrontSettings

_PENDING, _UNSUPPORTED, _SUCCESS, _CANCEL, _MISMATCH, _TOO_MANY = 0xFF00, 0xFF01, 0, 0xFE00, 0xA900, 0xA700
_STUDY_KEYS = b"\x08\0\x52\0CS\6\0STUDY \x20\0\x0d\0UI\0\0"  # level STUDY, Study Instance UID


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_template(tmp_path_factory.mktemp("template"))


def _settings(**limits: float) -> FrontSettings:
    return FrontSettings(Path(), Path(), limits=replace(QUICK, **limits))


async def _filled(house: FrontHouse, *studies: p.Attributes) -> ssl.SSLContext:
    """A workstation that may ask about the department, in which these studies lie."""
    modality = await house.house.device("cr1", "CR1", ["store"])
    for number, each in enumerate(studies):
        await house.house.store(modality, each, b"film %d" % number)
    context = await house.device("ws1", "WS1", ["query"])
    await _grant(house, "department:radiology")
    return context


async def _grant(house: FrontHouse, resource_: str) -> int:
    request = p.AddGrant(subject="device:ws1", resource=resource_, view="full")
    return (await house.house.admin.call(request, p.GrantAdded)).grant_id


def _ask(
    house: FrontHouse,
    context: ssl.SSLContext,
    model: str = STUDY_ROOT_FIND,
    extended: bytes = b"",
    syntax: str = EXPLICIT_VR_LITTLE_ENDIAN,
    **keys: str,
) -> list[tuple[int, Dataset | None]]:
    """One association of pynetdicom, one C-FIND: (status, identifier) of each response."""
    ae = AE("WS1")
    ae.add_requested_context(model, syntax)
    item = SOPClassExtendedNegotiation()
    item.sop_class_uid, item.service_class_application_information = model, extended
    association = ae.associate(
        *house.address,
        ae_title="RIBCAGE",
        ext_neg=[item] if extended else [],
        tls_args=(context, "localhost"),
    )
    assert association.is_established
    wanted = Dataset()
    for keyword, value in keys.items():
        setattr(wanted, keyword, value)
    answers = [(status.Status, found) for status, found in association.send_c_find(wanted, model)]
    association.release()
    return answers


def _run(
    template: Path, folder: Path, work: Callable[[FrontHouse], object], settings: FrontSettings | None = None
) -> None:
    async def main() -> None:
        async with front_house(template, folder, settings) as house:
            await work(house)  # type: ignore[misc]  # a coroutine function

    uvloop.run(main())


def _uids(answers: list[tuple[int, Dataset | None]]) -> list[str]:
    return [found.StudyInstanceUID for _, found in answers if found is not None]


def test_levels_of_both_models_answer_what_was_asked(template: Path, tmp_path: Path) -> None:
    async def work(house: FrontHouse) -> None:
        context = await _filled(
            house,
            attributes(1, patient_name="Wang^Xiaoming=王^小明", study_time="1015"),
            attributes(1, sop_instance_uid="1.2.3.1.2"),
            attributes(2, patient_name="Muster^Max"),
        )
        ask = lambda **words: asyncio.to_thread(_ask, house, context, **words)  # noqa: E731 - one line, four uses
        patients = await ask(
            model=PATIENT_ROOT_FIND, QueryRetrieveLevel="PATIENT", PatientID="PID000001", PatientName="",
            NumberOfPatientRelatedStudies="", NumberOfPatientRelatedInstances="",
        )  # fmt: skip
        assert [status for status, _ in patients] == [_PENDING, _SUCCESS]
        patient = patients[0][1]
        assert patient is not None
        assert str(patient.PatientName) == "Wang^Xiaoming=王^小明"
        assert patient.SpecificCharacterSet == "ISO_IR 192"
        assert (patient.NumberOfPatientRelatedStudies, patient.NumberOfPatientRelatedInstances) == (1, 2)
        studies = await ask(
            model=PATIENT_ROOT_FIND, syntax=IMPLICIT_VR_LITTLE_ENDIAN, QueryRetrieveLevel="STUDY",
            PatientID="PID000001", StudyInstanceUID="", StudyTime="", ModalitiesInStudy="",
        )  # fmt: skip
        study = studies[0][1]
        assert study is not None
        assert (study.StudyInstanceUID, study.StudyTime, study.ModalitiesInStudy) == ("1.2.3.1", "1015", "CR")
        assert (study.RetrieveAETitle, study.InstanceAvailability) == ("RIBCAGE", "ONLINE")
        series = await ask(
            QueryRetrieveLevel="SERIES", StudyInstanceUID="1.2.3.1", NumberOfSeriesRelatedInstances=""
        )
        assert [found.NumberOfSeriesRelatedInstances for _, found in series if found] == [2]
        images = await ask(
            QueryRetrieveLevel="IMAGE", StudyInstanceUID="1.2.3.1", SeriesInstanceUID="1.2.3.1.0",
            SOPInstanceUID="", SOPClassUID="",
        )  # fmt: skip
        assert [found.SOPInstanceUID for _, found in images if found] == ["1.2.3.1.1", "1.2.3.1.2"]
        assert "query-answered" in await house.events()

    _run(template, tmp_path, work)


def test_hierarchy_is_kept_unless_relational_was_negotiated(template: Path, tmp_path: Path) -> None:
    async def work(house: FrontHouse) -> None:
        context = await _filled(house, attributes(1), attributes(2))
        words = {"QueryRetrieveLevel": "SERIES", "SeriesInstanceUID": ""}
        strict = await asyncio.to_thread(_ask, house, context, **words)
        assert [status for status, _ in strict] == [_MISMATCH]
        relational = await asyncio.to_thread(_ask, house, context, extended=b"\1", **words)
        assert [status for status, _ in relational] == [_PENDING, _PENDING, _SUCCESS]
        wrong = await asyncio.to_thread(_ask, house, context, QueryRetrieveLevel="PATIENT", PatientID="")
        assert [status for status, _ in wrong] == [_MISMATCH]  # the Study Root has no such level

    _run(template, tmp_path, work)


def test_unsupported_keys_are_ff01_and_not_returned(template: Path, tmp_path: Path) -> None:
    async def work(house: FrontHouse) -> None:
        context = await _filled(house, attributes(1))
        answers = await asyncio.to_thread(
            _ask, house, context, QueryRetrieveLevel="STUDY", PatientSpeciesDescription="cat"
        )
        assert [status for status, _ in answers] == [_UNSUPPORTED, _SUCCESS]
        assert answers[0][1] is not None
        assert "PatientSpeciesDescription" not in answers[0][1]

    _run(template, tmp_path, work)


def test_combined_ranges_only_where_negotiated(template: Path, tmp_path: Path) -> None:
    async def work(house: FrontHouse) -> None:
        context = await _filled(
            house,
            attributes(1, study_date="20260101", study_time="2300"),
            attributes(2, study_date="20260102", study_time="0100"),
            attributes(3, study_date="20260102", study_time="2330"),
        )
        words = {
            "QueryRetrieveLevel": "STUDY", "StudyInstanceUID": "", "StudyDate": "20260101-20260102",
            "StudyTime": "2200-2310",
        }  # fmt: skip
        apart = await asyncio.to_thread(_ask, house, context, **words)
        assert _uids(apart) == ["1.2.3.1"]
        together = await asyncio.to_thread(_ask, house, context, extended=b"\0\1", **words)
        assert _uids(together) == ["1.2.3.2", "1.2.3.1"]

    _run(template, tmp_path, work)


@pytest.mark.parametrize(
    ("charset", "name", "comes_back_in"),
    [
        ("GB18030", "Wang^Xiaoming=王^小明", "GB18030"),
        ("GBK", "王^小明", "GBK"),
        ("ISO_IR 192", "王^小明", "ISO_IR 192"),
        ("ISO_IR 100", "Müller^Jörg", "ISO_IR 100"),
        ("ISO_IR 100", "王^小明", "ISO_IR 192"),  # it cannot hold the answer
        ("\\ISO 2022 IR 87", "Yamada^Tarou=山田^太郎", "\\ISO 2022 IR 87"),
        ("\\ISO 2022 IR 149", "Hong^Gildong=洪^吉洞=홍^길동", "\\ISO 2022 IR 149"),
    ],
)
def test_questions_and_answers_in_the_askers_character_set(
    template: Path, tmp_path: Path, charset: str, name: str, comes_back_in: str
) -> None:
    async def work(house: FrontHouse) -> None:
        context = await _filled(house, attributes(1, patient_name=name), attributes(2))
        wanted = name if comes_back_in == charset else ""
        answers = await asyncio.to_thread(
            _ask, house, context, SpecificCharacterSet=charset.split("\\"), QueryRetrieveLevel="STUDY",
            StudyInstanceUID="" if wanted else "1.2.3.1", PatientName=wanted,
        )  # fmt: skip
        ((status, found), (last, _)) = answers
        assert (status, last) == (_PENDING, _SUCCESS)
        assert found is not None
        named = found.SpecificCharacterSet
        assert ("\\".join(named) if not isinstance(named, str) else named) == comes_back_in
        assert str(found.PatientName) == name

    _run(template, tmp_path, work)


def test_more_than_the_limit_is_a700_with_a_hint(template: Path, tmp_path: Path) -> None:
    async def work(house: FrontHouse) -> None:
        context = await _filled(house, *(attributes(number) for number in range(1, 6)))
        answers = await asyncio.to_thread(
            _ask, house, context, QueryRetrieveLevel="STUDY", StudyInstanceUID=""
        )
        assert len(set(_uids(answers))) == 4
        assert answers[-1][0] == _TOO_MANY

    _run(template, tmp_path, work, _settings(find_answers=4, find_page_records=3))


def _raw(house: FrontHouse, context: ssl.SSLContext, **more: object) -> RawAssociation:
    proposals = [(STUDY_ROOT_FIND, [EXPLICIT_VR_LITTLE_ENDIAN])]
    return RawAssociation(house.address, proposals, ssl_context=context, calling="WS1", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "limits", [{"find_page_records": 2}, {"find_fresh_seconds": 0.0}], ids=["next page", "stale page"]
)
def test_a_right_that_falls_between_two_answers_is_noticed(
    template: Path, tmp_path: Path, limits: dict[str, float]
) -> None:
    async def work(house: FrontHouse) -> None:
        modality = await house.house.device("cr1", "CR1", ["store"])
        for number in range(1, 7):
            await house.house.store(modality, attributes(number), b"film %d" % number)
        context = await house.device("ws1", "WS1", ["query"])
        grants = {number: await _grant(house, f"study:1.2.3.{number}") for number in range(1, 7)}
        asked = house.front._site.guard
        pages = 0

        class Between:
            """The guard's link, between whose pages a right falls."""

            async def ask(self, request: p.Request) -> p.Response:
                return await asked.ask(request)

            async def call(self, request: p.Request, expected: type) -> object:
                nonlocal pages
                if isinstance(request, p.Query):
                    pages += 1
                    if pages == 2:  # two studies, or one, are answered by now
                        await house.house.admin.call(p.RevokeGrant(grant_id=grants[2]), p.Noted)
                return await asked.call(request, expected)

        house.front._site.guard = Between()  # type: ignore[assignment]  # as the link
        answers = await asyncio.to_thread(
            _ask, house, context, QueryRetrieveLevel="STUDY", StudyInstanceUID=""
        )
        assert _uids(answers) == [f"1.2.3.{number}" for number in (6, 5, 4, 3, 1)]
        assert pages >= 3

    _run(template, tmp_path, work, _settings(**limits))


def test_cancel_between_answers_ends_with_fe00(template: Path, tmp_path: Path) -> None:
    def cancelling(house: FrontHouse, context: ssl.SSLContext) -> tuple[int, int]:
        with _raw(house, context, limits=UpperLayerLimits(max_pdu_bytes=1024)) as association:
            place = association.context_for(STUDY_ROOT_FIND)
            association.send(place, dimse.CFindRq(7, STUDY_ROOT_FIND), (_STUDY_KEYS,))
            association.send(place, dimse.CCancelRq(7))
            count = 0
            while (answer := association.next_message().command).status == _PENDING:
                count += 1
            again = association.call(place, dimse.CFindRq(7, STUDY_ROOT_FIND), (_STUDY_KEYS,))
            assert again.command.status == _PENDING  # the old C-CANCEL does not end a new request
            while association.next_message().command.status == _PENDING:
                pass
            return count, answer.status

    async def work(house: FrontHouse) -> None:
        context = await _filled(house, *(attributes(number) for number in range(1, 21)))
        count, status = await asyncio.to_thread(cancelling, house, context)
        assert status == _CANCEL
        assert count < 20

    _run(template, tmp_path, work, _settings(find_page_records=1))


@pytest.mark.parametrize("answers_before", [0, 1, 5])
@pytest.mark.parametrize("way", ["abort", "close", "release"])
def test_a_peer_that_leaves_in_the_middle_leaves_the_front_serving(
    template: Path, tmp_path: Path, way: str, answers_before: int
) -> None:
    def leaving(house: FrontHouse, context: ssl.SSLContext) -> None:
        association = _raw(house, context)
        place = association.context_for(STUDY_ROOT_FIND)
        association.send(place, dimse.CFindRq(1, STUDY_ROOT_FIND), (_STUDY_KEYS,))
        for _ in range(answers_before):
            association.next_message()
        getattr(association, way)()

    async def work(house: FrontHouse) -> None:
        context = await _filled(house, *(attributes(number) for number in range(1, 9)))
        await asyncio.to_thread(leaving, house, context)
        answers = await asyncio.to_thread(
            _ask, house, context, QueryRetrieveLevel="STUDY", StudyInstanceUID=""
        )
        assert len(_uids(answers)) == 8

    _run(template, tmp_path, work, _settings(find_page_records=2))


def test_a_peer_that_stops_reading_is_aborted_after_the_idle_time(template: Path, tmp_path: Path) -> None:
    def silent(house: FrontHouse, context: ssl.SSLContext) -> RawAssociation:
        association = _raw(house, context)
        place = association.context_for(STUDY_ROOT_FIND)
        association.send(place, dimse.CFindRq(1, STUDY_ROOT_FIND), (_STUDY_KEYS,))
        return association

    async def work(house: FrontHouse) -> None:
        context = await _filled(house, attributes(1))
        real = house.front._site.guard

        class Endless:
            """A guard with more answers than any buffer holds."""

            asked = 0

            async def call(self, request: p.Request, expected: type) -> object:
                if not isinstance(request, p.Query):
                    return await real.call(request, expected)
                self.asked += 1
                row = p.Record(
                    "full", {"StudyInstanceUID": "1.2.3", "PatientName": "x" * 60}, "20260101.1.0.0"
                )
                return p.QueryAnswer([row] * 200, True, 1)

        endless = Endless()
        house.front._site.guard = endless  # type: ignore[assignment]  # as the link
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        association = await asyncio.to_thread(silent, house, context)
        async with asyncio.timeout(20):
            while house.front.connections:
                await asyncio.sleep(0)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024
        with pytest.raises((AssociationFailed, OSError)):
            while True:
                association.next_message()
        association.close()

    quick = replace(_settings(find_answers=10_000_000), upper_layer=UpperLayerLimits(idle_seconds=0.5))
    _run(template, tmp_path, work, quick)


def test_five_thousand_answers_in_bounded_memory(template: Path, tmp_path: Path) -> None:
    def counting(house: FrontHouse, context: ssl.SSLContext) -> tuple[int, int]:
        with _raw(house, context) as association:
            place = association.context_for(STUDY_ROOT_FIND)
            answer = association.call(place, dimse.CFindRq(1, STUDY_ROOT_FIND), (_STUDY_KEYS,))
            count = 0
            while answer.command.status == _PENDING:
                count += 1
                answer = association.next_message()
            return count, answer.command.status

    async def work(house: FrontHouse) -> None:
        context = await _filled(house, attributes(1))
        real = house.front._site.guard

        class Many:
            """A guard that has 5,000 studies, in pages."""

            async def call(self, request: p.Request, expected: type) -> object:
                if not isinstance(request, p.Query):
                    return await real.call(request, expected)
                first = int(request.after or 0)
                rows = [
                    p.Record("full", {"StudyInstanceUID": f"1.2.{each}"}, str(each + 1))
                    for each in range(first, min(first + request.limit, 5000))
                ]
                return p.QueryAnswer(rows, first + request.limit < 5000, 1)

        house.front._site.guard = Many()  # type: ignore[assignment]  # as the link
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert await asyncio.to_thread(counting, house, context) == (5000, _SUCCESS)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30 * 1024

    _run(template, tmp_path, work)


def test_a_device_without_the_right_to_ask_gets_no_context(template: Path, tmp_path: Path) -> None:
    async def work(house: FrontHouse) -> None:
        await _filled(house, attributes(1))
        context = await house.device("cr2", "CR2", ["store"])

        def refused() -> None:
            with RawAssociation(
                house.address, [(STUDY_ROOT_FIND, [EXPLICIT_VR_LITTLE_ENDIAN])], ssl_context=context,
                calling="CR2",
            ) as association:  # fmt: skip
                association.context_for(STUDY_ROOT_FIND)

        with pytest.raises(KeyError):
            await asyncio.to_thread(refused)

    _run(template, tmp_path, work)
