"""PDUs: round trips, bounds, hostile bytes, and pynetdicom as the second implementation."""

from __future__ import annotations

import struct

import pynetdicom.pdu as theirs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import pdu_examples as examples
from ribcage.dicom import pdu
from ribcage.dicom import pdu_items as items
from ribcage.dicom.errors import PduError, PduMalformed, PduTooLarge, PduUnrecognized, ProtocolMisuse
from ribcage.dicom.limits import UpperLayerLimits

LIMITS = UpperLayerLimits()
quick = settings(deadline=None, max_examples=40)
RQ = pdu.AssociateRq(
    "RIBCAGE",
    "MODALITY",
    (items.ProposedContext(1, "1.2.840.10008.1.1", ("1.2.840.10008.1.2",)),),
    items.UserInformation(16384, "1.2.3", "X"),
)
THEIR_CLASSES = {
    1: theirs.A_ASSOCIATE_RQ,
    2: theirs.A_ASSOCIATE_AC,
    3: theirs.A_ASSOCIATE_RJ,
    4: theirs.P_DATA_TF,
    5: theirs.A_RELEASE_RQ,
    6: theirs.A_RELEASE_RP,
    7: theirs.A_ABORT_RQ,
}


def parsed(data: bytes) -> pdu.Pdu:
    result = pdu.parse(data, LIMITS)
    assert result is not None
    assert result[1] == len(data)
    return result[0]


@quick
@given(examples.pdus)
def test_every_pdu_comes_back_from_its_bytes(example):
    assert parsed(pdu.encode(example)) == example


@quick
@given(examples.pdus, st.data())
def test_a_truncated_pdu_asks_for_more_and_never_guesses(example, data):
    whole = pdu.encode(example)
    cut = data.draw(st.integers(0, len(whole) - 1))
    assert pdu.parse(whole[:cut], LIMITS) is None


@quick
@given(examples.pdus, examples.pdus)
def test_bytes_of_the_next_pdu_are_left_alone(first, second):
    data = pdu.encode(first)
    assert pdu.parse(data + pdu.encode(second), LIMITS) == (first, len(data))


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=300))
def test_arbitrary_bytes_give_a_pdu_more_or_the_one_error(data):
    try:
        result = pdu.parse(data, LIMITS)
    except PduError:
        return
    assert result is None or result[1] <= len(data)


@settings(deadline=None, max_examples=100)
@given(examples.pdus, st.data())
def test_a_flipped_byte_gives_a_stable_pdu_more_or_the_one_error(example, data):
    whole = bytearray(pdu.encode(example))
    position = data.draw(st.integers(0, len(whole) - 1))
    whole[position] ^= data.draw(st.integers(1, 255))
    try:
        result = pdu.parse(whole, LIMITS)
    except PduError:
        return
    if result is not None:  # decode-encode-decode
        again = pdu.encode(result[0])
        assert parsed(again) == result[0]


@quick
@given(examples.pdus)
def test_pynetdicom_reads_our_bytes_and_writes_the_same(example):
    data = pdu.encode(example)
    other = THEIR_CLASSES[data[0]]()
    other.decode(data)
    assert parsed(other.encode()) == example


def test_pynetdicom_finds_our_fields_where_they_belong():
    other = theirs.A_ASSOCIATE_RQ()
    other.decode(pdu.encode(RQ))
    assert (other.called_ae_title.strip(), other.calling_ae_title.strip()) == ("RIBCAGE", "MODALITY")
    context = other.presentation_context[0]
    assert (context.context_id, context.abstract_syntax) == (1, "1.2.840.10008.1.1")
    assert context.transfer_syntax == ["1.2.840.10008.1.2"]
    assert other.user_information.maximum_length == 16384


@pytest.mark.parametrize("kind", [0, 8, 0x16, 0x47, 255])
def test_a_foreign_protocol_is_recognised_by_its_first_byte(kind):
    with pytest.raises(PduUnrecognized):
        pdu.parse(bytes([kind]), LIMITS)


@pytest.mark.parametrize("kind", [1, 2, 4])
def test_an_oversized_length_is_refused_before_the_body_arrives(kind):
    with pytest.raises(PduTooLarge):
        pdu.parse(struct.pack(">BxI", kind, 0xFFFFFFFF), LIMITS)


def test_p_data_at_the_announced_maximum_passes_and_one_byte_more_does_not():
    room = LIMITS.max_pdu_bytes - pdu.PDV_HEADER_BYTES
    fits = pdu.encode(pdu.PDataTf((pdu.Pdv(1, False, True, bytes(room)),)))
    assert isinstance(parsed(fits), pdu.PDataTf)
    with pytest.raises(PduTooLarge):
        pdu.parse(pdu.encode(pdu.PDataTf((pdu.Pdv(1, False, True, bytes(room + 1)),))), LIMITS)


