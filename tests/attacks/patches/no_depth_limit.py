"""Data sets may be nested without end."""

from __future__ import annotations

from functools import partial

from attacks.patches._put import Put
from ribcage.cli import front_process
from ribcage.dicom.scan import ScanLimits
from ribcage.transfer.limits import FrontSettings


def apply(put: Put) -> None:
    put(front_process, "FrontSettings", partial(FrontSettings, scan=ScanLimits(max_depth=1 << 20)))
