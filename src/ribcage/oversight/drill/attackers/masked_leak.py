"""A session that may see images but no names looks for names in everything it is given, as files and as a viewer."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Iterator

from .kit import Answer, Brief, NotArmed, Result, ask, enter, fetch_study, load_seeds, run
from .search import Search

_JSON = "application/dicom+json"
_FRAME = 'multipart/related; type="application/octet-stream"; transfer-syntax=*'
_VALUE = 'multipart/related; type="application/octet-stream", */*'
_MOST_VALUES = 40


def attack(brief: Brief) -> Result:
    """Succeeds when an identity is in the delivered file, its metadata, a frame, a picture, a listing or a header."""
    cookie = enter(brief, brief["person"])
    study = fetch_study(brief, cookie)
    if study.status != 200 or b"DICM" not in study.body:
        raise NotArmed(f"expected the masked image, got HTTP {study.status}")
    search = Search(load_seeds(brief))
    answers = [study, *_viewed(brief, cookie)]
    for answer in answers:
        search.feed(answer.body, deflated=True)
        search.feed("\n".join(f"{name}: {value}" for name, value in answer.headers.items()).encode())
    total = sum(len(answer.body) for answer in answers)
    given = sum(answer.status == 200 for answer in answers)
    return Result(
        bool(search.found),
        f"{len(search.found)} identities in {total} bytes ({given} of {len(answers)} answers with HTTP 200)",
    )


def _viewed(brief: Brief, cookie: tuple[str, str]) -> Iterator[Answer]:
    """Lists, metadata, frames, pictures, and each value that the metadata give an address. Raises NotArmed."""
    place = brief["study"]
    study = f"/dicom-web/studies/{place['study_uid']}"
    series = f"{study}/series/{place['series_uid']}"
    instance = f"{series}/instances/{place['instance_uid']}"
    for path, accept in (
        (f"{study}/series", _JSON),
        (f"{study}/instances?includefield=all", _JSON),
        (f"/dicom-web/studies?StudyInstanceUID={place['study_uid']}&includefield=all", _JSON),
        (f"{study}/metadata", _JSON),
        (f"{series}/metadata", _JSON),
        (f"{instance}/frames/1", _FRAME),
        (f"{instance}/rendered", "image/jpeg"),
        (f"{instance}/frames/1/rendered", "image/png"),
        (f"{instance}/thumbnail", "image/jpeg"),
        (f"{study}/thumbnail", "image/jpeg"),
    ):
        yield ask(brief, "GET", path, cookie=cookie, headers={"Accept": accept})
    metadata = ask(brief, "GET", f"{instance}/metadata", cookie=cookie, headers={"Accept": _JSON})
    yield metadata
    if metadata.status != 200:
        raise NotArmed(f"expected metadata, got HTTP {metadata.status}")
    for address in list(_addresses(json.loads(metadata.body)))[:_MOST_VALUES]:
        path = urllib.parse.urlsplit(urllib.parse.urljoin(f"{study}/", address)).path
        yield ask(brief, "GET", path, cookie=cookie, headers={"Accept": _VALUE})


def _addresses(value: object) -> Iterator[str]:
    """Every BulkDataURI in a JSON model."""
    if isinstance(value, dict):
        if "BulkDataURI" in value:
            yield str(value["BulkDataURI"])
        for each in value.values():
            yield from _addresses(each)
    elif isinstance(value, list):
        for each in value:
            yield from _addresses(each)


if __name__ == "__main__":
    run(attack)
