"""The console's error: files that cannot be served."""

from __future__ import annotations


class NotBuilt(Exception):
    """The static files are missing or not as their manifest says."""
