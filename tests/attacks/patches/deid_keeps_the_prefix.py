"""De-identification keeps the preamble of the original."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from attacks.patches._put import Put
from ribcage.dicom.part10 import split
from ribcage.usage.deid.engine import Engine, Released


def apply(put: Put) -> None:
    real = Engine.release

    def release(engine: Engine, data: Any, **more: Any) -> Released:
        out = real(engine, data, **more)
        return replace(out, parts=(data[: split(data).prefix_bytes], *out.parts[1:]))

    put(Engine, "release", release)
