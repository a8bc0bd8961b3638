"""The two-step change, the clock, and what a question may not do."""

from __future__ import annotations

import math
import resource

import pytest

from ledger.harness import CHAIN, INSTITUTION, SECRET, START, Home, name
from ribcage.ledger import AccessLedger, EmbeddedLedger, Purpose, Reason, View, calls
from ribcage.ledger.errors import (
    ChangeInHand,
    ClockBehind,
    InvalidCall,
    LedgerUnavailable,
    NotReady,
    Reverted,
    StalePrepared,
    WrongNonce,
)

READER, STUDY, PATIENT = name("reader"), name("study"), name("patient")


@pytest.fixture
def home() -> Home:
    return Home()


def grant(home: Home, view: View = View.FULL, seconds: int = 3600, **changes: object) -> int:
    facts = {"subject": READER, "resource": STUDY, "purpose": Purpose.TREAT, "view": view}
    call = calls.add_grant(**(facts | {"valid_from": home.now, "valid_until": home.now + seconds} | changes))
    return home.change(call).outcome


def asked(home: Home, purpose: Purpose = Purpose.TREAT, later: int = 0) -> tuple[View, Reason]:
    verdict = home.ledger.check(READER, [STUDY, PATIENT], purpose, home.now + later)
    assert verdict.microseconds > 0
    return verdict.view, verdict.reason


def test_embedded_ledger_fulfils_the_protocol(home: Home) -> None:
    ledger: AccessLedger = home.ledger
    assert ledger.height == 1
    assert len(ledger.head) == 32


def test_without_a_grant_the_answer_is_none(home: Home) -> None:
    assert asked(home) == (View.NONE, Reason.NO_GRANT)


def test_revoked_grant_denies_from_the_next_question(home: Home) -> None:
    number = grant(home)
    assert asked(home) == (View.FULL, Reason.GRANTED)
    home.change(calls.revoke_grant(number))
    assert asked(home) == (View.NONE, Reason.NO_GRANT)
    assert home.ledger.grant(number).revoked


def test_revocation_falls_back_to_the_lower_grant_that_still_lives(home: Home) -> None:
    lower, higher = grant(home, View.MASKED), grant(home, View.ORIGINAL)
    assert home.ledger.check(READER, [STUDY], Purpose.TREAT, START).grant_id == higher
    home.change(calls.revoke_grant(higher))
    verdict = home.ledger.check(READER, [STUDY], Purpose.TREAT, START)
    assert (verdict.view, verdict.grant_id) == (View.MASKED, lower)


def test_grant_lives_from_its_first_second_to_before_its_last(home: Home) -> None:
    grant(home, valid_from=START + 10, valid_until=START + 20)
    answers = [asked(home, later=t)[0] for t in (9, 10, 19, 20)]
    assert answers == [View.NONE, View.FULL, View.FULL, View.NONE]


def test_ninth_living_grant_of_a_slot_is_refused_and_expired_ones_make_room(home: Home) -> None:
    for _ in range(8):
        grant(home, seconds=60)
    with pytest.raises(Reverted) as caught:
        grant(home)
    assert caught.value.reason == "slot is full: revoke a grant first"
    home.now += 60
    assert grant(home) == 9
    assert asked(home) == (View.FULL, Reason.GRANTED)


def test_precedence_of_denials(home: Home) -> None:
    grant(home, purpose=Purpose.HRESCH)
    ladder = [
        (calls.consent(PATIENT, Purpose.HRESCH, True), Reason.GRANTED),
        (calls.consent(STUDY, Purpose.HRESCH, False), Reason.CONSENT_WITHDRAWN),
        (calls.objection(PATIENT), Reason.OBJECTION),
        (calls.legal_block(STUDY), Reason.LEGAL_BLOCK),
        (calls.tombstone(STUDY, name("certificate")), Reason.RESOURCE_DESTROYED),
        (calls.suspend(READER), Reason.SUSPENDED),
    ]
    assert asked(home, Purpose.HRESCH) == (View.NONE, Reason.CONSENT_MISSING)
    for call, reason in ladder:
        home.change(call)
        assert asked(home, Purpose.HRESCH)[1] is reason


def test_objection_to_everybody_and_to_one(home: Home) -> None:
    grant(home)
    home.change(calls.objection(PATIENT, name("somebody else")))
    assert asked(home)[1] is Reason.GRANTED
    for subject in (READER, calls.EVERYBODY):
        home.change(calls.objection(PATIENT, subject))
        assert asked(home) == (View.NONE, Reason.OBJECTION)
        home.change(calls.objection(PATIENT, subject, standing=False))
        assert asked(home)[1] is Reason.GRANTED


