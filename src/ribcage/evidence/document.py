"""A signed note of one document: a title line, then canonical JSON on one line (docs/formats.md 5.6, 5.12)."""

from __future__ import annotations

from ribcage.evidence.entry import Json, parse
from ribcage.evidence.errors import CheckpointForged, NoteMalformed
from ribcage.evidence.note import Note, VerifierKey


def read_document(note: bytes, key: VerifierKey | str, title: str, names: tuple[str, str]) -> Json:
    """The document signed by `key`; `names`: what it is, short and whole, for errors.

    Raises NoteMalformed, CheckpointForged, EntryInvalid.
    """
    short, whole = names
    parsed = Note.parse(note)
    parsed.verify(VerifierKey.parse(key) if isinstance(key, str) else key)
    found, _, rest = parsed.text.partition("\n")
    if found != title:
        raise CheckpointForged(f"the note is no {whole}")
    if rest.count("\n") != 1:
        raise NoteMalformed(f"expected one line of JSON under the {short}'s title")
    return parse(rest.rstrip("\n").encode())
