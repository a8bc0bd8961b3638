"""Attacks on the stored journal: every one is refused, and the height of the row is named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ledger.harness import CHAIN, FOREIGN_SECRET, INSTITUTION, SECRET, START, Home, name
from ribcage.ledger import EmbeddedLedger, Purpose, Reason, Row, View, calls, next_head, verify_journal
from ribcage.ledger.artifact import load_artifact
from ribcage.ledger.errors import JournalError, LedgerUnavailable, NotReady
from ribcage.ledger.transactions import Signer

READER, STUDY = name("reader"), name("study")


@pytest.fixture
def home() -> Home:
    made = Home()
    made.change(calls.add_grant(READER, STUDY, Purpose.TREAT, View.FULL, START, START + 3600))
    made.now += 10
    made.change(calls.suspend(name("somebody")))
    made.now += 10
    made.change(calls.revoke_grant(1))
    return made


def refused(home: Home, rows: list[Row], height: int, problem: str) -> None:
    """Both the start-up and the full check refuse the rows at this height."""
    with pytest.raises(JournalError, match=problem) as caught:
        verify(home, rows)
    assert caught.value.height == height
    with pytest.raises(JournalError, match=problem) as caught:
        home.reopened(rows)
    assert caught.value.height == height


def verify(home: Home, rows: list[Row], **facts: object) -> tuple[int, bytes]:
    expected = {"founder": home.ledger.address, "institution": INSTITUTION, "chain_id": CHAIN}
    return verify_journal(rows, **(expected | facts))


def test_honest_journal_verifies_and_reopens_to_the_same_state(home: Home) -> None:
    assert verify(home, home.rows) == (4, home.ledger.head)
    again = home.reopened()
    assert again.check(READER, [STUDY], Purpose.TREAT, home.now).reason is Reason.NO_GRANT
    assert again.grant(1) == home.ledger.grant(1)
    again.apply(again.prepare(calls.suspend(READER), home.now))
    assert again.height == 5


def test_head_is_the_chain_of_rows(home: Home) -> None:
    head = bytes(32)
    for row in home.rows:
        head = next_head(head, *row)
    assert head == home.ledger.head
    shifted = [*home.rows[:2], (3, home.rows[2][1] + 1, home.rows[2][2]), home.rows[3]]
    assert verify(home, shifted)[1] != head  # block times are not signed: the head shows the change


def test_removed_revocation_is_refused(home: Home) -> None:
    home.change(calls.suspend(READER))
    refused(home, [*home.rows[:3], (4, *home.rows[4][1:])], 4, "WrongNonce: expected nonce 3, got 4")


def test_gap_in_the_heights_is_refused(home: Home) -> None:
    refused(home, [*home.rows[:2], home.rows[3]], 3, "expected height 3, got 4")


def test_cut_tail_shows_in_height_and_head(home: Home) -> None:
    again = home.reopened(home.rows[:-1])
    assert (again.height, again.head) != (home.ledger.height, home.ledger.head)


def test_replayed_transaction_is_refused(home: Home) -> None:
    refused(home, [*home.rows, (5, home.now, home.rows[1][2])], 5, "WrongNonce: expected nonce 4, got 1")


def test_skipped_nonce_is_refused(home: Home) -> None:
    refused(home, [*home.rows, home.forge(calls.suspend(READER), nonce=5)], 5, "WrongNonce")


def test_transaction_of_another_chain_is_refused(home: Home) -> None:
    refused(home, [*home.rows, home.forge(calls.suspend(READER), chain_id=CHAIN + 1)], 5, "WrongChain")


def test_foreign_sender_is_refused(home: Home) -> None:
    row = home.forge(calls.suspend(READER), FOREIGN_SECRET, nonce=0)
    refused(home, [*home.rows, row], 5, "not a registered signer")


def test_call_of_another_contract_is_refused(home: Home) -> None:
    refused(home, [*home.rows, home.forge(calls.suspend(READER), to=b"\x44" * 20)], 5, "MalformedTransaction")


def test_second_creation_is_refused(home: Home) -> None:
    refused(home, [*home.rows, home.forge(calls.suspend(READER), to=b"")], 5, "MalformedTransaction")


def test_tampered_signature_is_refused(home: Home) -> None:
    height, block_time, raw = home.rows[3]
    forged = raw[:-1] + bytes([raw[-1] ^ 1])
    refused(home, [*home.rows[:3], (height, block_time, forged)], 4, "journal row 4")


def test_time_running_backwards_is_refused(home: Home) -> None:
    rows = [*home.rows[:3], (4, START, home.rows[3][2])]
    refused(home, rows, 4, "ClockBehind")


def test_change_the_contract_refuses_is_refused(home: Home) -> None:
    refused(home, [*home.rows, home.forge(calls.revoke_grant(1))], 5, "grant is revoked")


def test_transaction_without_gas_is_refused(home: Home) -> None:
    refused(home, [*home.rows, home.forge(calls.suspend(READER), gas_limit=30_000)], 5, "LedgerUnavailable")


def test_refused_row_leaves_the_ledger_silent(home: Home) -> None:
    ledger = EmbeddedLedger(SECRET, INSTITUTION, CHAIN)
    with pytest.raises(JournalError):
        ledger.replay([*home.rows[:2], home.rows[3]])
    with pytest.raises(NotReady):
        ledger.check(READER, [STUDY], Purpose.TREAT, home.now)
    with pytest.raises(NotReady):
        ledger.prepare(calls.suspend(READER), home.now)


def test_journal_rewritten_under_another_key_is_refused(home: Home) -> None:
    forger = Home(FOREIGN_SECRET)
    forger.change(calls.rotate_signer(home.ledger.address))  # hand the forged book to the true signer
    refused(home, forger.rows, 1, "founder's creation")


def test_contract_with_other_rules_is_refused(home: Home) -> None:
    artifact = load_artifact()
    other = replace(artifact, bytecode=artifact.bytecode + b"\x00")
    with pytest.raises(JournalError, match="shipped contract") as caught:
        verify(home, home.rows, artifact=other)
    assert caught.value.height == 1


def test_journal_of_another_institution_is_refused(home: Home) -> None:
    with pytest.raises(JournalError, match="journal row 1"):
        verify(home, home.rows, institution=INSTITUTION + 1)


def test_key_that_is_not_registered_does_not_open(home: Home) -> None:
    stranger = EmbeddedLedger(FOREIGN_SECRET, INSTITUTION, CHAIN, founder=home.ledger.address)
    with pytest.raises(LedgerUnavailable, match="not the institution's registered signer"):
        stranger.replay(home.rows)
    with pytest.raises(NotReady):
        stranger.check(READER, [STUDY], Purpose.TREAT, home.now)


def test_rotated_key_opens_the_founders_journal_and_goes_on(home: Home) -> None:
    home.change(calls.rotate_signer(Signer(FOREIGN_SECRET).address))
    heir = EmbeddedLedger(FOREIGN_SECRET, INSTITUTION, CHAIN, founder=home.ledger.address)
    heir.replay(home.rows)
    heir.apply(heir.prepare(calls.suspend(READER), home.now))
    assert heir.check(READER, [STUDY], Purpose.TREAT, home.now).reason is Reason.SUSPENDED


def test_replay_is_for_a_fresh_ledger_only(home: Home) -> None:
    with pytest.raises(NotReady):
        home.ledger.replay(home.rows)


def test_empty_journal_leaves_an_empty_ledger() -> None:
    ledger = EmbeddedLedger(SECRET, INSTITUTION, CHAIN)
    ledger.replay([])
    assert ledger.height == 0
    ledger.apply(ledger.prepare(calls.genesis(INSTITUTION), START))


# --- institutions side by side ------------------------------------------------------------------------------


def neighbour(home: Home, *changes: calls.Call) -> list[Row]:
    """The rows after a second institution was admitted and made these changes."""
    home.change(calls.add_grant(READER, STUDY, Purpose.TREAT, View.FULL, START, START + 3600))
    home.change(calls.register_institution(Signer(FOREIGN_SECRET).address, INSTITUTION + 1))
    for nonce, call in enumerate(changes):
        home.rows.append(home.forge(call, FOREIGN_SECRET, nonce=nonce))
    return home.rows


def test_neighbour_writes_in_its_own_book_only(home: Home) -> None:
    rows = neighbour(home, calls.suspend(READER), calls.legal_block(STUDY), calls.tombstone(STUDY, STUDY))
    verdict = home.reopened(rows).check(READER, [STUDY], Purpose.TREAT, home.now)
    assert (verdict.view, verdict.grant_id) == (View.FULL, 2)


def test_neighbours_grant_opens_nothing_here(home: Home) -> None:
    other = name("other study")
    rows = neighbour(home, calls.add_grant(READER, other, Purpose.TREAT, View.ORIGINAL, START, START + 3600))
    assert home.reopened(rows).check(READER, [other], Purpose.TREAT, home.now).reason is Reason.NO_GRANT


def test_neighbour_cannot_revoke_our_grant(home: Home) -> None:
    rows = neighbour(home, calls.revoke_grant(2))
    refused(home, rows, len(rows), "no such grant")


def test_only_the_steward_admits_institutions(home: Home) -> None:
    rows = neighbour(home, calls.register_institution(b"\x55" * 20, 99))
    refused(home, rows, len(rows), "not the steward")


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (calls.register_institution(b"\x55" * 20, INSTITUTION), "institution is registered"),
        (calls.register_institution(Signer(SECRET).address, 99), "signer is registered"),
        (calls.register_institution(bytes(20), 99), "signer is zero"),
        (calls.register_institution(b"\x55" * 20, 0), "institution is zero"),
        (calls.rotate_signer(bytes(20)), "signer is zero"),
    ],
)
def test_senseless_registration_is_refused(home: Home, call: calls.Call, problem: str) -> None:
    rows = [*home.rows, home.forge(call)]
    refused(home, rows, 5, problem)
