"""The contract and the plain model agree on every verdict, whatever happens in whatever order."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ledger.harness import CHAIN, INSTITUTION, Home, name
from ledger.reference_model import Grant, Model, Refused
from ribcage.ledger import EVERYBODY, Purpose, View, calls, verify_journal
from ribcage.ledger.errors import Reverted

SUBJECTS = [name("reader"), name("device")]
RESOURCES = [name("study"), name("patient"), name("department")]
subjects = st.sampled_from(SUBJECTS)
resources = st.sampled_from(RESOURCES)
purposes = st.sampled_from([Purpose.TREAT, Purpose.HRESCH])
QUESTIONS = [
    (subject, asked, purpose)
    for subject in SUBJECTS
    for asked in ([], RESOURCES[:1], RESOURCES[1:], RESOURCES)
    for purpose in (Purpose.TREAT, Purpose.HRESCH)
]


class ContractAgainstModel(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self.home = Home()
        self.model = Model()

    def both(self, call: calls.Call, effect) -> None:
        """The same change on both sides: both accept, or both refuse for the same reason."""
        try:
            expected = effect()
        except Refused as refusal:
            with pytest.raises(Reverted) as caught:
                self.home.ledger.prepare(call, self.home.now)
            assert caught.value.reason == refusal.args[0]
            return
        prepared = self.home.change(call)
        if call.answers:
            assert prepared.outcome == expected

    @rule(
        subject=subjects,
        resource=resources,
        purpose=purposes,
        view=st.sampled_from([View.MASKED, View.FULL, View.ORIGINAL]),
        begin=st.integers(-20, 30),
        length=st.integers(-5, 60),
        copies=st.sampled_from([1, 1, 1, 9]),
    )
    def add_grant(self, subject, resource, purpose, view, begin, length, copies) -> None:
        begin += self.home.now
        for _ in range(copies):
            call = calls.add_grant(subject, resource, purpose, view, begin, begin + length)
            grant = Grant(subject, resource, purpose, view, begin, begin + length)
            self.both(call, lambda grant=grant: self.model.add_grant(grant, self.home.now))

    @rule(number=st.integers(0, 12))
    def revoke(self, number) -> None:
        self.both(calls.revoke_grant(number), lambda: self.model.revoke(number))

    @rule(seconds=st.integers(0, 40))
    def time_moves(self, seconds) -> None:
        self.home.now += seconds

    def _toggle(self, call, members: set, member, standing: bool) -> None:
        self.both(call, lambda: (members.add if standing else members.discard)(member))

    @rule(subject=subjects, standing=st.booleans())
    def suspend(self, subject, standing) -> None:
        self._toggle(calls.suspend(subject, standing), self.model.suspended, subject, standing)

    @rule(resource=resources, standing=st.booleans())
    def legal_block(self, resource, standing) -> None:
        self._toggle(calls.legal_block(resource, standing), self.model.blocked, resource, standing)

    @rule(patient=resources, subject=st.sampled_from([*SUBJECTS, EVERYBODY]), standing=st.booleans())
    def objection(self, patient, subject, standing) -> None:
        call = calls.objection(patient, subject, standing)
        self._toggle(call, self.model.objections, (patient, subject), standing)

    @rule(needed=st.booleans())
    def consent_needed(self, needed) -> None:
        call = calls.consent_needed(Purpose.TREAT, needed)
        self._toggle(call, self.model.needs_consent, Purpose.TREAT, needed)

    @rule(patient=resources, purpose=purposes, given=st.booleans())
    def consent(self, patient, purpose, given) -> None:
        call = calls.consent(patient, purpose, given)
        self.both(call, lambda: self.model.consents.__setitem__((patient, purpose), given))

    @rule(resource=st.sampled_from(RESOURCES[:1]))
    def tombstone(self, resource) -> None:
        self.both(calls.tombstone(resource, name("certificate")), lambda: self.model.tombstone(resource))

    @invariant()
    def same_verdicts(self) -> None:
        for subject, asked, purpose in QUESTIONS if hasattr(self, "home") else ():
            verdict = self.home.ledger.check(subject, asked, purpose, self.home.now)
            expected = self.model.check(subject, asked, purpose, self.home.now)
            assert (verdict.view, verdict.reason, verdict.grant_id) == expected

    def teardown(self) -> None:
        if not hasattr(self, "home"):
            return
        ledger, again = self.home.ledger, self.home.reopened()
        assert (again.height, again.head) == (ledger.height, ledger.head)
        facts = {"founder": ledger.address, "institution": INSTITUTION, "chain_id": CHAIN}
        assert verify_journal(self.home.rows, **facts) == (ledger.height, ledger.head)
        for (subject, asked, purpose), later in itertools.product(QUESTIONS, (0, 25)):
            ours = ledger.check(subject, asked, purpose, self.home.now + later)
            theirs = again.check(subject, asked, purpose, self.home.now + later)
            assert (ours.view, ours.reason, ours.grant_id) == (theirs.view, theirs.reason, theirs.grant_id)


TestContractAgainstModel = ContractAgainstModel.TestCase
TestContractAgainstModel.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
