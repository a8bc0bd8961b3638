"""What an output says about itself (PS3.15 E.1.1, E.2, E.3; CID 7050): only what was done to it."""

from __future__ import annotations

from functools import lru_cache

from ribcage import __version__
from ribcage.dicom.rewrite import encode_element, encode_item
from ribcage.dicom.scan import Encoding
from ribcage.usage.deid.profile import Profile
from ribcage.usage.deid.tables import EDITION, METHOD_CODES, Option

_NOT_CLAIMED = frozenset({Option.PIXELS, Option.VISUAL})  # only what a verdict on this instance shows


@lru_cache(maxsize=64)
def markers(profile: Profile, pixels_clean: bool, encoding: Encoding) -> tuple[tuple[int, bytes], ...]:
    """Encoded elements by tag, ascending, to be merged into the top level.

    Burned In Annotation is among them only when the pixels were read and carry no text.
    """
    told = {
        0x00120062: encode_element(0x00120062, "CS", b"YES", encoding),
        0x00120063: encode_element(0x00120063, "LO", _method(profile).encode("ascii"), encoding),
        0x00120064: encode_element(0x00120064, "SQ", _codes(profile, pixels_clean, encoding), encoding),
        0x00280303: encode_element(0x00280303, "CS", _dates(profile), encoding),
    }
    if pixels_clean:
        told[0x00280301] = encode_element(0x00280301, "CS", b"NO", encoding)
    return tuple(sorted(told.items()))


def _method(profile: Profile) -> str:
    return f"Ribcage {__version__}\\{EDITION}\\{profile.name} {profile.digest}"


def _dates(profile: Profile) -> bytes:
    if Option.FULL_DATES in profile.options:
        return b"UNMODIFIED"
    return b"MODIFIED" if Option.MODIFIED_DATES in profile.options else b"REMOVED"


def _codes(profile: Profile, pixels_clean: bool, encoding: Encoding) -> bytes:
    chosen = sorted(
        (option for option in profile.options if option not in _NOT_CLAIMED), key=lambda one: one.value
    )
    done: list[Option | None] = [None, *chosen, *([Option.PIXELS] if pixels_clean else [])]
    items = []
    for option in done:
        code, meaning = METHOD_CODES[option]
        elements = b"".join(
            encode_element(tag, vr, value.encode("ascii"), encoding)
            for tag, vr, value in (
                (0x00080100, "SH", code),
                (0x00080102, "SH", "DCM"),
                (0x00080104, "LO", meaning),
            )
        )
        items.append(encode_item(elements, encoding))
    return b"".join(items)
