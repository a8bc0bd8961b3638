"""Negotiation and its tables: what an acceptor takes, what it refuses and with which result."""

from __future__ import annotations

import pytest
from pydicom import uid as their_uid
from pydicom._uid_dict import UID_dictionary

from ribcage.dicom import negotiation, sop_classes, transfer_syntaxes
from ribcage.dicom.errors import UnsupportedSopClass, UnsupportedTransferSyntax
from ribcage.dicom.negotiation import Offer, must_refuse, negotiate
from ribcage.dicom.pdu import AssociateRq
from ribcage.dicom.pdu_items import (
    CommonExtendedNegotiation,
    ContextResult,
    ExtendedNegotiation,
    ProposedContext,
    RoleSelection,
    UserIdentity,
    UserInformation,
)

CT = "1.2.840.10008.5.1.4.1.1.2"
LITTLE, EXPLICIT, DEFLATED, BASELINE = (
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.4.50",
)


def answer(abstract: str, *transfer: str, offer: Offer | None = None, roles: tuple[RoleSelection, ...] = ()):
    request = AssociateRq(
        "A", "B", (ProposedContext(1, abstract, transfer),), UserInformation(0, roles=roles)
    )
    return negotiate(request, offer or Offer())


def result(abstract: str, *transfer: str, **more: object) -> tuple[int, str]:
    (one,) = answer(abstract, *transfer, **more).results
    return one.result, one.transfer_syntax


@pytest.mark.parametrize("syntax", transfer_syntaxes.TRANSFER_SYNTAXES)
def test_storage_takes_every_transfer_syntax_of_the_standard(syntax):
    assert result(CT, syntax) == (0, syntax)


@pytest.mark.parametrize("sop_class", sop_classes.STORAGE_CLASSES)
def test_every_storage_class_is_taken(sop_class):
    assert result(sop_class, LITTLE) == (0, LITTLE)


def test_the_first_known_syntax_is_chosen():
    assert result(CT, "1.2.3.4", BASELINE, LITTLE) == (0, BASELINE)


def test_unknown_syntaxes_alone_are_result_4():
    assert result(CT, "1.2.3.4", "1.2.840.10008.1.2.4.999") == (4, "")
    assert result(CT) == (4, "")


@pytest.mark.parametrize(
    "uid",
    [
        "1.2.840.10008.5.1.4.1.1.2.999",  # looks like storage
        "1.2.840.10008.5.1.4.1.1",
        "1.3.46.670589.11.0.0.12.1",  # private
        "1.2.840.10008.1.3.10",  # media directory
        "1.2.840.10008.1.20.1",  # storage commitment
        "1.2.840.10008.5.1.4.1.1.201.5",  # inventory creation
        "1.2.840.10008.5.1.1.9",  # print
    ],
)
def test_what_only_looks_like_storage_is_result_3(uid):
    assert result(uid, LITTLE) == (3, "")
    assert not sop_classes.is_storage(uid)
    with pytest.raises(UnsupportedSopClass):
        sop_classes.require_storage(uid)


def test_verification_is_always_offered_in_plain_syntaxes_only():
    nothing = Offer(store=False)
    assert result(sop_classes.VERIFICATION, LITTLE, offer=nothing) == (0, LITTLE)
    assert result(sop_classes.VERIFICATION, BASELINE, DEFLATED, offer=nothing) == (4, "")


@pytest.mark.parametrize(
    "uid", [CT, sop_classes.STUDY_ROOT_FIND, sop_classes.STUDY_ROOT_GET, sop_classes.STUDY_ROOT_MOVE]
)
def test_a_service_the_peer_may_not_use_is_not_offered(uid):
    assert result(uid, LITTLE, offer=Offer(store=False)) == (3, "")


def test_query_and_retrieve_are_offered_apart():
    assert result(sop_classes.STUDY_ROOT_FIND, EXPLICIT, offer=Offer(query=True)) == (0, EXPLICIT)
    assert result(sop_classes.STUDY_ROOT_MOVE, EXPLICIT, offer=Offer(query=True)) == (3, "")
    assert result(sop_classes.STUDY_ROOT_MOVE, EXPLICIT, offer=Offer(retrieve=True)) == (0, EXPLICIT)


