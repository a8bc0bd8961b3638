"""The changes the contract knows, as calldata. One function for each; identifiers are opaque 32 bytes.

`note` is a 32-byte hash of the cause (order, form, court order), kept where the cause is kept. Times are Unix
seconds. All raise `InvalidCall` when an argument does not fit its type; ranges are the contract's word.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from ribcage.ledger import abi

NO_NOTE = bytes(32)
EVERYBODY = bytes(32)  # as the subject of an objection


class View(enum.IntEnum):
    """How much of an image: in the contract's order."""

    NONE = 0
    MASKED = 1
    FULL = 2
    ORIGINAL = 3

    @property
    def word(self) -> str:
        """The name used in messages: none, masked, full, original."""
        return self.name.lower()


class Purpose(enum.IntEnum):
    """Purpose of use (HL7 ActReason)."""

    TREAT = 1
    ETREAT = 2
    HRESCH = 3
    HOPERAT = 4
    PATRQT = 5


@dataclass(frozen=True, slots=True)
class Call:
    """One change: its function's name, its calldata, and whether it answers with a number.

    `creates` marks the contract's creation: the data is then the constructor's arguments.
    """

    name: str
    data: bytes
    answers: bool = False
    creates: bool = False


def _call(signature: str, *values: abi.Value, answers: bool = False) -> Call:
    name, _, kinds = signature.rstrip(")").partition("(")
    return Call(name, abi.selector(signature) + abi.encode(kinds.split(","), values), answers)


def genesis(institution: int) -> Call:
    """Create the contract; the signer becomes steward and signs for `institution` (1 to 2^32-1)."""
    return Call("genesis", abi.encode(["uint32"], [institution]), creates=True)


def register_institution(signer: bytes, institution: int) -> Call:
    """Admit another institution with its signer's 20-byte address; the steward alone may."""
    return _call("register_institution(address,uint32)", signer, institution)


def rotate_signer(new_signer: bytes) -> Call:
    """Hand the institution's book to a new key, by its 20-byte address."""
    return _call("rotate_signer(address)", new_signer)


def add_grant(
    subject: bytes,
    resource: bytes,
    purpose: Purpose,
    view: View,
    valid_from: int,
    valid_until: int,
    note: bytes = NO_NOTE,
) -> Call:
    """Allow `subject` one view of `resource` while valid_from <= now < valid_until. Answers the grant's number."""
    return _call(
        "add_grant(bytes32,bytes32,uint8,uint8,uint64,uint64,bytes32)",
        subject,
        resource,
        purpose,
        view,
        valid_from,
        valid_until,
        note,
        answers=True,
    )


def revoke_grant(grant_id: int, note: bytes = NO_NOTE) -> Call:
    """End a grant at once."""
    return _call("revoke_grant(uint256,bytes32)", grant_id, note)


def suspend(subject: bytes, standing: bool = True, note: bytes = NO_NOTE) -> Call:
    """Suspend a person or device, or lift it (`standing` False)."""
    return _call("set_suspension(bytes32,bool,bytes32)", subject, standing, note)


def legal_block(resource: bytes, standing: bool = True, note: bytes = NO_NOTE) -> Call:
    """Forbid every disclosure of a resource by law, or lift it."""
    return _call("set_legal_block(bytes32,bool,bytes32)", resource, standing, note)


def objection(
    patient: bytes, subject: bytes = EVERYBODY, standing: bool = True, note: bytes = NO_NOTE
) -> Call:
    """The patient objects to one subject or to everybody, or takes it back."""
    return _call("set_objection(bytes32,bytes32,bool,bytes32)", patient, subject, standing, note)


def consent_needed(purpose: Purpose, needed: bool = True, note: bytes = NO_NOTE) -> Call:
    """Flag a purpose as needing consent; HRESCH always does."""
    return _call("set_consent_needed(uint8,bool,bytes32)", purpose, needed, note)


def consent(patient: bytes, purpose: Purpose, given: bool, note: bytes = NO_NOTE) -> Call:
    """The patient consents to a purpose, or withdraws."""
    return _call("set_consent(bytes32,uint8,bool,bytes32)", patient, purpose, given, note)


def tombstone(resource: bytes, certificate: bytes) -> Call:
    """Record the destruction of a resource with the 32-byte hash of its certificate."""
    return _call("tombstone(bytes32,bytes32)", resource, certificate)


def break_glass(
    subject: bytes, resource: bytes, occurred_at: int, valid_until: int, note: bytes = NO_NOTE
) -> Call:
    """Record an emergency access, at most a day long, possibly after the fact. Answers its number."""
    signature = "break_glass(bytes32,bytes32,uint64,uint64,bytes32)"
    return _call(signature, subject, resource, occurred_at, valid_until, note, answers=True)


def anchor(log_id: bytes, tree_size: int, root: bytes) -> Call:
    """Fix the root of an audit log at a size larger than the last one."""
    return _call("anchor(bytes32,uint64,bytes32)", log_id, tree_size, root)
