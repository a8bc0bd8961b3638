"""Attacks by way of a patient's identity: a merge or a move that shows what no right shows."""

from __future__ import annotations

from attacks.guard_attacks import answered
from helpers.guard_house import Clock, House, Officer, attributes
from ribcage.guard import protocol as p

FIRST, SECOND = "PID000001", "PID000002"
_FAR = 1e6
_KOS, _CR = "1.2.840.10008.5.1.4.1.1.88.59", "1.2.840.10008.5.1.4.1.1.1"


async def _ward(house: House) -> tuple[p.Device, Officer, Officer]:
    """Two patients with a film each, a workstation that may see the second's, an asker and an approver."""
    cr = await house.device("cr-9", "CR9", ["store"])
    for number in (1, 2):
        await house.store(cr, attributes(number), bytes([number]) * 500)
    ws = await house.device("ws-9", "WS9", ["query", "retrieve"])
    clock = Clock()
    grant = p.AddGrant("device:ws-9", f"patient:{SECOND}", "full", valid_until=clock() + _FAR)
    await house.admin.call(grant, p.GrantAdded)
    people = [
        Officer(name, await house.person(name, role), clock)
        for name, role in (("ann9", "officer"), ("ben9", "administrator"))
    ]
    return ws, people[0], people[1]


async def _merge(house: House, away: str, stays: str, first: Officer, second: Officer) -> None:
    ask = p.AskIdentityChange("merge", first.approves(), patient=away, into=stays)
    item = await house.admin.call(ask, p.IdentityChangeItem)
    approve = p.ApproveIdentityChange(item.number, second.approves())
    await house.admin.call(approve, p.IdentityChangeItem)


async def merge_to_read_another(house: House) -> bool:
    """Who may see one patient has that patient merged into the victim, and reads the victim's films."""
    ws, first, second = await _ward(house)
    await _merge(house, SECOND, FIRST, first, second)
    return await answered(house.front.call(p.Disclose(ws, "dimse", "1.2.3.1"), p.Disclosed), p.Disclosed)


async def merge_against_an_objection(house: House) -> bool:
    """A patient objects to everybody; merged into another, whose films may be seen, the films open."""
    ws, first, second = await _ward(house)
    await house.admin.call(p.Object(FIRST, "*", True), p.Noted)
    await _merge(house, FIRST, SECOND, first, second)
    return await answered(house.front.call(p.Disclose(ws, "dimse", "1.2.3.1"), p.Disclosed), p.Disclosed)


async def move_by_one(house: House) -> bool:
    """One person alone moves a study to a patient whose films a workstation may see."""
    ws, first, _ = await _ward(house)
    ask = p.AskIdentityChange("move", first.approves(), into=SECOND, studies=["1.2.3.1"])
    item = await house.admin.call(ask, p.IdentityChangeItem)
    approve = p.ApproveIdentityChange(item.number, first.approves())
    await answered(house.admin.call(approve, p.IdentityChangeItem), p.IdentityChangeItem)
    return await answered(house.front.call(p.Disclose(ws, "dimse", "1.2.3.1"), p.Disclosed), p.Disclosed)


async def file_by_one(house: House) -> bool:
    """One person alone files a planted film in a patient's study."""
    ws, first, _ = await _ward(house)
    cr = await house.device("cr-8", "CR8", ["store"])
    planted = attributes(2, sop_instance_uid="1.2.3.2.9", patient_id="SOMEBODY")
    await house.store(cr, planted, b"planted" * 9)
    ask = p.FileConflict(1, first.approves(), first.approves())
    await answered(house.admin.call(ask, p.ConflictFiled), p.ConflictFiled)
    disclosed = await house.front.call(p.Disclose(ws, "dimse", "1.2.3.2"), p.Disclosed)
    return len(disclosed.instances) > 1


async def reject_without_the_right(house: House) -> bool:
    """A stolen modality's certificate hides a film."""
    return await _hidden(house, ["store"], "1.2.3.2", "1.2.3.2")


async def reject_another_study(house: House) -> bool:
    """A device that may reject names, in the note of one study, a film of another."""
    return await _hidden(house, ["store", "reject"], "1.2.3.1", "1.2.3.2")


async def _hidden(house: House, may: list[str], note_study: str, film_study: str) -> bool:
    """Whether a note of one study hides the film of `film_study` from who may see it."""
    ws, _, _ = await _ward(house)
    thief = await house.device("cr-7", "CR7", may)
    number = int(note_study.rpartition(".")[2])
    said = attributes(number, sop_class_uid=_KOS, sop_instance_uid="1.2.3.9.9", series_instance_uid="1.2.3.9")
    note = p.RejectionNote("113037", [p.RejectedInstance(film_study, _CR, f"{film_study}.1")])
    await answered(house.store(thief, said, b"note", rejection=note), p.Committed)
    query = p.Query(principal=ws, channel="dimse", level="study", filters={"StudyInstanceUID": film_study})
    return not (await house.front.call(query, p.QueryAnswer)).records
