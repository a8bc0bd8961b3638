"""The association as a service with several responses sees it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from ribcage.dicom.dimse import Command


class AssociationOver(Exception):
    """The peer released, aborted or is gone: nobody waits for the rest."""


class Exchange(Protocol):
    """One request's way back to its peer."""

    def cancelled(self) -> bool:
        """Whether C-CANCEL named this request (PS3.7 9.3.2.3)."""

    async def send(self, command: Command, data_set: Iterable[bytes] | None = None) -> None:
        """One message in the request's context, when the peer has taken enough of those before.

        Raises AssociationOver.
        """
