"""The shape of an audit entry: canonical JSON and the pieces of a FHIR R4 AuditEvent (docs/formats.md 5.2).

Rules, in order:
1. Canonical JSON: UTF-8, keys sorted, no white space, no floats, no nulls, ASCII keys, integers below 2**53
   (the subset on which RFC 8785 and Python agree). `parse` accepts nothing else.
2. An entry is a FHIR AuditEvent (BALP-like), or a compact leaf with `kind`; both carry `ENTRY_VERSION`.
3. No personal data of patients. Patients, studies and objects appear by internal pseudonymous id (hex), staff
   by person id. Free text is refused: labels are short tokens. What a stranger sent (address, AE title)
   is kept when well-formed and else recorded as INVALID, so that nobody keeps his own refusal out of the log.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Final

from ribcage.evidence.errors import EntryInvalid
from ribcage.evidence.leaf import MAX_BODY_BYTES

ENTRY_VERSION: Final = 1
PROFILE: Final = f"urn:ribcage:audit-event:{ENTRY_VERSION}"
EVENT_SYSTEM: Final = "urn:ribcage:event"
DCM: Final = "http://dicom.nema.org/resources/ontology/DCM"
AUDIT_TYPE: Final = "http://terminology.hl7.org/CodeSystem/audit-event-type"
LIFECYCLE: Final = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle"
OBJECT_ROLE: Final = "http://terminology.hl7.org/CodeSystem/object-role"
ENTITY_TYPE: Final = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
SOURCE_TYPE: Final = "http://terminology.hl7.org/CodeSystem/security-source-type"
PURPOSES: Final = "http://terminology.hl7.org/CodeSystem/v3-ActReason"

MAX_SAFE_INTEGER = (1 << 53) - 1
MAX_DEPTH = 12

_TOKEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/@+-]{0,127}")
_AE_TITLE = re.compile(r"[\x21-\x5b\x5d-\x7e]([\x20-\x5b\x5d-\x7e]{0,14}[\x21-\x5b\x5d-\x7e])?")

Json = dict[str, "JsonValue"]
JsonValue = str | int | bool | list["JsonValue"] | Json


@dataclass(frozen=True)
class Stamp:
    """When (Unix milliseconds, UTC) and in which hospital (16 bytes) an entry was made."""

    recorded_ms: int
    hospital: bytes

    def recorded(self) -> str:
        """The FHIR instant, with milliseconds and `Z`."""
        return instant(self.recorded_ms)


def canonical(value: Json) -> bytes:
    """Encode an entry; raises `EntryInvalid` on a value outside the canonical subset or an over-long body."""
    _check_value(value, 0)
    try:
        body = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    except UnicodeEncodeError as error:
        raise EntryInvalid("an entry holds a lone surrogate") from error
    if len(body) > MAX_BODY_BYTES:
        raise EntryInvalid(f"expected an entry of at most {MAX_BODY_BYTES} bytes, got {len(body)}")
    return body


def parse(body: bytes) -> Json:
    """Decode a canonical entry of this version; raises `EntryInvalid` when it is not exactly that."""
    if len(body) > MAX_BODY_BYTES:
        raise EntryInvalid(f"expected an entry of at most {MAX_BODY_BYTES} bytes, got {len(body)}")
    try:
        value = json.loads(body.decode())
    except (ValueError, RecursionError) as error:
        raise EntryInvalid("an entry is not UTF-8 JSON") from error
    if not isinstance(value, dict) or canonical(value) != body:
        raise EntryInvalid("an entry is not canonical JSON")
    version = value.get("version")
    if "resourceType" in value:
        meta = value.get("meta")
        version = ENTRY_VERSION if isinstance(meta, dict) and meta.get("profile") == [PROFILE] else None
    if version != ENTRY_VERSION:
        raise EntryInvalid(f"expected an entry of version {ENTRY_VERSION}; read it with a newer Ribcage")
    return value


def instant(ms: int) -> str:
    """Unix milliseconds as a FHIR instant in UTC; raises `EntryInvalid` outside the years 1970 to 9999."""
    if not 0 <= ms < 253_402_300_800_000:
        raise EntryInvalid("expected a time in the years 1970 to 9999")
    seconds, rest = divmod(ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:03d}Z"


def token(text: str) -> str:
    """Pass a short ASCII label; raises `EntryInvalid` on anything else: no free text enters the log."""
    if not _TOKEN.fullmatch(text):
        raise EntryInvalid("expected a label of 1 to 128 ASCII letters, digits and _.:/@+-")
    return text


def identity(value: bytes) -> str:
    """An internal id (16 bytes) or a hash (32 bytes) as hex."""
    if len(value) not in (16, 32):
        raise EntryInvalid(f"expected an identifier of 16 or 32 bytes, got {len(value)}")
    return value.hex()


def count(value: int) -> str:
    """A non-negative number as FHIR `valueString`."""
    if not 0 <= value <= MAX_SAFE_INTEGER:
        raise EntryInvalid("expected a count of 0 to 2**53 - 1")
    return str(value)


def network(address: str) -> Json:
    """FHIR `agent.network`: an IP address (type 2), or a name (type 1): 'local' for '', else 'INVALID'."""
    try:
        return {"address": str(ip_address(address.partition("%")[0])), "type": "2"}
    except ValueError:
        return {"address": "INVALID" if address else "local", "type": "1"}


def ae_title(text: str) -> str:
    """An AE title as a label (PS3.5 6.2, at most 16 characters); anything else becomes 'INVALID'."""
    text = text.strip(" ")
    return text if _AE_TITLE.fullmatch(text) else "INVALID"


def coding(system: str, code: str, display: str = "") -> Json:
    """A FHIR Coding."""
    return {"system": system, "code": code, **({"display": display} if display else {})}


def detail(kind: str, value: str) -> Json:
    """A FHIR `entity.detail`."""
    return {"type": kind, "valueString": value}


def _check_value(value: object, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise EntryInvalid(f"an entry is nested deeper than {MAX_DEPTH}")
    if isinstance(value, dict):
        for key, each in value.items():
            if not isinstance(key, str) or not key.isascii():
                raise EntryInvalid("expected ASCII keys in an entry")
            _check_value(each, depth + 1)
    elif isinstance(value, list):
        for each in value:
            _check_value(each, depth + 1)
    elif isinstance(value, int):
        if abs(value) > MAX_SAFE_INTEGER:
            raise EntryInvalid("expected integers below 2**53 in an entry")
    elif not isinstance(value, str):
        raise EntryInvalid(f"an entry cannot hold {type(value).__name__}")
