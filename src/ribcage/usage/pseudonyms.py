"""The patient as the masked view calls them: made of the Study Instance UID, which that view shows anyway.

All instances of a study have the same pseudonym, and two studies of a patient have different ones.
"""

from __future__ import annotations

import hashlib

_LABEL = b"ribcage masked view\0"


def masked_name(study_instance_uid: str) -> str:
    """Patient's Name in the masked view of a study."""
    return f"Masked^{_pseudonym(study_instance_uid)}"


def masked_id(study_instance_uid: str) -> str:
    """Patient ID in the masked view of a study."""
    return f"MASKED-{_pseudonym(study_instance_uid)}"


def _pseudonym(study_instance_uid: str) -> str:
    """Six hexadecimal digits for one study."""
    return hashlib.sha256(_LABEL + study_instance_uid.encode()).hexdigest()[:6]
