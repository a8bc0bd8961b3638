"""The checker finds every planted leak, raises no false alarm, and tells no identity."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.sequence import Sequence

from deid import leaks, truth
from deid.model import Model
from ribcage.cli.main import main
from ribcage.oversight.deid_check.checking import FORMAT, Report, check
from ribcage.oversight.deid_check.finding import KINDS

KEY = b"a key of this test's own"
ALL = list(leaks.leaks())


def laid(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def by_file(report: Report) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for each in report.findings:
        found.setdefault(each.file, set()).add(each.kind)
    return found


@pytest.fixture(scope="module")
def leaking(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """One file for each leak, all checked in one run; the names are the leaks' numbers, but where the name leaks."""
    root = tmp_path_factory.mktemp("leaking")
    model = Model(KEY)
    before = {f"{number}.dcm": leaks.original(number) for number in range(len(ALL))}
    after = {
        (each.file and f"{number}/{each.file}") or f"{number}.dcm": each.make(
            model.film(before[f"{number}.dcm"])
        )
        for number, each in enumerate(ALL)
    }
    return check(laid(root / "out", after), laid(root / "in", before))


@pytest.mark.parametrize("number", range(len(ALL)), ids=[each.name for each in ALL])
def test_a_planted_leak_is_found(leaking: Report, number: int) -> None:
    if ALL[number].file:
        assert any(each.kind == "identity" and each.place == "file name" for each in leaking.findings)
    else:
        assert by_file(leaking).get(f"{number}.dcm", set()) & {"identity", "pattern"}


def test_there_are_at_least_a_hundred_leaks() -> None:
    assert len(ALL) >= 100
    assert len({each.name for each in ALL}) == len(ALL)


def test_findings_tell_no_identity(leaking: Report) -> None:
    said = json.dumps(leaking.json(), ensure_ascii=False).lower()
    told = ["xiaoming", "小明", "王", "lüdenscheidt", "0259", "987654", "19631107", "qianmen", "77120934"]
    told += ["13912345678", "11010119491001001x", "li.lei"]
    assert [each for each in told if each in said] == []


def test_the_same_films_without_leaks_are_clean(tmp_path: Path) -> None:
    model = Model(KEY)
    before = {f"{number}.dcm": leaks.original(number) for number in range(100)}
    after = {f"{(37 * number) % 100}.dcm": model.film(data) for number, data in enumerate(before.values())}
    report = check(laid(tmp_path / "out", after), laid(tmp_path / "in", before))
    assert report.findings == []
    assert report.counts["pairs"] == 100
    assert report.anonymity["patients"] == 1


@pytest.mark.parametrize("profile", truth.PROFILES)
def test_a_right_release_of_the_truth_set_is_clean(tmp_path: Path, profile: str) -> None:
    model, before, after = Model(KEY, truth.PROFILES[profile]), {}, {}
    for number, (data, told) in enumerate(truth.films(profile, count=30)):
        before[told.name] = data
        after[f"{(7 * number) % 30:04}.dcm"] = model.film(data)
    report = check(laid(tmp_path / "out", after), laid(tmp_path / "in", before))
    assert report.findings == []
    assert report.counts["pairs"] == 30


COMMON = (
    "CT CHEST F 2021 WO IV 1.25",
    "M",
    "F",
    "Li",
    "2021",
    "LEFT",
    "W X",
    "512",
    "AXIAL",
    "57Y",
    "B70f",
    "wan",
    "1",
)


@pytest.mark.parametrize("text", COMMON)
def test_common_words_are_no_identity(tmp_path: Path, text: str) -> None:
    dataset = truth.parse(leaks.original(0))
    dataset.PatientName, dataset.StudyID, dataset.StationName = "Li^Wan", "1", "CT01"
    dataset.InstitutionalDepartmentName, dataset.OperatorsName = "Radiology", "F^M"
    before = leaks.written(dataset)
    after = leaks._says(text)(Model(KEY).film(before))
    assert (
        check(laid(tmp_path / "out", {"a.dcm": after}), laid(tmp_path / "in", {"b.dcm": before})).findings
        == []
    )


