"""Attacks by saving: on the patient behind the masked view, on studies of others, on a guard that is not asked.

Each plays against a fresh guard and tells whether it succeeded.
"""

from __future__ import annotations

from attacks.guard_attacks import STUDY, _doctor, _film, _grant, answered
from helpers.guard_house import House, attributes
from ribcage.guard import protocol as p
from ribcage.guard.errors import GuardRefused

_SR = "1.2.840.10008.5.1.4.1.1.88.34"
_FOREIGN = "1.2.3.2"
_REPORT = b"a report"


def _ask(
    who: p.Principal, *, study: str = STUDY, instances: tuple[str, ...] = (), masked: bool = True
) -> p.Derive:
    return p.Derive(
        principal=who,
        channel="dicomweb",
        sop_class_uid=_SR,
        sop_instance_uid=f"{study}.77",
        study_instance_uid=study,
        studies=[],
        instances=list(instances),
        masked=masked,
    )


def _report(patient: str) -> p.Attributes:
    """A report about the film, in the name of `patient`."""
    return attributes(
        1,
        sop_class_uid=_SR,
        sop_instance_uid=f"{STUDY}.77",
        series_instance_uid=f"{STUDY}.7",
        patient_id=patient,
    )


async def saving_without_right(house: House) -> bool:
    """A report into a study that nobody granted: its patient comes with the answer."""
    await _film(house)
    return await answered(house.front.ask(_ask(await _doctor(house))), p.Derived)


async def saving_without_treating(house: House) -> bool:
    """A report by a technologist with a grant."""
    await _film(house)
    technologist = await _doctor(house, role="technologist")
    await _grant(house)
    return await answered(house.front.ask(_ask(technologist)), p.Derived)


async def reference_to_a_stranger(house: House) -> bool:
    """A report that refers to an image of a study without a right: accepted, it tells that the image exists."""
    await _film(house)
    await _film(house, 2)
    doctor = await _doctor(house)
    await _grant(house)
    asked = _ask(doctor, instances=(f"{STUDY}.1", f"{_FOREIGN}.1"))
    return await answered(house.front.ask(asked), p.Derived)


async def patient_guessed_by_saving(house: House) -> bool:
    """In the masked view, two reports in two names: the one that the list then shows names the patient."""
    await _film(house)
    doctor = await _doctor(house)
    await _grant(house)
    try:
        derived = await house.front.call(_ask(doctor, masked=False), p.Derived)
        await _save(house, doctor, _report("PID000001"), derived.receipt)
    except GuardRefused:
        return False
    query = p.Query(principal=doctor, channel="dicomweb", level="series", filters={})
    listed = await house.front.call(query, p.QueryAnswer)
    return len(listed.records) == 2


async def saving_unasked(house: House) -> bool:
    """A front that asks for a sealing key and for nothing else."""
    await _film(house)
    doctor = await _doctor(house, role="radiologist")
    try:
        await _save(house, doctor, _report("PID000001"), b"")
    except GuardRefused:
        return False
    return True


async def saving_after_revocation(house: House) -> bool:
    """A receipt that outlived its grant."""
    await _film(house)
    doctor = await _doctor(house)
    grant = await _grant(house)
    derived = await house.front.call(_ask(doctor), p.Derived)
    await house.admin.call(p.RevokeGrant(grant_id=grant), p.Noted)
    try:
        await _save(house, doctor, _report("PID000001"), derived.receipt)
    except GuardRefused:
        return False
    return True


async def _save(house: House, who: p.Principal, attributes: p.Attributes, receipt: bytes) -> None:
    """What a front does with a report: ask for its key. Raises GuardRefused."""
    await house.store(who, attributes, _REPORT, derivation=receipt)
