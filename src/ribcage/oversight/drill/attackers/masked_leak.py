"""A session that may see images but no names looks for names in everything it is given."""

from __future__ import annotations

from .kit import Brief, NotArmed, Result, ask, enter, fetch_study, load_seeds, run
from .search import Search


def attack(brief: Brief) -> Result:
    """Succeeds when an identity is in the delivered file, its metadata, a listing or a header."""
    cookie = enter(brief, brief["person"])
    study = fetch_study(brief, cookie)
    if study.status != 200 or b"DICM" not in study.body:
        raise NotArmed(f"expected the masked image, got HTTP {study.status}")
    search = Search(load_seeds(brief))
    uid = brief["study"]["study_uid"]
    answers = [study]
    for path in (
        f"/dicom-web/studies/{uid}/metadata",
        f"/dicom-web/studies/{uid}/series",
        f"/dicom-web/studies/{uid}/instances?includefield=all",
        f"/dicom-web/studies?StudyInstanceUID={uid}&includefield=all",
    ):
        answers.append(ask(brief, "GET", path, cookie=cookie, headers={"Accept": "application/dicom+json"}))
    for answer in answers:
        search.feed(answer.body, deflated=True)
        search.feed("\n".join(f"{name}: {value}" for name, value in answer.headers.items()).encode())
    total = sum(len(answer.body) for answer in answers)
    statuses = "/".join(str(answer.status) for answer in answers)
    return Result(bool(search.found), f"{len(search.found)} identities in {total} bytes (HTTP {statuses})")


if __name__ == "__main__":
    run(attack)