def test_a_requestor_that_is_only_scp_needs_the_right_to_retrieve():
    scp_only = (RoleSelection(CT, scu=False, scp=True),)
    assert result(CT, LITTLE, roles=scp_only) == (3, "")
    taken = answer(CT, LITTLE, roles=scp_only, offer=Offer(store=False, retrieve=True))
    assert taken.results == (ContextResult(1, 0, LITTLE),)
    assert taken.roles == scp_only


def test_roles_are_cut_to_what_the_peer_may():
    both = (RoleSelection(CT, scu=True, scp=True),)
    assert answer(CT, LITTLE, roles=both).roles == (RoleSelection(CT, scu=True, scp=False),)
    assert answer(CT, LITTLE, roles=both, offer=Offer(store=False, retrieve=True)).roles == (
        RoleSelection(CT, scu=False, scp=True),
    )


def test_roles_nobody_proposed_are_not_answered():
    assert answer(CT, LITTLE).roles == ()


def test_a_hundred_and_twenty_eight_contexts_are_answered_in_order():
    contexts = tuple(ProposedContext(2 * n + 1, CT if n % 2 else "1.2.3", (LITTLE,)) for n in range(128))
    results = negotiate(AssociateRq("A", "B", contexts), Offer()).results
    assert [one.context_id for one in results] == [context.context_id for context in contexts]
    assert [one.result for one in results] == [3, 0] * 64


# --- tables ---------------------------------------------------------------------------------------------


def test_no_transfer_syntax_of_pydicom_is_missing_and_flags_agree():
    theirs = {uid: row for uid, row in UID_dictionary.items() if row[1] == "Transfer Syntax"}
    assert theirs.keys() <= transfer_syntaxes.TRANSFER_SYNTAXES.keys()
    extra = transfer_syntaxes.TRANSFER_SYNTAXES.keys() - theirs.keys()
    assert extra <= {f"1.2.840.10008.1.2.4.{n}" for n in (110, 111, 112)} | {"1.2.840.10008.1.2.8.1"}
    for uid, row in theirs.items():
        ours, other = transfer_syntaxes.lookup(uid), their_uid.UID(uid)
        assert ours.name == row[0]
        assert ours.retired == bool(row[3])
        if uid in {str(known) for known in their_uid.AllTransferSyntaxes} - {"1.2.840.10008.1.20"}:
            assert (ours.implicit, ours.little) == (other.is_implicit_VR, other.is_little_endian)
    deflated = {uid for uid, row in transfer_syntaxes.TRANSFER_SYNTAXES.items() if row.deflated}
    assert deflated == {DEFLATED, "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"}  # PS3.5 A.5, A.7, A.12
    for known in (
        their_uid.JPEGTransferSyntaxes + their_uid.JPEG2000TransferSyntaxes + their_uid.RLETransferSyntaxes
    ):
        assert transfer_syntaxes.lookup(known).encapsulated
    for known in their_uid.JPEGLSTransferSyntaxes + their_uid.MPEGTransferSyntaxes:
        assert transfer_syntaxes.lookup(known).encapsulated


@pytest.mark.parametrize(
    ("uid", "lossy"),
    [
        (LITTLE, False), (BASELINE, True), ("1.2.840.10008.1.2.4.70", False), ("1.2.840.10008.1.2.4.80", False),
        ("1.2.840.10008.1.2.4.81", True), ("1.2.840.10008.1.2.4.90", False), ("1.2.840.10008.1.2.4.91", True),
        ("1.2.840.10008.1.2.5", False), ("1.2.840.10008.1.2.4.110", False), ("1.2.840.10008.1.2.4.203", True),
    ],
)  # fmt: skip
def test_lossy_syntaxes_are_known_as_such(uid, lossy):
    assert transfer_syntaxes.lookup(uid).lossy is lossy


