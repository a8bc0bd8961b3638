"""kill -9 while the hospital's system tells: what it repeats happens once, and what was answered is in force."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

import pytest

from helpers.archive import Archive
from helpers.his import Engine, Writer
from ribcage.cli.settings import Listen
from ribcage.guard import protocol as p

LISTEN = Listen(dicom_port=0, https_port=0, hl7_address="127.0.0.1", hl7_port=0)


def _rounds(folder: Path, rounds: int, seed: int) -> None:
    archive, his, dice, now = Archive(folder), Writer(), random.Random(seed), time.time()
    archive.settings = {"listen": LISTEN}
    archive.create()
    archive.start()
    try:
        device = archive.device("engine", "ENGINE", "his")
        for number in range(4):
            archive.ask(p.AddPerson(f"d{number}", f"D{number}", ["clinician"]), p.PersonAdded)
            archive.ask(p.SetStaffNumber(f"d{number}", f"D{number}"), p.Noted)
            archive.ask(p.SetShift(f"D{number}", p.CareShift("W1", now - 60)), p.Noted)
        for number in range(rounds):
            text = his.adt("A01", f"PID{number}", f"V{number}", time.time(), ward="W1")
            engine = Engine(archive.hl7, device.context())
            killer = threading.Timer(dice.uniform(0.0, 0.06), archive.kill)
            killer.start()
            try:
                answered = engine.tell(text)
            except OSError:
                answered = ""
            killer.join()
            assert answered in ("", "AA")
            archive.start()
            if answered:  # in force before anything is said again
                assert len(_grants(archive, number)) == 4
            engine = Engine(archive.hl7, device.context())
            assert engine.tell(text) == "AA"
            engine.close()
            assert sorted(_grants(archive, number)) == [f"person:d{n}" for n in range(4)], "each once"
        items = archive.ask(p.ListCare(), p.CareItems)
        assert sorted(each.number for each in items.relations) == sorted(f"V{n}" for n in range(rounds))
        assert archive.verify().differences == []
    finally:
        archive.stop()


def _grants(archive: Archive, number: int) -> list[str]:
    items = archive.ask(p.ListGrants(), p.GrantItems).items
    return [each.subject for each in items if each.resource == f"patient:PID{number}"]


@pytest.mark.soak
def test_killed_between_durable_and_answer_again_and_again(tmp_path: Path) -> None:
    _rounds(tmp_path, 20, 4)
