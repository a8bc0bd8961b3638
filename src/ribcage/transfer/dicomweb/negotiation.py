"""Media types and what the peer accepts (RFC 9110 12.5.1, PS3.18 8.7), sans-IO.

Rules, in order:
1. Parameter values may be quoted or not; `type=application/dicom` without quotes is in common use.
2. `application/dicom` without `transfer-syntax` means Explicit VR Little Endian; `*` means as stored
   (PS3.18 8.7.3.5). A peer that takes anything (`*/*`, or no Accept) takes objects as stored.
3. q=0 excludes, also from a wildcard beside it. Among equal q the stored transfer syntax is preferred.
4. One instance may be asked for as a single part, `application/dicom`; several are multipart (PS3.18 8.7.3.1).
5. Text is UTF-8. A media type in another `charset` is not acceptable (PS3.18 8.8).
6. What cannot be given is refused with 406 and a list of what can, never replaced by something else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from ribcage.transfer.dicomweb.errors import BadRequest, NotAcceptable, UnsupportedMedia

EXPLICIT_LITTLE: Final = "1.2.840.10008.1.2.1"
AS_STORED: Final = "*"
DICOM: Final = "application/dicom"
DICOM_JSON: Final = "application/dicom+json"
DICOM_XML: Final = "application/dicom+xml"
XML_PARTS: Final = 'multipart/related; type="application/dicom+xml"'
FILES: Final = 'multipart/related; type="application/dicom"; transfer-syntax=*'
STORED: Final = (  # what a store takes
    'multipart/related; type="application/dicom"',
    'multipart/related; type="application/dicom+json"',
    'multipart/related; type="application/dicom+xml"',
)
FILE: Final = "application/dicom; transfer-syntax=*"
_CHARSETS: Final = frozenset({"utf-8", "utf8", "us-ascii", "*"})
_MULTIPART: Final = ("multipart/related", "multipart/*")

_MAX_FIELD_CHARS: Final = 8192
_MAX_ENTRIES: Final = 64
_TYPE: Final = re.compile(r"[!#$&^_.+\-0-9A-Za-z*]+/[!#$&^_.+\-0-9A-Za-z*]+")
_PARAMETER: Final = re.compile(
    r"""[ \t]*([!#$%&'*+\-.^_`|~0-9A-Za-z]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*))[ \t]*"""
)
_QUALITY: Final = re.compile(r"0(?:\.\d{0,3})?|1(?:\.0{0,3})?")


@dataclass(frozen=True, slots=True)
class MediaType:
    """A media type in lower case with its parameters; `quality` is 1.0 outside Accept. A wildcard knows what q=0
    beside it takes away."""

    essence: str
    parameters: Mapping[str, str]
    quality: float = 1.0
    without: frozenset[str] = frozenset()

    def covers(self, essence: str) -> bool:
        """Whether this entry, perhaps a wildcard, takes `essence` as a single part."""
        kind = essence.partition("/")[0]
        return self.essence in (essence, f"{kind}/*", "*/*") and essence not in self.without


@dataclass(frozen=True, slots=True)
class FileForm:
    """How files may leave: in parts or as the one part, in any of these transfer syntaxes with their q."""

    multipart: bool
    syntaxes: Mapping[str, float]


def parse_media_type(field: str) -> MediaType:
    """Parse one Content-Type value. Raises UnsupportedMedia where it cannot be read."""
    try:
        return _media_type(field)
    except BadRequest as failure:
        raise UnsupportedMedia("expected a media type with parameters") from failure


def parse_accept(field: str | None) -> list[MediaType]:
    """Parse an Accept field into entries with q > 0, best first. Absent or blank means `*/*`. Raises BadRequest."""
    if field is None or not field.strip():
        return [MediaType("*/*", {})]
    if len(field) > _MAX_FIELD_CHARS:
        raise BadRequest("expected an Accept field within its limit")
    entries = [_media_type(item) for item in _split(field) if item.strip()]
    if len(entries) > _MAX_ENTRIES:
        raise BadRequest(f"expected at most {_MAX_ENTRIES} acceptable media types")
    without = frozenset(entry.essence for entry in entries if not entry.quality and not entry.parameters)
    taken = (
        entry
        for entry in entries
        if entry.quality and entry.parameters.get("charset", "*").lower() in _CHARSETS
    )
    return sorted((replace(entry, without=without) for entry in taken), key=lambda entry: -entry.quality)


def require_charset(wanted: str | None) -> None:
    """The `charset` query parameter (PS3.18 8.8.1): UTF-8 must be among them. Raises NotAcceptable, BadRequest."""
    if wanted is None or not wanted.strip():
        return
    named = [item.partition(";") for item in wanted[:_MAX_FIELD_CHARS].split(",")]
    if not any(
        name.strip().lower() in _CHARSETS and not re.search(r"q=0(\.0*)?\s*$", rest)
        for name, _, rest in named
    ):
        raise NotAcceptable("expected UTF-8 among the character sets", ("charset=UTF-8",))


def file_forms(entries: Iterable[MediaType], *, single: bool) -> list[FileForm]:
    """The forms in which the peer takes DICOM files, best first; `single` where one instance is asked for.

    Raises NotAcceptable when it takes none.
    """
    found: dict[bool, dict[str, float]] = {}
    for entry in entries:
        syntax = entry.parameters.get("transfer-syntax")
        if entry.essence in ("*/*", "multipart/*"):
            multipart, syntax = True, syntax or AS_STORED
        elif entry.essence == "multipart/related" and _holds(entry, DICOM):
            multipart, syntax = True, syntax or EXPLICIT_LITTLE
        elif single and entry.essence in (DICOM, "application/*"):
            multipart, syntax = False, syntax or (EXPLICIT_LITTLE if entry.essence == DICOM else AS_STORED)
        else:
            continue
        if "multipart/related" not in entry.without or not multipart:
            found.setdefault(multipart, {}).setdefault(syntax, entry.quality)
    if not found:
        raise NotAcceptable("expected a media type of DICOM files", (FILES, FILE) if single else (FILES,))
    return [FileForm(multipart, syntaxes) for multipart, syntaxes in found.items()]


def choose_syntaxes(
    forms: Iterable[FileForm], stored: Iterable[str], convertible: Callable[[str, str], bool]
) -> tuple[FileForm, list[str]]:
    """The first form that carries everything, and the syntax of each instance. Raises NotAcceptable."""
    every = list(stored)
    for form in forms:
        chosen = [_choose(form.syntaxes, uid, convertible) for uid in every]
        if all(chosen):
            return form, chosen
    raise NotAcceptable("expected a transfer syntax that can be given", (FILES,))


def _choose(syntaxes: Mapping[str, float], stored: str, convertible: Callable[[str, str], bool]) -> str:
    """The syntax with the highest q that can be given, the stored one among equals; "" where there is none."""
    best, found = 0.0, ""
    for syntax, quality in syntaxes.items():
        uid = stored if syntax == AS_STORED else syntax
        fits = uid == stored or convertible(stored, uid)
        if fits and (quality > best or (quality == best and uid == stored)):
            best, found = quality, uid
    return found


def _holds(entry: MediaType, essence: str) -> bool:
    """Whether a multipart entry takes parts of this type; one that names no type takes any."""
    return entry.parameters.get("type", essence).lower() in (essence, "application/*", "*/*")


def require_model(entries: Iterable[MediaType]) -> str:
    """The form of metadata and search results: a JSON media type, or `XML_PARTS` (PS3.18 8.7.3.2).

    Raises NotAcceptable.
    """
    for entry in entries:
        if entry.covers(DICOM_JSON):
            return DICOM_JSON
        if entry.essence == "application/json":
            return "application/json"
        if entry.essence in _MULTIPART and _holds(entry, DICOM_XML):
            return XML_PARTS
    raise NotAcceptable("expected application/dicom+json", (DICOM_JSON, XML_PARTS))


def require_response(entries: Iterable[MediaType]) -> str:
    """The media type of a Store Instances Response (PS3.18 10.5.3): JSON or XML. Raises NotAcceptable."""
    for entry in entries:
        if entry.covers(DICOM_JSON) or entry.essence == "application/json":
            return DICOM_JSON
        if entry.essence in (DICOM_XML, "application/xml", "text/xml"):
            return DICOM_XML
    raise NotAcceptable("expected application/dicom+json or +xml", (DICOM_JSON, DICOM_XML))


def _split(field: str) -> Iterator[str]:
    """Split at commas outside quoted strings."""
    start, quoted, position = 0, False, 0
    while position < len(field):
        char = field[position]
        if char == "\\" and quoted:
            position += 1
        elif char == '"':
            quoted = not quoted
        elif char == "," and not quoted:
            yield field[start:position]
            start = position + 1
        position += 1
    yield field[start:]


def _media_type(text: str) -> MediaType:
    text = text.strip()
    match = _TYPE.match(text)
    if match is None or len(text) > _MAX_FIELD_CHARS:
        raise BadRequest("expected type/subtype")
    parameters: dict[str, str] = {}
    position = match.end()
    while position < len(text):
        rest = text[position:]
        if not rest.strip():
            break
        gap = len(rest) - len(rest.lstrip())
        if rest[gap] != ";":
            raise BadRequest("expected `;` between media type parameters")
        position += gap + 1
        if not text[position:].strip():
            break
        found = _PARAMETER.match(text, position)
        if found is None:
            raise BadRequest("expected name=value in a media type")
        name = found[1].lower()
        if name in parameters:
            raise BadRequest("expected each media type parameter once")
        parameters[name] = re.sub(r"\\(.)", r"\1", found[2]) if found[2] is not None else found[3]
        position = found.end()
    quality = parameters.pop("q", "1")
    if _QUALITY.fullmatch(quality) is None:
        raise BadRequest("expected q between 0 and 1")
    return MediaType(match[0].lower(), parameters, float(quality))
