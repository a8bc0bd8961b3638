"""What stands for an identity in one project: keyed, the same in every file, not to be linked with another one.

Rules, in order (docs/formats.md, "De-identification"):
1. Everything is HMAC-SHA256 under a key derived from the project's key. Without it nothing can be computed or tested
   against a list of names; a hash without a key could be (PS3.15 E.1.1).
2. A patient is (Patient ID, issuer). An empty or placeholder ID means nobody: then each study is a patient.
3. A UID becomes `2.25.` and a UUID of version 8 (RFC 9562 5.8, PS3.5 B.2). UIDs of PS3.6 stay as they are.
4. Dates of a patient move by the same whole number of days, 1 to 3652 back: intervals and times of day stay.
"""

from __future__ import annotations

import re
from base64 import b32encode
from functools import lru_cache
from typing import Final, cast

from ribcage.crypto.blind import BlindIndex
from ribcage.crypto.derive import derive
from ribcage.dicom.pydicom_tables import pydicom_table

WELL_KNOWN: Final = frozenset(cast("dict[str, object]", pydicom_table("_uid_dict").UID_dictionary))
_PLACEHOLDERS: Final = frozenset(
    {"", "0", "00", "000", "0000", "1", "NONE", "NULL", "UNKNOWN", "UNKNOWN ID", "NO ID", "NA", "N/A", "ANONYMOUS",
     "ANON", "TEST", "XXX", "XXXX"}
)  # fmt: skip
_MOST_DAYS: Final = 3652
_VERSION_8, _VARIANT = 0x8 << 76, 0x2 << 62
_VERSION_MASK, _VARIANT_MASK = 0xF << 76, 0x3 << 62


class Pseudonyms:
    """Everything that is derived from one project's 32-byte key."""

    def __init__(self, project_key: bytes) -> None:
        self._tokens = BlindIndex(derive(project_key, "deid pseudonyms"))
        self.uid = lru_cache(maxsize=65536)(self._uid)
        self.days = lru_cache(maxsize=4096)(self._days)
        self.words = lru_cache(maxsize=4096)(self._words)
        self.name = lru_cache(maxsize=4096)(self._name)

    def token(self, kind: str, *parts: str) -> bytes:
        """32 bytes for these texts; no two lists of texts have the same."""
        encoded = [part.encode("utf-8", "surrogatepass") for part in parts]
        return self._tokens.exact(
            f"deid {kind}", b"".join(len(part).to_bytes(4, "big") + part for part in encoded)
        )

    def patient(self, patient_id: str, issuer: str, study_instance_uid: str) -> bytes:
        """The token of a patient (rule 2)."""
        if patient_id.strip().upper() in _PLACEHOLDERS:
            return self.token("study", study_instance_uid)
        return self.token("patient", patient_id.strip(), issuer.strip())

    def _name(self, patient: bytes) -> str:
        """Patient ID and Patient's Name of a patient: `P` and 16 characters A-Z, 2-7."""
        return "P" + b32encode(self._tokens.exact("deid name", patient)[:10]).decode("ascii")

    def _uid(self, uid: str) -> str:
        """The UID that stands for this one (rule 3)."""
        number = int.from_bytes(self._tokens.exact("deid uid", uid)[:16], "big")
        number = number & ~(_VERSION_MASK | _VARIANT_MASK) | _VERSION_8 | _VARIANT
        return f"2.25.{number}"

    def _days(self, patient: bytes) -> int:
        """By how many days this patient's dates move (rule 4); negative."""
        number = int.from_bytes(self._tokens.exact("deid days", patient)[:8], "big")
        return -1 - number % _MOST_DAYS

    def _words(self, name: str) -> frozenset[bytes]:
        """A token for each word of a name, to see whether two names have one in common."""
        words = set(re.split(r"[=^, ]+", name.casefold())) - {""}
        return frozenset(self.token("word", word) for word in words)

    def title(self, text: str) -> str:
        """What stands for an AE title: 16 characters at most."""
        return "AE" + b32encode(self.token("title", text)[:5]).decode("ascii")
