"""Mutual TLS with a certificate of an authority that the archive does not know."""

from __future__ import annotations

from .dicom import IMPLICIT_LE, VERIFICATION, open_association
from .kit import Brief, Result, run


def attack(brief: Brief) -> Result:
    """Succeeds when the association is accepted and C-ECHO answered."""
    pair = {"certificate": brief["own"]["certificate"], "key": brief["own"]["key"]}
    association = open_association(brief, brief["known_ae"], [(VERIFICATION, IMPLICIT_LE)], pair, tls=True)
    status = association.echo()
    association.release()
    return Result(status == 0, f"C-ECHO status {status:04X} with a certificate of our own making")


if __name__ == "__main__":
    run(attack)
