"""Vectors of the emergency journal (docs/formats.md 9): slots with fixed nonces, and what their records say."""

from __future__ import annotations

import hashlib
from typing import Any

from ribcage.guard.emergency import Head, seal_head, seal_record
from ribcage.guard.emergency_records import ClosingRecord, GlassRecord, OpeningRecord, QueryRecord, encode

KEY, HOSPITAL = bytes(range(32)), bytes(range(16))
AT = 1_750_000_000.5
PERSON, PATIENT, STUDY, PERMIT, DISCLOSURE, SESSION = (bytes([n]) * 16 for n in range(1, 7))
RECORDS = (
    GlassRecord(
        at=AT,
        person=PERSON,
        address="192.0.2.7",
        identifier=PERMIT,
        patient=PATIENT,
        study=STUDY,
        resource=bytes(range(64, 96)),
        reason="system-failure",
        note=b"sealed",
        valid_until=AT + 14_400,
        counter=58_333_333,
        session=SESSION,
    ),
    OpeningRecord(
        at=AT + 1,
        person=PERSON,
        address="192.0.2.7",
        disclosure=DISCLOSURE,
        study=STUDY,
        patient=PATIENT,
        view="full",
        purpose="ETREAT",
        channel="dicomweb",
        instances=2,
        ledger_height=9,
        expires_at_ms=1_750_000_901_500,
    ),
    ClosingRecord(
        at=AT + 2,
        person=PERSON,
        address="192.0.2.7",
        disclosure=DISCLOSURE,
        study=STUDY,
        patient=PATIENT,
        instances=2,
        octets=1_000_000,
        ending="complete",
    ),
    QueryRecord(
        at=AT + 3,
        person=PERSON,
        address="192.0.2.7",
        channel="dicomweb",
        level="study",
        keywords=("PatientID",),
        studies=(STUDY,),
        records=1,
        more=False,
    ),
)


def make() -> dict[str, Any]:
    """A chain of records, and the head after them."""
    previous, slots = bytes(32), list[dict[str, Any]]()
    for number, record in enumerate(RECORDS):
        payload = encode(record)
        sealed = seal_record(KEY, HOSPITAL, number, previous, payload, _nonce=bytes([number]) * 12)
        slots.append(
            {"number": number, "previous": previous.hex(), "payload": payload.hex(), "slot": sealed.hex()}
        )
        previous = hashlib.sha256(sealed).digest()
    head = Head(5, 0, len(RECORDS), bytes(32), previous)
    return {
        "key": KEY.hex(),
        "hospital": HOSPITAL.hex(),
        "records": slots,
        "head": {
            "counter": 5,
            "first": 0,
            "following": len(RECORDS),
            "slot": seal_head(KEY, HOSPITAL, head, _nonce=b"\x09" * 12).hex(),
        },
    }
