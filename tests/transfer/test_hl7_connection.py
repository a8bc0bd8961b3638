"""One connection of the hospital's system against a real front and guard."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from helpers.front_house import QUICK, FrontHouse, client_context, front_house, make_template
from helpers.his import Writer, code_of
from ribcage.guard import protocol as p
from ribcage.transfer.hl7.limits import Hl7Limits
from ribcage.transfer.limits import FrontSettings

PATIENT = "PID000001"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_template(tmp_path_factory.mktemp("template"))


@dataclass
class Line:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def read(self) -> str:
        answer = await asyncio.wait_for(self.reader.readuntil(b"\x1c\r"), 10)
        return answer.decode("ascii").lstrip("\x0b")

    async def tell(self, message: str | bytes) -> str:
        data = message.encode() if isinstance(message, str) else message
        self.writer.write(b"\x0b" + data + b"\x1c\r")
        return code_of(await self.read())

    async def ended(self) -> bool:
        try:
            return await asyncio.wait_for(self.reader.read(), 10) == b""
        except OSError:
            return True


async def line(house: FrontHouse, context: ssl.SSLContext) -> Line:
    return Line(*await asyncio.open_connection(*house.address, ssl=context, server_hostname="localhost"))


@asynccontextmanager
async def hospital(
    template: Path, folder: Path, **more: object
) -> AsyncIterator[tuple[FrontHouse, ssl.SSLContext]]:
    limits = replace(Hl7Limits(), **more)  # type: ignore[arg-type]
    settings = FrontSettings(Path(), Path(), limits=QUICK, hl7=limits)
    async with front_house(template, folder, settings, kind="hl7") as house:
        yield house, await house.device("engine", "ENGINE", ["his"])


def test_a_connection_lives_through_what_it_cannot_read(template: Path, tmp_path: Path) -> None:
    async def story() -> None:
        async with hospital(template, tmp_path) as (house, context):
            his, now, engine = Writer(), time.time(), await line(house, context)
            good = his.adt("A01", PATIENT, "V1", now, ward="W1")
            assert [await engine.tell(text) for text in (good, good)] == ["AA", "AA"]
            assert await engine.tell("") == "AE"
            assert await engine.tell("MSH|^~\\&|nonsense") == "AE"
            assert await engine.tell(his.adt("A05", PATIENT, "V1", now)) == "AR"
            assert await engine.tell(his.adt("A08", PATIENT, "V1", now, name="王^小明")) == "AE"
            await house.house.admin.call(p.SetDeviceCharset("engine", "GB18030"), p.Noted)
            again = await line(house, context)
            text = his.adt("A08", PATIENT, "V1", now + 1, name="王^小明")
            assert await again.tell(text.encode("gb18030")) == "AA"
            engine.writer.write(b"GET / HTTP/1.1\r\n\r\n")
            assert await engine.ended()
            items = await house.house.admin.call(p.ListCare(), p.CareItems)
            assert [each.number for each in items.relations] == ["V1"]

    asyncio.run(story())


def test_many_messages_at_once_are_answered_in_order(template: Path, tmp_path: Path) -> None:
    async def story() -> None:
        async with hospital(template, tmp_path, waiting_messages=2) as (house, context):
            engine, his = await line(house, context), Writer()
            texts = [his.adt("A01", f"P{n}", f"V{n}", time.time(), ward="W1") for n in range(30)]
            engine.writer.write(b"".join(b"\x0b" + each.encode() + b"\x1c\r" for each in texts))
            found = [await engine.read() for _ in texts]
            assert [f"\rMSA|AA|M{n}\r" in answer for n, answer in enumerate(found, 1)] == [True] * 30

    asyncio.run(story())


def test_strangers_and_the_suspended_hear_nothing(template: Path, tmp_path: Path) -> None:
    async def story() -> None:
        async with hospital(template, tmp_path) as (house, context):
            his, now = Writer(), time.time()
            engine = await line(house, context)
            assert await engine.tell(his.adt("A01", PATIENT, "V1", now, ward="W1")) == "AA"
            modality = await line(house, await house.device("ct", "CT", ["store", "query", "retrieve"]))
            assert await modality.ended()
            await house.house.admin.call(p.SuspendDevice("engine", True), p.Noted)
            with pytest.raises((asyncio.IncompleteReadError, OSError)):
                await engine.tell(his.adt("A03", PATIENT, "V1", now, ward="W1"))
            _, trusted = await house.leaf("other", "OTHER", ["store"])
            with pytest.raises((OSError, asyncio.IncompleteReadError)):
                await (await line(house, client_context(trusted))).tell(his.adt("A03", PATIENT, "V1", now))
            house.stop_front()
            await house.running
            events = await house.events()
            assert '"value":"hl7"' in events and "no-certificate" in events

    asyncio.run(story())


def test_a_message_is_bounded_in_size_and_time(template: Path, tmp_path: Path) -> None:
    async def story() -> None:
        async with hospital(template, tmp_path, message_bytes=4096, block_seconds=0.2) as (house, context):
            for begun in (b"\x0b" + b"A" * 5000, b"\x0bMSH|"):
                engine = await line(house, context)
                engine.writer.write(begun)
                assert await engine.ended()

    asyncio.run(story())


def test_without_the_guard_the_answer_is_no(template: Path, tmp_path: Path) -> None:
    async def story() -> None:
        async with hospital(template, tmp_path) as (house, context):
            his, now, engine = Writer(), time.time(), await line(house, context)
            assert await engine.tell(his.adt("A01", PATIENT, "V1", now, ward="W1")) == "AA"
            house.house.server._core.ledger_behind = True
            person = await house.house.person("ada", "clinician")
            assert person.password
            await house.house.admin.call(p.SetStaffNumber("ada", "D1"), p.Noted)
            text = his.adt("A08", PATIENT, "V1", now + 1, ward="W1", staff=["D1"])
            assert await engine.tell(text) == "AE"
            house.house.server._core.ledger_behind = False
            assert await engine.tell(text) == "AA", "the same message, when it can be in force"
            (grant,) = (await house.house.admin.call(p.ListGrants(), p.GrantItems)).items
            assert grant.subject == "person:ada"

    asyncio.run(story())
