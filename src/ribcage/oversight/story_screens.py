"""The last acts of the demonstration: what a doctor sees on the screen, and what the patient does about it.

The composition root supplies `Screens`, in a browser or over HTTP; the words and what must be true stand here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Seen:
    """What stands on the doctor's screen, or came in its place."""

    picture: bool
    named: bool  # the patient's name is on it
    seconds: float  # from the act that led here


@dataclass(frozen=True)
class Told:
    """What the patient's page says: accesses listed, and whether the doctor's is among them."""

    accesses: int
    by_doctor: bool


class Screens(Protocol):
    """A doctor's screen and a patient's telephone."""

    @property
    def missing(self) -> str:
        """Why no browser is shown, '' where one is."""

    def open_film(self) -> Seen:
        """The doctor, with a grant and a password, opens the film."""

    def prove(self) -> Seen:
        """The doctor proves the second factor; the film as it stands then."""

    def withdraw(self) -> Seen:
        """The grant is revoked; the screen as it stands then."""

    def open_again(self) -> Seen:
        """A new grant, and the film once more."""

    def patient_enters(self) -> Told:
        """The patient comes in with an invitation and the birth date, and reads."""

    def patient_stops(self) -> Seen:
        """The patient says stop; the doctor's screen as it stands then."""

    def patient_allows(self) -> None:
        """The patient takes it back."""


class Hearer(Protocol):
    """What of `oversight.story.Teller` is spoken to."""

    def act(self, english: str, chinese: str) -> None:
        """A heading."""

    def check(self, text: str, holds: bool) -> None:
        """A statement and whether it holds."""

    def note(self, text: str) -> None:
        """A quieter line."""


def tell_screens(screens: Screens, teller: Hearer) -> None:
    """Act 6 and act 7."""
    missing = screens.missing
    where, place = ("OHIF in Chromium", "the page") if not missing else ("asked over HTTPS", "the answer")
    teller.act("Act 6: on the doctor's screen", "第六幕：医生的屏幕")
    if missing:
        teller.note(f"no browser is shown here: {missing}; the same is asked over HTTPS")
    seen = screens.open_film()
    masked = seen.picture and not seen.named
    teller.check(f"{where}: the film, masked, no name on {place}, {seen.seconds:.1f} s", masked)
    seen = screens.prove()
    whole = seen.picture and seen.named
    teller.check(f"after the second factor: the film with the patient's name, {seen.seconds:.1f} s", whole)
    seen = screens.withdraw()
    gone = "the picture is covered" if not missing else "no picture"
    teller.check(f"the grant is revoked: {gone} after {seen.seconds:.1f} s", not seen.picture)
    teller.act("Act 7: the patient's telephone", "第七幕：患者的手机")
    seen = screens.open_again()
    teller.check("a new grant: the doctor looks again", seen.picture)
    told = screens.patient_enters()
    teller.check(
        f"invitation and birth date open the patient's page: {told.accesses} accesses, this doctor's among them",
        told.by_doctor,
    )
    seen = screens.patient_stops()
    teller.check(f"the patient says stop: {gone} after {seen.seconds:.1f} s", not seen.picture)
    screens.patient_allows()
