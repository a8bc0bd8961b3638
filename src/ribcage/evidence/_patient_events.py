"""Events about a patient's own way into the list of disclosures (PS3.15 A.5.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from ribcage.evidence._agents import MINOR, SUCCESS, Actor, audit_event, patient_entity
from ribcage.evidence._image_events import ALERT
from ribcage.evidence.entry import DCM, Json, Stamp, coding, count, detail, token

AccessChange = Literal[
    "invited", "entered", "wrong-birth-date",
    "passkey-added", "passkey-removed", "passkey-used", "passkey-refused", "left",
]  # fmt: skip
_AUTHENTICATION: Final = coding(DCM, "110114", "User Authentication")  # A.5.3.12
_LOGIN, _LOGOUT = ("110122", "Login"), ("110123", "Logout")
_USER_ATTRIBUTES = ("110137", "User Security Attributes Changed")
_COMING_AND_GOING: Final = {
    "entered": _LOGIN,
    "wrong-birth-date": _LOGIN,
    "passkey-used": _LOGIN,
    "passkey-refused": _LOGIN,
    "left": _LOGOUT,
}
_FAILED: Final = frozenset({"wrong-birth-date", "passkey-refused"})


@dataclass(frozen=True)
class PatientAccessChanged:
    """An invitation was made, used or tried in vain; a passkey came, went or was used; the patient left.

    `until_ms`: how long an invitation is good.
    """

    actor: Actor
    patient: bytes
    change: AccessChange
    until_ms: int = 0

    def to_entry(self, stamp: Stamp) -> Json:
        """PS3.15 A.5.3.12 for coming and going, A.5.3.11 for what opens the way."""
        (whose,) = patient_entity(self.patient)
        whose["detail"] = [
            detail("change", token(self.change)),
            *([detail("until", count(self.until_ms))] if self.until_ms else []),
        ]
        step = _COMING_AND_GOING.get(self.change)
        return audit_event(
            stamp,
            kind="patient-access",
            event=_AUTHENTICATION if step else ALERT,
            action="E",
            actor=self.actor,
            subtypes=[step or _USER_ATTRIBUTES],
            outcome=MINOR if self.change in _FAILED else SUCCESS,
            entities=[whose],
        )
