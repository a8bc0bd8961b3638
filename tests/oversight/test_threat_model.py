"""The document and the data promise the same, and every promise is one the drill can test."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ribcage.oversight.drill.promises import CONFIGURATIONS, OUTCOMES, load_promises

DOCUMENT = (Path(__file__).parents[2] / "docs" / "threat-model.md").read_text(encoding="utf-8")


def table() -> dict[str, tuple[str, str, dict[str, str]]]:
    section = DOCUMENT.split("## Attacks in the drill")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    header = [cell.strip() for cell in lines[0].strip("|").split("|")]
    assert tuple(header[3:]) == CONFIGURATIONS
    rows = {}
    for line in lines[2:]:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        outcomes = dict(zip(CONFIGURATIONS, cells[3:], strict=True))
        rows[cells[0].strip("`")] = (cells[1], cells[2], outcomes)
    return rows


def test_document_and_promises_hold_the_same_table() -> None:
    promised = {one.name: (one.title, one.stopped_by, one.outcomes) for one in load_promises().attacks}
    assert table() == promised
    assert list(table()) == list(promised)


def test_document_and_promises_hold_the_same_not_yet_list() -> None:
    section = DOCUMENT.split("## Not yet")[1].split("\n## ")[0]
    listed = [line.removeprefix("- ") for line in section.splitlines() if line.startswith("- ")]
    assert listed == [one.text for one in load_promises().not_yet]


def test_nothing_is_promised_for_a_configuration_that_is_not_built() -> None:
    section = DOCUMENT.split("## Configurations")[1].split("\n## ")[0]
    built = {
        row[0]: row[1] for row in re.findall(r"^\| (\w+) \|.*\| (yes|not yet) \|$", section, re.MULTILINE)
    }
    assert tuple(built) == CONFIGURATIONS
    for promise in load_promises().attacks:
        for configuration, outcome in promise.outcomes.items():
            assert outcome in OUTCOMES
            assert (outcome == "not_yet") == (built[configuration] == "not yet"), promise.name


@pytest.mark.parametrize("attack", ["home_rollback", "log_tail_cut"])
def test_without_a_witness_a_rollback_is_openly_not_defended(attack: str) -> None:
    assert table()[attack][2]["embedded"] == "not_defended"
    assert table()[attack][2]["witness"] == "detected"


def test_only_a_configuration_with_a_witness_is_told_nothing_of_rollback() -> None:
    promises = load_promises()
    told = {True: promises.open_in(("embedded", "witness")), False: promises.open_in(("embedded",))}
    assert told[False] == list(promises.not_yet)
    (answered,) = set(told[False]) - set(told[True])
    assert "trust-witness" in answered.text


def test_every_promise_speaks_both_languages() -> None:
    promises = load_promises()
    for text in [one.title_zh for one in promises.attacks] + [one.text_zh for one in promises.not_yet]:
        assert re.search(r"[\u4e00-\u9fff]", text)
