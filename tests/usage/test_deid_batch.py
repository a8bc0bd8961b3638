"""A whole set: folders and ZIP files, contradictions between files, interruption, the project's key."""

from __future__ import annotations

import fcntl
import json
import stat
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset

from helpers.deid_objects import KEY, ct, file_of, leaks
from ribcage.cli import deid as command
from ribcage.cli.main import main
from ribcage.usage.deid import batch, inout
from ribcage.usage.deid.anonymity import anonymity
from ribcage.usage.deid.batch import BatchLimits, Job, Outcome, entries, run
from ribcage.usage.deid.errors import ProfileInvalid, ProjectInvalid, Reason
from ribcage.usage.deid.profile import Profile, parse
from ribcage.usage.deid.project import project_key
from ribcage.usage.deid.tables import Option


def _set(folder: Path, *data_sets: Dataset) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, ds in enumerate(data_sets):
        (folder / f"{number}.dcm").write_bytes(file_of(ds))
    return folder


def _slices(count: int, **values: object) -> list[Dataset]:
    return [
        ct(SOPInstanceUID=f"1.2.3.4.{number}", InstanceNumber=number, **values) for number in range(count)
    ]


def _run(source: Path, out: Path, processes: int = 1, **more: object) -> list[Outcome]:
    job = Job(Profile("test", frozenset({Option.PATIENT})), KEY, out, **more)  # type: ignore[arg-type]  # options by name
    return run(job, entries(source, BatchLimits()), out.with_name("journal"), processes)


def _outputs(out: Path) -> dict[str, bytes]:
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }


def test_folders_and_zip_files_give_the_same_bytes(tmp_path: Path) -> None:
    source = _set(tmp_path / "in" / "deep", *_slices(3))
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        for path in source.iterdir():
            archive.write(path, f"deep/{path.name}")
    by_folder, by_zip = (
        _run(tmp_path / "in", tmp_path / "a" / "out"),
        _run(tmp_path / "in.zip", tmp_path / "b" / "out"),
    )
    assert [one.reason for one in (*by_folder, *by_zip)] == [None] * 6
    assert [one.name for one in by_folder] == ["deep/0.dcm", "deep/1.dcm", "deep/2.dcm"]
    outputs = _outputs(tmp_path / "a" / "out")
    assert outputs == _outputs(tmp_path / "b" / "out")
    assert len(outputs) == 3
    assert not leaks("".join(outputs).encode())


def test_several_processes_give_what_one_gives(tmp_path: Path) -> None:
    source = _set(tmp_path / "in", *_slices(70))
    _run(source, tmp_path / "a" / "out")
    _run(source, tmp_path / "b" / "out", processes=2)
    assert _outputs(tmp_path / "a" / "out") == _outputs(tmp_path / "b" / "out")


@pytest.mark.parametrize(("count", "processes"), [(33, 2), (100, 2), (1100, 2), (1100, 16), (1, 3)])
def test_work_is_handed_out_whole_and_less_of_it_towards_the_end(count: int, processes: int) -> None:
    waiting = [batch.Entry(number, str(number), Path(str(number))) for number in range(count)]
    bundles = list(batch._bundles(waiting, 32, processes))
    assert [entry for bundle in bundles for entry in bundle] == waiting
    sizes = [len(bundle) for bundle in bundles]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] <= 32
    assert sizes[-processes:] == [1] * min(processes, len(sizes))


