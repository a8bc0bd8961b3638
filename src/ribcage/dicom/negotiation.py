"""Which presentation contexts an acceptor takes (PS3.8 9.3.3.2, PS3.7 D.3.3.4): a request in, answers out.

Rules, in order:
1. An abstract syntax outside the closed lists, or of a service this peer may not use, is result 3.
2. Storage takes every transfer syntax of PS3.6 Annex A, retired ones included: originals are kept as they come.
   The first proposed one that is known is chosen, because the requestor lists its preference first.
3. Verification and query/retrieve exchange small data sets: Implicit or Explicit VR Little Endian only.
4. No known transfer syntax is result 4.
5. Storage contexts in which the requestor is only SCP serve C-GET, and need the right to retrieve. One syntax is
   chosen before the instance is known: an uncompressed one where there is one, since every instance can be sent so.
6. Extended negotiation is answered for queries (PS3.4 C.5.1.1): relational queries and combined date-time matching
   are granted where asked for; fuzzy names and everything behind are not.
7. Storage commitment is offered to those who may store.
8. A proposed asynchronous operations window is answered with one operation each way, the default: requests are
   performed in their order (PS3.7 D.3.3.3).
9. SOP class common extended negotiation has no answer (PS3.7 D.3.3.6), and what it says of a class outside the closed
   lists does not make it known.
10. A user identity grants nothing: no passcode, ticket, assertion or token is verified here. A positive response is
   given where it was asked for a name alone (PS3.7 D.3.3.7); a name with a passcode gets none, as from an acceptor
   without user identification; a ticket, assertion or token whose acceptance must be confirmed is refused.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from typing import Final

from ribcage.dicom.pdu import AssociateRq
from ribcage.dicom.pdu_items import (
    ContextResult,
    ExtendedNegotiation,
    ProposedContext,
    RoleSelection,
    UserIdentity,
)
from ribcage.dicom.sop_classes import (
    QUERY_CLASSES,
    RETRIEVE_CLASSES,
    STORAGE_COMMITMENT_PUSH,
    VERIFICATION,
    WORKLIST_CLASSES,
    is_storage,
)
from ribcage.dicom.transfer_syntaxes import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    TRANSFER_SYNTAXES,
)

ACCEPTED: Final = 0
ABSTRACT_SYNTAX_NOT_SUPPORTED: Final = 3
TRANSFER_SYNTAXES_NOT_SUPPORTED: Final = 4
ONE_OPERATION: Final = (1, 1)  # invoked, performed
_NAME: Final = 1  # types of user identity, PS3.7 table D.3-14
_NAME_AND_PASSCODE: Final = 2
_GRANTED_BYTES: Final = 2  # relational queries, combined date-time matching
_GET_PREFERENCE: Final = (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
)
_PLAIN: Final = frozenset({IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN})


@dataclass(frozen=True, slots=True)
class Offer:
    """What this peer may use. Verification is always offered."""

    store: bool = True
    query: bool = False
    retrieve: bool = False
    commit: bool = False
    worklist: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """One result per proposed context, in its order, and the role selections to be answered."""

    results: tuple[ContextResult, ...]
    roles: tuple[RoleSelection, ...]
    extended: tuple[ExtendedNegotiation, ...] = ()
    async_window: tuple[int, int] | None = None
    identity_response: bytes | None = None


def must_refuse(identity: UserIdentity | None) -> bool:
    """Whether the requestor wants an identity confirmed that cannot be (rule 10): the association is rejected."""
    unconfirmed = (_NAME, _NAME_AND_PASSCODE)
    return identity is not None and identity.response_requested and identity.kind not in unconfirmed


def negotiate(request: AssociateRq, offer: Offer) -> Answer:
    """The acceptor's answer. Refuses context by context and never raises."""
    proposed_roles = {role.sop_class: role for role in request.user.roles}
    answered: dict[str, RoleSelection] = {}
    results = []
    for context in request.contexts:
        uid = context.abstract_syntax
        role = _role(uid, proposed_roles.get(uid), offer)
        if not (role.scu or role.scp):
            results.append(ContextResult(context.context_id, ABSTRACT_SYNTAX_NOT_SUPPORTED))
            continue
        preferred = _GET_PREFERENCE if is_storage(uid) and not role.scu else ()
        result = _choose(context, TRANSFER_SYNTAXES.keys() if is_storage(uid) else _PLAIN, preferred)
        results.append(result)
        if result.result == ACCEPTED and uid in proposed_roles:
            answered[uid] = role
    identity, window = request.user.identity, request.user.async_window
    named = identity is not None and identity.kind == _NAME and identity.response_requested
    return Answer(
        tuple(results),
        tuple(answered.values()),
        _extended(request, results),
        None if window is None else ONE_OPERATION,
        b"" if named else None,
    )


def _extended(request: AssociateRq, results: list[ContextResult]) -> tuple[ExtendedNegotiation, ...]:
    """Rule 6, for accepted contexts, with as many bytes as were asked."""
    accepted = {
        context.abstract_syntax
        for context, result in zip(request.contexts, results, strict=True)
        if result.result == ACCEPTED
    }
    return tuple(
        ExtendedNegotiation(
            each.sop_class, bytes(i < _GRANTED_BYTES and b == 1 for i, b in enumerate(each.information))
        )
        for each in request.user.extended
        if each.sop_class in QUERY_CLASSES & accepted
    )


def _role(uid: str, proposed: RoleSelection | None, offer: Offer) -> RoleSelection:
    """The roles the requestor gets: those it wants (SCU when it says nothing) and may have."""
    wants_scu, wants_scp = (True, False) if proposed is None else (proposed.scu, proposed.scp)
    if is_storage(uid):
        return RoleSelection(uid, wants_scu and offer.store, wants_scp and offer.retrieve)
    served = (
        uid == VERIFICATION
        or (uid in QUERY_CLASSES and offer.query)
        or (uid == STORAGE_COMMITMENT_PUSH and offer.commit)
        or (uid in RETRIEVE_CLASSES and offer.retrieve)
        or (uid in WORKLIST_CLASSES and offer.worklist)
    )
    return RoleSelection(uid, wants_scu and served, False)


def _choose(context: ProposedContext, known: Set[str], preferred: tuple[str, ...]) -> ContextResult:
    proposed = context.transfer_syntaxes
    for uid in (*(uid for uid in preferred if uid in proposed), *proposed):
        if uid in known:
            return ContextResult(context.context_id, ACCEPTED, uid)
    return ContextResult(context.context_id, TRANSFER_SYNTAXES_NOT_SUPPORTED)