@pytest.mark.parametrize(
    "uid", ["", "1.2.840.10008.1.2.4", "1.2.840.113619.5.2", LITTLE + "\0", " " + LITTLE]
)
def test_an_unknown_transfer_syntax_is_refused(uid):
    with pytest.raises(UnsupportedTransferSyntax):
        transfer_syntaxes.lookup(uid)


def test_no_storage_class_of_pydicom_is_missing():
    theirs = {
        uid
        for uid, row in UID_dictionary.items()
        if row[1] == "SOP Class"
        and "Storage" in row[0]
        and "Commitment" not in row[0]
        and uid != "1.2.840.10008.1.3.10"
    }
    assert theirs <= sop_classes.STORAGE_CLASSES.keys()
    assert sop_classes.STORAGE_CLASSES.keys() - theirs <= {
        "1.2.840.10008.5.1.4.1.1.66.7",
        "1.2.840.10008.5.1.4.1.1.66.8",
    }
    assert all(bool(UID_dictionary[uid][3]) == (uid in sop_classes.RETIRED_STORAGE_CLASSES) for uid in theirs)


def test_results_have_the_numbers_of_the_standard():
    assert (negotiation.ACCEPTED, negotiation.ABSTRACT_SYNTAX_NOT_SUPPORTED) == (0, 3)
    assert negotiation.TRANSFER_SYNTAXES_NOT_SUPPORTED == 4


def test_commitment_goes_to_those_who_may_store_and_queries_alone_negotiate_extensions():
    push, find = sop_classes.STORAGE_COMMITMENT_PUSH, sop_classes.STUDY_ROOT_FIND
    assert result(push, LITTLE, offer=Offer(commit=True)) == (0, LITTLE)
    assert result(push, LITTLE, offer=Offer(query=True)) == (3, "")
    asked = tuple(
        ExtendedNegotiation(uid, b"\1\1\1\1\2") for uid in (find, CT, sop_classes.PATIENT_ROOT_FIND)
    )
    contexts = (ProposedContext(1, find, (LITTLE,)), ProposedContext(3, CT, (LITTLE,)))
    request = AssociateRq("A", "B", contexts, UserInformation(0, extended=asked))
    granted = negotiate(request, Offer(query=True)).extended
    assert granted == (ExtendedNegotiation(find, b"\1\1\0\0\0"),)  # relational and combined, nothing behind
    assert negotiate(request, Offer()).extended == ()


# --- what is negotiated beside contexts ------------------------------------------------------------------


def answered(**user: object):
    request = AssociateRq("A", "B", (ProposedContext(1, CT, (LITTLE,)),), UserInformation(0, **user))
    return negotiate(request, Offer())


@pytest.mark.parametrize("window", [(0, 0), (1, 1), (8, 8), (0xFFFF, 1)])
def test_a_window_is_answered_with_one_operation_and_none_is_not_answered(window):
    assert answered(async_window=window).async_window == (1, 1)
    assert answered().async_window is None


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize("kind", [0, 1, 2, 3, 4, 5, 6, 255])
def test_a_user_identity_grants_nothing_and_is_confirmed_by_name_alone(kind, asked):
    identity = UserIdentity(kind, asked, b"wu", b"pass")
    got = answered(identity=identity)
    assert got.identity_response == (b"" if asked and kind == 1 else None)
    assert must_refuse(identity) == (asked and kind not in (1, 2))
    assert (got.results, got.roles) == (answered().results, answered().roles)


def test_common_extended_negotiation_makes_no_class_known_and_has_no_answer():
    unknown = "1.2.840.10008.5.1.4.1.1.2.999"
    claim = CommonExtendedNegotiation(unknown, "1.2.840.10008.4.2", (CT,))
    request = AssociateRq(
        "A", "B", (ProposedContext(1, unknown, (LITTLE,)),), UserInformation(0, common_extended=(claim,))
    )
    answer = negotiate(request, Offer())
    assert [one.result for one in answer.results] == [3]
    assert answer.extended == ()
