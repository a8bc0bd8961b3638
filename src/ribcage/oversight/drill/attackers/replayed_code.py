"""A code read over somebody's shoulder is used once more, in the thief's own session (RFC 6238, 5.2)."""

from __future__ import annotations

import base64
import hmac
import struct
import time

from .kit import Brief, NotArmed, Result, enter, run, step_up

_STEP_SECONDS = 30


def totp(secret: str, counter: int) -> str:
    """RFC 6238 with SHA-1 and six digits; `secret` in base32."""
    key = base64.b32decode(secret.upper() + "=" * (-len(secret) % 8))
    digest = hmac.digest(key, struct.pack(">Q", counter), "sha1")
    start = digest[-1] & 0x0F
    return f"{(int.from_bytes(digest[start : start + 4], 'big') & 0x7FFFFFFF) % 1_000_000:06d}"


def attack(brief: Brief) -> Result:
    """Succeeds when a code is accepted a second time."""
    person = brief["person"]
    owner, thief = enter(brief, person), enter(brief, person)
    code = ""
    for counter in range(int(time.time() // _STEP_SECONDS) - 1, int(time.time() // _STEP_SECONDS) + 2):
        code = totp(person["totp_secret"], counter)
        status = step_up(brief, owner, code)
        if status < 300:
            break
    else:
        raise NotArmed(f"the owner's own code was refused (HTTP {status})")
    again = step_up(brief, thief, code)
    return Result(again < 300, f"the owner's code answered {status}, the same code again {again}")


if __name__ == "__main__":
    run(attack)
