"""A device renews its certificate: what holds when, and what a thief of an old one gets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from helpers.guard_house import Clock, House, new_house
from ribcage.crypto import authority
from ribcage.guard import protocol as p
from ribcage.guard.errors import GuardRefused
from ribcage.guard.expiry import Expiry

DAY = 86_400


def request_for(name: str = "cr-1") -> bytes:
    """A PKCS #10 request with a key of its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    built = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return built.public_bytes(serialization.Encoding.PEM)


def play(folder: Path, act: Callable[[House, p.Device, Clock], Awaitable[None]]) -> None:
    """With a device whose certificate the home issued."""

    async def run() -> None:
        clock = Clock()
        async with new_house(folder, clock=clock) as house:
            device = await house.device("cr-1", "CR1", ["store"], csr_pem=request_for())
            await act(house, device, clock)

    asyncio.run(run())


async def renewed(house: House, device: p.Device, csr: bytes = b"") -> p.Device:
    """The device with its new certificate."""
    told = await house.front.call(p.RenewDevice(device, csr or request_for()), p.DeviceRenewed)
    leaf = authority.read_chain(told.certificate_pem)[0]
    return p.Device(leaf.fingerprint, device.ae_title, device.address)


async def known(house: House, device: p.Device) -> bool:
    try:
        await house.front.call(p.CheckDevice(device, "RIBCAGE", "associate"), p.DeviceKnown)
    except GuardRefused:
        return False
    return True


def test_the_old_certificate_holds_until_the_new_one_is_used(tmp_path: Path) -> None:
    async def act(house: House, old: p.Device, _: Clock) -> None:
        new = await renewed(house, old)
        assert await known(house, old)
        assert await known(house, new)
        assert not await known(house, old)
        listed = (await house.admin.call(p.ListDevices(), p.DeviceItems)).items
        assert [each.fingerprint for each in listed] == [new.fingerprint]
        assert await house.verify() == []

    play(tmp_path, act)


def test_an_old_certificate_ends_after_some_days_used_or_not(tmp_path: Path) -> None:
    async def act(house: House, old: p.Device, clock: Clock) -> None:
        new = await renewed(house, old)
        clock.ahead += 7 * DAY + 1
        assert not await known(house, old)
        assert await known(house, new)

    play(tmp_path, act)


def test_a_suspended_device_renews_nothing_and_a_renewed_one_stays_suspended(tmp_path: Path) -> None:
    async def act(house: House, old: p.Device, _: Clock) -> None:
        new = await renewed(house, old)
        await house.admin.call(p.SuspendDevice("cr-1", True), p.Noted)
        assert not await known(house, new)
        for each in (old, new):
            with pytest.raises(GuardRefused):
                await renewed(house, each)

    play(tmp_path, act)


def test_the_new_certificate_is_under_the_same_ae_titles_alone(tmp_path: Path) -> None:
    async def act(house: House, old: p.Device, _: Clock) -> None:
        new = await renewed(house, old)
        assert not await known(house, p.Device(new.fingerprint, "CR2", new.address))
        assert await known(house, new)

    play(tmp_path, act)


def test_a_request_without_possession_of_its_key_is_refused(tmp_path: Path) -> None:
    async def act(house: House, old: p.Device, _: Clock) -> None:
        for csr in (b"", b"-----BEGIN NOTHING-----", request_for().replace(b"M", b"N", 1)):
            with pytest.raises(GuardRefused):
                await house.front.call(p.RenewDevice(old, csr), p.DeviceRenewed)

    play(tmp_path, act)


def test_renewing_again_at_once_is_throttled_and_later_replaces(tmp_path: Path) -> None:
    async def act(house: House, old: p.Device, clock: Clock) -> None:
        first = await renewed(house, old)
        with pytest.raises(GuardRefused):
            await renewed(house, old)
        clock.ahead += 61
        second = await renewed(house, old)
        assert not await known(house, first)
        assert await known(house, second)

    play(tmp_path, act)


def test_a_certificate_of_a_foreign_authority_is_renewed_by_an_operator_alone(tmp_path: Path) -> None:
    async def run() -> None:
        async with new_house(tmp_path) as house:
            device = await house.device("cr-9", "CR9", ["store"])
            with pytest.raises(GuardRefused):
                await house.front.call(p.RenewDevice(device, request_for()), p.DeviceRenewed)

    asyncio.run(run())


def test_a_certificate_that_ends_soon_sounds(tmp_path: Path) -> None:
    async def act(house: House, _: p.Device, clock: Clock) -> None:
        core = house.server._rooms.core
        expiry = Expiry(core)
        expiry.tick()
        assert core.alarms.standing() == []
        clock.ahead += (authority.LEAF_DAYS - 10) * DAY
        expiry.tick()
        assert ("certificates", 1) in [(each.kind, each.number) for each in core.alarms.standing()]

    play(tmp_path, act)
