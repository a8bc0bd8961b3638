"""The decision: who may see which view of which study, right now.

Rules, in order (DESIGN rule 5):
1. No verified principal: refused (`Core.actor`).
2. The contract is asked with the patient, the study and the department as resources; it denies first.
3. A device gets the full view or nothing, and only with the matching right; so does a research project, for research
   alone.
4. A person gets `full` or `original` only while the second factor is fresh: 15 minutes sliding, a shift for a
   radiologist; otherwise `masked`.
5. Pixels that nobody has checked for burned-in text (all of them, so far) go out masked to the treating roles alone,
   for treatment (DESIGN rule 7).
6. A person's broken glass opens the full view for treatment where the contract says less, but for suspension,
   destruction and legal block (`guard.break_glass`).
7. A study that was approved for destruction is shown to nobody.
8. While the clock was stepped, or the log lives on its reserve, the answer is no.
9. When the ledger cannot answer, or lacks a change that the log knows of, the answer is no.
10. So it is while a trusted witness has not cosigned this start, and when the log is behind its witness.
11. Rules 8 to 10 leave broken glass alone, decided from the last known state; one that is proven false is none.
12. A merged study keeps the rights given about it under its former identity. What any of the merged patients objected
    to, or what is blocked there, holds for all their studies; their grants do not.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from ribcage.crypto.errors import CryptoError
from ribcage.guard.catalogue import HeldStudy, patient_context
from ribcage.guard.core import Actor, Core
from ribcage.guard.errors import GuardRefused
from ribcage.guard.permits import Permit
from ribcage.guard.protocol import Purpose, RefusalReason, View
from ribcage.ledger import calls
from ribcage.ledger.client import Reason, Verdict
from ribcage.ledger.errors import LedgerError

TREATING_ROLES = frozenset({"clinician", "radiologist"})
_FORBIDS = frozenset(
    {
        Reason.SUSPENDED,
        Reason.RESOURCE_DESTROYED,
        Reason.LEGAL_BLOCK,
        Reason.OBJECTION,
        Reason.CONSENT_WITHDRAWN,
    }
)
_ORDER: tuple[View, ...] = ("none", "masked", "full", "original")


@dataclass(frozen=True)
class Decision:
    """An allowed view, and on what ground."""

    view: View
    grant_id: int
    microseconds: float
    permit: Permit | None = None  # broken glass


class Denied(Exception):
    """The decision is no; `reason` is for the asker, `cause` for the log."""

    def __init__(self, reason: RefusalReason, cause: str, microseconds: float = 0.0) -> None:
        super().__init__(cause)
        self.reason: RefusalReason = reason
        self.cause = cause
        self.microseconds = microseconds


def ask_contract(core: Core, actor: Actor, study: HeldStudy, purpose: Purpose) -> Verdict:
    """The contract's verdict. Raises Denied('unavailable') when it cannot answer."""
    resources = (*_resources(core, study), core.department(study.department))
    verdict = ask_about(core, actor, resources, purpose)
    if verdict.view == calls.View.NONE and verdict.reason != Reason.NO_GRANT:
        return verdict
    for former in _former(core, study):
        other = ask_about(core, actor, former, purpose)
        if other.reason in _FORBIDS:
            return other
        verdict = max(verdict, other, key=lambda each: each.view)
    for merged in _merged(core, study):
        other = ask_about(core, actor, (merged,), purpose)
        if other.reason in _FORBIDS:
            return other
    return verdict


def ask_about_nothing(core: Core, actor: Actor, purpose: Purpose) -> float:
    """Ask the contract about a study that does not exist, so that its absence takes no less time; microseconds."""
    nothing = os.urandom(32)
    return ask_about(core, actor, (nothing, nothing, nothing), purpose).microseconds


