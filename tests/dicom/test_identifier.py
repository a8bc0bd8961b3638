"""Identifiers: what the standard's own examples say, what pydicom writes and reads, what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from ribcage.dicom import identifier, query_models
from ribcage.dicom.dictionary import TAG_BY_KEYWORD
from ribcage.dicom.errors import DataSetLimitExceeded, DataSetMalformed, DicomError, IdentifierMismatch
from ribcage.dicom.sop_classes import PATIENT_ROOT_FIND, STUDY_ROOT_FIND
from ribcage.dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN

_NAME = TAG_BY_KEYWORD["PatientName"]
_SYNTAXES = (IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN)


def written(ds: Dataset, syntax: str) -> bytes:
    out = DicomBytesIO()
    out.is_little_endian, out.is_implicit_VR = True, syntax == IMPLICIT_VR_LITTLE_ENDIAN
    write_dataset(out, ds)
    return out.getvalue()


# PS3.5 H.3.1, I.2, K.2 and L: a name in its character set, byte for byte.
EXAMPLES = [
    (
        "\\ISO 2022 IR 87",
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
        b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
    ),
    (
        "\\ISO 2022 IR 149",
        "Hong^Gildong=洪^吉洞=홍^길동",
        b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
    ),
    ("\\ISO 2022 IR 58", "Zhang^XiaoDong=张^小东", b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab"),
    ("GB18030", "Wang^XiaoDong=王^小东", b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab"),
    ("ISO_IR 192", "Wang^XiaoDong=王^小東", "Wang^XiaoDong=王^小東".encode()),
]


@pytest.mark.parametrize(("charset", "name", "raw"), EXAMPLES, ids=[each[0] for each in EXAMPLES])
def test_names_of_the_standards_examples_are_written_and_read_byte_for_byte(
    charset: str, name: str, raw: bytes
) -> None:
    for syntax in _SYNTAXES:
        data = identifier.write({_NAME: name}, charset, syntax)
        assert raw in data
        again = identifier.read(data, syntax)
        assert (again.keys[_NAME], again.character_set) == (name, charset)


@pytest.mark.parametrize("syntax", _SYNTAXES)
def test_pydicom_reads_what_we_write(syntax: str) -> None:
    values: dict[int, identifier.Value] = {
        TAG_BY_KEYWORD["StudyInstanceUID"]: "1.2.3",
        TAG_BY_KEYWORD["ModalitiesInStudy"]: ["CR", "SR"],
        TAG_BY_KEYWORD["NumberOfStudyRelatedInstances"]: 12,
        TAG_BY_KEYWORD["Rows"]: 512,
        _NAME: "Müller^Jörg",
    }
    found = dcmread(
        DicomBytesIO(identifier.write(values, "ISO_IR 100", syntax)), force=True
    ) if syntax == IMPLICIT_VR_LITTLE_ENDIAN else None  # fmt: skip
    if found is not None:
        assert (found.StudyInstanceUID, list(found.ModalitiesInStudy)) == ("1.2.3", ["CR", "SR"])
        assert (found.NumberOfStudyRelatedInstances, found.Rows) == (12, 512)
        assert str(found.PatientName) == "Müller^Jörg"
        assert found.SpecificCharacterSet == "ISO_IR 100"
    again = identifier.read(identifier.write(values, "ISO_IR 100", syntax), syntax)
    assert again.keys[TAG_BY_KEYWORD["ModalitiesInStudy"]] == "CR\\SR"
    assert again.keys[TAG_BY_KEYWORD["Rows"]] == "512"


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\\"), max_size=64))
def test_any_name_comes_back_whatever_character_set_was_asked_for(name: str) -> None:
    name = name.strip(" ^=")
    for charset in (
        "",
        "ISO_IR 100",
        "GBK",
        "\\ISO 2022 IR 87\\ISO 2022 IR 159",
        "ISO 2022 IR 13\\ISO 2022 IR 87",
    ):
        data = identifier.write({_NAME: name}, charset, EXPLICIT_VR_LITTLE_ENDIAN)
        assert len(data) % 2 == 0
        assert identifier.read(data, EXPLICIT_VR_LITTLE_ENDIAN).keys[_NAME] == name


@given(st.binary(max_size=400), st.sampled_from(_SYNTAXES))
def test_any_bytes_are_read_or_refused(data: bytes, syntax: str) -> None:
    try:
        found = identifier.read(data, syntax)
        query_models.question(STUDY_ROOT_FIND, found, relational=False)
    except DicomError:
        return


def test_a_key_twice_and_a_flood_of_keys_are_refused() -> None:
    twice = b"\x08\0\x52\0CS\6\0STUDY " * 2
    with pytest.raises(DataSetMalformed):
        identifier.read(twice, EXPLICIT_VR_LITTLE_ENDIAN)
    many = b"".join(b"\x08\0" + n.to_bytes(2, "little") + b"CS\0\0" for n in range(0x100, 0x1000))
    with pytest.raises(DataSetLimitExceeded):
        identifier.read(many, EXPLICIT_VR_LITTLE_ENDIAN)


def asked(model: str, relational: bool = False, **keys: str) -> query_models.Question:
    tags = {TAG_BY_KEYWORD[keyword]: value for keyword, value in keys.items()}
    return query_models.question(model, identifier.Identifier(tags, frozenset(), ""), relational=relational)


def test_each_level_above_needs_its_unique_key_as_a_single_value() -> None:
    for value in ("", "1.2\\1.3", "1.2*"):
        with pytest.raises(IdentifierMismatch) as refused:
            asked(STUDY_ROOT_FIND, QueryRetrieveLevel="SERIES", StudyInstanceUID=value)
        assert refused.value.tag == TAG_BY_KEYWORD["StudyInstanceUID"]
    assert asked(STUDY_ROOT_FIND, relational=True, QueryRetrieveLevel="SERIES").level == "SERIES"
    with pytest.raises(IdentifierMismatch):
        asked(PATIENT_ROOT_FIND, QueryRetrieveLevel="STUDY", StudyInstanceUID="1.2")
    for level in ("", "PATIENT", "study"):
        with pytest.raises(IdentifierMismatch):
            asked(STUDY_ROOT_FIND, QueryRetrieveLevel=level)


def test_keys_of_lower_levels_and_values_of_counts_are_unsupported_and_never_filters() -> None:
    found = asked(STUDY_ROOT_FIND, QueryRetrieveLevel="STUDY", SeriesNumber="1", PatientName="W*")
    assert found.unsupported
    assert found.filters == {"PatientName": "W*"}
    assert TAG_BY_KEYWORD["SeriesNumber"] not in found.returned
    counted = asked(STUDY_ROOT_FIND, QueryRetrieveLevel="STUDY", NumberOfStudyRelatedInstances="3")
    assert counted.unsupported
    assert not counted.filters
    assert not asked(
        STUDY_ROOT_FIND, QueryRetrieveLevel="STUDY", PatientName="*", StudyInstanceUID=""
    ).filters