@given(parts=st.lists(st.binary(max_size=40), max_size=6), piece=st.integers(1, 16))
def test_parts_are_written_whole_in_whatever_pieces(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes], piece: int
) -> None:
    out = tmp_path_factory.mktemp("out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inout, "_GATHERED", 8)
        patch.setattr(inout, "_PIECE", piece)
        size, _ = inout.write(out, "a/b", [memoryview(part) for part in parts])
    assert (out / "a" / "b").read_bytes() == b"".join(parts)
    assert size == len(b"".join(parts))


@pytest.mark.parametrize(
    "other",
    [
        {"PatientID": "SOMEBODY77"},
        {"PatientName": "LI^NA"},
        {"PatientBirthDate": "19700101"},
        {"PatientID": ""},
    ],
)
def test_a_study_of_two_patients_is_withdrawn_whole(tmp_path: Path, other: dict[str, str]) -> None:
    good = ct(SOPInstanceUID="1.2.9.1", StudyInstanceUID="1.2.9", SeriesInstanceUID="1.2.9.9")
    source = _set(tmp_path / "in", *_slices(2), ct(SOPInstanceUID="1.2.3.9", **other), good)
    outcomes = _run(source, tmp_path / "out")
    assert [one.reason for one in outcomes] == [Reason.MIXED_PATIENTS] * 3 + [None]
    assert len(_outputs(tmp_path / "out")) == 1


def test_other_spellings_of_a_name_are_the_same_patient(tmp_path: Path) -> None:
    source = _set(tmp_path / "in", *_slices(1), ct(SOPInstanceUID="1.2.3.9", PatientName="zhangwei xiaoming"))
    assert [one.reason for one in _run(source, tmp_path / "out")] == [None, None]


def test_one_uid_with_two_contents_is_refused_and_a_copy_is_not(tmp_path: Path) -> None:
    source = _set(tmp_path / "in", ct(), ct())
    assert [one.reason for one in _run(source, tmp_path / "a" / "out")] == [None, None]
    source = _set(tmp_path / "in", ct(), ct(KVP="77"))
    assert {one.reason for one in _run(source, tmp_path / "b" / "out")} == {Reason.DUPLICATE}
    assert not _outputs(tmp_path / "b" / "out")


def test_one_series_in_two_studies_is_refused(tmp_path: Path) -> None:
    source = _set(tmp_path / "in", ct(), ct(SOPInstanceUID="1.2.3.9", StudyInstanceUID="1.2.77"))
    assert {one.reason for one in _run(source, tmp_path / "out")} == {Reason.MIXED_PATIENTS}


def test_a_run_that_was_cut_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, out = _set(tmp_path / "in", *_slices(6)), tmp_path / "out"
    real, seen = batch.release_one, []

    def dies_at_the_fourth(job: Job, entry: batch.Entry) -> Outcome:
        seen.append(entry.index)
        if len(seen) == 4:
            raise KeyboardInterrupt
        return real(job, entry)

    monkeypatch.setattr(batch, "release_one", dies_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        _run(source, out)
    assert not list(out.rglob("*.dcm"))  # nothing has its name before the whole set was seen
    assert [one.reason for one in _run(source, out)] == [None] * 6
    assert seen == [0, 1, 2, 3, 3, 4, 5]
    _run(source, out)
    assert seen[7:] == []
    (out / _run(source, out)[2].output).write_bytes(b"something else")
    _run(source, out)
    assert seen[7:] == [2]
    (source / "4.dcm").write_bytes(file_of(ct(SOPInstanceUID="1.2.3.4.4", KVP="80")))
    _run(source, out)
    assert seen[8:] == [4]
    assert not leaks((tmp_path / "journal").read_bytes())
    assert str(source).encode() not in (tmp_path / "journal").read_bytes()


def test_one_run_of_a_project_at_a_time(tmp_path: Path) -> None:
    source = _set(tmp_path / "in", ct())
    with (tmp_path / "journal").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(ProjectInvalid):
            _run(source, tmp_path / "out")
    assert [one.reason for one in _run(source, tmp_path / "out")] == [None]


def test_a_strange_file_does_not_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, real = _set(tmp_path / "in", *_slices(3)), batch._read

    def fails_once(entry: batch.Entry, limits: BatchLimits) -> bytes:
        if entry.index == 1:
            raise MemoryError
        return real(entry, limits)

    monkeypatch.setattr(batch, "_read", fails_once)
    assert [one.reason for one in _run(source, tmp_path / "out")] == [None, Reason.MALFORMED, None]


def test_links_files_that_are_none_and_broken_archives(tmp_path: Path) -> None:
    source = _set(tmp_path / "in", ct())
    (source / "link.dcm").symlink_to(source / "0.dcm")
    (source / "notes.txt").write_text("ZHANGWEI")
    (source / "broken.zip").write_bytes(b"PK\3\4 broken")
    outcomes = _run(source, tmp_path / "out")
    assert [(one.name, one.reason) for one in outcomes] == [
        ("0.dcm", None),
        ("broken.zip", Reason.ARCHIVE),
        ("notes.txt", Reason.NO_DICOM),
    ]


def test_a_file_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    source = _set(tmp_path / "in", ct())
    limits = BatchLimits(max_file_bytes=100)
    assert [one.reason for one in _run(source, tmp_path / "out", limits=limits)] == [Reason.TOO_LARGE]
    with pytest.raises(ProjectInvalid):
        entries(source, BatchLimits(max_files=0))


def test_how_many_look_alike(tmp_path: Path) -> None:
    people = [
        ct(
            PatientID=f"RB77342{number}",
            SOPInstanceUID=f"1.2.{number}.4",
            StudyInstanceUID=f"1.2.{number}",
            SeriesInstanceUID=f"1.2.{number}.1",
            PatientAge="093Y" if number == 5 else f"05{number}Y",
        )
        for number in range(6)
    ]
    source = _set(tmp_path / "in", *people)
    told = anonymity(tmp_path / "out", _run(source, tmp_path / "out"))
    assert (told.patients, told.smallest, told.classes, told.in_small_classes) == (6, 1, 2, 1)


# --- project, profiles, command ----------------------------------------------------------------------------


def test_a_project_key_is_made_once_and_only_for_its_owner(tmp_path: Path) -> None:
    key = project_key(tmp_path / "p")
    assert key == project_key(tmp_path / "p")
    assert key != project_key(tmp_path / "q")
    path = tmp_path / "p" / "project.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    path.chmod(0o644)
    with pytest.raises(ProjectInvalid):
        project_key(tmp_path / "p")
    path.write_text("anything")
    path.chmod(0o600)
    with pytest.raises(ProjectInvalid):
        project_key(tmp_path / "p")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name = 1",
        'name = "x"\nsurprise = 1',
        'name = "x"\noptions = ["retain-everything"]',
        'name = "x"\nunread = "maybe"',
        'name = "../x"',
        'name = "x"\noptions = ["retain-longitudinal-full-dates", "retain-longitudinal-modified-dates"]',
        "name = ",
    ],
)
def test_a_profile_that_cannot_be_understood_stops_the_run(text: str) -> None:
    with pytest.raises(ProfileInvalid):
        parse(text)


