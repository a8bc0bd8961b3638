"""Vectors of `docs/formats.md` section 11: what stands for an identity in one project."""

from __future__ import annotations

from typing import Any

from ribcage.usage.deid.pseudonyms import Pseudonyms

KEY = bytes(range(32))


def make() -> dict[str, Any]:
    """One project, two patients, one study without a patient."""
    made = Pseudonyms(KEY)
    patients = [
        ("RB7734215", "", "1.2.3"),
        ("RB7734215", "HOSPITAL A", "1.2.3"),
        ("王小明", "", "1.2.3"),
        ("UNKNOWN", "", "1.2.3"),
    ]
    rows = []
    for patient_id, issuer, study in patients:
        token = made.patient(patient_id, issuer, study)
        rows.append(
            {
                "patient_id": patient_id,
                "issuer": issuer,
                "study_instance_uid": study,
                "token": token.hex(),
                "pseudonym": made.name(token),
                "days": made.days(token),
            }
        )
    return {
        "11_project": {
            "key_file": f"ribcage deid project 1\n{KEY.hex()}\n",
            "patients": rows,
            "uids": {uid: made.uid(uid) for uid in ("1.2.3", "1.2.840.99.7734215")},
            "titles": {title: made.title(title) for title in ("CT1", "ARCHIVE_A")},
        }
    }
