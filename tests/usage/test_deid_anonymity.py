"""k-anonymity: rare words and codes set patients apart, common ones do not; small groups show no identity."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dicom.data_builders import item, sequence
from helpers.deid_objects import SECRETS, ct, file_of, leaks
from ribcage.cli import deid
from ribcage.usage.deid.anonymity import Anonymity, anonymity
from ribcage.usage.deid.batch import Outcome


def measured(folder: Path, *patients: dict[str, object]) -> Anonymity:
    """Of outputs as they stand, one instance for each patient."""
    outcomes = []
    for number, values in enumerate(patients):
        (folder / f"{number}.dcm").write_bytes(file_of(ct(**values)))
        told = {"output": f"{number}.dcm", "series": f"s{number}", "patient": f"p{number % 100}"}
        outcomes.append(Outcome(number, "", None, **told))
    return anonymity(folder, outcomes)


def report(code: str) -> dict[str, object]:
    concept = sequence(item(CodeValue=code, CodingSchemeDesignator="SCT", CodeMeaning="x"))
    return {"ContentSequence": sequence(item(ValueType="CODE", ConceptCodeSequence=concept))}


def test_alike_patients_are_one_class(tmp_path: Path) -> None:
    found = measured(tmp_path, *[{"StudyDescription": "CHEST CT"}] * 6)
    assert (found.patients, found.smallest, found.rare, found.small) == (6, 6, 0, ())


@pytest.mark.parametrize(
    ("rare", "name"),
    [({"StudyDescription": "CHEST SARCOIDOSIS"}, "sarcoidosis"), (report("31541009"), "31541009 SCT")],
    ids=["word", "code"],
)
def test_a_rare_finding_sets_its_patient_apart(tmp_path: Path, rare: dict[str, object], name: str) -> None:
    common = {"StudyDescription": "CHEST"} if "StudyDescription" in rare else report("39607008")
    found = measured(tmp_path, *[common] * 6, rare)
    assert (found.smallest, found.in_small_classes, found.rare) == (1, 1, 1)
    assert [(one.size, one.rare) for one in found.small] == [(1, (name,))]
    assert leaks("\n".join(found.lines()).encode(), SECRETS) == []


def test_a_combination_of_body_parts_sets_its_patient_apart(tmp_path: Path) -> None:
    found = measured(tmp_path, *[{"BodyPartExamined": "CHEST"}] * 6, {"BodyPartExamined": "HAND"})
    assert found.smallest == 1 and found.small[0].facts[0].body_part == "HAND"


def test_the_threshold_takes_everything_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "1.dcm").write_bytes(file_of(ct()))
    words = ["deid", str(tmp_path / "in"), str(tmp_path / "out"), "--project", str(tmp_path / "p")]
    assert deid.main([*words, "--least-k", "2"]) == 2
    assert "2 patients or more in each class, got one of 1" in capsys.readouterr().err
    assert list((tmp_path / "out").rglob("*")) == []
    assert deid.main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["anonymity"]
    assert told["k"] == 1 and told["smallest"][0]["patients"] == 1
