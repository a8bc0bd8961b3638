"""Somebody on the network who knows nothing but the address and an AE title speaks plain DICOM."""

from __future__ import annotations

from pathlib import Path

from .dicom import (
    EXPLICIT_LE,
    IMPLICIT_LE,
    STUDY_ROOT_FIND,
    VERIFICATION,
    everybody,
    open_association,
    split_file,
)
from .kit import Brief, GaveUp, Result, plain, run


def attack(brief: Brief) -> Result:
    """Succeeds when C-ECHO, C-FIND or C-STORE is served without TLS."""
    film = split_file(Path(brief["files"][0]).read_bytes())
    contexts = [(VERIFICATION, IMPLICIT_LE), (STUDY_ROOT_FIND, EXPLICIT_LE), (film.sop_class, film.syntax)]
    calling = str(brief["known_ae"])
    association = open_association(brief, calling, contexts, tls=False)
    served: list[str] = []
    try:
        if association.echo() == 0:
            served.append("C-ECHO")
        if association.find(everybody()):
            served.append("C-FIND")
        if association.store(film) == 0:
            served.append("C-STORE")
    except (GaveUp, OSError) as failure:
        return Result(bool(served), f"served: {', '.join(served) or 'nothing'}; then {plain(failure)}")
    finally:
        association.release()
    return Result(bool(served), f"associated in clear as {calling}; served: {', '.join(served) or 'nothing'}")


if __name__ == "__main__":
    run(attack)
