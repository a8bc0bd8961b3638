"""The tables that stand here are pydicom's, and reading them loads nothing else of pydicom."""

from __future__ import annotations

import subprocess
import sys

from pydicom.charset import CODES_TO_ENCODINGS, ENCODINGS_TO_CODES, python_encoding
from pydicom.datadict import dictionary_VR

from ribcage.dicom import identifier, values
from ribcage.dicom.dictionary import vr_of


def test_character_sets_and_vrs_are_those_of_pydicom() -> None:
    assert python_encoding == values._CODECS
    assert values.ESCAPES == CODES_TO_ENCODINGS
    assert identifier._ESCAPES == ENCODINGS_TO_CODES
    assert vr_of(0x00100010) == dictionary_VR(0x00100010)


def test_the_scanner_and_de_identification_load_no_codecs() -> None:
    code = "import sys; import ribcage.cli.deid; print(sorted({'pydicom', 'numpy', 'sqlalchemy'} & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
