"""How this implementation names itself to peers and in files (PS3.7 D.3.3.2, PS3.10 7.1)."""

from __future__ import annotations

from typing import Final

IMPLEMENTATION_CLASS_UID: Final = "2.25.83185433108305744930951883370275253364"
IMPLEMENTATION_VERSION_NAME: Final = "RIBCAGE_0_1"  # at most 16 characters
