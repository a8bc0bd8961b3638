"""The engine over the truth set, and the checker over what the engine releases: each written without the other.

Rules, in order:
1. Under each choice of options every film is released, every attribute became what the table says, no string of an
   identity is in the bytes, references lead to their successors, and the checker finds nothing.
2. What the engine releases of the public sample files is no alarm; each leak planted into its outputs is one.
3. Under two keys nothing that the key makes is common, and references hold in each.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread

from deid import leaks, truth
from helpers.reports import file_of, report
from ribcage.oversight.deid_check.checking import Report, check
from ribcage.usage.deid.engine import Engine
from ribcage.usage.deid.errors import NotReleased
from ribcage.usage.deid.profile import PACKAGED, Profile, packaged
from ribcage.usage.deid.pseudonyms import Pseudonyms
from ribcage.usage.deid.tables import Option
from system.test_sys_formats import FILES, FOLDER

KEY, OTHER_KEY = b"one project's key, of thirty-two", b"another's key, of thirty-two too"
FEW, MANY = 40, 330


def engine(profile: Profile, key: bytes = KEY) -> Engine:
    """Pixels that nobody read leave: what is on these is known."""
    return Engine(replace(profile, unread="release"), Pseudonyms(key))


def engine_of(name: str, key: bytes = KEY) -> Engine:
    options = frozenset(Option(each) for each in truth.PROFILES[name])
    return engine(Profile(name, options), key)


def laid(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def told(report: Report) -> list[tuple[str, str, str, str]]:
    return [(each.kind, each.file, each.place, each.text) for each in report.findings]


@pytest.mark.parametrize("name", PACKAGED)
def test_the_truth_set_knows_the_packaged_profiles(name: str) -> None:
    assert truth.PROFILES[name] == {option.value for option in packaged(name).options}


@pytest.mark.parametrize(
    ("count", "seed"),
    [
        pytest.param(FEW, 1, id="few"),
        pytest.param(MANY, 1, id="many", marks=pytest.mark.soak),
        pytest.param(MANY, 2, id="others", marks=pytest.mark.soak),
    ],
)
@pytest.mark.parametrize("profile", truth.PROFILES)
def test_the_release_of_the_truth_set_is_right(tmp_path: Path, profile: str, count: int, seed: int) -> None:
    engine, before, after, pairs = engine_of(profile), {}, {}, []
    wrong: list[object] = []
    for number, (data, film) in enumerate(truth.films(profile, seed=seed, count=count)):
        output = bytes(engine.release(data))
        before[film.name] = data
        after[f"{(7 * number) % count:04}.dcm"] = output
        pairs.append((film, truth.parse(output)))
        wrong += [(film.name, each) for each in truth.compare(film, pairs[-1][1])]
        wrong += [(film.name, "left in") for _ in truth.left_in(film, output)]
    assert wrong + truth.compare_references(pairs) == []
    judged = check(laid(tmp_path / "out", after), laid(tmp_path / "in", before))
    assert told(judged) == []
    assert judged.counts["pairs"] == count


@pytest.mark.skipif(not FILES, reason=f"no sample files in {FOLDER.name}: set RIBCAGE_DICOM_FILES")
@pytest.mark.parametrize(
    "profile",
    [
        "ai-training",
        *(pytest.param(each, marks=pytest.mark.soak) for each in PACKAGED if each != "ai-training"),
    ],
)
def test_what_is_released_of_the_sample_files_is_no_alarm(tmp_path: Path, profile: str) -> None:
    chosen, after = engine(packaged(profile)), {}
    for number, path in enumerate(FILES):
        try:
            after[f"{number}.dcm"] = bytes(chosen.release(path.read_bytes()))
        except NotReleased:
            continue
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom on files that are as they are
        judged = check(laid(tmp_path / "out", after), FOLDER)
    assert told(judged) == []
    assert judged.counts["pairs"] == len(after) > 30


# --- leaks planted into what the engine released --------------------------------------------------------

ALL = list(leaks.leaks())


@pytest.fixture(scope="module")
def leaking(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """One of the engine's outputs for each leak, all checked in one run."""
    root, chosen = tmp_path_factory.mktemp("leaking"), engine(packaged("research-basic"))
    before = {f"{number}.dcm": leaks.original(number) for number in range(len(ALL))}
    after = {
        f"{number}.dcm": each.make(bytes(chosen.release(before[f"{number}.dcm"])))
        for number, each in enumerate(ALL)
        if not each.file
    }
    return check(laid(root / "out", after), laid(root / "in", before))


