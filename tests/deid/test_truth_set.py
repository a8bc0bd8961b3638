"""The truth set holds every row of the table, and its judgement can fail."""

from __future__ import annotations

import collections
import csv

import pytest

from deid import truth
from deid.model import Model

KEY = b"a key of this test's own"


def test_every_row_of_the_table_stands_at_the_top_and_in_an_item() -> None:
    rows = {
        line["tag"]
        for line in csv.DictReader(truth.DATA.joinpath("e1_1.csv").read_text("utf-8").splitlines())
    }
    assert len(rows) == 657
    seen: collections.Counter[str] = collections.Counter()
    kinds, charsets = set(), set()
    for number, (data, told) in enumerate(truth.films(count=330)):
        dataset = truth.parse(data)
        kinds.add(dataset.SOPClassUID)
        charsets.add(str(dataset.get("SpecificCharacterSet")))
        seen.update(told.rows)
        for path in told.expected:
            assert truth.find(dataset, path) is not None, (number, path)
    assert rows - set(seen) == set(truth.NOT_IN_FILES) - {"(0002,0003)"}
    assert all(seen[each] >= 2 for each in rows - set(truth.NOT_IN_FILES))
    assert kinds == set(truth.CLASSES.values())
    assert len(charsets) >= 5


def test_the_same_seed_gives_the_same_bytes() -> None:
    first, second = ([data for data, _ in truth.films(seed=7, count=20)] for _ in range(2))
    assert first == second
    assert first != [data for data, _ in truth.films(seed=8, count=20)]


@pytest.mark.parametrize("profile", truth.PROFILES)
def test_a_right_deidentifier_scores_everything(profile: str) -> None:
    model = Model(KEY, truth.PROFILES[profile])
    pairs = []
    for data, told in truth.films(profile, count=330 if profile == "basic" else 60):
        released = model.film(data)
        output = truth.parse(released)
        assert truth.compare(told, output) == [], told.name
        assert truth.left_in(told, released) == [], told.name
        pairs.append((told, output))
    assert truth.compare_references(pairs) == []


def test_the_untouched_film_is_wrong_everywhere() -> None:
    for data, told in truth.films(count=30):
        dataset = truth.parse(data)
        wrong = {each.path for each in truth.compare(told, dataset)} - {"(0012,0062)"}
        assert wrong == {path for path, each in told.expected.items() if "kept" not in each.outcomes}
        assert len(truth.left_in(told, data)) > 5


@pytest.mark.parametrize(
    ("path", "mistake"),
    [
        ("(0010,0020)", lambda d: d.__delitem__("PatientID")),
        ("(0020,000D)", lambda d: setattr(d, "StudyInstanceUID", "")),
        ("(0028,0010)", lambda d: setattr(d, "Rows", 17)),
        ("(0008,0060)", lambda d: d.__delitem__("Modality")),
        ("(0012,0062)", lambda d: setattr(d, "PatientIdentityRemoved", "NO")),
    ],
)
def test_a_planted_mistake_is_named(path: str, mistake) -> None:
    data, told = next(truth.films(count=330))
    output = truth.parse(Model(KEY).film(data))
    mistake(output)
    assert [each.path for each in truth.compare(told, output)] == [path]


def test_a_reference_to_nowhere_is_named() -> None:
    model = Model(KEY)
    pairs = [(told, truth.parse(model.film(data))) for data, told in truth.films(count=10)]
    assert truth.compare_references(pairs) == []
    with_reference = next(output for told, output in pairs if told.references)
    with_reference.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID = "2.25.1"
    assert len(truth.compare_references(pairs)) == 1
