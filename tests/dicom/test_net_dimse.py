"""Command sets: round trips, hostile bytes, pynetdicom as the second implementation, statuses."""

from __future__ import annotations

import struct
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pynetdicom.dsutils import decode as their_decode
from pynetdicom.dsutils import encode as their_encode

from helpers.pdu_examples import ae_titles, uids
from ribcage.dicom import dimse, errors, statuses
from ribcage.dicom.statuses import Status

quick = settings(deadline=None, max_examples=60)
us = st.integers(0, 0xFFFF)
counts = st.none() | us
comments = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=64).map(str.strip)
offending = st.lists(st.integers(0, 0xFFFFFFFF), max_size=3).map(tuple)
c_get_like = {
    "responds_to": us, "status": us, "sop_class": uids, "remaining": counts, "completed": counts, "failed": counts,
    "warning": counts, "error_comment": comments, "offending_elements": offending, "has_data_set": st.booleans(),
}  # fmt: skip
commands = st.one_of(
    st.builds(dimse.CEchoRq, us, uids),
    st.builds(dimse.CEchoRsp, us, us, uids),
    st.builds(dimse.CStoreRq, us, uids, uids, st.integers(0, 2), st.just("") | ae_titles, counts),
    st.builds(dimse.CStoreRsp, us, us, uids, uids, comments, offending),
    st.builds(dimse.CFindRq, us, uids, st.integers(0, 2)),
    st.builds(dimse.CFindRsp, us, us, uids, comments, offending, st.booleans()),
    st.builds(dimse.CGetRq, us, uids, st.integers(0, 2)),
    st.builds(dimse.CMoveRq, us, uids, ae_titles, st.integers(0, 2)),
    st.builds(dimse.CGetRsp, **c_get_like),
    st.builds(dimse.CMoveRsp, **c_get_like),
    st.builds(dimse.CCancelRq, us),
    st.builds(
        dimse.OtherCommand,
        st.sampled_from([0x0100, 0x8100, 0x0130, 0x8130, 0x0140, 0x0150]),
        st.fixed_dictionaries(
            {dimse.MESSAGE_ID: us, dimse.REQUESTED_SOP_CLASS: uids, dimse.ATTRIBUTE_LIST: offending.filter(bool)}
        ),
        st.booleans(),
    ),
)  # fmt: skip


@quick
@given(commands)
def test_every_command_comes_back_from_its_bytes(command):
    assert dimse.decode(dimse.encode(command)) == command


@quick
@given(commands)
def test_pydicom_reads_our_commands_and_writes_the_same(command):
    data = dimse.encode(command)
    other = their_decode(BytesIO(data), True, True)
    assert other.CommandGroupLength == len(data) - 12
    assert dimse.decode(their_encode(other, True, True)) == command


def test_pydicom_finds_our_fields_where_they_belong():
    data = dimse.encode(dimse.CStoreRq(7, "1.2.3", "1.2.3.4", 1, "MOVER", 9))
    other = their_decode(BytesIO(data), True, True)
    assert other.CommandField == 0x0001
    assert (other.MessageID, other.Priority, other.AffectedSOPClassUID) == (7, 1, "1.2.3")
    assert (other.AffectedSOPInstanceUID, other.MoveOriginatorApplicationEntityTitle) == ("1.2.3.4", "MOVER")
    assert (other.MoveOriginatorMessageID, other.CommandDataSetType) == (9, 1)


@settings(deadline=None, max_examples=120)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_give_a_command_or_the_one_error(data):
    try:
        dimse.decode(data)
    except errors.CommandMalformed:
        return


@settings(deadline=None, max_examples=120)
@given(commands, st.data())
def test_a_flipped_byte_gives_a_stable_command_or_the_one_error(command, data):
    whole = bytearray(dimse.encode(command))
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        decoded = dimse.decode(whole)
    except errors.CommandMalformed:
        return
    assert dimse.decode(dimse.encode(decoded)) == decoded


def element(tag: int, value: bytes) -> bytes:
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(value)) + value


ECHO = (
    element(0x00000002, b"1.2.840.10008.1.1\0")
    + element(0x00000100, b"\x30\0")
    + element(0x00000110, b"\1\0")
)
NO_DATA = element(0x00000800, b"\1\1")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        ECHO,  # no data set type
        ECHO + NO_DATA + NO_DATA,  # twice
        ECHO + element(0x00000800, b"\0\0"),  # an echo with a data set
        ECHO + NO_DATA + element(0x00100010, b"DOE^JOHN"),  # not group 0000
        ECHO + NO_DATA + b"\0\0\0",  # a torn element
        ECHO + NO_DATA + struct.pack("<HHI", 0, 0x902, 0xFFFFFFFF),  # undefined length
        ECHO.replace(b"10008", b"1000A") + NO_DATA,  # not a UID
        ECHO.replace(b"\x10\1\2\0\0\0\1\0", b"\x10\1\4\0\0\0\1\0\0\0") + NO_DATA,  # US of four bytes
        ECHO[:26] + ECHO[26:36] + NO_DATA,  # no message id
    ],
)
def test_a_malformed_command_is_refused(data):
    with pytest.raises(errors.CommandMalformed):
        dimse.decode(data)


