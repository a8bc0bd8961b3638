"""A PDU may announce any length."""

from __future__ import annotations

from functools import partial

from attacks.patches._put import Put
from ribcage.cli import front_process
from ribcage.dicom.limits import UpperLayerLimits
from ribcage.transfer.limits import FrontSettings


def apply(put: Put) -> None:
    limits = UpperLayerLimits(max_association_pdu_bytes=1 << 30)
    put(front_process, "FrontSettings", partial(FrontSettings, upper_layer=limits))