@pytest.mark.parametrize(
    "number", [number for number, each in enumerate(ALL) if not each.file], ids=lambda n: ALL[n].name
)
def test_a_leak_in_an_output_of_the_engine_is_found(leaking: Report, number: int) -> None:
    kinds = {each.kind for each in leaking.findings if each.file == f"{number}.dcm"}
    assert kinds & {"identity", "pattern"}


# --- two projects ---------------------------------------------------------------------------------------


def said(data: bytes) -> list[tuple[str, str, str]]:
    """What a film says, element by element: keyword, VR and value; the picture itself apart."""
    found = [each for each in truth.parse(data).iterall() if each.VR != "SQ" and each.tag != 0x7FE00010]
    return [(each.keyword, each.VR, str(each.value or "")) for each in found]


@pytest.mark.parametrize("profile", ["research-basic", "research-longitudinal", "ai-training"])
def test_two_projects_have_nothing_in_common_that_a_key_made(tmp_path: Path, profile: str) -> None:
    engines = [engine_of(profile, key) for key in (KEY, OTHER_KEY, bytes(32))]
    folders: tuple[dict[str, bytes], dict[str, bytes]] = {}, {}
    for data, film in truth.films(profile, count=FEW):
        one, other, third = (bytes(each.release(data)) for each in engines)
        folders[0][film.name], folders[1][film.name] = one, other
        own = set(said(data))
        for here, there, again in zip(said(one), said(other), said(third), strict=True):
            # The same under two keys: the film's own and kept, or the same under every key.
            assert here != there or here in own or here == again
            assert here != there or here[1] != "UI" or here in own or here[2].startswith("1.2.840.10008.")
    # The other release searched for in this one, as if it were an original.
    judged = check(laid(tmp_path / "out", folders[0]), laid(tmp_path / "in", folders[1]))
    assert [each for each in told(judged) if each[0] == "identity"] == []


def study() -> dict[str, Dataset]:
    """A film, a report and a segmentation of it."""
    film = truth.parse(leaks.original(7))
    made = {"film": film}
    name, number = str(film.PatientName), str(film.PatientID)
    made["report"] = report(
        film.StudyInstanceUID, film.SeriesInstanceUID, (film.SOPInstanceUID,), name, number
    )
    mask = dcmread(FOLDER / "highdicom__seg_image_cr_binary.dcm")
    mask.SpecificCharacterSet = "ISO_IR 192"
    for keyword in (
        "StudyInstanceUID",
        "PatientName",
        "PatientID",
        "PatientBirthDate",
        "FrameOfReferenceUID",
    ):
        if keyword in film:
            setattr(mask, keyword, film[keyword].value)
    for each in mask.iterall():
        if each.keyword == "ReferencedSOPInstanceUID":
            each.value = film.SOPInstanceUID
    mask.ReferencedSeriesSequence[0].SeriesInstanceUID = film.SeriesInstanceUID
    made["segmentation"] = mask
    return made


@pytest.mark.skipif(not FILES, reason=f"no sample files in {FOLDER.name}: set RIBCAGE_DICOM_FILES")
@pytest.mark.parametrize("profile", PACKAGED)
@pytest.mark.parametrize("key", [KEY, OTHER_KEY], ids=["one", "other"])
def test_reports_and_segmentations_refer_to_the_released_film(
    tmp_path: Path, profile: str, key: bytes
) -> None:
    chosen = engine(packaged(profile), key)
    before = {kind: data if isinstance(data, bytes) else file_of(data) for kind, data in study().items()}
    after = {kind: bytes(chosen.release(data)) for kind, data in before.items()}
    read = {kind: truth.parse(data) for kind, data in after.items()}
    film = read["film"]
    assert (
        len({each.StudyInstanceUID for each in read.values()})
        == len({each.PatientID for each in read.values()})
        == 1
    )
    for kind in ("report", "segmentation"):
        seen = [each.value for each in read[kind].iterall() if each.keyword == "ReferencedSOPInstanceUID"]
        assert seen and set(seen) == {film.SOPInstanceUID}, kind
        series = [each.value for each in read[kind].iterall() if each.keyword == "SeriesInstanceUID"]
        assert film.SeriesInstanceUID in series
    assert told(check(laid(tmp_path / "out", after), laid(tmp_path / "in", before))) == []