def ask_about(core: Core, actor: Actor, resources: tuple[bytes, ...], purpose: Purpose) -> Verdict:
    """The contract's verdict about these resources. Raises Denied('unavailable') when it cannot answer."""
    cause = fault(core)
    if cause:
        raise Denied("unavailable", cause)
    try:
        return core.ledger.check(actor.subject, resources, calls.Purpose[purpose], core.clock())
    except LedgerError as failure:
        raise Denied("unavailable", "ledger-unavailable") from failure


def fault(core: Core) -> str:
    """Why nothing may be decided now; '' when all is well."""
    if core.ledger_behind:
        return "ledger-behind-log"
    if core.witness.closed:
        return "not-witnessed"
    core.clock_watch.look()
    if core.clock_watch.stepped:
        return f"clock-stepped-{core.clock_watch.stepped}"
    return "disk-full" if core.disk.exhausted else ""


def last_known(core: Core, actor: Actor, resources: tuple[bytes, ...]) -> Verdict:
    """The verdict from the last known state, for broken glass in a fault. Raises Denied('unavailable').

    A state that is proven false is not the last known one: a ledger that lacks a change which log or key store know,
    or a home behind its witness. What is missing may be a suspension or a legal block.
    """
    if core.ledger_behind or core.witness.behind:
        raise Denied("unavailable", "state-proven-false")
    try:
        return core.ledger.last_known(actor.subject, resources, calls.Purpose.ETREAT)
    except LedgerError as failure:
        raise Denied("unavailable", "ledger-unavailable") from failure


def decide(core: Core, actor: Actor, study: HeldStudy, want: str, purpose: Purpose, right: str) -> Decision:
    """The view `actor` gets now. `right` is what a device needs: 'query' or 'retrieve'. Raises Denied."""
    if actor.kind == "operator":
        raise Denied("not_permitted", "operators-see-no-images")
    if actor.device is not None and right not in actor.device.may:
        raise Denied("not_permitted", f"device-without-{right}")
    if actor.kind == "project" and purpose != "HRESCH":
        raise Denied("not_permitted", "projects-serve-research-alone")
    if core.closed.closes(study.key_id):
        raise Denied("not_permitted", "closed-for-destruction")
    permit = _permit(core, actor, study, purpose)
    try:
        verdict = ask_contract(core, actor, study, purpose)
    except Denied as denied:
        if denied.reason != "unavailable":
            raise
        in_a_fault = decide_in_a_fault(core, actor, study, want, purpose)
        if in_a_fault is None:
            raise
        return in_a_fault
    if permit is not None and verdict.view < calls.View.FULL:
        return _by_glass(core, actor, permit, verdict, want)
    if verdict.view == calls.View.NONE:
        raise Denied("not_permitted", verdict.reason.name.lower().replace("_", "-"), verdict.microseconds)
    highest = _ORDER[int(verdict.view)]
    whole = actor.device is not None or actor.kind == "project"
    view = _for_device(highest, want) if whole else _for_person(core, actor, highest, want)
    if view == "masked" and right == "retrieve":
        _check_treating(actor, purpose)
    return Decision(view, verdict.grant_id, verdict.microseconds)


def decide_in_a_fault(
    core: Core, actor: Actor, study: HeldStudy, want: str, purpose: Purpose
) -> Decision | None:
    """What the actor's broken glass opens from the last known state; None where there is none. Raises Denied."""
    permit = _permit(core, actor, study, purpose)
    if permit is None:
        return None
    verdict = last_known(core, actor, _resources(core, study))
    for resources in (*_former(core, study), *((each,) for each in _merged(core, study))):
        other = last_known(core, actor, resources)
        verdict = verdict if other.break_glass_may_override else other
    return _by_glass(core, actor, permit, verdict, want)


def _permit(core: Core, actor: Actor, study: HeldStudy, purpose: Purpose) -> Permit | None:
    """The actor's broken glass for this study; it serves treatment alone."""
    now = core.clock_watch.trusted()
    if purpose not in ("TREAT", "ETREAT") or not core.permits.any_live(actor.identifier, now):
        return None
    if actor.visitor is None or not actor.visitor.roles & TREATING_ROLES:
        return None
    former = [resource for pair in _former(core, study) for resource in pair]
    return core.permits.live(actor.identifier, (*_resources(core, study), *former), now)


