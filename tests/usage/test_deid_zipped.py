"""ZIP files in and out: the same bytes each time, and no archive that climbs, swells, hides or says a thing twice."""

from __future__ import annotations

import hashlib
import io
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.deid_objects import ct, file_of
from ribcage.cli import deid
from ribcage.usage.deid.batch import BatchLimits, entries
from ribcage.usage.deid.errors import Reason
from ribcage.usage.deid.zipped import ArchiveRefused, ZipLimits, members, write_archive

Plant = Callable[[zipfile.ZipFile], None]


def archive(path: Path, *plants: Plant) -> Path:
    with zipfile.ZipFile(path, "w") as made:
        for plant in plants:
            plant(made)
    return path


def member(name: str, data: bytes = b"x", method: int = zipfile.ZIP_STORED, mode: int = 0) -> Plant:
    def plant(made: zipfile.ZipFile) -> None:
        info = zipfile.ZipInfo(name)
        info.compress_type, info.external_attr = method, mode << 16
        made.writestr(info, data)

    return plant


def encrypted(path: Path) -> None:
    """Set the encryption bit of the first member, in its local head and in the directory."""
    data = bytearray(path.read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = data.index(mark) + at
        data[place] |= 1
    path.write_bytes(data)


HOSTILE = {
    "climbs": ([member("../a.dcm")], "plain relative path"),
    "climbs-inside": ([member("a/../../b.dcm")], "plain relative path"),
    "absolute": ([member("/etc/a.dcm")], "plain relative path"),
    "drive": ([member("C:a.dcm")], "plain relative path"),
    "backslash": ([member("..\\a.dcm")], "plain relative path"),
    "control": ([member("a\nb.dcm")], "control characters"),
    "link": ([member("a.dcm", b"/etc/passwd", mode=stat.S_IFLNK | 0o777)], "link or a device"),
    "twice": ([member("a.dcm"), member("A.dcm")], "twice"),
    "method": ([member("a.dcm", method=zipfile.ZIP_BZIP2)], "neither stored nor deflated"),
    "large": ([member("a.dcm", bytes(5000), zipfile.ZIP_DEFLATED)], "more than 4000 bytes"),
    "many": ([member(f"{number}.dcm") for number in range(5)], "at most 4 members"),
    "all": ([member(f"{number}.dcm", bytes(3500)) for number in range(3)], "at most 10000 bytes"),
}
TIGHT = ZipLimits(max_members=4, max_member_bytes=4000, max_all_bytes=10_000)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_refused_whole_and_says_why(tmp_path: Path, name: str) -> None:
    plants, why = HOSTILE[name]
    with pytest.raises(ArchiveRefused, match=why):
        members(archive(tmp_path / "in.zip", *plants), TIGHT)


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    encrypted(archive(tmp_path / "in.zip", member("a.dcm")))
    with pytest.raises(ArchiveRefused, match="encrypted"):
        members(tmp_path / "in.zip")


def test_a_bomb_is_refused_before_it_swells(tmp_path: Path) -> None:
    path = archive(tmp_path / "in.zip", member("a.dcm", b"x", zipfile.ZIP_DEFLATED))
    data = bytearray(path.read_bytes())
    place = data.index(b"PK\x01\x02")
    data[place + 24 : place + 28] = struct.pack("<I", 900_000_000)  # says that three bytes become as many
    path.write_bytes(data)
    with pytest.raises(ArchiveRefused, match="cannot become so many"):
        members(path)


@pytest.mark.parametrize("data", [b"", b"PK\x05\x06", b"no archive at all"], ids=["empty", "cut", "text"])
def test_what_is_no_archive_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "in.zip").write_bytes(data)
    with pytest.raises(ArchiveRefused, match="damaged or of another kind"):
        members(tmp_path / "in.zip")


def test_a_hostile_archive_in_a_folder_is_one_refused_input(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    archive(tmp_path / "in" / "b.zip", member("../a.dcm"))
    archive(tmp_path / "in" / "a.zip", member("fine.dcm"))
    found = entries(tmp_path / "in", BatchLimits())
    assert [(one.name, one.refused) for one in found] == [("a.zip/fine.dcm", None), ("b.zip", Reason.ARCHIVE)]
    with pytest.raises(ArchiveRefused):
        entries(tmp_path / "in" / "b.zip", BatchLimits())


def test_from_a_zip_to_a_zip_the_same_bytes_each_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    films = [
        member(f"f/{n}.dcm", file_of(ct(SOPInstanceUID=f"1.2.3.{n}")), zipfile.ZIP_DEFLATED)
        for n in (3, 1, 2)
    ]
    archive(tmp_path / "in.zip", *films, member("f/note.txt", b"not a film"))
    digests = []
    for name in ("one.zip", "two.zip"):
        words = [
            "deid",
            str(tmp_path / "in.zip"),
            str(tmp_path / name),
            "--project",
            str(tmp_path / "project"),
        ]
        assert deid.main(words) == 1  # the note was not released, and is listed
        assert "not released: 3 in.zip/f/note.txt" in capsys.readouterr().out
        digests.append(hashlib.sha256((tmp_path / name).read_bytes()).digest())
    assert digests[0] == digests[1]
    with zipfile.ZipFile(tmp_path / "one.zip") as made:
        assert len(made.namelist()) == 3 and made.namelist() == sorted(made.namelist())
        assert {info.date_time for info in made.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert made.testzip() is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.zip", "one.zip", "project", "two.zip"]


def test_an_archive_is_written_by_pieces(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "large").write_bytes(bytes(3 << 20))
    write_archive(tmp_path / "out.zip", tmp_path / "in")
    with zipfile.ZipFile(io.BytesIO((tmp_path / "out.zip").read_bytes())) as made:
        assert made.getinfo("large").file_size == 3 << 20