def test_break_glass_may_override_objection_but_never_suspension_or_law(home: Home) -> None:
    overridable = {reason for reason in Reason if reason >= Reason.OBJECTION}
    for call, expected in (
        (calls.objection(PATIENT), True),
        (calls.legal_block(PATIENT), False),
        (calls.suspend(READER), False),
    ):
        home.change(call)
        verdict = home.ledger.check(READER, [STUDY, PATIENT], Purpose.TREAT, START)
        assert verdict.break_glass_may_override is expected is (verdict.reason in overridable)


def test_break_glass_is_recorded_after_the_fact_and_bounded(home: Home) -> None:
    assert home.change(calls.break_glass(READER, PATIENT, START - 100, START + 900)).outcome == 1
    assert home.change(calls.break_glass(READER, PATIENT, START - 200, START - 100)).outcome == 2
    assert home.ledger.break_glass_until(READER, PATIENT) == START + 900
    assert asked(home) == (View.NONE, Reason.NO_GRANT)  # the record itself opens nothing
    for begin, end in ((START + 1, START + 2), (START, START + 86_401), (START, START)):
        with pytest.raises(Reverted, match="break-glass"):
            home.ledger.prepare(calls.break_glass(READER, PATIENT, begin, end), START)


def test_anchored_log_cannot_shrink_or_fork(home: Home) -> None:
    log = name("log")
    home.change(calls.anchor(log, 5, name("root of 5")))
    home.change(calls.anchor(log, 9, name("root of 9")))
    for size in (4, 5, 9):
        with pytest.raises(Reverted, match="did not grow"):
            home.ledger.prepare(calls.anchor(log, size, name("another")), START)
    assert home.ledger.anchored(log) == (9, name("root of 9"))
    assert home.ledger.anchored(name("other log")) == (0, bytes(32))


def test_research_consent_cannot_be_switched_off(home: Home) -> None:
    with pytest.raises(Reverted, match="research always needs consent"):
        home.change(calls.consent_needed(Purpose.HRESCH, False))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"subject": bytes(32)}, "subject is zero"),
        ({"resource": bytes(32)}, "resource is zero"),
        ({"purpose": 0}, "unknown purpose"),
        ({"purpose": 6}, "unknown purpose"),
        ({"view": 0}, "unknown view"),
        ({"view": 4}, "unknown view"),
        ({"valid_from": START + 9, "valid_until": START + 9}, "grant ends before it begins"),
        ({"valid_from": 0, "valid_until": START}, "grant is already over"),
    ],
)
def test_senseless_grant_is_refused(home: Home, changes: dict[str, object], reason: str) -> None:
    with pytest.raises(Reverted) as caught:
        grant(home, **changes)
    assert caught.value.reason == reason
    assert home.ledger.height == 1


# --- two steps --------------------------------------------------------------------------------------------


def test_prepared_change_has_no_effect_before_apply(home: Home) -> None:
    head = home.ledger.head
    prepared = home.ledger.prepare(
        calls.add_grant(READER, STUDY, Purpose.TREAT, View.FULL, START, START + 60), START
    )
    assert asked(home) == (View.NONE, Reason.NO_GRANT)
    assert (home.ledger.height, home.ledger.head) == (1, head)
    home.ledger.apply(prepared)
    assert asked(home) == (View.FULL, Reason.GRANTED)
    assert (home.ledger.height, home.ledger.head) == (prepared.height, prepared.head)


def test_one_change_at_a_time_and_an_abandoned_one_is_gone(home: Home) -> None:
    first = home.ledger.prepare(calls.suspend(READER), START)
    with pytest.raises(ChangeInHand):
        home.ledger.prepare(calls.suspend(READER), START)
    home.ledger.abandon(first)
    with pytest.raises(StalePrepared):
        home.ledger.apply(first)
    with pytest.raises(StalePrepared):
        home.ledger.abandon(first)
    assert asked(home)[1] is Reason.NO_GRANT
    home.change(calls.suspend(READER))
    assert asked(home)[1] is Reason.SUSPENDED


def test_change_cannot_be_applied_twice(home: Home) -> None:
    prepared = home.change(calls.suspend(READER))
    with pytest.raises(StalePrepared):
        home.ledger.apply(prepared)


def test_refused_change_leaves_nothing_in_hand(home: Home) -> None:
    with pytest.raises(Reverted):
        home.ledger.prepare(calls.revoke_grant(1), START)
    assert grant(home) == 1


