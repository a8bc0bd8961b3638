"""Attacks by STOW-RS of metadata and bulk data: each makes bytes out of nothing, or of what was never sent."""

from __future__ import annotations

from pathlib import Path

from ribcage.dicom.errors import DicomError
from ribcage.dicom.model_writing import text_of
from ribcage.dicom.native_reading import read_native_model
from ribcage.transfer.dicomweb.limits import WebLimits
from ribcage.transfer.dicomweb.store_metadata import Assembly, Draft, Unfit

_LINES = 12
_BOMB = (
    b'<!DOCTYPE n [<!ENTITY a0 "0123456789">'
    + b"".join(b'<!ENTITY a%d "&a%d;&a%d;">' % (n, n - 1, n - 1) for n in range(1, _LINES))
    + b']><NativeDicomModel><DicomAttribute tag="00081030" vr="LO"><Value number="1">&a%d;</Value>'
    % (_LINES - 1)
    + b"</DicomAttribute></NativeDicomModel>"
)


def entity_bomb(_: Path) -> bool:
    """XML whose entities double and double: a text far longer than what was sent."""
    try:
        model = read_native_model(_BOMB, 32, 1000)
    except DicomError:
        return False
    return len(text_of(model, 0x00081030)) > 10 * len(_BOMB)


def a_million_values(_: Path) -> bool:
    """Metadata of commas: each byte becomes an object."""
    assembly = Assembly(WebLimits(), xml=False)
    raw = b'[{"00280010":{"vr":"US","Value":[1' + b",1" * 1_100_000 + b"]}}]"
    try:
        assembly.cost(raw)
        return any(isinstance(each, Draft) for each in assembly.take_metadata(raw))
    except Unfit:
        return False