def test_the_good_twin_of_the_malformed_commands_is_read():
    assert dimse.decode(ECHO + NO_DATA) == dimse.CEchoRq(1, "1.2.840.10008.1.1")


def test_a_wrong_group_length_and_unknown_elements_are_tolerated():
    data = element(0, b"\xff\xff\xff\xff") + ECHO + element(0x00000850, b"\1\0") + NO_DATA
    assert dimse.decode(data) == dimse.CEchoRq(1, "1.2.840.10008.1.1")


def test_a_command_beyond_its_limit_is_refused():
    with pytest.raises(errors.CommandMalformed):
        dimse.decode(ECHO + NO_DATA + element(0x00004000, bytes(70_000)))


def test_a_refusal_message_never_repeats_the_foreign_value():
    with pytest.raises(errors.CommandMalformed) as caught:
        dimse.decode(ECHO + NO_DATA + element(0x00001000, b"WANG^XIAOMING "))
    assert "WANG" not in str(caught.value)


def test_a_hostile_error_comment_cannot_forge_log_lines():
    rsp = dimse.encode_elements(
        {0x100: 0x8001, 0x120: 1, 0x900: 0, 0x800: 0x0101, 0x902: "a\nb\x1b[31m" + "c" * 200}
    )
    comment = dimse.decode(rsp).error_comment
    assert comment.isprintable()
    assert len(comment) <= 64


def test_every_request_kind_can_be_refused_and_nothing_else_is_answered():
    refused = dimse.refuse(dimse.CMoveRq(3, "1.2", "X"), Status.NOT_AUTHORIZED)
    decoded = dimse.decode(dimse.encode(refused))
    assert decoded == dimse.CMoveRsp(3, Status.NOT_AUTHORIZED, "1.2")
    action = dimse.OtherCommand(
        dimse.N_ACTION_RQ, {dimse.MESSAGE_ID: 4, dimse.REQUESTED_SOP_CLASS: "1.2"}, True
    )
    assert dimse.refuse(action).command_field == 0x8130
    assert dimse.refuse(dimse.CCancelRq(1)) is None
    assert dimse.refuse(dimse.CEchoRsp(1, 0)) is None


def test_responses_quote_their_request():
    request = dimse.CStoreRq(9, "1.2.3", "1.2.3.4")
    assert dimse.respond(request, 0xC000, "x" * 100) == dimse.CStoreRsp(
        9, 0xC000, "1.2.3", "1.2.3.4", "x" * 64
    )
    assert dimse.respond(dimse.CEchoRq(2, "1.2"), 0) == dimse.CEchoRsp(2, 0, "1.2")


def test_a_value_that_does_not_fit_is_our_own_mistake():
    with pytest.raises(errors.ProtocolMisuse):
        dimse.encode(dimse.CEchoRq(65536, "1.2"))


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (0x0000, "success"), (0xFF00, "pending"), (0xFF01, "pending"), (0xFE00, "cancel"), (0xB000, "warning"),
        (0xB007, "warning"), (0x0107, "warning"), (0x0001, "warning"), (0x0110, "failure"), (0x0122, "failure"),
        (0x0124, "failure"), (0xA700, "failure"), (0xA7FF, "failure"), (0xA900, "failure"), (0xCFFF, "failure"),
        (0x1234, "failure"),
    ],
)  # fmt: skip
def test_status_categories(status, expected):
    assert statuses.category(status) == expected


def test_status_meanings_are_found_by_number_then_by_range():
    assert statuses.meaning(0x0122) == "refused: SOP class not supported"
    assert statuses.meaning(0xA7FF) == "refused: out of resources"
    assert statuses.meaning(0xC123) == statuses.meaning(0xC000)
    assert statuses.meaning(0x0199) == "unknown failure"
    assert all(statuses.meaning(status) for status in Status)


def test_every_error_class_has_statuses_of_failure():
    classes = [errors.DicomError]
    for cls in classes:
        classes += cls.__subclasses__()
    assert len(classes) >= 12
    for cls in classes:
        assert statuses.category(cls.dimse_status) == "failure"
        assert 400 <= cls.http_status < 600


def test_statuses_agree_with_pynetdicom():
    from pynetdicom import status as theirs

    for table in (
        theirs.GENERAL_STATUS,
        theirs.STORAGE_SERVICE_CLASS_STATUS,
        theirs.QR_MOVE_SERVICE_CLASS_STATUS,
    ):
        for number, (kind, _) in table.items():
            assert statuses.category(number) == kind.lower(), hex(number)


def test_an_empty_dataset_of_pydicom_is_no_command():
    with pytest.raises(errors.CommandMalformed):
        dimse.decode(their_encode(Dataset(), True, True) or b"")
