"""The manifest of a backup: what was copied, of which state of the archive (docs/formats.md 5.9).

Rules, in order:
1. It is a signed note by the log's key: a title line, then canonical JSON on one line.
2. It names every file of its generation with size and SHA-256; the sealed objects stand in the list `objects.txt`,
   one line each, so that the manifest stays small.
3. It names the manifest before it by the hash of its note, '' for the first.
4. File names are of a closed list: nothing else is ever read from a backup or written to a home.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from ribcage.evidence.checkpoint import CheckpointSigner
from ribcage.evidence.entry import ENTRY_VERSION, Json, JsonValue, canonical, identity, instant, parse
from ribcage.evidence.errors import CheckpointForged, NoteMalformed
from ribcage.evidence.note import Note, VerifierKey

TITLE = "ribcage backup v1"
DATABASE, FACTS, SETTINGS, OBJECTS = "ribcage.db", "home.json", "settings.toml", "objects.txt"
FILES = (DATABASE, FACTS, OBJECTS, SETTINGS)
_FIELDS = {
    "checkpoint",
    "files",
    "generation",
    "hospital",
    "key_epoch",
    "ledger_height",
    "log_epoch",
    "log_size",
    "ms",
    "objects",
    "octets",
    "previous",
    "version",
}
_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class FileFacts:
    """One file: its size and the SHA-256 of its bytes (32 bytes)."""

    octets: int
    sha256: bytes


@dataclass(frozen=True)
class Manifest:
    """One generation. `checkpoint`: the newest signed head in the database's copy, of `log_size` entries.

    `time_ms`: Unix milliseconds of the database's copy. `objects`, `octets`: number and bytes of sealed objects.
    """

    hospital: bytes
    generation: int
    time_ms: int
    checkpoint: bytes
    log_size: int
    log_epoch: int
    ledger_height: int
    key_epoch: int
    objects: int
    octets: int
    files: dict[str, FileFacts]
    previous: str = ""

    def text(self) -> str:
        """The note's text. Raises `EntryInvalid`."""
        files: Json = {
            name: {"octets": facts.octets, "sha256": identity(facts.sha256)}
            for name, facts in self.files.items()
        }
        document: Json = {
            "checkpoint": self.checkpoint.decode(),
            "files": files,
            "generation": self.generation,
            "hospital": identity(self.hospital),
            "key_epoch": self.key_epoch,
            "ledger_height": self.ledger_height,
            "log_epoch": self.log_epoch,
            "log_size": self.log_size,
            "ms": self.time_ms,
            "objects": self.objects,
            "octets": self.octets,
            "previous": self.previous,
            "version": ENTRY_VERSION,
        }
        instant(self.time_ms)
        return f"{TITLE}\n{canonical(document).decode()}\n"


def parse_manifest(text: str) -> Manifest:
    """Read a manifest's text. Raises `EntryInvalid`, `NoteMalformed`. Who signed it is another question."""
    title, _, rest = text.partition("\n")
    if title != TITLE or rest.count("\n") != 1:
        raise NoteMalformed(f"expected the title line {TITLE!r} and one line of JSON")
    value = parse(rest.removesuffix("\n").encode())
    files = value.get("files")
    if set(value) != _FIELDS or not isinstance(files, dict) or set(files) != set(FILES):
        raise NoteMalformed("a backup manifest has other fields than docs/formats.md gives it")
    previous = _text(value["previous"])
    if previous and not _HEX.fullmatch(previous):
        raise NoteMalformed("expected the hash of the manifest before, or nothing")
    manifest = Manifest(
        hospital=_octets(value["hospital"], 16),
        generation=_number(value["generation"]),
        time_ms=_number(value["ms"]),
        checkpoint=_text(value["checkpoint"]).encode(),
        log_size=_number(value["log_size"]),
        log_epoch=_number(value["log_epoch"]),
        ledger_height=_number(value["ledger_height"]),
        key_epoch=_number(value["key_epoch"]),
        objects=_number(value["objects"]),
        octets=_number(value["octets"]),
        files={name: _file(facts) for name, facts in files.items()},
        previous=previous,
    )
    if manifest.text() != text:
        raise NoteMalformed("a backup manifest is not spelled as we write it")
    return manifest


def sign_manifest(manifest: Manifest, signer: CheckpointSigner) -> bytes:
    """The signed note."""
    return signer.sign_text(manifest.text())


def read_manifest(note: bytes, keys: list[str]) -> Manifest:
    """The manifest signed by one of this archive's keys.

    Raises `NoteMalformed`, `EntryInvalid`, or `CheckpointForged` for a signature by nobody we know: a backup of
    another hospital, or a changed one.
    """
    parsed = Note.parse(note)
    known = [VerifierKey.parse(each) for each in keys]
    signed = [each for each in known if parsed.by(each)]
    if not signed:
        raise CheckpointForged(
            "the manifest is not signed by this archive: it is another hospital's, or changed"
        )
    for each in signed:
        parsed.verify(each)
    return parse_manifest(parsed.text)


def manifest_hash(note: bytes) -> str:
    """How the next manifest, the log and a restore name this one."""
    return hashlib.sha256(note).hexdigest()


def _file(value: JsonValue) -> FileFacts:
    if not isinstance(value, dict) or set(value) != {"octets", "sha256"}:
        raise NoteMalformed("a file of a backup manifest has octets and sha256")
    return FileFacts(_number(value["octets"]), _octets(value["sha256"], 32))


def _number(value: JsonValue) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise NoteMalformed("expected a non-negative number in a backup manifest")
    return value


def _text(value: JsonValue) -> str:
    if not isinstance(value, str):
        raise NoteMalformed("expected text in a backup manifest")
    return value


def _octets(value: JsonValue, length: int) -> bytes:
    try:
        found = bytes.fromhex(_text(value))
    except ValueError:
        raise NoteMalformed("expected hexadecimal digits in a backup manifest") from None
    if len(found) != length:
        raise NoteMalformed(f"expected {length} bytes in a backup manifest, got {len(found)}")
    return found
