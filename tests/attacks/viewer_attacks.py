"""Attacks by a viewer's requests: on what is shared between them, and on what compressed pixels carry along.

Each plays against a fresh home with a front of its own and tells whether it succeeded.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from struct import pack

from helpers.front_house import EXPLICIT_LE, ct_slice
from helpers.guard_house import House, new_house
from ribcage.capture.admit import WayIn, admit_instance
from ribcage.capture.disarm import Expected
from ribcage.guard import protocol as p
from ribcage.storage.objects import ObjectStore
from ribcage.usage.disclose import WayOut
from ribcage.usage.errors import DisclosureError
from ribcage.usage.viewing import Viewings

STUDY = "1.2.826.0.1.3680043.10.2.1"
_JPEG = "1.2.840.10008.1.2.4.50"
_NAME = b"Wang^Xiaodong"
_FRAME = b"\xff\xd8\xff\xfe" + (len(_NAME) + 2).to_bytes(2, "big") + _NAME + b"\xff\xd9"


@contextlib.asynccontextmanager
async def _front(
    folder: Path, data_set: bytes, syntax: str
) -> AsyncIterator[tuple[House, Viewings, p.Session, int]]:
    """A front that holds one image; a doctor with a grant and a password only."""
    async with new_house(folder) as house:
        way = WayOut(house.front, ObjectStore(house.home / "objects"))
        modality = await house.device("ct1", "CT1", ["store"])
        way_in = WayIn(house.front, way.objects)
        await admit_instance(way_in, modality, "dimse", "RIBCAGE", data_set, syntax, Expected())
        added = await house.person("li", "clinician")
        grant = p.AddGrant(subject="person:li", resource=f"study:{STUDY}", view="full")
        number = (await house.admin.call(grant, p.GrantAdded)).grant_id
        viewings = Viewings(lambda: way)
        try:
            yield house, viewings, await house.session("li", added.password), number
        finally:
            await viewings.close()


def _play(attack: Callable[[Path], Awaitable[bool]]) -> Callable[[Path], bool]:
    async def run(folder: Path) -> bool:
        return await attack(folder)

    return lambda folder: asyncio.run(run(folder))


async def _look(viewings: Viewings, doctor: p.Session) -> bytes:
    """The whole instance as the view shows it; nothing where it is refused."""
    try:
        async with viewings.join(doctor, STUDY) as viewing:
            stream = await viewing.stream(viewing.disclosure.instances[0])
            return b"".join([part async for part in stream.parts()])
    except DisclosureError:
        return b""


async def _after_revocation(folder: Path) -> bool:
    """The next request of a viewing whose front did not hear of the revocation: it takes no pushes here."""
    _, data = ct_slice(1, 32)
    async with _front(folder, data, EXPLICIT_LE) as (house, viewings, doctor, grant):
        if not await _look(viewings, doctor):
            raise RuntimeError("expected the image before the revocation")
        await house.admin.call(p.RevokeGrant(grant), p.Noted)
        return bool(await _look(viewings, doctor))


async def _text_inside_a_frame(folder: Path) -> bool:
    """A masked session looks for the name that the modality wrote into a comment of the JPEG."""
    _, data = ct_slice(1, 32)
    data = data[: data.index(b"\xe0\x7f\x10\x00")] + b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff"
    padded = _FRAME + b"\0" * (len(_FRAME) % 2)
    data += pack("<HHI", 0xFFFE, 0xE000, 0) + pack("<HHI", 0xFFFE, 0xE000, len(padded)) + padded
    data += pack("<HHI", 0xFFFE, 0xE0DD, 0)
    async with _front(folder, data, _JPEG) as (_, viewings, doctor, _grant):
        shown = await _look(viewings, doctor)
        if b"\xff\xd8\xff\xfe" not in shown:
            raise RuntimeError("expected the masked image with its frame")
        return _NAME in shown


viewing_after_revocation = _play(_after_revocation)
text_inside_a_frame = _play(_text_inside_a_frame)
