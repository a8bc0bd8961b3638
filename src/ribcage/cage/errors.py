"""The error tree of the cage.

    CageError
    ├── PixelsUnreadable    the frame or its header cannot be decoded: damaged, not supported, beyond a limit
    ├── WishInvalid         the rendering asked for cannot be done on this frame
    ├── CageBusy            the queue is full: ask again
    └── CageFailed          the worker died, hung, ran out of its memory, or could not be locked in

HTTP statuses follow from the class, never from the text. Messages carry numbers and names of the standard, never
values of the data set.
"""

from __future__ import annotations

from typing import ClassVar


class CageError(Exception):
    """Base of everything a caller of the cage may see. `http_status` RFC 9110."""

    http_status: ClassVar[int] = 500


class PixelsUnreadable(CageError):
    """No picture can be made of these bytes; asking again does not help."""

    http_status: ClassVar[int] = 406  # the stored bytes may still be had in their own transfer syntax


class WishInvalid(CageError):
    """The caller asked for a rendering that does not exist: a window without width, a viewport outside."""

    http_status: ClassVar[int] = 400


class CageBusy(CageError):
    """Every worker is at work and the queue is full."""

    http_status: ClassVar[int] = 503


class CageFailed(CageError):
    """One job died in the cage; the worker is replaced and nothing else is touched."""

    http_status: ClassVar[int] = 500
