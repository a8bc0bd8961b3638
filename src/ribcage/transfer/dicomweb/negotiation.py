"""Media types and what the peer accepts (RFC 9110 12.5.1, PS3.18 8.7), sans-IO.

Rules, in order:
1. Parameter values may be quoted or not; `type=application/dicom` without quotes is in common use.
2. `application/dicom` without `transfer-syntax` means Explicit VR Little Endian; `*` means as stored
   (PS3.18 8.7.3.5). A peer that takes anything (`*/*`, or no Accept) takes objects as stored.
3. q=0 excludes. What cannot be given is refused with 406, never replaced by something else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from ribcage.transfer.dicomweb.errors import BadRequest, NotAcceptable, UnsupportedMedia

EXPLICIT_LITTLE: Final = "1.2.840.10008.1.2.1"
AS_STORED: Final = "*"
DICOM: Final = "application/dicom"
DICOM_JSON: Final = "application/dicom+json"
DICOM_XML: Final = "application/dicom+xml"

_MAX_FIELD_CHARS: Final = 8192
_MAX_ENTRIES: Final = 64
_TYPE: Final = re.compile(r"[!#$&^_.+\-0-9A-Za-z*]+/[!#$&^_.+\-0-9A-Za-z*]+")
_PARAMETER: Final = re.compile(
    r"""[ \t]*([!#$%&'*+\-.^_`|~0-9A-Za-z]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*))[ \t]*"""
)
_QUALITY: Final = re.compile(r"0(?:\.\d{0,3})?|1(?:\.0{0,3})?")


@dataclass(frozen=True, slots=True)
class MediaType:
    """A media type in lower case with its parameters; `quality` is 1.0 outside Accept."""

    essence: str
    parameters: Mapping[str, str]
    quality: float = 1.0


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
    return sorted((entry for entry in entries if entry.quality > 0), key=lambda entry: -entry.quality)


def acceptable_syntaxes(entries: Iterable[MediaType]) -> frozenset[str]:
    """Transfer syntax UIDs the peer takes inside multipart/related application/dicom; `AS_STORED` for any.

    Raises NotAcceptable when it does not take that media type at all.
    """
    syntaxes: set[str] = set()
    for entry in entries:
        if entry.essence in ("*/*", "multipart/*"):
            syntaxes.add(entry.parameters.get("transfer-syntax", AS_STORED))
        elif entry.essence == "multipart/related" and _holds_dicom(entry):
            syntaxes.add(entry.parameters.get("transfer-syntax") or EXPLICIT_LITTLE)
    if not syntaxes:
        raise NotAcceptable('expected multipart/related; type="application/dicom"')
    return frozenset(syntaxes)


def _holds_dicom(entry: MediaType) -> bool:
    return entry.parameters.get("type", DICOM).lower() in (DICOM, "application/*", "*/*")


def require_syntaxes(accepted: frozenset[str], stored: Iterable[str]) -> None:
    """Every stored transfer syntax must be accepted. Raises NotAcceptable."""
    if AS_STORED in accepted:
        return
    if any(uid not in accepted for uid in stored):
        raise NotAcceptable("expected transfer-syntax=* or the stored one")


def require_json(entries: Iterable[MediaType]) -> str:
    """The JSON media type to answer with (PS3.18 8.7.3.2). Raises NotAcceptable."""
    for entry in entries:
        if entry.essence in (DICOM_JSON, "application/*", "*/*"):
            return DICOM_JSON
        if entry.essence == "application/json":
            return "application/json"
    raise NotAcceptable("expected application/dicom+json")


def json_or_xml(entries: Iterable[MediaType]) -> Literal["json", "xml"]:
    """The form of a Store Instances Response (PS3.18 10.5.3). Raises NotAcceptable."""
    for entry in entries:
        if entry.essence in (DICOM_JSON, "application/json", "application/*", "*/*"):
            return "json"
        if entry.essence in (DICOM_XML, "application/xml", "text/xml"):
            return "xml"
    raise NotAcceptable("expected application/dicom+json or application/dicom+xml")


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
