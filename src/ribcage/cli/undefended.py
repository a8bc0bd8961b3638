"""What nothing stands against here, said openly wherever the archive tells of itself."""

from __future__ import annotations

from collections.abc import Collection

from ribcage.oversight.drill.promises import load_promises


def not_defended(configuration: Collection[str]) -> list[str]:
    """One line for each thing that nothing stands against where these words describe the configuration."""
    return [f"not defended yet: {one.text}" for one in load_promises().open_in(configuration)]
