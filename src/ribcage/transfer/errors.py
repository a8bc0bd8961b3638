"""The error tree of supervisor and fronts. Protocols answer with the trees of capture, usage and dicom.

TransferError
├── SettingsRefused     an address or a combination that would leave a door open: nothing is started
├── IdentityUnusable    the TLS certificate, key or authorities from the guard do not load
└── ProcessFailed       guard or front did not start, or keeps dying
    └── Hindered        its disk fails or descriptors are lacking: trying again later may help
"""

from __future__ import annotations


class TransferError(Exception):
    """Base of what this room raises when it starts and runs."""


class SettingsRefused(TransferError):
    """An address or a combination of settings that would leave a door open."""


class IdentityUnusable(TransferError):
    """Certificate chain, private key or authorities do not load into a TLS context."""


class ProcessFailed(TransferError):
    """A process did not become ready in time, or dies again and again."""


class Hindered(ProcessFailed):
    """The machine is at fault, not the process: the guard's exit status is EX_IOERR, or nothing can be started."""
