"""The Store Instances Response Module as JSON or XML (PS3.18 10.5.3, Annex I), sans-IO.

Status: 200 all stored, 202 some or with warnings, 409 none though well-formed (PS3.18 table 10.5.3-1). Failure
reasons are DIMSE statuses (PS3.4 table B.2-1), taken from the error's class.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Final

from ribcage.dicom.json_model import Json
from ribcage.dicom.native_model import to_native_model

CANNOT_UNDERSTAND: Final = 0xC000
COERCED: Final = 0xB000  # Coercion of Data Elements (PS3.18 I.2.1)

Element = tuple[int, str, "list[str | int | list[Element]]"]  # tag, VR, values; items for SQ
_MAX_UNNAMED: Final = 1000


@dataclass(frozen=True, slots=True)
class Named:
    """SOP class and instance; study, series and Warning Reason only of what was stored."""

    sop_class_uid: str
    sop_instance_uid: str
    study: str = ""
    series: str = ""
    warning: int = 0


@dataclass
class StoreReport:
    """What became of each part of one request."""

    stored: list[Named] = field(default_factory=list)
    failed: list[tuple[Named, int]] = field(default_factory=list)
    unnamed: list[int] = field(default_factory=list)  # parts that could not be read far enough

    @property
    def failures(self) -> int:
        """Parts that were not stored."""
        return len(self.failed) + len(self.unnamed)

    @property
    def status(self) -> int:
        """200, 202 or 409 (PS3.18 table 10.5.3-1)."""
        if not self.stored:
            return 409
        return 202 if self.failures or any(named.warning for named in self.stored) else 200

    def studies(self) -> dict[str, int]:
        """Stored instances by Study Instance UID, for the closing entry."""
        counts: dict[str, int] = {}
        for named in self.stored:
            counts[named.study] = counts.get(named.study, 0) + 1
        return counts


def encode(report: StoreReport, base: str, *, xml: bool = False) -> bytes:
    """The response body; `base` is the service's URL."""
    model = _as_json(_module(report, base))
    return to_native_model(model) if xml else json.dumps(model).encode()


def _module(report: StoreReport, base: str) -> list[Element]:
    elements: list[Element] = []
    studies = report.studies()
    if len(studies) == 1:
        elements.append((0x00081190, "UR", [f"{base}/studies/{next(iter(studies))}"]))
    if report.failed:
        elements.append(
            (0x00081198, "SQ", [[*_named(n), (0x00081197, "US", [why])] for n, why in report.failed])
        )
    if report.stored:
        elements.append((0x00081199, "SQ", [_stored(n, base) for n in report.stored]))
    if report.unnamed:
        reasons = report.unnamed[:_MAX_UNNAMED]
        elements.append((0x0008119A, "SQ", [[(0x00081197, "US", [why])] for why in reasons]))
    return elements


def _named(named: Named) -> list[Element]:
    return [(0x00081150, "UI", [named.sop_class_uid]), (0x00081155, "UI", [named.sop_instance_uid])]


def _stored(named: Named, base: str) -> list[Element]:
    warning: list[Element] = [(0x00081196, "US", [named.warning])] if named.warning else []
    return [*_named(named), _url(named, base), *warning]


def _url(named: Named, base: str) -> Element:
    url = f"{base}/studies/{named.study}/series/{named.series}/instances/{named.sop_instance_uid}"
    return (0x00081190, "UR", [url])


def _as_json(elements: list[Element]) -> dict[str, Json]:
    return {
        f"{tag:08X}": {"vr": vr, "Value": [_as_json(v) if isinstance(v, list) else v for v in values]}
        for tag, vr, values in elements
    }
