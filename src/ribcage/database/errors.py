"""Errors of the database room.

DatabaseError
├── DatabaseNewer      the home was written by a newer Ribcage
├── MigrationFailed    a step to a newer schema did not work; the database is unchanged
├── DatabaseLocked     the key does not open the file
├── DatabaseBroken     the file is not what it should be
└── DatabaseFailing    the disk does not take what the write-ahead log holds
"""


class DatabaseError(Exception):
    """Base of this room's errors."""


class DatabaseNewer(DatabaseError):
    """The schema is of a version this program does not know; nothing was changed."""


class MigrationFailed(DatabaseError):
    """A step to a newer schema failed; the database is as it was."""


class DatabaseLocked(DatabaseError):
    """The key does not open the database file."""


class DatabaseBroken(DatabaseError):
    """The file cannot be read as a Ribcage database."""


class DatabaseFailing(DatabaseError):
    """The disk does not take what is to be written; mend it and start again."""
