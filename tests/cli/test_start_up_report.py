"""What `serve` says is not defended is what `status` says, in the configuration that runs."""

from __future__ import annotations

import asyncio
from pathlib import Path

from helpers.guard_house import new_house
from helpers.witness_near import new_witness
from ribcage.cli import serving
from ribcage.cli.undefended import not_defended

_NO_WITNESS = "Without a witness"


def test_an_archive_with_a_witness_is_not_told_to_have_none(tmp_path: Path) -> None:
    near = new_witness(tmp_path / "witness")

    async def run() -> tuple[list[str], list[str]]:
        async with new_house(tmp_path) as house:
            without = await asyncio.to_thread(serving._configuration, house.home)
            await house.admin.ask(near.trust())
            return without, await asyncio.to_thread(serving._configuration, house.home)

    without, with_one = asyncio.run(run())
    assert (without, with_one) == (["embedded"], ["embedded", "witness"])
    assert any(_NO_WITNESS in line for line in not_defended(without))
    assert not any(_NO_WITNESS in line for line in not_defended(with_one))
    assert len(not_defended(without)) == len(not_defended(with_one)) + 1


def test_a_guard_that_does_not_answer_is_taken_for_the_least(tmp_path: Path) -> None:
    assert serving._configuration(tmp_path) == ["embedded"]
