"""Addresses of this service: the paths that routes answer and answers name."""

from __future__ import annotations

from typing import Final

SERVICE: Final = "/dicom-web"


def instance_url(origin: str, study: str, series: str, instance: str) -> str:
    """The absolute address of an instance; `origin` is `https://host`."""
    return f"{origin}{SERVICE}/studies/{study}/series/{series}/instances/{instance}"
