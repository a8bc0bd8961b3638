"""What a data set says of the machine that made it (PS3.3 C.7.5.1), read beside what the index learns."""

from __future__ import annotations

import io

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from ribcage.dicom import attributes, part10
from ribcage.dicom.scan import scan
from ribcage.oversight.studies import make_study


def said(**values: object) -> dict[str, str | int]:
    """The fields of a made-up film with these values."""
    data: Dataset = dcmread(io.BytesIO(make_study(5, 1).file))
    for name, value in values.items():
        setattr(data, name, value)
    written = io.BytesIO()
    data.save_as(written)
    meta = part10.split(written.getvalue())
    return attributes.extract(
        scan(memoryview(written.getvalue()), meta.transfer_syntax_uid, start=meta.prefix_bytes)
    )


def test_maker_model_serial_and_software_are_read_in_the_data_sets_characters() -> None:
    told = said(
        SpecificCharacterSet="ISO_IR 192",
        Manufacturer="联影",
        ManufacturerModelName="uDR 780i",
        DeviceSerialNumber="SN-17",
        SoftwareVersions=["1.0", "2.4"],
    )
    assert told["manufacturer"] == "联影" and told["model_name"] == "uDR 780i"
    assert told["serial_number"] == "SN-17" and told["software_versions"] == "1.0\\2.4"


def test_a_data_set_that_says_nothing_of_its_machine_says_nothing() -> None:
    assert {said()[name] for name in attributes._EQUIPMENT.values()} == {""}


@pytest.mark.filterwarnings("ignore:.*maximum length:UserWarning")
def test_what_is_too_long_is_cut() -> None:
    assert (
        len(str(said(SoftwareVersions=["9" * 60] * 20)["software_versions"]))
        <= attributes.MAX_EQUIPMENT_BYTES
    )
