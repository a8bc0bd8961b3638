"""The demonstration's doctor and patient: what the house does for them, and both over HTTPS without a browser."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from ribcage.cli.drill import Ground
from ribcage.cli.errors import UsageError
from ribcage.guard import protocol as p
from ribcage.oversight.drill.attackers import kit
from ribcage.oversight.drill.attackers.replayed_code import totp
from ribcage.oversight.drill.attackers.search import Search
from ribcage.oversight.drill.target import Login
from ribcage.oversight.story_screens import Seen, Told
from ribcage.oversight.studies import Study

ISSUER = "RIBCAGE DEMO"
_JSON = {"Content-Type": "application/json", "User-Agent": "Ribcage-Demo/1"}
_Given = TypeVar("_Given")


@dataclass(frozen=True)
class Invitation:
    """The patient's way in; the token works once."""

    address: str
    token: str
    birth_date: str  # YYYY-MM-DD


class Cast:
    """A doctor of these acts alone, the film, and what the operator does for both."""

    def __init__(self, ground: Ground, film: Study, name: str = "reader") -> None:
        self.ground = ground
        self.film = film
        self.doctor: Login = ground.add_person(name)
        ground.people[name] = self.doctor
        self._grant = -1

    @property
    def base(self) -> str:
        """The archive's origin. WebAuthn wants a name."""
        return f"https://localhost:{self.ground.web.port}"

    def grant(self) -> None:
        """The film for the doctor."""
        self._grant = _aside(lambda: self.ground.grant(self.doctor.username, self.film.study_uid))

    def revoke(self) -> None:
        """Take that grant back."""
        _aside(lambda: self.ground.ask(p.RevokeGrant(grant_id=self._grant), p.Noted))

    def code(self) -> str:
        """The doctor's code of this half minute."""
        return totp(self.doctor.totp_secret, int(time.time() // 30))

    def invite(self) -> Invitation:
        """A fresh invitation for the film's patient."""
        whom = f"{self.film.identity.patient_id}|{ISSUER}"
        made = _aside(lambda: self.ground.ask(p.InvitePatient(patient=whom, days=1), p.PatientInvited))
        born = self.film.identity.birth_date
        date = f"{born[:4]}-{born[4:6]}-{born[6:]}"
        return Invitation(f"{self.base}/patient#{made.token}", made.token, date)


def _aside(work: Callable[[], _Given]) -> _Given:
    """Run what needs an event loop of its own: the thread that drives a browser has one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


class SpokenScreens:
    """Both over HTTPS: what a viewer and the patient's page would ask for. `missing` says why."""

    def __init__(self, cast: Cast, missing: str) -> None:
        self.missing = missing
        self._cast = cast
        self._doctor = ("", "")
        self._patient = ("", "")

    def open_film(self) -> Seen:
        """Log in, and ask."""
        self._cast.grant()
        started = time.perf_counter()
        self._doctor = kit.log_in(self._brief(), vars(self._cast.doctor))
        return self._look(started)

    def prove(self) -> Seen:
        """With this half minute's code. Raises UsageError when it is refused."""
        started = time.perf_counter()
        status = kit.step_up(self._brief(), self._doctor, self._cast.code())
        if status >= 300:
            raise UsageError(f"the second factor was refused (HTTP {status})", "is the clock right?")
        return self._look(started)

    def withdraw(self) -> Seen:
        """Revoke, and ask again."""
        started = time.perf_counter()
        self._cast.revoke()
        return self._look(started)

    def open_again(self) -> Seen:
        """Grant, and ask again."""
        self._cast.grant()
        return self._look(time.perf_counter())

    def patient_enters(self) -> Told:
        """The invitation's token and the birth date, then the list. Raises UsageError when they are refused."""
        invitation = self._cast.invite()
        body = {"token": invitation.token, "birth_date": invitation.birth_date}
        answer = self._post("/api/patient/enter", body, None)
        if answer.status != 200 or not answer.cookies:
            raise UsageError(
                f"the invitation was refused (HTTP {answer.status})", "look into the server's log"
            )
        self._patient = next(iter(answer.cookies.items()))
        listed = kit.ask(
            self._brief(), "GET", "/api/patient/disclosures", headers=_JSON, cookie=self._patient
        )
        rows = json.loads(listed.body)["disclosures"]
        return Told(len(rows), any(self._cast.doctor.username in json.dumps(row) for row in rows))

    def patient_stops(self) -> Seen:
        """Object to everybody, and have the doctor ask again."""
        started = time.perf_counter()
        self._object(standing=True)
        return self._look(started)

    def patient_allows(self) -> None:
        """Withdraw the objection."""
        self._object(standing=False)

    def _object(self, *, standing: bool) -> None:
        body = {"subject": "*", "standing": standing}
        answer = self._post("/api/patient/objection", body, self._patient)
        if answer.status >= 300:
            raise UsageError(
                f"the objection was refused (HTTP {answer.status})", "look into the server's log"
            )

    def _look(self, started: float) -> Seen:
        """Metadata and picture, as a viewer asks for them."""
        film = self._cast.film
        place = f"/dicom-web/studies/{film.study_uid}/series/{film.series_uid}/instances/{film.instance_uid}"
        kinds = (("metadata", "application/dicom+json"), ("rendered", "image/jpeg"))
        head, picture = (
            kit.ask(self._brief(), "GET", f"{place}/{name}", headers={"Accept": kind}, cookie=self._doctor)
            for name, kind in kinds
        )
        search = Search([film.identity.needles()])
        search.feed(head.body)
        shown = picture.status == 200 and picture.body.startswith(b"\xff\xd8")
        return Seen(shown, bool(search.found), time.perf_counter() - started)

    def _post(self, path: str, body: dict[str, Any], cookie: tuple[str, str] | None) -> kit.Answer:
        web = self._brief()["web"]
        headers = {**_JSON, "Origin": f"https://{web['host']}:{web['port']}"}
        return kit.ask(
            self._brief(), "POST", path, body=json.dumps(body).encode(), headers=headers, cookie=cookie
        )

    def _brief(self) -> dict[str, Any]:
        return self._cast.ground.holdings().brief("study")
