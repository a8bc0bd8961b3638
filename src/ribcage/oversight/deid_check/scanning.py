"""One released file, all of it: elements, layers, bytes, its own name.

Rules, in order:
1. Decoded values first, with the attribute they stand in; then whatever lies inside values; then the bare bytes.
2. Native and compressed pixels are bytes without words: only what chance does not make is looked for there.
3. A hit is told once for each place and identity.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from ribcage.oversight.deid_check import layers, patterns
from ribcage.oversight.deid_check.finding import Finding, Masker
from ribcage.oversight.deid_check.reading import PIXEL_TAGS, Element, Film, read, walk
from ribcage.oversight.deid_check.search import Hit, Searcher
from ribcage.oversight.deid_check.table import row_of

_NUMBERS: Final = frozenset(re.findall("..", "DSISFLFDSLSSULUSSVUVATODOFOLOV"))
_TEMPORAL: Final = frozenset(["DA", "DT", "TM"])
_IMAGE_BYTES: Final = re.compile(rb"[^\x20-\x7e\r\n\t]")
_MAKERS: Final = frozenset((0x00080070, 0x00081090, 0x00080116))  # a maker's name may be an institution's too
DUMMY_DATES: Final = frozenset(("19000101", "19700101", "20000101", "00010101", "19010101", "18000101"))


@dataclass
class Scan:
    """One file's scan. `patient` is its original's, None where it has none; `unchanged` knows kept values."""

    searcher: Searcher
    masker: Masker
    file: str
    patient: str | None
    options: frozenset[str]
    unchanged: Callable[[Element], bool]
    spared: set[str] = field(default_factory=set)

    def film(self, film: Film) -> list[Finding]:
        """All findings of one file, each place and sort of identity once."""
        found: dict[tuple[str, str, str], Finding] = {}
        for finding in self._all(film):
            found.setdefault((finding.kind, finding.place, finding.text), finding)
        seen = {each.identity for each in found.values() if each.place.startswith("(")} | self.spared
        return [each for each in found.values() if not (each.place == "header" and each.identity in seen)]

    def _all(self, film: Film) -> Iterator[Finding]:
        if film.dataset is not None:
            for element in walk(film.meta):
                yield from self._element(element)
            for element in walk(film.dataset):
                yield from self._element(element)
        start, end = film.opaque
        yield from self._bytes(
            "header",
            film.raw[:start] if end else film.raw,
            0,
            known=film.dataset is not None and not film.trouble,
        )
        if end:
            yield from self._bytes("pixels", film.raw[start:end], start, opaque=True)
            yield from self._pixels(film.raw[start:end], encapsulated=film.encapsulated)
            yield from self._bytes("trailing", film.raw[end:], end)
        if film.dataset is not None and film.raw[:128].strip(b"\0"):
            yield from self._bytes("preamble", film.raw[:128], 0)
        if film.dataset is None:
            yield from self._layers(film.raw, "file")

    def name(self, name: str) -> list[Finding]:
        """Identities in the file's own name."""
        hits = self.searcher.text(name, patient=self.patient)
        return [
            Finding("identity", self.file, "file name", "the file's name", -1, hit.masked) for hit in hits
        ][:1]

    def _element(self, element: Element) -> Iterator[Finding]:
        if element.vr in _NUMBERS or element.vr == "SQ":
            return
        if isinstance(element.value, bytes):
            if element.tag not in PIXEL_TAGS and element.value:
                yield from self._blob(element)
            return
        for text in element.texts:
            for hit in self._text_hits(element, text):
                yield self._identity(element.path, hit)
            if element.vr not in ("UI", *_TEMPORAL):
                yield from self._patterns(element, text)
                if len(text) >= 24:
                    yield from self._layers(text.encode("utf-8", "replace"), element.path)

    def _text_hits(self, element: Element, text: str) -> Iterator[Hit]:
        if element.vr == "UI":
            yield from self.searcher.uid(text)
            if "retain_uids" not in self.options:
                yield from self.searcher.text(text, patient=self.patient, raw=True)
            return
        if element.vr in _TEMPORAL:
            dates = self.searcher.dates_of(self.patient)
            shifted = "retain_longitudinal_modified_dates" in self.options
            date = text[:8]
            if date in dates and date not in DUMMY_DATES and not shifted and not self._kept(element):
                yield Hit(dates[date], 0)
            return
        names_maker = element.tag in _MAKERS and self.unchanged(element)
        for hit in self.searcher.text(text, patient=self.patient):
            if names_maker and hit.masked.startswith("institution:"):
                self.spared.add(hit.masked)
            else:
                yield hit
        if not self.unchanged(element) or row_of(element.tag) is not None:
            yield from self.searcher.value(text)

    def _kept(self, element: Element) -> bool:
        row = row_of(element.tag)
        return row is not None and "K" in row.action(self.options)

    def _patterns(self, element: Element, text: str) -> Iterator[Finding]:
        row = row_of(element.tag)
        coded = row is not None and row.keyword.endswith(("ID", "IDs", "Number", "Identifier"))
        for what, matched, offset in patterns.look(text, telephones=not coded and element.vr != "CS"):
            yield self._pattern(element.path, what, matched, offset)

    def _blob(self, element: Element) -> Iterator[Finding]:
        data = element.value
        wordless = len(_IMAGE_BYTES.findall(data[:4096])) * 3 > len(data[:4096])
        opaque = len(data) > 1024 and wordless and element.vr != "UN"
        for hit in self.searcher.data(data, patient=self.patient, opaque=opaque, prose=not wordless):
            yield self._identity(element.path, hit)
        if not wordless:
            for what, matched, offset in patterns.look(data.decode("utf-8", "replace")):
                yield self._pattern(element.path, what, matched, offset)
        yield from self._layers(data, element.path)

    def _bytes(
        self, place: str, data: bytes, base: int, *, opaque: bool = False, known: bool = False
    ) -> Iterator[Finding]:
        prose = not opaque and not known
        for hit in self.searcher.data(
            data, patient=self.patient, opaque=opaque, prose=prose, dates=not known
        ):
            yield self._identity(place, Hit(hit.masked, base + max(hit.offset, 0)))
        for what, offset in patterns.exif(data):
            yield self._pattern(place, what, "", base + offset)
        if prose:
            for what, matched, offset in patterns.look(data.decode("utf-8", "replace")):
                yield self._pattern(place, what, matched, base + offset)
            if place == "trailing":
                yield from self._layers(data, place)

    def _pixels(self, data: bytes, *, encapsulated: bool) -> Iterator[Finding]:
        for _, fragment in layers.fragments(data) if encapsulated else ():
            yield from self._layers(fragment, "pixels", pictures=True)

    def _layers(self, data: bytes, place: str, *, pictures: bool = False) -> Iterator[Finding]:
        # Base64 of a compressed picture's own bytes is chance; only what its segments hold is looked at.
        for layer in layers.inside(data, place):
            if (
                pictures
                and layer.kind == "base64"
                and "/jpeg/" not in layer.place
                and "/jp2/" not in layer.place
            ):
                continue
            if layer.full:
                yield Finding("unreadable", self.file, layer.place, f"not searched to its end: {layer.kind}")
            if layer.kind == "exif":
                yield self._pattern(
                    layer.place, next((w for w, _ in patterns.exif(layer.data)), "exif"), "", 0
                )
            for hit in self.searcher.data(layer.data, patient=self.patient, prose=True):
                yield self._identity(layer.place, hit)
            if layer.kind != "base64" or _IMAGE_BYTES.search(layer.data) is None:
                for what, matched, offset in patterns.look(layer.data.decode("utf-8", "replace")):
                    yield self._pattern(layer.place, what, matched, offset)
            if layer.data[128:132] == b"DICM":
                nested = read(layer.data)
                for element in walk(nested.dataset) if nested.dataset is not None else ():
                    for text in element.texts:
                        for hit in self.searcher.text(text, patient=self.patient):
                            yield self._identity(f"{layer.place}/{element.path}", hit)

    def _identity(self, place: str, hit: Hit) -> Finding:
        kind = hit.masked.split(":")[0]
        return Finding("identity", self.file, place, f"a {kind} of the originals", hit.offset, hit.masked)

    def _pattern(self, place: str, what: str, matched: str, offset: int) -> Finding:
        return Finding("pattern", self.file, place, what, offset, self.masker.mask(what, matched))