@pytest.mark.parametrize("length", [0, 1, 0x10, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_value_length_that_lies_about_its_pdu_is_refused(length):
    body = struct.pack(">IBB", length, 1, 3) + bytes(4)
    with pytest.raises(PduMalformed):
        pdu.parse(struct.pack(">BxI", 4, len(body)) + body, LIMITS)


@pytest.mark.parametrize("kind", [3, 5, 6, 7])
@pytest.mark.parametrize("length", [0, 3, 5, 0xFFFFFFFF])
def test_fixed_pdus_have_four_bytes_and_no_others(kind, length):
    with pytest.raises(PduMalformed):
        pdu.parse(struct.pack(">BxI", kind, length), LIMITS)


def rebuilt(replace: bytes, by: bytes) -> bytes:
    """The example request with `replace` replaced in its body and its length corrected."""
    body = pdu.encode(RQ)[6:]
    assert body.count(replace) == 1
    body = body.replace(replace, by)
    return struct.pack(">BxI", 1, len(body)) + body


@pytest.mark.parametrize(
    ("replace", "by"),
    [
        (b"\x20\x00\x00\x2e\x01", b"\x20\x00\x00\x2e\x02"),  # even context id
        (b"\x20\x00\x00\x2e", b"\x20\x00\xff\xff"),  # item longer than its PDU
        (b"\x30\x00\x00\x11", b"\x30\x00\x00\xff"),  # sub-item longer than its item
        (b"\x51\x00\x00\x04", b"\x51\x00\x00\x03"),  # wrong fixed length
        (b"1.2.840.10008.1.1\x40", b"1.2.840.10008.1.X\x40"),  # not a UID
        (b"\x10\x00\x00\x15", b"\x7f\x00\x00\x15"),  # no application context
        (b"MODALITY", b"MODA\\ITY"),  # backslash in an AE title
        (b"MODALITY", b"MODA\xc4ITY"),
        (b"MODALITY", b"MODA\nITY"),
    ],
)
def test_a_malformed_association_request_is_refused(replace, by):
    with pytest.raises(PduMalformed):
        pdu.parse(rebuilt(replace, by), LIMITS)


def test_unknown_items_and_sub_items_are_skipped():
    unknown = b"\x9f\x00\x00\x02zz"
    user = items.encode_user_information(RQ.user)
    longer = user[:2] + struct.pack(">H", len(user) - 4 + len(unknown)) + user[4:] + unknown
    assert parsed(rebuilt(user, unknown + longer)) == RQ


def test_duplicate_context_ids_are_refused():
    context = RQ.contexts[0]
    twice = pdu.AssociateRq("A", "B", (context, context))
    with pytest.raises(PduMalformed):
        pdu.parse(pdu.encode(twice), LIMITS)


def test_129_contexts_cannot_be_proposed_but_128_can():
    contexts = tuple(items.ProposedContext(2 * n + 1, "1.2", ("1.2.3",)) for n in range(128))
    assert len(parsed(pdu.encode(pdu.AssociateRq("A", "B", contexts))).contexts) == 128
    with pytest.raises(PduMalformed):
        pdu.parse(pdu.encode(pdu.AssociateRq("A", "B", contexts)), UpperLayerLimits(max_contexts=127))


def test_too_many_user_items_and_transfer_syntaxes_are_refused():
    roles = tuple(items.RoleSelection("1.2", True, False) for _ in range(1025))
    with pytest.raises(PduMalformed):
        pdu.parse(pdu.encode(pdu.AssociateRq("A", "B", (), items.UserInformation(0, roles=roles))), LIMITS)
    many = items.ProposedContext(1, "1.2", ("1.2.3",) * 257)
    with pytest.raises(PduMalformed):
        pdu.parse(pdu.encode(pdu.AssociateRq("A", "B", (many,))), LIMITS)


def test_a_passcode_shows_in_no_repr():
    identity = items.UserIdentity(2, True, b"doctor", b"secret-passcode")
    user = items.UserInformation(identity=identity, identity_response=b"secret-ticket")
    text = repr(pdu.AssociateRq("A", "B", (), user))
    assert "secret" not in text
    assert "doctor" not in text


@quick
@given(st.lists(st.binary(max_size=3000), max_size=6), st.integers(7, 2000), st.booleans())
def test_fragments_join_to_the_data_set_and_only_the_last_says_so(chunks, max_pdu_bytes, is_command):
    whole = bytearray()
    flags = []
    for data in pdu.fragment(5, is_command, chunks, max_pdu_bytes):
        assert len(data) - 6 <= max_pdu_bytes
        (value,) = parsed(data).pdvs
        assert (value.context_id, value.is_command) == (5, is_command)
        whole += value.data
        flags.append(value.is_last)
    assert whole == b"".join(chunks)
    assert flags == [False] * (len(flags) - 1) + [True]


def test_a_pushed_buffer_may_be_reused_at_once():
    fragmenter = pdu.Fragmenter(1, False, 1024)
    buffer = bytearray(b"a" * 100)
    assert list(fragmenter.push(buffer)) == []
    buffer[:] = b"b" * 100
    assert bytes(parsed(fragmenter.finish()).pdvs[0].data) == b"a" * 100


def test_values_that_do_not_fit_are_our_own_mistake():
    with pytest.raises(ProtocolMisuse):
        pdu.encode(pdu.AssociateRq("SEVENTEEN LETTERS", "B", ()))
    with pytest.raises(ProtocolMisuse):
        pdu.encode(pdu.AssociateRj(1, 1, 256))
    with pytest.raises(ProtocolMisuse):
        pdu.encode(pdu.AssociateRq("A", "B", (), items.UserInformation(max_pdu_bytes=2**32)))
    with pytest.raises(ProtocolMisuse):
        items.encode_item(0x30, bytes(65536))
    with pytest.raises(ProtocolMisuse):
        pdu.Fragmenter(1, False, 6)


@pytest.mark.parametrize(
    "wrong", [{"max_pdu_bytes": 0}, {"max_pdu_bytes": 1023}, {"max_contexts": 129}, {"artim_seconds": -1.0}]
)
def test_limits_that_cannot_work_refuse_to_be_made(wrong):
    with pytest.raises(ProtocolMisuse):
        UpperLayerLimits(**wrong)
