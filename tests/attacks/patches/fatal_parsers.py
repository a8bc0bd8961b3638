"""Parsers whose faults are fatal, in one process with everything else: the first lie ends the archive."""

from __future__ import annotations

import os
import signal
from typing import Any

from attacks.patches._put import Put
from ribcage.capture import admit
from ribcage.capture.errors import AdmissionError
from ribcage.dicom import upper_layer
from ribcage.dicom.errors import DicomError


def _fatal(parse: Any) -> Any:
    def fatal(*arguments: Any, **named: Any) -> Any:
        try:
            return parse(*arguments, **named)
        except (DicomError, AdmissionError):
            os.kill(os.getppid(), signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)
            raise

    return fatal


def apply(put: Put) -> None:
    for name in ("parse_header", "parse_body"):
        put(upper_layer, name, _fatal(getattr(upper_layer, name)))
    put(admit, "inspect", _fatal(admit.inspect))
