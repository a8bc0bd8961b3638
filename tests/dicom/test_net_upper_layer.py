"""The upper layer: every cell of PS3.8 Table 9-10, and what hostile peers get."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pynetdicom.fsm import ACTIONS as THEIR_ACTIONS
from pynetdicom.fsm import TRANSITION_TABLE as THEIR_TABLE

from ribcage.dicom import dimse, negotiation, pdu
from ribcage.dicom import pdu_items as items
from ribcage.dicom.assembler import MessageReceived
from ribcage.dicom.association_events import (
    Aborted,
    AssociationAccepted,
    AssociationRejected,
    AssociationRequested,
    Released,
    ReleaseRequested,
)
from ribcage.dicom.errors import (
    CommandMalformed,
    DataSetLimitExceeded,
    PduMalformed,
    PduTooLarge,
    ProtocolMisuse,
)
from ribcage.dicom.limits import UpperLayerLimits
from ribcage.dicom.upper_layer import Role, UpperLayer
from ribcage.dicom.upper_layer_table import TABLE, Action, Event, State

CT = "1.2.840.10008.5.1.4.1.1.2"
LITTLE = "1.2.840.10008.1.2"
REQUEST = pdu.AssociateRq(
    "RIBCAGE",
    "MODALITY",
    (items.ProposedContext(1, "1.2.840.10008.1.1", (LITTLE,)), items.ProposedContext(3, CT, (LITTLE,))),
    items.UserInformation(16384, "1.2.3"),
)
ACCEPT = pdu.AssociateAc(
    "RIBCAGE",
    "MODALITY",
    (items.ContextResult(1, 0, LITTLE), items.ContextResult(3, 0, LITTLE)),
    items.UserInformation(16384, "1.2.3"),
)
ECHO = dimse.CEchoRq(1, "1.2.840.10008.1.1")
STORE = dimse.CStoreRq(2, CT, "1.2.3.4")
ECHO_PDU = b"".join(pdu.fragment(1, True, (dimse.encode(ECHO),), 16384))
RELEASE_RQ, RELEASE_RP = pdu.encode(pdu.ReleaseRq()), pdu.encode(pdu.ReleaseRp())
GARBAGE = b"GET / HTTP/1.1\r\n\r\n"


def sent(layer: UpperLayer) -> bytes:
    return b"".join(layer.data_to_send())


def requestor(limits: UpperLayerLimits | None = None) -> UpperLayer:
    layer = UpperLayer(Role.REQUESTOR, limits)
    layer.request(REQUEST)
    layer.connected()
    return layer


def established(limits: UpperLayerLimits | None = None) -> UpperLayer:
    """An acceptor in Sta6."""
    layer = UpperLayer(Role.ACCEPTOR, limits)
    layer.receive(pdu.encode(REQUEST))
    layer.accept(ACCEPT.results)
    layer.data_to_send()
    return layer


def in_state(state: State) -> UpperLayer:
    """A layer that reached `state` through its public methods only."""
    match state:
        case State.STA1:
            return UpperLayer(Role.REQUESTOR)
        case State.STA2:
            return UpperLayer(Role.ACCEPTOR)
        case State.STA3:
            layer = UpperLayer(Role.ACCEPTOR)
            layer.receive(pdu.encode(REQUEST))
        case State.STA4:
            layer = UpperLayer(Role.REQUESTOR)
            layer.request(REQUEST)
        case State.STA5:
            layer = requestor()
        case State.STA6:
            layer = established()
        case State.STA7:
            layer = established()
            layer.release()
        case State.STA8:
            layer = established()
            layer.receive(RELEASE_RQ)
        case State.STA9 | State.STA11:
            layer = requestor()
            layer.receive(pdu.encode(ACCEPT))
            layer.release()
            layer.receive(RELEASE_RQ)
            if state is State.STA11:
                layer.release()
        case State.STA10 | State.STA12:
            layer = established()
            layer.release()
            layer.receive(RELEASE_RQ)
            if state is State.STA12:
                layer.receive(RELEASE_RP)
        case State.STA13:
            layer = established()
            layer.abort()
    layer.data_to_send()
    layer.take_events()
    assert layer.state is state
    return layer


def accept(layer: UpperLayer) -> None:
    layer.accept(ACCEPT.results)


CAUSES = {  # how each event of the table comes about; Evt5 is the construction of an acceptor
    Event.EVT1: lambda layer: layer.request(REQUEST),
    Event.EVT2: lambda layer: layer.connected(),
    Event.EVT3: lambda layer: layer.receive(pdu.encode(ACCEPT)),
    Event.EVT4: lambda layer: layer.receive(pdu.encode(pdu.AssociateRj(1, 1, 1))),
    Event.EVT6: lambda layer: layer.receive(pdu.encode(REQUEST)),
    Event.EVT7: accept,
    Event.EVT8: lambda layer: layer.reject(1, 1, 3),
    Event.EVT9: lambda layer: layer.send_data(1, ECHO),
    Event.EVT10: lambda layer: layer.receive(ECHO_PDU),
    Event.EVT11: lambda layer: layer.release(),
    Event.EVT12: lambda layer: layer.receive(RELEASE_RQ),
    Event.EVT13: lambda layer: layer.receive(RELEASE_RP),
    Event.EVT14: lambda layer: layer.release(),
    Event.EVT15: lambda layer: layer.abort(),
    Event.EVT16: lambda layer: layer.receive(pdu.encode(pdu.Abort(0, 0))),
    Event.EVT17: lambda layer: layer.connection_lost(),
    Event.EVT18: lambda layer: layer.artim_expired(),
    Event.EVT19: lambda layer: layer.receive(GARBAGE),
}
LOCAL = {Event.EVT1, Event.EVT2, Event.EVT7, Event.EVT8, Event.EVT9, Event.EVT11, Event.EVT14}
SENDS = {  # first byte of what each sending action writes
    Action.AE_2: 1, Action.AE_7: 2, Action.AE_8: 3, Action.DT_1: 4, Action.AR_7: 4, Action.AR_1: 5, Action.AR_4: 6,
    Action.AR_9: 6, Action.AA_1: 7, Action.AA_7: 7, Action.AA_8: 7,
}  # fmt: skip
CLOSES = {Action.AE_4, Action.AR_3, Action.AR_5, Action.AA_2, Action.AA_3, Action.AA_4, Action.AA_5}
STARTS_ARTIM = {Action.AE_8, Action.AR_4, Action.AA_1, Action.AA_8}


@pytest.mark.parametrize("state", State, ids=lambda state: state.name)
@pytest.mark.parametrize("event", CAUSES, ids=lambda event: event.name)
def test_every_cell_of_the_state_table(event, state):
    layer = in_state(state)
    cell = TABLE.get((event, state))
    if {event, state} & {Event.EVT11, Event.EVT14} and cell is None:
        cell = TABLE.get((Event.EVT11, state)) or TABLE.get((Event.EVT14, state))  # both are `release()`
    artim = layer.artim
    if cell is None:
        if event in LOCAL:
            with pytest.raises(ProtocolMisuse):
                CAUSES[event](layer)
        else:
            CAUSES[event](layer)
        assert (layer.state, sent(layer), layer.artim) == (state, b"", artim)
        return
    action, following = cell
    if action is Action.AR_8:
        following = State.STA10  # Sta7 was reached by an acceptor here
    CAUSES[event](layer)
    output = sent(layer)
    assert layer.state is following
    assert output[:1] == (bytes([SENDS[action]]) if action in SENDS else b"")
    assert layer.should_close == (action in CLOSES)
    assert (layer.artim > artim) == (action in STARTS_ARTIM)


def test_construction_of_an_acceptor_is_evt5():
    layer = UpperLayer(Role.ACCEPTOR)
    assert layer.state is TABLE[Event.EVT5, State.STA1][1]
    assert layer.artim == 1


def test_the_table_agrees_with_pynetdicom():
    ours = {
        (event.name.title(), state.name.title()): action.name.replace("_", "-")
        for (event, state), (action, _) in TABLE.items()
    }
    assert ours == dict(THEIR_TABLE)
    for action, following in TABLE.values():
        if action not in (Action.AE_6, Action.AR_8):  # these two choose
            assert THEIR_ACTIONS[action.name.replace("_", "-")][2] == following.name.title()


@pytest.mark.parametrize("size", [1, 2, 5, 7, 64, 100_000])
def test_the_size_of_pieces_changes_nothing(size):
    source = requestor()
    source.receive(pdu.encode(ACCEPT))
    source.data_to_send()
    data_set = bytes(range(256)) * 200
    source.send_data(1, ECHO)
    source.send_data(3, STORE, (data_set[:1], data_set[1:40_000], b"", data_set[40_000:]))
    source.release()
    stream = sent(source)
    sink = established()
    events = []
    for start in range(0, len(stream), size):
        events += sink.receive(stream[start : start + size])
    assert events == [
        MessageReceived(1, ECHO, None),
        MessageReceived(3, STORE, bytearray(data_set)),
        ReleaseRequested(),
    ]


def test_a_whole_association_between_two_layers():
    scu, scp = requestor(), UpperLayer(Role.ACCEPTOR)
    (asked,) = scp.receive(sent(scu))
    assert asked == AssociationRequested(REQUEST)
    answer = negotiation.negotiate(asked.request, negotiation.Offer())
    scp.accept(answer.results, answer.roles)
    (agreed,) = scu.receive(sent(scp))
    assert isinstance(agreed, AssociationAccepted)
    assert dict(scu.contexts) == dict(scp.contexts)
    scu.send_data(3, STORE, (b"data set",))
    (message,) = scp.receive(sent(scu))
    scp.send_data(message.context_id, dimse.respond(message.command, 0))
    (response,) = scu.receive(sent(scp))
    assert response.command == dimse.CStoreRsp(2, 0, CT, "1.2.3.4")
    scu.release()
    assert scp.receive(sent(scu)) == [ReleaseRequested()]
    scp.release()
    assert scu.receive(sent(scp)) == [Released()]
    assert scu.should_close
    assert scp.connection_lost() == []


def test_a_release_collision_ends_both_sides():
    scu, scp = requestor(), UpperLayer(Role.ACCEPTOR)
    scp.receive(sent(scu))
    scp.accept(ACCEPT.results)
    scu.receive(sent(scp))
    scu.release()
    scp.release()
    to_scp, to_scu = sent(scu), sent(scp)
    assert scp.receive(to_scp) == []  # the acceptor is asked once its own release is confirmed
    assert scu.receive(to_scu) == [ReleaseRequested()]
    scu.release()
    assert scp.receive(sent(scu)) == [ReleaseRequested()]
    scp.release()
    assert scu.receive(sent(scp)) == [Released()]


# --- hostile peers --------------------------------------------------------------------------------------


def only_abort(layer: UpperLayer) -> pdu.Abort:
    parsed = pdu.parse(sent(layer), UpperLayerLimits())
    assert parsed is not None
    assert isinstance(parsed[0], pdu.Abort)
    return parsed[0]


def p_data(*values: tuple[int, int, bytes]) -> bytes:
    body = b"".join(
        struct.pack(">IBB", len(data) + 2, context, control) + data for context, control, data in values
    )
    return struct.pack(">BxI", 4, len(body)) + body


COMMAND = dimse.encode(STORE)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (GARBAGE, 1),
        (b"\x16\x03\x01\x02\x00\x01", 1),  # a TLS hello on a plain port
        (struct.pack(">BxI", 4, 0x7FFFFFFF), 6),  # oversized P-DATA
        (struct.pack(">BxI", 5, 0xFFFFFFFF), 6),  # oversized release
        (p_data((5, 3, COMMAND)), 6),  # a context that was not accepted
        (p_data((2, 3, COMMAND)), 6),  # an even context
        (p_data((3, 2, b"data")), 6),  # a data set before its command
        (p_data((3, 3, COMMAND), (3, 1, COMMAND)), 6),  # a command inside a message
        (p_data((3, 3, COMMAND), (1, 0, b"data")), 6),  # the data set in another context
        (p_data((3, 1, COMMAND[:8]), (1, 3, COMMAND[8:])), 6),  # a command torn over two contexts
        (struct.pack(">BxI", 4, 10) + struct.pack(">IBB", 0x100, 3, 3) + b"1234", 6),  # value beyond its PDU
        (struct.pack(">BxI", 4, 9) + struct.pack(">IBB", 2, 3, 1) + b"123", 6),  # a torn value header
        (pdu.encode(REQUEST), 2),  # a second request
        (RELEASE_RP, 2),  # an answer to nothing
    ],
)
@pytest.mark.parametrize("size", [1, 1000])
def test_what_ps3_8_forbids_is_aborted_with_its_reason(data, reason, size):
    layer = established()
    events = []
    for start in range(0, len(data), size):
        events += layer.receive(data[start : start + size])
    (aborted,) = [event for event in events if isinstance(event, Aborted)]
    assert (aborted.source, aborted.reason, aborted.by_peer) == (2, reason, False)
    assert only_abort(layer) == pdu.Abort(2, reason)
    assert layer.state is State.STA13


def test_bytes_after_a_malformed_pdu_are_not_answered_again():
    layer = established()
    layer.receive(GARBAGE)
    layer.data_to_send()
    for _ in range(1000):
        assert layer.receive(GARBAGE) == []
    assert sent(layer) == b""
    assert layer.buffered_bytes == 0


def test_a_malformed_command_is_aborted_by_the_service_user():
    layer = established()
    (aborted,) = layer.receive(p_data((1, 3, b"\x10\0\x10\0\4\0\0\0ABCD")))
    assert isinstance(aborted.error, CommandMalformed)
    assert only_abort(layer) == pdu.Abort(0, 0)


def test_a_data_set_beyond_its_limit_is_cut_before_it_is_held():
    limits = UpperLayerLimits(max_data_set_bytes=10_000)
    layer = established(limits)
    assert layer.receive(p_data((3, 3, COMMAND), (3, 0, bytes(6_000)))) == []
    assert layer.buffered_bytes >= 6_000
    (aborted,) = layer.receive(p_data((3, 0, bytes(4_001)))[:20])  # the header of the value is enough
    assert isinstance(aborted.error, DataSetLimitExceeded)
    assert only_abort(layer) == pdu.Abort(0, 0)
    assert layer.buffered_bytes == 0


def test_a_data_set_at_its_limit_passes():
    layer = established(UpperLayerLimits(max_data_set_bytes=10_000))
    (message,) = layer.receive(p_data((3, 3, COMMAND), (3, 0, bytes(6_000)), (3, 2, bytes(4_000))))
    assert len(message.data_set) == 10_000


def test_an_endless_command_is_cut():
    layer = established(UpperLayerLimits(max_command_bytes=1_000))
    layer.receive(p_data((3, 1, bytes(900))))
    (aborted,) = layer.receive(p_data((3, 1, bytes(101))))
    assert isinstance(aborted.error, CommandMalformed)


def test_an_oversized_association_request_is_not_buffered():
    layer = UpperLayer(Role.ACCEPTOR)
    (aborted,) = layer.receive(struct.pack(">BxI", 1, 50_000_000) + bytes(1000))
    assert isinstance(aborted.error, PduTooLarge)
    assert layer.buffered_bytes == 0


def test_the_announced_maximum_is_enforced_on_the_peer():
    layer = established(UpperLayerLimits(max_pdu_bytes=4096))
    (aborted,) = layer.receive(p_data((3, 1, bytes(4096))))
    assert isinstance(aborted.error, PduTooLarge)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"protocol_version": 2}, (1, 2, 2)),
        ({"application_context": "1.2.3"}, (1, 1, 2)),
        ({"user": items.UserInformation(max_pdu_bytes=7)}, (1, 3, 2)),
    ],
)
def test_an_unacceptable_request_is_rejected_before_anybody_is_asked(change, expected):
    fields = {name: getattr(REQUEST, name) for name in REQUEST.__dataclass_fields__}
    layer = UpperLayer(Role.ACCEPTOR)
    (rejected,) = layer.receive(pdu.encode(pdu.AssociateRq(**{**fields, **change})))
    assert rejected == AssociationRejected(pdu.AssociateRj(*expected), by_peer=False)
    assert sent(layer) == pdu.encode(pdu.AssociateRj(*expected))
    assert layer.state is State.STA13


def test_an_acceptor_cannot_force_a_context_nobody_proposed():
    for results in (
        (items.ContextResult(9, 0, LITTLE),),
        (items.ContextResult(3, 0, "1.2.840.10008.1.2.4.50"),),
    ):
        layer = requestor()
        layer.data_to_send()
        (aborted,) = layer.receive(pdu.encode(pdu.AssociateAc("A", "B", results)))
        assert isinstance(aborted.error, PduMalformed)
        assert only_abort(layer) == pdu.Abort(2, 6)


def test_an_acceptor_with_a_tiny_maximum_is_aborted():
    layer = requestor()
    layer.data_to_send()
    tiny = pdu.AssociateAc("A", "B", ACCEPT.results, items.UserInformation(max_pdu_bytes=8))
    (aborted,) = layer.receive(pdu.encode(tiny))
    assert isinstance(aborted.error, PduMalformed)


def test_no_limit_announced_still_bounds_what_we_send():
    layer = UpperLayer(Role.ACCEPTOR, UpperLayerLimits(max_sent_pdu_bytes=2048))
    layer.receive(pdu.encode(pdu.AssociateRq("A", "B", REQUEST.contexts)))
    layer.accept(ACCEPT.results)
    assert layer.max_sent_pdu_bytes == 2048


def test_the_passing_of_artim_closes_a_silent_connection():
    layer = UpperLayer(Role.ACCEPTOR)
    layer.receive(pdu.encode(REQUEST)[:40])
    assert layer.artim
    layer.artim_expired()
    assert layer.should_close
    assert layer.receive(pdu.encode(REQUEST)[40:]) == []


def test_an_answer_must_match_the_request_it_answers():
    for results in ((), ACCEPT.results[:1], ACCEPT.results[::-1]):
        layer = in_state(State.STA3)
        with pytest.raises(ProtocolMisuse):
            layer.accept(results)
        assert layer.state is State.STA3
    layer = in_state(State.STA3)
    with pytest.raises(ProtocolMisuse):
        layer.accept((items.ContextResult(1, 0, "1.2.3"), items.ContextResult(3, 4)))


def test_data_needs_an_accepted_context_and_a_truthful_command():
    layer = established()
    with pytest.raises(ProtocolMisuse):
        layer.send_data(5, ECHO)
    with pytest.raises(ProtocolMisuse):
        layer.send_data(3, STORE)
    with pytest.raises(ProtocolMisuse):
        layer.send_data(1, ECHO, (b"data",))
    assert sent(layer) == b""


def test_a_stream_ends_when_the_association_does():
    layer = established()
    stream = layer.stream_data(3, STORE, (bytes(20_000) for _ in range(10)))
    next(stream)
    next(stream)
    layer.receive(pdu.encode(pdu.Abort(0, 0)))
    with pytest.raises(ProtocolMisuse):
        next(stream)


def test_an_abort_drops_what_was_queued():
    layer = established()
    layer.send_data(3, STORE, (bytes(100_000),))
    layer.abort()
    assert only_abort(layer) == pdu.Abort(0, 0)
    assert layer.take_events() == [Aborted(0, 0, False)]


@settings(deadline=None, max_examples=150)
@given(st.sampled_from([State.STA2, State.STA3, State.STA5, State.STA6, State.STA7, State.STA13]), st.data())
def test_arbitrary_bytes_never_raise_and_never_pile_up(state, data):
    layer = in_state(state)
    pieces = data.draw(
        st.lists(
            st.one_of(
                st.binary(max_size=60),
                st.sampled_from([ECHO_PDU, RELEASE_RQ, p_data((3, 3, COMMAND)), p_data((3, 2, b"x"))]),
            ),
            max_size=6,
        )
    )
    fed = 0
    for piece in pieces:
        layer.receive(piece)
        fed += len(piece)
        assert layer.buffered_bytes <= fed
    assert layer.state in State


def test_an_abort_keeps_nothing_of_what_was_received():
    layer = established()
    buffer = bytearray(p_data((1, 3, b"\x10\0\x10\0\x04\0\0\0ABCD")))
    (aborted,) = layer.receive(memoryview(buffer))
    assert aborted.error.__traceback__ is None
    buffer.clear()  # raises BufferError when a view of it is still alive
    assert layer.buffered_bytes == 0