def test_genesis_comes_first_and_once() -> None:
    ledger = EmbeddedLedger(SECRET, INSTITUTION, CHAIN)
    with pytest.raises(NotReady):
        ledger.check(READER, [STUDY], Purpose.TREAT, START)
    with pytest.raises(NotReady):
        ledger.prepare(calls.suspend(READER), START)
    with pytest.raises(InvalidCall):
        ledger.prepare(calls.genesis(INSTITUTION + 1), START)
    ledger.apply(ledger.prepare(calls.genesis(INSTITUTION), START))
    with pytest.raises(NotReady):
        ledger.prepare(calls.genesis(INSTITUTION), START)


def test_after_the_key_is_rotated_the_old_one_is_denied_everything(home: Home) -> None:
    grant(home)
    home.change(calls.rotate_signer(b"\x33" * 20))
    assert asked(home) == (View.NONE, Reason.UNKNOWN_INSTITUTION)
    with pytest.raises(Reverted, match="not a registered signer"):
        home.ledger.prepare(calls.suspend(READER), START)


# --- the clock and the question ---------------------------------------------------------------------------


def test_clock_set_back_revives_no_grant(home: Home) -> None:
    grant(home, seconds=7170)
    home.now += 7200
    home.change(calls.suspend(name("somebody")))
    assert asked(home, later=-60) == (
        View.NONE,
        Reason.NO_GRANT,
    )  # within the tolerance: the block's time counts
    with pytest.raises(ClockBehind):
        home.ledger.check(READER, [STUDY], Purpose.TREAT, START + 60)
    with pytest.raises(ClockBehind):
        home.ledger.prepare(calls.suspend(READER), START + 60)


def test_question_cannot_change_anything(home: Home) -> None:
    machine, caller, contract = home.ledger._chain.machine, home.ledger.address, home.ledger.contract
    with pytest.raises(LedgerUnavailable, match="halted"):
        machine.view(f"0x{caller.hex()}", f"0x{contract.hex()}", calls.suspend(READER).data, 1, START)
    assert asked(home) == (View.NONE, Reason.NO_GRANT)


def test_stored_change_that_fails_silences_the_ledger(home: Home) -> None:
    grant(home)
    prepared = home.ledger.prepare(calls.suspend(READER), START)
    home.ledger._chain.nonces[home.ledger.address] += 1  # memory no longer agrees with the journal
    with pytest.raises(WrongNonce):
        home.ledger.apply(prepared)
    with pytest.raises(NotReady):
        asked(home)
    with pytest.raises((NotReady, ChangeInHand)):
        home.ledger.prepare(calls.suspend(READER), START)


@pytest.mark.parametrize("now", [math.nan, math.inf, -1.0, 2.0**63])
def test_senseless_clock_is_a_no(home: Home, now: float) -> None:
    with pytest.raises(LedgerUnavailable):
        home.ledger.check(READER, [STUDY], Purpose.TREAT, now)


def test_malformed_question_is_refused(home: Home) -> None:
    for subject, resources, purpose in (
        (READER[:31], [STUDY], Purpose.TREAT),
        (READER, [STUDY + b"\x00"], Purpose.TREAT),
        (READER, [STUDY] * 5, Purpose.TREAT),
        (READER, [STUDY], 9),
    ):
        with pytest.raises(InvalidCall):
            home.ledger.check(subject, resources, purpose, START)


def test_verdict_cannot_be_mistaken_for_permission(home: Home) -> None:
    verdict = home.ledger.check(READER, [STUDY], Purpose.TREAT, START)
    with pytest.raises(TypeError, match="no truth value"):
        bool(verdict)


def test_hundred_thousand_questions_leave_no_trace(home: Home) -> None:
    grant(home)
    machine = home.ledger._chain.machine
    for warm in range(2000):
        home.ledger.check(READER, [warm.to_bytes(32, "big"), STUDY], Purpose.TREAT, START)
    frames, memory = machine.journal_length, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for i in range(100_000):
        home.ledger.check(READER, [i.to_bytes(32, "big"), STUDY], Purpose.TREAT, START)
    assert machine.journal_length == frames
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 4096  # KiB
    for _ in range(100):
        home.ledger.grant(1)
        with pytest.raises(Reverted):
            home.ledger.prepare(calls.revoke_grant(2), START)
    assert machine.journal_length == frames
    assert asked(home) == (View.FULL, Reason.GRANTED)
