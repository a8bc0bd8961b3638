"""Pixels are decoded and rendered in caged worker processes: no network, no files, little memory, little time.

The front sees `Cage` and what goes in and out; pydicom, numpy and the codecs are imported by the worker alone.
"""

from ribcage.cage.errors import CageBusy, CageError, CageFailed, PixelsUnreadable, WishInvalid
from ribcage.cage.messages import CageLimits, FrameSource, NativeFrame, Picture, RenderWish
from ribcage.cage.pool import Cage

__all__ = [
    "Cage",
    "CageBusy",
    "CageError",
    "CageFailed",
    "CageLimits",
    "FrameSource",
    "NativeFrame",
    "Picture",
    "PixelsUnreadable",
    "RenderWish",
    "WishInvalid",
]