@pytest.mark.parametrize("syllables", ["Zeng Dan", "ceng dan", "SHAN", "LyuNyu", "lv nv"])
def test_every_reading_of_a_name_is_looked_for(tmp_path: Path, syllables: str) -> None:
    dataset = truth.parse(leaks.original(0))
    dataset.PatientName = "=曾^单" if "an" in syllables.lower() else "=吕^女"
    before = leaks.written(dataset)
    after = leaks._says(f"for {syllables} today")(Model(KEY).film(before))
    report = check(laid(tmp_path / "out", {"a.dcm": after}), laid(tmp_path / "in", {"b.dcm": before}))
    assert by_file(report).get("a.dcm", set()) == {"identity"}


# --- the table, references, markers ---------------------------------------------------------------------


def test_an_untouched_release_is_withdrawn(tmp_path: Path) -> None:
    films = {told.name: data for data, told in truth.films(count=10)}
    report = check(laid(tmp_path / "out", films), laid(tmp_path / "in", films))
    assert {"identity", "not-removed", "private", "marker"} <= set().union(*by_file(report).values())


def released(tmp_path: Path, change, *, profile: str = "basic", count: int = 20) -> Report:
    """A right release of a small truth set, with one mistake made by `change(datasets)`."""
    model, before, outputs = Model(KEY, truth.PROFILES[profile]), {}, []
    for data, told in truth.films(profile, count=count):
        before[told.name] = data
        outputs.append(truth.parse(model.film(data)))
    change(outputs)
    after = {}
    for number, each in enumerate(outputs):
        after[f"{number}.dcm"] = leaks.written(each, each.file_meta.TransferSyntaxUID)
    return check(laid(tmp_path / "out", after), laid(tmp_path / "in", before))