def _resources(core: Core, study: HeldStudy) -> tuple[bytes, bytes]:
    key = study.patient_key
    return core.patient_resource(key), core.study_resource(key, study.uid)


def _former(core: Core, study: HeldStudy) -> list[tuple[bytes, bytes]]:
    """Patient and study on the ledger as they were before merges and corrections (rule 12). Raises Denied."""
    found = list[tuple[bytes, bytes]]()
    for above, below in zip(reversed(study.layers), reversed(study.layers[:-1]), strict=False):
        if not above.kept:
            break  # it was never that patient's
        if below.patient != above.patient:
            key = _key(core, below.patient_key, below.patient)
            found.append((core.patient_resource(key), core.study_resource(key, study.uid)))
    return found


def _merged(core: Core, study: HeldStudy) -> list[bytes]:
    """Patients who were merged into this one (rule 12), on the ledger. Raises Denied."""
    links = core.identities.merged_into(study.patient_id)
    return [core.patient_resource(_key(core, bytes(each["key_id"]), bytes(each["id"]))) for each in links]


def _key(core: Core, key_id: bytes, patient_id: bytes) -> bytes:
    try:
        return core.keyring.key(key_id, "patient", patient_context(core, patient_id))
    except CryptoError as failure:
        raise Denied("unavailable", "identity-unavailable") from failure


def check_overridable(verdict: Verdict) -> None:
    """Broken glass passes objection, consent and missing grants (DESIGN rule 5). Raises Denied for the rest."""
    if verdict.view == calls.View.NONE and not verdict.break_glass_may_override:
        raise Denied("not_permitted", verdict.reason.name.lower().replace("_", "-"), verdict.microseconds)


def _by_glass(core: Core, actor: Actor, permit: Permit, verdict: Verdict, want: str) -> Decision:
    check_overridable(verdict)
    session = actor.visitor.session_id if actor.visitor is not None else b""
    view = _for_person(core, actor, "full", want, proved=bool(session) and permit.session == session)
    return Decision(view, -1, verdict.microseconds, permit)


def _check_treating(actor: Actor, purpose: Purpose) -> None:
    roles = actor.visitor.roles if actor.visitor is not None else frozenset()
    if not roles & TREATING_ROLES or purpose not in ("TREAT", "ETREAT"):
        raise Denied("not_permitted", "pixels-not-checked-for-text")


def _for_device(highest: View, want: str) -> View:
    if _ORDER.index(highest) < _ORDER.index("full") or want == "masked":
        raise Denied("not_permitted", "devices-get-the-full-view-or-nothing")
    if want == "original" and highest != "original":
        raise Denied("not_permitted", "view-above-grant")
    return highest if want in ("best", "original") else "full"


def _for_person(core: Core, actor: Actor, highest: View, want: str, *, proved: bool = False) -> View:
    """`proved`: this session proved its second factor when it broke the glass in a fault."""
    if actor.visitor is None:
        raise GuardRefused("not_authenticated")
    fresh_until = actor.visitor.second_factor_until
    if "radiologist" in actor.visitor.roles:
        fresh_until = max(fresh_until, core.people.shift_until(actor.visitor))
    now = core.clock_watch.trusted()
    fresh = proved or now < fresh_until
    reachable: View = highest if fresh else "masked"
    wanted: View = reachable if want == "best" else _view(want)
    if _ORDER.index(wanted) > _ORDER.index(highest):
        raise Denied("not_permitted", "view-above-grant")
    if _ORDER.index(wanted) > _ORDER.index(reachable):
        raise Denied("second_factor_needed", "second-factor-needed")
    if wanted != "masked":
        core.people.used(actor.visitor, now)
    return wanted


def _view(want: str) -> View:
    for view in _ORDER[1:]:
        if view == want:
            return view
    raise GuardRefused("invalid")
