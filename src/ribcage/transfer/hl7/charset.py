"""Which characters the bytes of a message are (MSH-18, HL7 table 0211).

Rules, in order:
1. A device whose character set was set to override is read so, whatever it declares.
2. Else MSH-18 counts; one that is not in the table below is refused.
3. Without MSH-18 the device's default counts; without that, ASCII (HL7 2.5, 2.15.9.18).
4. Bytes that are not of that set are refused: nothing is guessed and nothing replaced.
5. Decoding comes before parsing: in GB 18030 the second byte of a character may look like a delimiter.
"""

from __future__ import annotations

from types import MappingProxyType

from ribcage.transfer.hl7.errors import MessageRefused

CODECS = MappingProxyType(
    {
        "": "ascii",
        "ASCII": "ascii",
        "8859/1": "iso-8859-1",
        "UNICODE UTF-8": "utf-8",
        "GB 18030-2000": "gb18030",
    }
)
# What `ribcage device charset` takes, as far as HL7 has it.
_OF_DEVICE = MappingProxyType(
    {
        "ISO_IR 6": "ascii",
        "ISO_IR 100": "iso-8859-1",
        "ISO_IR 192": "utf-8",
        "GB18030": "gb18030",
        "GBK": "gbk",
    }
)


def decode(message: bytes, default: str = "", *, overrides: bool = False) -> str:
    """The message's text. `default` is a value of (0008,0005), '' for none. Raises MessageRefused."""
    declared = _declared(message)
    own = _OF_DEVICE.get(default, "") if default else ""
    codec = CODECS.get(declared, "") if declared or not own else own
    if own and overrides:
        codec = own
    if not codec:
        raise MessageRefused(103, "MSH-18")
    try:
        text = message.decode(codec)
    except UnicodeDecodeError:
        raise MessageRefused(102, "MSH-18") from None
    if _declared(text.split("\r", 1)[0].encode("utf-8")) != declared:
        raise MessageRefused(102, "MSH-18")  # a delimiter was half a character
    return text


def _declared(message: bytes) -> str:
    """The first repetition of MSH-18, as far as bytes tell it."""
    line = message.split(b"\r", 1)[0]
    if len(line) < 4:
        return ""
    fields = line.split(line[3:4])
    value = fields[17] if len(fields) > 17 else b""
    repeat = line[5:6] or b"~"
    return value.split(repeat)[0].decode("ascii", "replace").strip()