@pytest.mark.parametrize(
    ("kind", "place", "change"),
    [
        ("lost", "(0028,0010)", lambda d: setattr(d[0], "Rows", 17)),
        ("lost", "(0028,0004)", lambda d: d[0].__delitem__("PhotometricInterpretation")),
        ("lost", "(0008,0060)", lambda d: d[0].__delitem__("Modality")),
        ("lost", "(0010,0020)", lambda d: d[0].__delitem__("PatientID")),
        ("marker", "(0012,0062)", lambda d: setattr(d[0], "PatientIdentityRemoved", "NO")),
        (
            "marker",
            "(0028,0303)",
            lambda d: setattr(d[0], "LongitudinalTemporalInformationModified", "MODIFIED"),
        ),
        ("marker", "(0028,0301)", lambda d: setattr(d[0], "BurnedInAnnotation", "NO")),
        ("reference", "(0020,000D)", lambda d: setattr(d[0], "StudyInstanceUID", "2.25.77")),
        (
            "reference",
            "(0008,114A)[0](0008,1155)",
            lambda d: setattr(d[5].ReferencedInstanceSequence[0], "ReferencedSOPInstanceUID", "2.25.78"),
        ),
        ("not-removed", "(0010,0040)", lambda d: setattr(d[0], "PatientSex", "F")),
        (
            "private",
            "(0019,1001)",
            lambda d: d[0].private_block(0x19, "V", create=True).add_new(1, "CS", "A"),
        ),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, kind: str, place: str, change) -> None:
    report = released(tmp_path, change)
    assert (kind, place) in {(each.kind, each.place) for each in report.findings}
    assert {each.kind for each in report.findings} == {kind}


def test_items_of_a_sequence_to_be_replaced_are_not_left(tmp_path: Path) -> None:
    film = truth.parse(leaks.original(0))
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "A1", "99X", "A meaning"
    film.ContentSequence = Sequence([item])
    before = leaks.written(film)
    after = truth.parse(Model(KEY).film(before))
    after.ContentSequence = film.ContentSequence
    report = check(laid(tmp_path / "out", {"a": leaks.written(after)}), laid(tmp_path / "in", {"b": before}))
    assert [(each.kind, each.place) for each in report.findings] == [("not-removed", "(0040,A730)")]


def test_fewer_items_are_no_alarm(tmp_path: Path) -> None:
    def fewer(datasets) -> None:
        reference = datasets[5].ReferencedInstanceSequence
        del reference[0]

    def more(dataset) -> None:
        other = Dataset()
        other.ReferencedSOPInstanceUID = "2.25.4711"
        dataset.ReferencedInstanceSequence.insert(0, other)

    films = [truth.parse(data) for data, _ in truth.films(count=10)]
    more(films[5])
    before = {
        f"{at}.dcm": leaks.written(each, each.file_meta.TransferSyntaxUID) for at, each in enumerate(films)
    }
    outputs = [truth.parse(Model(KEY).film(data)) for data in before.values()]
    fewer(outputs)
    after = {
        f"{at}.dcm": leaks.written(each, each.file_meta.TransferSyntaxUID) for at, each in enumerate(outputs)
    }
    assert check(laid(tmp_path / "out", after), laid(tmp_path / "in", before)).findings == []


def test_an_unsafe_private_attribute_in_an_item_is_named(tmp_path: Path) -> None:
    def nested(datasets) -> None:
        item = datasets[0].AnatomicRegionSequence[0]
        item.private_block(0x19, "V", create=True).add_new(1, "CS", "A")

    report = released(tmp_path, nested, profile="safe-private", count=10)
    assert {(each.kind, each.place) for each in report.findings} == {("private", "(0008,2218)[0](0019,1001)")}


def test_a_date_that_moved_otherwise_is_named(tmp_path: Path) -> None:
    def other(datasets) -> None:
        datasets[0].StudyDate = "20011111"

    report = released(tmp_path, other, profile="longitudinal-modified")
    assert {(each.kind, each.file) for each in report.findings} == {("dates", "0.dcm")}


def test_dates_that_did_not_move_are_named(tmp_path: Path) -> None:
    model = Model(KEY, truth.PROFILES["longitudinal-modified"])
    model._shift = lambda element: None
    before = {"a.dcm": leaks.original(0)}
    report = check(
        laid(tmp_path / "out", {"a.dcm": model.film(before["a.dcm"])}), laid(tmp_path / "in", before)
    )
    assert "dates" in by_file(report)["a.dcm"]


def test_options_that_the_file_does_not_name_are_a_lie(tmp_path: Path) -> None:
    before = {"a.dcm": leaks.original(0)}
    after = {"a.dcm": Model(KEY, frozenset({"retain_uids"})).film(before["a.dcm"])}
    places = laid(tmp_path / "out", after), laid(tmp_path / "in", before)
    assert check(*places).findings == []
    report = check(*places, options=frozenset())
    assert {"marker", "identity", "not-removed"} <= by_file(report)["a.dcm"]


def test_what_an_option_keeps_is_no_leak_elsewhere(tmp_path: Path) -> None:
    options = frozenset({"retain_institution_identity", "retain_device_identity"})
    film = leaks._says(leaks.IDENTITY["InstitutionName"])(leaks.original(0))
    places = (
        laid(tmp_path / "out", {"a.dcm": Model(KEY, options).film(film)}),
        laid(tmp_path / "in", {"b.dcm": film}),
    )
    assert check(*places).findings == []


def test_equal_films_of_two_patients_are_unsure_and_no_alarm(tmp_path: Path) -> None:
    films = []
    for name, number in (("Aaaaab^Bbbbbc", "XA1234567"), ("Cccccd^Dddddc", "XB7654321")):
        dataset = truth.parse(leaks.original(0))
        dataset.PatientName, dataset.PatientID, dataset.StudyInstanceUID = (
            name,
            number,
            f"2.25.{int(number[2:])}",
        )
        films.append(leaks.written(dataset))
    model = Model(KEY)
    after = {f"{1 - at}.dcm": model.film(each) for at, each in enumerate(films)}
    originals = laid(tmp_path / "in", {f"{at}.dcm": each for at, each in enumerate(films)})
    report = check(laid(tmp_path / "out", after), originals)
    assert report.findings == []
    assert any("fit several originals" in each for each in report.notes)
    after["0.dcm"] = leaks._says("born 1963-11-07, Aaaaab Bbbbbc")(after["0.dcm"])
    assert by_file(check(laid(tmp_path / "out", after), originals)) == {"0.dcm": {"identity"}}


# --- files of all kinds ---------------------------------------------------------------------------------


def test_a_file_without_an_original_is_searched_for_everybody(tmp_path: Path) -> None:
    stranger = Model(KEY).film(next(truth.films(count=1))[0])
    leaking = leaks._says("for Wang Xiaoming, born 1963-11-07")(stranger)
    places = laid(tmp_path / "out", {"a.dcm": leaking}), laid(tmp_path / "in", {"b.dcm": leaks.original(0)})
    report = check(*places)
    assert by_file(report)["a.dcm"] == {"unpaired", "identity"}
    assert "1 originals have no released file" in report.notes


@pytest.mark.parametrize("cut", [3, 140, 200, 500, 900])
def test_a_cut_file_is_a_finding(tmp_path: Path, cut: int) -> None:
    before = {"a.dcm": leaks.original(0)}
    after = Model(KEY).film(before["a.dcm"])[:cut]
    report = check(laid(tmp_path / "out", {"a.dcm": after}), laid(tmp_path / "in", before))
    assert not report.passed or cut < 132


def test_rubbish_never_stops_the_check(tmp_path: Path) -> None:
    before = {"a.dcm": leaks.original(0)}
    clean = Model(KEY).film(before["a.dcm"])
    after = {
        f"{at}.dcm": clean[:at] + b"\xff\xfe\x00\xe0\xff\xff\xff\xff" + clean[at + 8 :]
        for at in range(132, 700, 9)
    }
    report = check(laid(tmp_path / "out", after), laid(tmp_path / "in", before))
    assert report.counts["released"] == len(after)
    assert {each.kind for each in report.findings} <= set(KINDS)


def test_a_mixed_folder_is_searched_whole(tmp_path: Path) -> None:
    before = {"a.dcm": leaks.original(0)}
    after = {
        "a.dcm": Model(KEY).film(before["a.dcm"]),
        "README.txt": b"one film",
        "log.csv": b"old,new\nRC0259-987654-01,P1\n",
        "map.json": '{"王小明": "P1"}'.encode(),
    }
    report = check(laid(tmp_path / "out", after), laid(tmp_path / "in", before))
    assert by_file(report) == {"log.csv": {"identity"}, "map.json": {"identity"}}


def test_archives_are_read_on_both_sides(tmp_path: Path) -> None:
    film = leaks.original(0)
    for name, data in (("in.zip", film), ("out.zip", Model(KEY).film(film)), ("bad.zip", film)):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("x/1.dcm", data)
    assert check(tmp_path / "out.zip", tmp_path / "in.zip").findings == []
    assert "identity" in by_file(check(tmp_path / "bad.zip", tmp_path / "in.zip"))["bad.zip!x/1.dcm"]


def test_nothing_released_is_no_release(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    report = check(tmp_path / "out", laid(tmp_path / "in", {"a.dcm": leaks.original(0)}))
    assert not report.passed


def test_processes_find_what_one_finds(tmp_path: Path) -> None:
    before = {f"{number}.dcm": leaks.original(number) for number in range(12)}
    after = {name: Model(KEY).film(data) for name, data in before.items()}
    after["3.dcm"] = ALL[0].make(after["3.dcm"])
    places = laid(tmp_path / "out", after), laid(tmp_path / "in", before)
    one, two = check(*places), check(*places, processes=2)
    assert by_file(one) == by_file(two) == {"3.dcm": {"identity"}}
    assert one.counts == two.counts


# --- the command ----------------------------------------------------------------------------------------


def test_the_command_says_it_in_its_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {"a.dcm": leaks.original(0)}
    clean = Model(KEY).film(before["a.dcm"])
    originals = laid(tmp_path / "in", before)
    good, bad = (
        laid(tmp_path / "good", {"a.dcm": clean}),
        laid(tmp_path / "bad", {"a.dcm": ALL[0].make(clean)}),
    )
    assert main(["deid", "check", str(good), "--against", str(originals)]) == 0
    assert "nothing found" in capsys.readouterr().out
    assert main(["deid", "check", str(bad), "--against", str(originals)]) == 1
    said = capsys.readouterr().out
    assert re.search(r"^identity: a\.dcm: \(0008,1090\).*person:[0-9a-f]{12}/\d+", said, re.MULTILINE)
    assert "WITHDRAWN" in said
    assert main(["deid", "check", str(tmp_path / "gone"), "--against", str(originals)]) == 2
    both = ["--basic", "--option", "retain-uids"]
    assert main(["deid", "check", str(good), "--against", str(originals), *both]) == 2


def test_the_report_has_one_shape(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {"a.dcm": leaks.original(0)}
    bad = laid(tmp_path / "bad", {"a.dcm": ALL[0].make(Model(KEY).film(before["a.dcm"]))})
    assert main(["deid", "check", str(bad), "--against", str(laid(tmp_path / "in", before)), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["format"] == FORMAT
    assert (report["passed"], report["pixels"]) == (False, "not read")
    assert set(report) == {
        "format",
        "edition",
        "passed",
        "pixels",
        "counts",
        "findings",
        "notes",
        "anonymity",
    }
    assert {tuple(each) for each in report["findings"]} == {
        ("kind", "file", "place", "text", "offset", "identity")
    }
    assert {"by", "k", "patients", "alone", "classes"} == set(report["anonymity"])


# --- where the engine and the checker met ---------------------------------------------------------------


def changed(tmp_path: Path, options: frozenset[str], film, release) -> list[tuple[str, str]]:
    """Findings of one film, its original made by `film(dataset)`, the release changed by `release(dataset)`."""
    dataset = truth.parse(leaks.original(0))
    film(dataset)
    before = leaks.written(dataset)
    after = truth.parse(Model(KEY, options).film(before))
    release(after)
    report = check(laid(tmp_path / "out", {"a": leaks.written(after)}), laid(tmp_path / "in", {"b": before}))
    return [(each.kind, each.place) for each in report.findings]


@pytest.mark.parametrize(
    ("left", "found"),
    [
        (["ORIGINAL", "PRIMARY"], []),
        (["ORIGINAL", "PRIMARY", "AXIAL"], []),
        (["ORIGINAL"], ["(0008,0008)"]),
        (["ORIGINAL", "SECONDARY"], ["(0008,0008)"]),
    ],
)
def test_image_type_may_lose_what_is_not_enumerated(
    tmp_path: Path, left: list[str], found: list[str]
) -> None:
    def film(dataset: Dataset) -> None:
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL", "CT_SOM5 SEQ"]

    got = changed(tmp_path, frozenset(), film, lambda dataset: setattr(dataset, "ImageType", left))
    assert [place for _, place in got] == found


@pytest.mark.parametrize(("left", "found"), [("093Y", [("not-removed", "(0010,1010)")]), ("090Y", [])])
def test_an_age_over_90_is_named(tmp_path: Path, left: str, found: list[tuple[str, str]]) -> None:
    options = frozenset({"retain_patient_characteristics"})
    assert (
        changed(
            tmp_path,
            options,
            lambda dataset: setattr(dataset, "PatientAge", "093Y"),
            lambda dataset: setattr(dataset, "PatientAge", left),
        )
        == found
    )


def test_a_device_date_that_did_not_move_is_named(tmp_path: Path) -> None:
    options = frozenset({"retain_longitudinal_modified_dates", "retain_device_identity"})
    got = changed(
        tmp_path,
        options,
        lambda dataset: setattr(dataset, "DateOfLastCalibration", "20210313"),
        lambda dataset: setattr(dataset, "DateOfLastCalibration", "20210313"),
    )
    assert {kind for kind, _ in got} & {"dates", "identity"}


def test_words_for_an_identity_that_went_are_nobodys(tmp_path: Path) -> None:
    def film(dataset: Dataset) -> None:
        dataset.ReferringPhysicianName, dataset.InstitutionName = "REMOVED", "REMOVED"

    assert changed(tmp_path, frozenset(), film, lambda dataset: None) == []
