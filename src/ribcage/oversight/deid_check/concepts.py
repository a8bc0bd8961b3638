"""UIDs in content items that an option keeps by the concept's name: the UIDREF rows of PS3.15 Table E.3.4-1 (2026c).

Rules, in order:
1. Only with Clean Structured Content: without it the items go.
2. Retain UIDs keeps what the table lists; Retain Device Identity keeps the device observer's and subject's.
3. What the table does not list is an attribute like others: Table E.1-1, (0040,A124).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ribcage.oversight.deid_check.reading import Element

_DEVICES: Final = frozenset(("121012", "121198"))
_LISTED: Final = _DEVICES | frozenset(
    (
        *("110180", "112002", "112040", "112227", "112356", "112357", "113503", "113769", "113985", "121018"),
        *("121019", "121028", "121039", "121126", "121232", "128425", "128429", "128470", "130885"),
    )
)
_UID, _CODE, _SCHEME = "(0040,A124)", "(0040,A043)[0](0008,0100)", "(0040,A043)[0](0008,0102)"


def kept_uids(elements: Mapping[str, Element], options: frozenset[str]) -> frozenset[str]:
    """The paths of UIDs that stay under these options."""
    if "clean_structured_content" not in options:
        return frozenset()
    listed = frozenset[str]()
    if "retain_uids" in options:
        listed = _LISTED
    elif "retain_device_identity" in options:
        listed = _DEVICES
    return frozenset(
        path
        for path in elements
        if path.endswith(f"]{_UID}")
        and _text(elements, path.removesuffix(_UID) + _SCHEME) == "DCM"
        and _text(elements, path.removesuffix(_UID) + _CODE) in listed
    )


def _text(elements: Mapping[str, Element], path: str) -> str:
    return "".join(elements[path].texts).strip() if path in elements else ""
