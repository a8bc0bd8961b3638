"""How a patch replaces something: `setattr` in a process of its own, `monkeypatch.setattr` inside a test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Put = Callable[[Any, str, Any], None]
