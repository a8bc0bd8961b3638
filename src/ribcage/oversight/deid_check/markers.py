"""What a released file says about itself, and whether it is so (PS3.15 E.1.1, E.2, E.3; CID 7050)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ribcage.oversight.deid_check.comparing import options_of
from ribcage.oversight.deid_check.finding import Finding
from ribcage.oversight.deid_check.reading import Film
from ribcage.oversight.deid_check.table import FULL_DATES, MODIFIED_DATES

_META_LEFT: Final = (
    0x00020016,
    0x00020017,
    0x00020018,
    0x00020026,
    0x00020027,
    0x00020028,
    0x00020100,
    0x00020102,
)


def look(file: str, film: Film, original: Film | None, options: frozenset[str]) -> Iterator[Finding]:
    """Every marker that is missing or untrue."""
    said = options_of(film)
    if _text(film, 0x00120062) != "YES":
        yield _wrong(file, "(0012,0062)", "expected Patient Identity Removed YES")
    if said is None and not _text(film, 0x00120063):
        yield _wrong(file, "(0012,0064)", "expected a method or its codes, there is none")
    if said is not None and said != options:
        names = ", ".join(sorted(said ^ options))
        yield _wrong(file, "(0012,0064)", f"the codes and the options asked for differ: {names}")
    expected = (
        "UNMODIFIED" if FULL_DATES in options else "MODIFIED" if MODIFIED_DATES in options else "REMOVED"
    )
    if _text(film, 0x00280303) != expected:
        yield _wrong(file, "(0028,0303)", f"expected {expected}")
    for tag, option, name in (
        (0x00280301, "clean_pixel_data", "(0028,0301)"),
        (0x00280302, "clean_recognizable_visual_features", "(0028,0302)"),
    ):
        value = _text(film, tag)
        before = _text(original, tag) if original is not None else ""
        if option in options and value != "NO":
            yield _wrong(file, name, "expected NO, as the option was performed")
        if option not in options and value == "NO" and original is not None and before != "NO":
            yield _wrong(file, name, "says NO, but the option was not performed")
    yield from _meta(file, film, original)


def _meta(file: str, film: Film, original: Film | None) -> Iterator[Finding]:
    if str(film.meta.get("MediaStorageSOPInstanceUID", "")) != _text(film, 0x00080018):
        yield _wrong(file, "(0002,0003)", "expected the SOP Instance UID of the data set")
    if str(film.meta.get("MediaStorageSOPClassUID", "")) != _text(film, 0x00080016):
        yield _wrong(file, "(0002,0002)", "expected the SOP Class UID of the data set")
    if original is None:
        return
    for tag in _META_LEFT:
        if tag in film.meta and tag in original.meta and film.meta[tag].value == original.meta[tag].value:
            yield _wrong(file, f"(0002,{tag & 0xFFFF:04X})", "file meta information of the original")
    marked = original.raw[128:132] == b"DICM" and original.raw[:128].strip(b"\0")
    if marked and film.raw[:128] == original.raw[:128]:
        yield _wrong(file, "preamble", "the preamble of the original")


def _text(film: Film | None, tag: int) -> str:
    try:
        element = film.dataset.get(tag) if film is not None and film.dataset is not None else None
        return str(element.value or "").strip() if element is not None else ""
    except Exception:  # noqa: BLE001 - a value that pydicom refuses is no marker
        return ""


def _wrong(file: str, place: str, text: str) -> Finding:
    return Finding("marker", file, place, text)