def test_the_command_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = _set(tmp_path / "in", *_slices(2), ct(SOPInstanceUID="1.2.3.8", BurnedInAnnotation="YES"))
    words = ["deid", str(source), str(tmp_path / "out"), "--project", str(tmp_path / "p")]
    words += ["--profile", "research-longitudinal"]
    assert main(words) == 1
    said = capsys.readouterr().out
    assert "not released: 2 2.dcm: the pixels may carry text" in said
    assert "2 of 3 released" in said
    assert not leaks(said.encode())
    first = _outputs(tmp_path / "out")
    assert len(first) == 2
    assert main([*words, "--json", "--attributes"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["edition"] == "PS3.15 2026d"
    assert report["counts"] == {"burned_in_text": 1, "released": 2}
    assert report["files"][2]["reason"] == "burned_in_text"
    assert any(one["keyword"] == "StudyDate" for one in report["files"][0]["attributes"])
    assert not leaks(json.dumps(report, ensure_ascii=False).encode())
    assert _outputs(tmp_path / "out") == first
    (source / "2.dcm").unlink()
    assert command.main(words) == 0
    back = dcmread(tmp_path / "out" / report["files"][0]["output"])
    assert back.PatientID == report["files"][0]["output"].split("/")[0]


def test_explain_names_each_attribute_and_no_value(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "one.dcm"
    path.write_bytes(file_of(ct()))
    assert main(["deid", "explain", str(path)]) == 0
    said = capsys.readouterr().out
    assert "emptied" in said and "(0010,0030) PatientBirthDate: E.1-1 Z" in said
    assert not leaks(said.encode())
    assert main(["deid", "explain", str(path), "--json", "--option", "retain-patient-characteristics"]) == 0
    rows = {row["keyword"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["PatientAge"]["did"] == "kept"
    path.write_bytes(b"nothing")
    assert main(["deid", "explain", str(path)]) == 1


@pytest.mark.parametrize(("out", "project"), [("in/out", "p"), ("out", "out/p"), ("p/out", "p"), ("in", "p")])
def test_places_inside_one_another_are_refused(tmp_path: Path, out: str, project: str) -> None:
    _set(tmp_path / "in", ct())
    words = ["deid", str(tmp_path / "in"), str(tmp_path / out), "--project", str(tmp_path / project)]
    assert main(words) == 2


def test_unknown_names_are_a_matter_of_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _set(tmp_path / "in", ct())
    words = ["deid", str(tmp_path / "in"), str(tmp_path / "out"), "--project", str(tmp_path / "p")]
    assert main([*words, "--profile", "nothing"]) == 2
    assert main([*words, "--option", "retain-all"]) == 2
    assert (
        main(["deid", str(tmp_path / "missing"), str(tmp_path / "out"), "--project", str(tmp_path / "p")])
        == 2
    )
    assert "hint" in capsys.readouterr().err
