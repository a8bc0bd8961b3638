"""The receiving end of a migration takes what nobody listed."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.transfer.migration import receiver


class _Everything:
    def __contains__(self, _: object) -> bool:
        return True


def apply(put: Put) -> None:
    made = receiver.Receiver.expect

    def expect(self: receiver.Receiver, expected: receiver.Expected | None) -> None:
        made(self, expected and receiver.Expected(_Everything(), expected.take))

    put(receiver.Receiver, "expect", expect)
