"""The secrets of one session: which one counts, and what a superseded one tells (RFC 9700 4.14.2, in kind).

Rules, in order:
1. A session has one current secret. The next one is issued at a step-up, and when the current one is old; it becomes
   current when it is first shown, so that an answer that was lost on the way costs nothing. That it was shown is in
   memory until the next write: after a restart the one before is good until it is shown again.
2. The secret before stays good for a grace, for requests under way in other tabs, and for a request that began
   before.
3. Whoever shows a superseded secret later holds a copy: the session is ended and the log says so.
4. The last 64 superseded secrets are remembered, as `uint64 milliseconds ‖ SHA-256(secret)`, newest first.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, replace
from typing import Any

_HASH_BYTES = 32
_TIME_BYTES = 8
_REMEMBERED = 64


@dataclass(frozen=True)
class Secrets:
    """SHA-256 of each secret; `issued` is empty where none is on its way. Times in Unix seconds."""

    current: bytes
    issued: bytes
    issued_at: float
    superseded: tuple[tuple[float, bytes], ...]

    @classmethod
    def of(cls, row: dict[str, Any]) -> Secrets:
        """From a row of `session` whose MAC holds."""
        blob, step = bytes(row["superseded"]), _TIME_BYTES + _HASH_BYTES
        entries = (blob[at : at + step] for at in range(0, len(blob), step))
        return cls(
            bytes(row["secret_sha256"]),
            bytes(row["issued_sha256"]),
            float(row["issued_at"]),
            tuple((int.from_bytes(e[:_TIME_BYTES], "big") / 1000, e[_TIME_BYTES:]) for e in entries),
        )

    def columns(self) -> dict[str, Any]:
        """As columns of the row."""
        blob = b"".join(round(at * 1000).to_bytes(_TIME_BYTES, "big") + each for at, each in self.superseded)
        return {
            "secret_sha256": self.current,
            "issued_sha256": self.issued,
            "issued_at": self.issued_at,
            "superseded": blob,
        }

    def shown_issued(self, at: float) -> Secrets:
        """The issued secret was shown at that time: it is the current one (rule 1)."""
        older = ((at, self.current), *self.superseded)[:_REMEMBERED]
        return replace(self, current=self.issued, issued=b"", superseded=older)

    def issue(self, secret: bytes, now: float) -> Secrets:
        """A new secret is on its way; one that was issued and never shown is superseded."""
        older = ((now, self.issued), *self.superseded)[:_REMEMBERED] if self.issued else self.superseded
        return replace(self, issued=secret, issued_at=now, superseded=older)

    def superseded_at(self, secret: bytes) -> float | None:
        """When this secret was superseded, None where it never was one of ours."""
        found = [at for at, each in self.superseded if hmac.compare_digest(each, secret)]
        return found[0] if found else None

    def may_issue(self, now: float, grace: float) -> bool:
        """Not while one is on its way to another tab."""
        return not self.issued or now >= self.issued_at + grace

    def due(self, now: float, rotation: float, grace: float) -> bool:
        """Whether the current secret is old, or the one that was issued seems lost."""
        return now >= self.issued_at + (grace if self.issued else rotation)
