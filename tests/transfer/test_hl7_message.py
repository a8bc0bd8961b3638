"""MLLP and HL7 as bytes: whatever arrives is read as it is meant, or refused with a code, within its limits."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.his import Writer
from ribcage.guard import protocol as p
from ribcage.transfer.hl7.answer import Header, Outcome, answers
from ribcage.transfer.hl7.charset import decode
from ribcage.transfer.hl7.errors import FramingBroken, MessageRefused
from ribcage.transfer.hl7.framing import Framer, block
from ribcage.transfer.hl7.limits import Hl7Limits
from ribcage.transfer.hl7.message import parse
from ribcage.transfer.hl7.moments import seconds
from ribcage.transfer.hl7.told import told

LIMITS = Hl7Limits()
DEVICE = p.Device(bytes(32), "", "127.0.0.1")
NOW = 1_760_000_000.0
PLAIN = st.text(st.characters(blacklist_categories=("Cs", "Cc", "Zs", "Zl", "Zp")), min_size=1, max_size=20)
CODED = {"|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\", "\\": "\\E\\"}


def escaped(text: str) -> str:
    return "".join(CODED.get(each, each) for each in text)


# --- framing --------------------------------------------------------------------------------------------

BODY = st.binary(max_size=60).map(lambda data: bytes(b for b in data if b not in (0x0B, 0x1C)))


@given(st.lists(BODY, max_size=6), st.lists(st.integers(1, 17), min_size=1, max_size=30))
def test_blocks_come_out_whole_in_whatever_pieces(bodies: list[bytes], sizes: list[int]) -> None:
    wire, framer, found, at = b"\r\n".join(block(b) for b in bodies), Framer(100), list[bytes](), 0
    while at < len(wire):
        size = sizes[at % len(sizes)]
        found += framer.receive(wire[at : at + size])
        at += size
    assert found == bodies
    assert not framer.inside


@settings(max_examples=300)
@given(st.lists(st.binary(max_size=80), max_size=8))
def test_any_bytes_are_messages_or_the_one_error(pieces: list[bytes]) -> None:
    framer = Framer(64)
    try:
        for piece in pieces:
            for message in framer.receive(piece):
                assert len(message) <= 64
            assert len(framer._kept) <= 64 + 3 + 80
    except FramingBroken:
        return


@pytest.mark.parametrize(
    "wire", [b"MSH|", b"\x0bA\x0bB\x1c\r", b"\x0bA\x1cX", b"\x0b" + b"A" * 200, b"\x0bA\x1c\rX"]
)
def test_what_is_no_block_ends_the_connection(wire: bytes) -> None:
    with pytest.raises(FramingBroken):
        Framer(100).receive(wire)


# --- the parser -----------------------------------------------------------------------------------------


@given(PLAIN, PLAIN, PLAIN)
def test_a_value_comes_back_as_it_was_meant(first: str, second: str, third: str) -> None:
    line = f"PID|1||{escaped(first)}^^^{escaped(second)}&x~{escaped(third)}"
    message = parse("MSH|^~\\&|A\r" + line + "\r", LIMITS)
    pid = message.need("PID")
    wanted = ["" if each == '""' else each.strip() for each in (first, second, third)]
    again = pid.repetitions(3)
    assert [pid.get(3), pid.get(3, 4), pid.get(3, of=again[1])] == wanted
    assert pid.get(3, 4, 2) == "x" and pid.get(99) == "" and pid.get(3, 99) == ""


SCRAPS = st.sampled_from(
    [
        "MSH",
        "|",
        "^~\\&",
        "^",
        "~",
        "\\",
        "&",
        "\r",
        "\n",
        "PID",
        "EVN",
        "PV1",
        "ORC",
        "OBR",
        "ADT",
        "A01",
        '""',
        "\\X41\\",
        "\\XZZ\\",
    ]
)


@settings(max_examples=400)
@given(st.lists(st.one_of(SCRAPS, st.text(max_size=8)), max_size=40), st.booleans())
def test_any_text_is_a_message_or_refused(pieces: list[str], begun: bool) -> None:
    text = ("MSH|^~\\&|" if begun else "") + "".join(pieces)
    try:
        request = told(parse(text, LIMITS), DEVICE, frozenset())
    except MessageRefused as refused:
        assert refused.code in (100, 101, 102, 103, 200, 201, 202, 203)
        return
    assert request.control


@settings(max_examples=200)
@given(st.data())
def test_a_damaged_message_is_understood_or_refused(data: st.DataObject) -> None:
    his = Writer()
    text = data.draw(
        st.sampled_from(
            [
                his.adt("A01", "P1", "V1", NOW, ward="W1", staff=["D1"]),
                his.merge("P1", "P2", NOW),
                his.staff("D1", [("W1", NOW, NOW + 60)], NOW),
                his.order("NW", "P1", "O1", NOW, department="CT", reader="D2"),
            ]
        )
    )
    at = data.draw(st.integers(0, len(text) - 1))
    cut = data.draw(st.integers(0, 9))
    damaged = text[:at] + data.draw(st.text(max_size=5)) + text[at + cut :]
    try:
        told(parse(damaged, LIMITS), DEVICE, frozenset())
    except MessageRefused:
        return


def test_limits_are_kept_before_anything_is_split() -> None:
    small = Hl7Limits(segments=3, fields=10, repetitions=4, components=4, value_characters=20)
    head = "MSH|^~\\&|A\r"
    for text in (head + "NTE|1\r" * 3, head + "NTE" + "|" * 11):
        with pytest.raises(MessageRefused):
            parse(text, small)
    pid = parse(head + "PID|~~~~|^^^^|&&&&|" + "x" * 21, small).need("PID")
    for field in (1, 2, 3, 4):
        with pytest.raises(MessageRefused):
            pid.get(field)


def test_a_large_hostile_message_is_refused_quickly() -> None:
    begun = time.process_time()
    for filling in (
        "|" * 250_000,
        "~" * 250_000,
        "\\" * 250_000,
        "\r" * 250_000,
        "PID|" * 60_000,
        "\\X" + "4" * 250_000,
    ):
        try:
            told(parse("MSH|^~\\&|||||2026||ADT^A01|1|P|2.5\rPID|" + filling, LIMITS), DEVICE, frozenset())
        except MessageRefused:
            continue
        pytest.fail("taken")
    assert time.process_time() - begun < 5


# --- what messages say ----------------------------------------------------------------------------------


def test_the_patient_is_of_the_authority_that_dicom_leaves_out() -> None:
    text = Writer().adt("A01", "P1", "V1", NOW).replace("P1^^^^MR", "77^^^CITY^NI~42^^^HOSP^MR~43^^^OURS^XX")
    message = parse(text, LIMITS)
    patient = told(message, DEVICE, frozenset({"OURS"})).patient
    assert patient is not None and (patient.identifier, patient.issuer) == ("43", "")
    patient = told(message, DEVICE, frozenset()).patient
    assert patient is not None and (patient.identifier, patient.issuer) == ("42", "HOSP")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (("ADT^A01", "ADT^A05"), 201),
        (("ADT^A01", "SIU^S12"), 200),
        (("|P|2.5", "|T|2.5"), 202),
        (("|P|2.5", "|P|3.0"), 203),
        (("PID|", "PIX|"), 100),
        (("P1^^^^MR", "^^^^MR"), 101),
        (("|V1", "|"), 101),
        (("EVN|A01|20", "EVN|A01|XX"), 102),
    ],
)
def test_what_is_refused_and_how(change: tuple[str, str], code: int) -> None:
    text = Writer().adt("A01", "P1", "V1", NOW)
    assert change[0] in text
    with pytest.raises(MessageRefused) as caught:
        told(parse(text.replace(*change), LIMITS), DEVICE, frozenset())
    assert caught.value.code == code
    assert caught.value.rejected == (code in (200, 201, 202, 203))


def test_orders_of_omi_have_what_a_worklist_shows() -> None:
    his = Writer()
    text = his.order("NW", "P1", "O1", NOW, department="CT", reader="D2", by="D1").replace(
        "ORM^O01", "OMI^O23"
    )
    text += "TQ1|1||||||20260102083000\rIPC|ACC9^X|RP9|1.2.3.9|SPS9|CT||||CT1\r"
    (order,) = told(parse(text, LIMITS), DEVICE, frozenset()).orders
    assert (order.accession, order.procedure_id, order.step_id) == ("ACC9", "RP9", "SPS9")
    assert (order.study_uid, order.modality, order.station) == ("1.2.3.9", "CT", "CT1")
    assert (order.start, order.staff, order.referring) == ("20260102083000", ["D1", "D2"], "Busch^Ada")


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("20260102030405+0000", 1767323045.0),
        ("20260102030405.25+0100", 1767319445.25),
        ("202601020304-0530", 1767342840.0),
    ],
)
def test_times_with_an_offset(text: str, at: float) -> None:
    assert seconds(text, "X") == at


def test_a_time_without_an_offset_is_of_this_machine() -> None:
    assert abs(seconds("20260102", "X") - 1767312000) <= 15 * 3600


@pytest.mark.parametrize("text", ["2026010", "20261302", "", "yesterday", "20260102030405+99", "00000101"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(MessageRefused, match="EVN-2"):
        seconds(text, "EVN-2")


# --- characters -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("declared", "codec", "default", "overrides"),
    [
        ("UNICODE UTF-8", "utf-8", "", False),
        ("GB 18030-2000", "gb18030", "", False),
        ("8859/1", "latin-1", "", False),
        ("", "gb18030", "GB18030", False),
        ("ASCII", "gb18030", "GB18030", True),
        ("UNICODE UTF-8", "utf-8", "GB18030", False),
    ],
)
def test_names_in_every_character_set(declared: str, codec: str, default: str, overrides: bool) -> None:
    name = "Müller^Ö" if codec == "latin-1" else "王^小明"
    text = Writer().adt("A01", "P1", "V1", NOW, charset=declared, name=name)
    read = decode(text.encode(codec), default, overrides=overrides)
    patient = told(parse(read, LIMITS), DEVICE, frozenset()).patient
    assert patient is not None and patient.name == name


def test_a_second_byte_that_looks_like_a_delimiter_is_none() -> None:
    name = b"\x81|".decode("gb18030")
    text = Writer().adt("A01", "P1", "V1", NOW, charset="GB 18030-2000", name=name)
    patient = told(parse(decode(text.encode("gb18030")), LIMITS), DEVICE, frozenset()).patient
    assert patient is not None and patient.name == name and patient.sex == "F"


@pytest.mark.parametrize(
    ("declared", "data", "default"),
    [
        ("", "王".encode(), ""),
        ("ASCII", "é".encode(), ""),
        ("UNICODE UTF-8", b"\xff\xfe", ""),
        ("GB 18030-2000", b"\xff\xff", ""),
        ("UNICODE", "王".encode(), ""),
        ("ISO IR87", b"x", "GB18030"),
    ],
)
def test_wrong_characters_are_refused(declared: str, data: bytes, default: str) -> None:
    text = Writer().adt("A01", "P1", "V1", NOW, charset=declared, name="@@").encode()
    with pytest.raises(MessageRefused, match="MSH-18"):
        decode(text.replace(b"@@", data), default)


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_any_bytes_decode_or_are_refused(data: bytes) -> None:
    for default in ("", "GB18030", "ISO_IR 192"):
        try:
            decode(b"MSH|^~\\&|" + data, default)
        except MessageRefused:
            continue


# --- answers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("modes", "good", "bad"),
    [
        ("", ["AA"], ["AE"]),
        ("AL,", ["CA"], ["CE"]),
        (",AL", ["AA"], ["AE"]),
        ("AL,AL", ["CA", "AA"], ["CE", "AE"]),
        ("NE,NE", [], []),
        ("ER,SU", ["AA"], ["CE"]),
        ("SU,ER", ["CA"], ["AE"]),
    ],
)
def test_both_modes_of_acknowledgment(modes: str, good: list[str], bad: list[str]) -> None:
    header = Header.of(parse(Writer().adt("A01", "P1", "V1", NOW, modes=modes), LIMITS))
    for outcome, wanted in ((Outcome(), good), (Outcome(101, "PID-3"), bad)):
        found = [parse(each.decode(), LIMITS) for each in answers(header, outcome, NOW)]
        assert [each.need("MSA").get(1) for each in found] == wanted
        for each in found:
            assert each.need("MSA").get(2) == "M1"
            assert (each.header.get(3), each.header.get(5), each.header.get(9, 1)) == (
                "RIBCAGE",
                "HIS",
                "ACK",
            )
            if outcome.code:
                assert [each.need("ERR").get(2, at) for at in (1, 2, 3)] == ["PID", "1", "3"]
                assert each.need("ERR").get(3) == "101"
    (rejected,) = answers(Header(), Outcome(201, "MSH-9", rejected=True), NOW)
    assert b"\rMSA|AR|" in rejected


@given(st.text(max_size=300))
def test_an_answer_has_no_value_that_breaks_it(control: str) -> None:
    header = Header(control=control, sender=(control, control), trigger="A01")
    (answer,) = answers(header, Outcome(), NOW)
    message = parse(answer.decode("ascii"), LIMITS)
    assert len(message.segments) == 2 and len(answer) < 1500
