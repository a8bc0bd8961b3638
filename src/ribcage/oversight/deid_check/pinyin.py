"""How Chinese characters are read: every reading without tones, for searching and not for writing.

`pinyin.csv` has one line for each syllable, made from pypinyin's readings (MIT), which go back to Unihan.
"""

from __future__ import annotations

import csv
import functools
import itertools
from collections.abc import Mapping
from importlib import resources
from typing import Final

MAX_READINGS: Final = 48
_UMLAUT: Final = {
    "lv": ("lv", "lu", "lyu"),
    "nv": ("nv", "nu", "nyu"),
    "lve": ("lve", "lue"),
    "nve": ("nve", "nue"),
}


@functools.cache
def _readings() -> Mapping[str, tuple[str, ...]]:
    text = resources.files(__package__).joinpath("pinyin.csv").read_text(encoding="utf-8")
    found: dict[str, list[str]] = {}
    for line in csv.DictReader(text.splitlines()):
        for character in line["characters"]:
            found.setdefault(character, []).extend(_UMLAUT.get(line["syllable"], (line["syllable"],)))
    return {character: tuple(each) for character, each in found.items()}


def readings(text: str) -> list[tuple[str, ...]]:
    """Each possible reading of the text as syllables, at most MAX_READINGS; none where a character has no reading."""
    table = _readings()
    if not text or any(character not in table for character in text):
        return []
    return list(itertools.islice(itertools.product(*(table[each] for each in text)), MAX_READINGS))
