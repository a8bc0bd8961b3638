"""Moments as operators read them: local time, to the minute."""

from __future__ import annotations

import time


def minute(seconds: float) -> str:
    """`2026-01-31 14:05` of Unix seconds."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
