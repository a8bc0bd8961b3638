"""The table of a run without an archive: two holders open it together, nobody alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers import rfc9180
from helpers.deid_objects import NUMBER, ct, file_of, leaks
from ribcage.cli import deid
from ribcage.crypto.errors import SharesRefused
from ribcage.crypto.holders import info, new_holder, open_by_two, seal_for_two


@pytest.fixture
def holders(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "ann.key", tmp_path / "bob.key"]
    for path in paths:
        assert deid.main(["deid", "holder", str(path)]) == 0
        assert path.stat().st_mode & 0o077 == 0
    return paths


def _run(folder: Path, holders: list[Path], table: Path) -> int:
    (folder / "in").mkdir(exist_ok=True)
    (folder / "in" / "1.dcm").write_bytes(file_of(ct(StudyInstanceUID="1.2.77", IssuerOfPatientID="H1")))
    words = [
        "deid",
        str(folder / "in"),
        str(folder / "out"),
        "--project",
        str(folder / "p"),
        "--table",
        str(table),
    ]
    return deid.main([*words, *(word for path in holders for word in ("--holder", f"{path}.pub"))])


def test_two_holders_find_who_it_was(
    tmp_path: Path, holders: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "table"
    assert _run(tmp_path, holders, table) == 0
    assert leaks(table.read_bytes(), (NUMBER, "1.2.77", "ZHANGWEI")) == []
    pseudonym = next((tmp_path / "out").iterdir()).name
    for order in (holders, holders[::-1]):
        capsys.readouterr()
        keys = [word for path in order for word in ("--key", str(path))]
        assert deid.main(["deid", "open", str(table), pseudonym, *keys]) == 0
        told = capsys.readouterr().out
        assert f"{NUMBER}|H1" in told and "1.2.77" in told
        assert deid.main(["deid", "open", str(table), "PAAAAAAAAAAAAAAAA", *keys]) == 1


@pytest.mark.parametrize("given", ["one", "same", "stranger", "changed"])
def test_one_holder_alone_opens_nothing(
    tmp_path: Path, holders: list[Path], given: str, capsys: pytest.CaptureFixture[str]
) -> None:
    table, keys = tmp_path / "table", list(holders)
    assert _run(tmp_path, holders, table) == 0
    if given == "one":
        keys = keys[:1]
    elif given == "same":
        keys = [keys[0], keys[0]]
    elif given == "stranger":
        assert deid.main(["deid", "holder", str(tmp_path / "eve.key")]) == 0
        keys = [keys[0], tmp_path / "eve.key"]
    else:
        table.write_bytes(table.read_bytes()[:-1] + b"!")
    words = [word for path in keys for word in ("--key", str(path))]
    capsys.readouterr()
    assert deid.main(["deid", "open", str(table), "PAAAAAAAAAAAAAAAA", *words]) == 2
    assert NUMBER not in "".join(capsys.readouterr())


@pytest.mark.parametrize("holding", [1, 3], ids=["one", "three"])
def test_a_table_has_two_holders(tmp_path: Path, holders: list[Path], holding: int) -> None:
    assert _run(tmp_path, (holders * 2)[:holding], tmp_path / "table") == 2
    assert not (tmp_path / "out").exists()


def test_a_table_beside_the_outputs_is_refused(tmp_path: Path, holders: list[Path]) -> None:
    assert _run(tmp_path, holders, tmp_path / "out" / "table") == 2


def test_the_seal_is_two_messages_of_rfc_9180() -> None:
    (ann, ann_public), (bob, bob_public) = new_holder(), new_holder()
    sealed = seal_for_two(ann_public, bob_public, b"who it was")
    inner = rfc9180.open_(ann, info(ann_public, bob_public, 1), sealed)
    assert rfc9180.open_(bob, info(ann_public, bob_public, 2), inner) == b"who it was"
    assert open_by_two(ann, bob, sealed) == b"who it was"
    with pytest.raises(SharesRefused):
        open_by_two(bob, ann, sealed)
    with pytest.raises(SharesRefused):
        seal_for_two(ann_public, ann_public, b"")
