"""The masked view of one stored instance: `usage.masking` on the header, the pixel element alone of the bulk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ribcage.guard.protocol import InstanceRef, OpenedObject, View
from ribcage.storage.objects import ObjectStore
from ribcage.usage.errors import MaskedViewRefused


@dataclass(frozen=True, slots=True)
class MaskedHeader:
    """A header without identity; `pixels_checked` tells whether burned-in text was looked for."""

    header: bytes
    pixels_checked: bool


async def masked_header(header: bytes, ref: InstanceRef, view: View) -> MaskedHeader:
    """Raises MaskedViewRefused where the SOP class has no masking rule; DicomError."""
    raise MaskedViewRefused("there is no masked view yet; prove the second factor for the full view")


async def masked_bulk_bytes(objects: ObjectStore, opened: OpenedObject, cut: Callable[[], None]) -> int:
    """How many bytes of the bulk stream belong to the pixel element. Raises DicomError, StorageError."""
    raise MaskedViewRefused("there is no masked view yet; prove the second factor for the full view")
