"""Parsers that take their time over what they do not understand: each refusal blocks the front for a while."""

from __future__ import annotations

import threading
from typing import Any

from attacks.patches._put import Put
from ribcage.capture import admit
from ribcage.capture.errors import AdmissionError
from ribcage.dicom import upper_layer
from ribcage.dicom.errors import DicomError

_SECONDS = 20


def _slow(parse: Any) -> Any:
    def slow(*arguments: Any, **named: Any) -> Any:
        try:
            return parse(*arguments, **named)
        except (DicomError, AdmissionError):
            threading.Event().wait(_SECONDS)
            raise

    return slow


def apply(put: Put) -> None:
    for name in ("parse_header", "parse_body"):
        put(upper_layer, name, _slow(getattr(upper_layer, name)))
    put(admit, "inspect", _slow(admit.inspect))
