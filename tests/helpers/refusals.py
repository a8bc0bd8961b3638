"""What the guard says when it refuses."""

from __future__ import annotations

from collections.abc import Awaitable

import pytest

from ribcage.guard.errors import GuardRefused


async def reason(asked: Awaitable[object]) -> str:
    """The reason of a refusal; anything else fails the test."""
    with pytest.raises(GuardRefused) as caught:
        await asked
    return caught.value.reason
