"""The error tree of this room. DIMSE and HTTP statuses follow from the class.

StorageError
├── StorageFull       no space or quota left: A700, 507
├── StorageFailed     the disk or file system failed: 0110, 500
├── ObjectExists      a committed object would be overwritten: never done
├── ObjectMissing     no such object file, or a location that is none
├── ObjectBroken      the file is not what was sealed
├── BackupRefused     a backup must not go there, or not now
└── BackupBroken      a backup is not what its manifest says, or none
"""

from __future__ import annotations

from typing import ClassVar


class StorageError(Exception):
    """Base of what this room raises. `dimse_status` PS3.7 Annex C and PS3.4 GG.4, `http_status` RFC 9110."""

    dimse_status: ClassVar[int] = 0x0110
    http_status: ClassVar[int] = 500


class StorageFull(StorageError):
    """No space or quota is left; nothing was kept of this object."""

    dimse_status: ClassVar[int] = 0xA700
    http_status: ClassVar[int] = 507


class StorageFailed(StorageError):
    """The disk or file system failed; nothing was kept of this object."""


class ObjectExists(StorageError):
    """An object file of this id is there already and stays as it is."""


class ObjectMissing(StorageError):
    """No object file at this location, or the location is not one of ours."""


class ObjectBroken(StorageError):
    """The object file does not open with the guard's key: flipped, cut, moved or another object."""


class BackupRefused(StorageError):
    """The place or the moment is wrong; the message says what to do."""


class BackupBroken(StorageError):
    """What lies in the folder is no backup, or not the one that was made."""
