"""The state machine of PS3.8 9.2 as a literal table: Tables 9-1 to 9-10.

A cell that is missing here is empty in Table 9-10: the event cannot happen in that state. For a local request
that is the caller's mistake; for the network or a timer the event is void.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final


class State(Enum):
    """PS3.8 Tables 9-1 to 9-5."""

    STA1 = "idle"
    STA2 = "transport connection open, awaiting A-ASSOCIATE-RQ"
    STA3 = "awaiting local A-ASSOCIATE response"
    STA4 = "awaiting transport connection"
    STA5 = "awaiting A-ASSOCIATE-AC or -RJ"
    STA6 = "association established"
    STA7 = "awaiting A-RELEASE-RP"
    STA8 = "awaiting local A-RELEASE response"
    STA9 = "release collision, requestor side, awaiting local A-RELEASE response"
    STA10 = "release collision, acceptor side, awaiting A-RELEASE-RP"
    STA11 = "release collision, requestor side, awaiting A-RELEASE-RP"
    STA12 = "release collision, acceptor side, awaiting local A-RELEASE response"
    STA13 = "awaiting transport close"


class Event(Enum):
    """PS3.8 Table 9-10, first column."""

    EVT1 = "A-ASSOCIATE request (local)"
    EVT2 = "transport connection confirmed"
    EVT3 = "A-ASSOCIATE-AC received"
    EVT4 = "A-ASSOCIATE-RJ received"
    EVT5 = "transport connection indication"
    EVT6 = "A-ASSOCIATE-RQ received"
    EVT7 = "A-ASSOCIATE response accept (local)"
    EVT8 = "A-ASSOCIATE response reject (local)"
    EVT9 = "P-DATA request (local)"
    EVT10 = "P-DATA-TF received"
    EVT11 = "A-RELEASE request (local)"
    EVT12 = "A-RELEASE-RQ received"
    EVT13 = "A-RELEASE-RP received"
    EVT14 = "A-RELEASE response (local)"
    EVT15 = "A-ABORT request (local)"
    EVT16 = "A-ABORT received"
    EVT17 = "transport connection closed"
    EVT18 = "ARTIM timer expired"
    EVT19 = "unrecognized or invalid PDU received"


class Action(Enum):
    """PS3.8 Tables 9-6 to 9-9."""

    AE_1 = "open the transport connection"
    AE_2 = "send A-ASSOCIATE-RQ"
    AE_3 = "confirm acceptance"
    AE_4 = "confirm rejection, close"
    AE_5 = "start ARTIM"
    AE_6 = "stop ARTIM; indicate the request, or send A-ASSOCIATE-RJ and start ARTIM"
    AE_7 = "send A-ASSOCIATE-AC"
    AE_8 = "send A-ASSOCIATE-RJ, start ARTIM"
    DT_1 = "send P-DATA-TF"
    DT_2 = "indicate data"
    AR_1 = "send A-RELEASE-RQ"
    AR_2 = "indicate release"
    AR_3 = "confirm release, close"
    AR_4 = "send A-RELEASE-RP, start ARTIM"
    AR_5 = "stop ARTIM"
    AR_6 = "indicate data that crossed our release"
    AR_7 = "send P-DATA-TF before answering the release"
    AR_8 = "indicate a release collision"
    AR_9 = "send A-RELEASE-RP"
    AR_10 = "confirm release"
    AA_1 = "send A-ABORT (service-user), start ARTIM"
    AA_2 = "stop ARTIM, close"
    AA_3 = "indicate the peer's abort, close"
    AA_4 = "indicate a provider abort"
    AA_5 = "stop ARTIM, nobody to tell"
    AA_6 = "ignore"
    AA_7 = "send A-ABORT"
    AA_8 = "send A-ABORT (service-provider), indicate a provider abort, start ARTIM"


_S = State
_A = Action
_LATER = (_S.STA6, _S.STA7, _S.STA8, _S.STA9, _S.STA10, _S.STA11, _S.STA12)

# AE-6 and AR-8 choose their next state; the table names the first choice, `UpperLayer` the other one:
# AE-6 -> STA13 when the request is refused at once, AR-8 -> STA10 on the acceptor's side.
_ROWS: Final[Mapping[Event, Mapping[State, tuple[Action, State]]]] = {
    Event.EVT1: {_S.STA1: (_A.AE_1, _S.STA4)},
    Event.EVT2: {_S.STA4: (_A.AE_2, _S.STA5)},
    Event.EVT3: {
        _S.STA2: (_A.AA_1, _S.STA13),
        _S.STA3: (_A.AA_8, _S.STA13),
        _S.STA5: (_A.AE_3, _S.STA6),
        **dict.fromkeys(_LATER, (_A.AA_8, _S.STA13)),
        _S.STA13: (_A.AA_6, _S.STA13),
    },
    Event.EVT4: {
        _S.STA2: (_A.AA_1, _S.STA13),
        _S.STA3: (_A.AA_8, _S.STA13),
        _S.STA5: (_A.AE_4, _S.STA1),
        **dict.fromkeys(_LATER, (_A.AA_8, _S.STA13)),
        _S.STA13: (_A.AA_6, _S.STA13),
    },
    Event.EVT5: {_S.STA1: (_A.AE_5, _S.STA2)},
    Event.EVT6: {
        _S.STA2: (_A.AE_6, _S.STA3),
        _S.STA3: (_A.AA_8, _S.STA13),
        _S.STA5: (_A.AA_8, _S.STA13),
        **dict.fromkeys(_LATER, (_A.AA_8, _S.STA13)),
        _S.STA13: (_A.AA_7, _S.STA13),
    },
    Event.EVT7: {_S.STA3: (_A.AE_7, _S.STA6)},
    Event.EVT8: {_S.STA3: (_A.AE_8, _S.STA13)},
    Event.EVT9: {_S.STA6: (_A.DT_1, _S.STA6), _S.STA8: (_A.AR_7, _S.STA8)},
    Event.EVT10: {
        _S.STA2: (_A.AA_1, _S.STA13),
        _S.STA3: (_A.AA_8, _S.STA13),
        _S.STA5: (_A.AA_8, _S.STA13),
        **dict.fromkeys(_LATER, (_A.AA_8, _S.STA13)),
        _S.STA6: (_A.DT_2, _S.STA6),
        _S.STA7: (_A.AR_6, _S.STA7),
        _S.STA13: (_A.AA_6, _S.STA13),
    },
    Event.EVT11: {_S.STA6: (_A.AR_1, _S.STA7)},
    Event.EVT12: {
        _S.STA2: (_A.AA_1, _S.STA13),
        _S.STA3: (_A.AA_8, _S.STA13),
        _S.STA5: (_A.AA_8, _S.STA13),
        **dict.fromkeys(_LATER, (_A.AA_8, _S.STA13)),
        _S.STA6: (_A.AR_2, _S.STA8),
        _S.STA7: (_A.AR_8, _S.STA9),
        _S.STA13: (_A.AA_6, _S.STA13),
    },
    Event.EVT13: {
        _S.STA2: (_A.AA_1, _S.STA13),
        _S.STA3: (_A.AA_8, _S.STA13),
        _S.STA5: (_A.AA_8, _S.STA13),
        **dict.fromkeys(_LATER, (_A.AA_8, _S.STA13)),
        _S.STA7: (_A.AR_3, _S.STA1),
        _S.STA10: (_A.AR_10, _S.STA12),
        _S.STA11: (_A.AR_3, _S.STA1),
        _S.STA13: (_A.AA_6, _S.STA13),
    },
    Event.EVT14: {
        _S.STA8: (_A.AR_4, _S.STA13),
        _S.STA9: (_A.AR_9, _S.STA11),
        _S.STA12: (_A.AR_4, _S.STA13),
    },
    Event.EVT15: {
        _S.STA3: (_A.AA_1, _S.STA13),
        _S.STA4: (_A.AA_2, _S.STA1),
        _S.STA5: (_A.AA_1, _S.STA13),
        **dict.fromkeys(_LATER, (_A.AA_1, _S.STA13)),
    },
    Event.EVT16: {
        _S.STA2: (_A.AA_2, _S.STA1),
        _S.STA3: (_A.AA_3, _S.STA1),
        _S.STA5: (_A.AA_3, _S.STA1),
        **dict.fromkeys(_LATER, (_A.AA_3, _S.STA1)),
        _S.STA13: (_A.AA_2, _S.STA1),
    },
    Event.EVT17: {
        _S.STA2: (_A.AA_5, _S.STA1),
        _S.STA3: (_A.AA_4, _S.STA1),
        _S.STA4: (_A.AA_4, _S.STA1),
        _S.STA5: (_A.AA_4, _S.STA1),
        **dict.fromkeys(_LATER, (_A.AA_4, _S.STA1)),
        _S.STA13: (_A.AR_5, _S.STA1),
    },
    Event.EVT18: {_S.STA2: (_A.AA_2, _S.STA1), _S.STA13: (_A.AA_2, _S.STA1)},
    Event.EVT19: {
        _S.STA2: (_A.AA_1, _S.STA13),
        _S.STA3: (_A.AA_8, _S.STA13),
        _S.STA5: (_A.AA_8, _S.STA13),
        **dict.fromkeys(_LATER, (_A.AA_8, _S.STA13)),
        _S.STA13: (_A.AA_7, _S.STA13),
    },
}

TABLE: Final[Mapping[tuple[Event, State], tuple[Action, State]]] = MappingProxyType(
    {(event, state): cell for event, row in _ROWS.items() for state, cell in row.items()}
)
