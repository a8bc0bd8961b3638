"""A fuzzed association: network, timer and local user in any order do only what the table permits."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from dicom.test_net_upper_layer import CAUSES, LOCAL, SENDS, in_state, sent
from ribcage.dicom.errors import ProtocolMisuse
from ribcage.dicom.upper_layer_table import TABLE, Event, State

_EITHER = {Event.EVT11, Event.EVT14}  # both are `release()`; the state says which


def permitted(event: Event, before: State) -> set[tuple[State, int]]:
    """State and first byte sent that Table 9-10 permits; AR-8 depends on who opened the transport."""
    cells = [
        TABLE[each, before] for each in (_EITHER if event in _EITHER else {event}) if (each, before) in TABLE
    ]
    if not cells:
        return {(before, 0)}
    found = set()
    for action, after in cells:
        first = SENDS.get(action, 0)
        found |= {
            (each, first) for each in ((State.STA9, State.STA10) if action.name == "AR_8" else (after,))
        }
    return found


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(list(State)), st.lists(st.sampled_from(list(CAUSES)), min_size=1, max_size=12))
def test_any_order_of_events_ends_only_where_the_table_says(start, events):
    layer = in_state(start)
    deaf = False  # after a broken PDU nothing that arrives is read
    for event in events:
        before = layer.state
        if deaf and event not in LOCAL | {Event.EVT15, Event.EVT17, Event.EVT18}:
            layer.receive(b"\x07\0\0\0\0\4\0\0\0\0")
            assert (layer.state, sent(layer)) == (before, b"")
            continue
        if event is Event.EVT19:
            deaf = before not in (State.STA1, State.STA4)
        outcome = permitted(event, before)
        try:
            CAUSES[event](layer)
        except ProtocolMisuse:
            assert event in LOCAL
            assert layer.state is before
            assert sent(layer) == b""
            continue
        written = sent(layer)
        assert (layer.state, written[0] if written else 0) in outcome, (before, event)
        assert layer.buffered_bytes == 0
