"""Devices that declare no character set, or a wrong one: read as their registration says, stored as they sent it."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import pytest
import uvloop
from pydicom import dcmread

from helpers.front_house import CT, EXPLICIT_LE, FrontHouse, ct_slice, front_house, make_template
from helpers.raw_scu import store
from helpers.refusals import reason
from helpers.retrieve_peers import c_get, study, workstation
from ribcage.dicom.attributes import extract
from ribcage.dicom.scan import scan
from ribcage.guard import protocol as p
from ribcage.guard.protocol import CorrectedPatient
from ribcage.usage.corrected import corrected_header

NAME = "王^小明"
LATIN1 = "ISO_IR 100"


def film(declared: str = "", charset: str = "GB18030") -> tuple[str, bytes]:
    """A slice of 王小明 in `charset`, which says `declared`, or nothing."""
    uid, data = ct_slice(1, PatientName="N" * len(NAME.encode(charset)))
    data = data.replace(b"N" * len(NAME.encode(charset)), NAME.encode(charset))
    if declared:
        value = declared.encode() + b" " * (len(declared) % 2)
        data = b"\x08\x00\x05\x00CS" + len(value).to_bytes(2, "little") + value + data
    return uid, data


@pytest.mark.parametrize(
    ("declared", "assumed", "overrides", "read"),
    [
        ("", "GB18030", False, NAME),
        (LATIN1, "GB18030", True, NAME),
        (LATIN1, "GB18030", False, NAME.encode("GB18030").decode("latin-1")),
        ("GB18030", "ISO_IR 192", False, NAME),
        ("ISO_IR 6", "GB18030", False, NAME),
    ],
)
def test_text_is_read_as_the_registration_says(
    declared: str, assumed: str, overrides: bool, read: str
) -> None:
    found = extract(scan(film(declared)[1], EXPLICIT_LE), assumed, overrides=overrides)
    assert found["patient_name"] == read
    assert found["specific_character_set"] == declared


def test_a_corrected_study_declares_the_set_that_its_text_is_in() -> None:
    named = CorrectedPatient("P-0001", "", "王^大明", "", "", 1_800_000_000.0)
    data = film(LATIN1)[1]
    fixed = dcmread(
        io.BytesIO(corrected_header(data, EXPLICIT_LE, named, None, "GB18030", overrides=True)), force=True
    )
    assert (str(fixed.PatientName), fixed.SpecificCharacterSet) == ("王^大明", "GB18030")
    former = fixed.OriginalAttributesSequence[0].ModifiedAttributesSequence[0]
    assert str(former.PatientName) == NAME


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_template(tmp_path_factory.mktemp("template"))


async def _found(house: FrontHouse, ws: p.Device, name: str) -> list[object]:
    ask = p.Query(principal=ws, channel="dimse", level="study", filters={"PatientName": name})
    return [r.attributes["PatientName"] for r in (await house.house.front.call(ask, p.QueryAnswer)).records]


def test_a_wrong_declaration_is_found_by_its_name_and_sent_bit_for_bit(
    template: Path, tmp_path: Path
) -> None:
    async def main() -> None:
        async with front_house(template, tmp_path) as house:
            ct, admin = await house.device("ct1", "CT1", ["store"]), house.house.admin
            await admin.call(p.SetDeviceCharset("ct1", "GB18030", True), p.Noted)
            uid, data = film(LATIN1)
            words = (house.address, ct, "CT1", "RIBCAGE", CT, uid, EXPLICIT_LE, data)
            assert await asyncio.to_thread(store, *words) == 0
            asker = await house.house.device("ws2", "WS2", ["query"])
            grant = p.AddGrant(subject="device:ws2", resource="department:radiology", view="full")
            await admin.call(grant, p.GrantAdded)
            assert await _found(house, asker, "王*") == [NAME]
            ws = await workstation(house)
            got = await asyncio.to_thread(c_get, house.address, ws, study())
            assert got.data == {uid: data}
            events = await house.events()
            assert '"GB18030"' in events
            assert '"overrides"' in events
            for wrong in ("KLINGON", "GB18030\\nonsense", "\\".join(["ISO_IR 100"] * 9)):
                assert await reason(admin.call(p.SetDeviceCharset("ct1", wrong), p.Noted)) == "invalid"
            unknown = admin.call(p.SetDeviceCharset("nobody", "GB18030"), p.Noted)
            assert await reason(unknown) == "not_found"

    uvloop.run(main())
