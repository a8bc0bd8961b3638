"""Every row of Table E.1-1: at the top and in an item, in the Basic Profile and under each option."""

from __future__ import annotations

import csv
from functools import cache

import pytest
from pydicom.dataset import Dataset

from dicom.data_builders import item, sequence
from helpers.deid_objects import VALUES, ct, engine, file_of, leaks, read
from ribcage.dicom.dictionary import vr_of
from ribcage.usage.deid import tables
from ribcage.usage.deid.plan import DATE_VRS, TEXT_VRS
from ribcage.usage.deid.tables import Option, Row, actions, iod_of

CT_TYPES = iod_of("1.2.840.10008.5.1.4.1.1.2")
PATIENT_ITSELF = {0x00100010, 0x00100020, 0x00120063}  # pseudonym; written anew
OBJECT_ITSELF = {0x00080018, 0x0020000D, 0x0020000E}  # the test object needs them
DOCUMENT = {0x00420011}  # refuses the instance, or becomes an empty page
DATED = (Option.FULL_DATES, Option.MODIFIED_DATES)


def _usable(tag: int) -> bool:
    return (
        tag >> 16 > 7
        and tag not in PATIENT_ITSELF | OBJECT_ITSELF | DOCUMENT
        and vr_of(tag) != "UN"
        and tag < 0xFFFA0000
    )


ROWS = {tag: row for tag, row in actions().items() if _usable(tag)}


def _put(ds: Dataset, tag: int) -> None:
    vr = vr_of(tag)
    if vr == "SQ":
        ds.add_new(tag, "SQ", sequence(item(PatientComments="LEAKED", PersonName="LEAKED^ZHANGWEI")))
    else:
        ds.add_new(tag, vr, VALUES[vr])


def _nested(ds: Dataset) -> Dataset:
    """A sequence of the IOD that the table does not name."""
    ds.add_new(0x00081115, "SQ", sequence(Dataset()))
    return ds[0x00081115].value[0]


def _after(tag: int, *options: Option, nested: bool = False) -> tuple[Dataset, bytes]:
    ds = ct()
    if tag in ds and not nested:
        del ds[tag]
    _put(_nested(ds) if nested else ds, tag)
    one = engine(*options).release(file_of(ds))
    back = read(one)
    return (back[0x00081115].value[0] if nested else back), bytes(one)


def _action(row: Row, tag: int) -> str:
    """X, Z, D or U by the type in the CT image's IOD, worked out apart from the plan."""
    assert CT_TYPES is not None
    kind = CT_TYPES.top.get(tag, 0)
    choice = row.basic.split("/")
    if len(choice) == 1:
        return row.basic
    if row.basic == "Z/D":
        return "D" if kind == 1 else "Z"
    if kind in (0, 3):
        return "X"
    if kind == 1:
        return choice[-1].replace("U*", "U")
    return "Z" if "Z" in choice else "D"


def test_the_table_is_whole_and_names_its_edition() -> None:
    assert tables.EDITION == "PS3.15 2026d"
    assert len(actions()) == 653
    counts: dict[str, int] = {}
    for row in actions().values():
        counts[row.basic] = counts.get(row.basic, 0) + 1
    assert counts == {
        "X": 413, "D": 93, "U": 55, "Z": 42, "X/D": 23, "X/Z": 11, "X/Z/D": 8, "Z/D": 6, "X/Z/U*": 2
    }  # fmt: skip
    assert sum(bool(kind) for _, _, kind in tables.concepts()) == 214
    assert len(tables.safe_private()) == 479


def test_every_option_has_a_code() -> None:
    assert set(tables.METHOD_CODES) == {None, *Option}


@pytest.mark.parametrize("group", sorted({tag >> 16 for tag in ROWS}), ids=lambda group: f"{group:04X}")
def test_basic_profile_at_the_top(group: int) -> None:
    for tag, row in ROWS.items():
        if tag >> 16 != group:
            continue
        after, raw = _after(tag)
        action = _action(row, tag)
        assert not leaks(raw), f"{tag:08X} {action}"
        if action == "X":
            assert tag not in after, f"{tag:08X} stayed"
        elif action == "Z":
            assert not after[tag].value or CT_TYPES.top.get(tag) == 1, f"{tag:08X} not empty"
        elif action == "D":
            assert after[tag].value or after[tag].VR == "SQ", f"{tag:08X} empty"
        elif vr_of(tag) == "UI":
            assert str(after[tag].value).startswith("2.25."), f"{tag:08X}"


@pytest.mark.parametrize("group", sorted({tag >> 16 for tag in ROWS}), ids=lambda group: f"{group:04X}")
def test_basic_profile_in_an_item(group: int) -> None:
    for tag, row in ROWS.items():
        if tag >> 16 == group and tag != 0x00081115:
            after, raw = _after(tag, nested=True)
            assert not leaks(raw), f"{tag:08X} {row.basic}"
            if row.basic == "X":
                assert tag not in after


@cache
def _with(option: Option) -> list[int]:
    return [tag for tag in ROWS if option in ROWS[tag].options]


@pytest.mark.parametrize(
    "option", [option for option in Option if any(option in r.options for r in ROWS.values())]
)
def test_each_option_keeps_or_cleans_its_attributes(option: Option) -> None:
    assert _with(option)
    for tag in _with(option):
        vr, cell = vr_of(tag), ROWS[tag].options[option]
        ds = ct()
        if vr in TEXT_VRS and vr != "PN" and cell == "K":
            ds.add_new(tag, vr, "http://hospital" if vr == "UR" else "UNIVERSITY")
        else:
            _put(ds, tag)
        after = read(engine(option).release(file_of(ds)))
        if cell != "K":
            if vr in DATE_VRS and vr != "TM":
                assert after[tag].value != ds[tag].value, f"{tag:08X} not moved"
            elif vr not in DATE_VRS:
                assert tag not in after or not leaks(str(after[tag]).encode()), f"{tag:08X} not cleaned"
        elif vr not in ("SQ", "CS", "OB"):
            assert after[tag].value == ds[tag].value, f"{tag:08X} not kept"


def test_an_option_changes_nothing_else() -> None:
    plain = {element.tag for element in read(engine().release(file_of(ct())))}
    for option in (Option.DEVICE, Option.INSTITUTION, Option.UIDS, *DATED):
        assert {element.tag for element in read(engine(option).release(file_of(ct())))} >= plain - {
            0x00080020
        }


def test_the_copied_tables_are_those_of_the_standard() -> None:
    rows = list(csv.DictReader(tables.files("ribcage.usage.deid").joinpath("ps315_2026d_actions.csv").open()))
    assert len(rows) == 657
    assert sum("x" in row["tag"] or "g" in row["tag"] for row in rows) == 4
