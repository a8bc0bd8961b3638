"""Every public sample file goes in by STOW-RS and C-STORE and comes back bit for bit, or is refused with a reason."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import pytest

from helpers.archive import Archive, Browser, Identity, new_archive, parts
from ribcage.capture.disarm import Expected, arrival_of_file, inspect
from ribcage.capture.errors import NotUnderstood
from ribcage.dicom import part10
from ribcage.guard import protocol as p
from system.senders import SUCCESS, Instance, instance_of, send, stow

FOLDER = Path(os.environ.get("RIBCAGE_DICOM_FILES", Path(__file__).parents[3] / "shared" / "data" / "dicom"))
FILES = sorted(FOLDER.glob("*.dcm")) if FOLDER.is_dir() else []
pytestmark = pytest.mark.skipif(
    not FILES, reason=f"no sample files in {FOLDER.name}: set RIBCAGE_DICOM_FILES"
)

CANNOT_UNDERSTAND = 0xC000  # PS3.4 table B.2-1
REFUSED = {
    # an instance that cannot be addressed (PS3.4 B.2.3)
    "dcm4che__no_preamble_dicm_in_data.dcm": "expected sop_class_uid",
    "pydicom-data__HTJ2K_08_RGB.dcm": "expected study_instance_uid",
    # an item outside a sequence (PS3.5 7.5): readers disagree about everything behind it
    "fo-dicom__GH364.dcm": "misplaced item or delimiter",
}
# The same SOP Instance UID as an earlier file with other bytes: a conflict in one archive, so these have their own.
TWINS = {
    "dicom-test-files__emri_small_jpeg_2k_lossless.dcm": "dicom-test-files__emri_small_big_endian.dcm",
    "fo-dicom__chrX2.dcm": "fo-dicom__GH1301.dcm",
    "presidio__0_ORIGINAL_no_pixels.dcm": "presidio__0_ORIGINAL_compressed.dcm",
}
NAMES = {
    "fo-dicom__GH1301.dcm": ["王小东", "王^小东", "王*", "Wang^XiaoDong", "wang*"],
    "fo-dicom__chrX1.dcm": ["王小東", "王^小東", "王小?", "Wang^XiaoDong"],
    "fo-dicom__chrX2.dcm": ["王小东", "王^小东", "*小东"],
    "fo-dicom__chrGB2312.dcm": ["张小东", "张^小东", "张*", "Zhang^XiaoDong"],
    "fo-dicom__chrH31.dcm": ["山田太郎", "山田^太郎", "やまだ^たろう"],
    "fo-dicom__chrKoreanMulti.dcm": ["김희중"],
    "fo-dicom__chrGreek.dcm": ["Διονυσιος"],
    "fo-dicom__chrArab.dcm": ["قباني^لنزار"],
}

Channel = Literal["stow", "dimse"]


@dataclass
class House:
    """One archive with a modality, a reader who proved the second factor, and what it answered per file."""

    archive: Archive
    device: Identity
    doctor: Browser
    station: Browser  # the modality's certificate on HTTPS
    answers: dict[str, int] = field(default_factory=dict)

    def store(self, channel: Channel, name: str) -> int:
        """0 when stored, else the failure reason."""
        one = instance_of((FOLDER / name).read_bytes())
        status = send(self.archive, self.device, one) if channel == "dimse" else self._stow(one)
        self.answers[name] = status
        return status

    def _stow(self, one: Instance) -> int:
        # What people save about a study goes its own way (docs/adr/0012): these come from the modality.
        sender = self.station if one.sop_class in p.SAVED_CLASSES else self.doctor
        reply = stow(sender, one.file)
        if reply.status == 200:
            return SUCCESS
        assert reply.status == 409
        answer = reply.json()
        assert isinstance(answer, dict)
        failed = answer.get("0008119A") or answer["00081198"]
        return int(failed["Value"][0]["00081197"]["Value"][0])


def _house(stack: ExitStack, folder: Path) -> House:
    folder.mkdir()
    archive = stack.enter_context(new_archive(folder))
    device = archive.device("modality", "MODALITY", "store")
    doctor = archive.person("li", "radiologist")
    assert doctor.step_up().status == 200
    archive.grant("person:li", "department:radiology", "full")
    station = Browser(archive, doctor.totp)
    station.context = device.context()
    return House(archive, device, doctor, station)


@pytest.fixture(scope="module")
def house_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Channel, str], House]]:
    """The house in which a file was stored by a channel; filled on first use."""
    houses: dict[tuple[Channel, bool], House] = {}
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("formats")

        def find(channel: Channel, name: str) -> House:
            key = (channel, name in TWINS)
            if key not in houses:
                houses[key] = house = _house(stack, folder / f"{channel}{int(key[1])}")
                for file in FILES:
                    if (file.name in TWINS) == key[1]:
                        house.store(channel, file.name)
            return houses[key]

        yield find


@pytest.mark.parametrize("name", [file.name for file in FILES])
@pytest.mark.parametrize("channel", ["stow", "dimse"])
def test_file_comes_back_bit_for_bit_or_is_refused_with_a_reason(
    channel: Channel, name: str, house_of: Callable[[Channel, str], House]
) -> None:
    house = house_of(channel, name)
    file = (FOLDER / name).read_bytes()
    one = instance_of(file)
    if name in REFUSED:
        assert house.answers[name] == CANNOT_UNDERSTAND
        with pytest.raises(NotUnderstood, match=REFUSED[name]):
            inspect(arrival_of_file(file, Expected()))
        return
    assert house.answers[name] == SUCCESS
    reply = house.doctor.retrieve(one.path)
    assert (reply.status, reply.headers["x-ribcage-view"]) == (200, "full")
    (back,) = parts(reply)
    if channel == "stow":
        assert back == file
    else:
        meta = part10.split(back)
        assert (meta.transfer_syntax_uid, meta.sop_class_uid) == (one.transfer_syntax, one.sop_class)
        assert back[meta.prefix_bytes :] == one.data_set


@pytest.mark.parametrize(("name", "written"), [(name, one) for name, forms in NAMES.items() for one in forms])
@pytest.mark.parametrize("channel", ["stow", "dimse"])
def test_name_is_found_as_written(
    channel: Channel, name: str, written: str, house_of: Callable[[Channel, str], House]
) -> None:
    if not (FOLDER / name).exists():
        pytest.skip(f"{name} is not in the folder")
    doctor = house_of(channel, name).doctor
    reply = doctor.request(f"/dicom-web/studies?PatientName={quote(written)}")
    assert reply.status == 200
    answers = reply.json()
    assert isinstance(answers, list)
    studies = {answer["0020000D"]["Value"][0] for answer in answers}
    wanted = instance_of((FOLDER / name).read_bytes()).study
    assert wanted in studies
    assert len(studies) < 4  # and not simply everything


def test_a_name_that_is_nobodys_finds_nothing(house_of: Callable[[Channel, str], House]) -> None:
    doctor = house_of("stow", "fo-dicom__GH1301.dcm").doctor
    for nobody in ("王大东", "東小王", "Wang^DaDong", "李*"):
        assert doctor.request(f"/dicom-web/studies?PatientName={quote(nobody)}").status == 204


@pytest.mark.parametrize("name", TWINS)
@pytest.mark.parametrize("channel", ["stow", "dimse"])
def test_same_uid_with_other_bytes_is_parked_and_the_first_stays(
    channel: Channel, name: str, house_of: Callable[[Channel, str], House]
) -> None:
    first = TWINS[name]
    house = house_of(channel, first)
    before = house.archive.ask(p.GetStatus(), p.Status)
    one = instance_of((FOLDER / first).read_bytes())
    assert house.store(channel, name) == SUCCESS  # the answer tells nothing of what exists
    after = house.archive.ask(p.GetStatus(), p.Status)
    assert (after.instances, after.parked) == (before.instances, before.parked + 1)
    (back,) = parts(house.doctor.retrieve(one.path))
    assert back[-len(one.data_set) :] == one.data_set


def test_every_archive_verifies_clean_afterwards(house_of: Callable[[Channel, str], House]) -> None:
    channels: tuple[Channel, Channel] = ("stow", "dimse")
    for channel in channels:
        report = house_of(channel, FILES[0].name).archive.verify()
        assert report.clean, report.differences
        assert report.strays == []
