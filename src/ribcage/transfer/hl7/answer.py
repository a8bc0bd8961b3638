"""Acknowledgments (HL7 2.5, 2.9): original mode with one answer, enhanced mode with up to two.

Rules, in order:
1. Without MSH-15 and MSH-16 the sender gets AA, AE or AR (original mode).
2. With either, MSH-15 says when CA, CE or CR is wanted and MSH-16 when AA, AE or AR (table 0155).
3. CA and AA both say that the message is durable and in force: nothing here is promised before.
4. An answer quotes the sender's names and control id and tells places and codes, never a value of the message.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from ribcage.transfer.hl7.errors import TEXTS, MessageRefused
from ribcage.transfer.hl7.message import Delimiters, Message
from ribcage.transfer.hl7.moments import stamp

_MOST = 180


@dataclass(frozen=True)
class Outcome:
    """How a message ended: code of HL7 table 0357, 0 for taken, and the place that is wrong."""

    code: int = 0
    where: str = ""
    rejected: bool = False

    @classmethod
    def of(cls, refused: MessageRefused) -> Outcome:
        """Of a refusal."""
        return cls(refused.code, refused.where, refused.rejected)


@dataclass(frozen=True)
class Header:
    """What an answer quotes of the message's MSH."""

    marks: Delimiters = Delimiters()  # noqa: RUF009 - frozen
    sender: tuple[str, str] = ("", "")
    receiver: tuple[str, str] = ("", "")
    trigger: str = ""
    control: str = ""
    processing: str = "P"
    version: str = "2.5"
    accept: str = ""
    application: str = ""

    @classmethod
    def of(cls, message: Message) -> Header:
        """Of a message that was parsed. Raises MessageRefused where a value has no bounds."""
        get = message.header.get
        return cls(
            marks=message.marks,
            sender=(get(3), get(4)),
            receiver=(get(5), get(6)),
            trigger=get(9, 2),
            control=get(10),
            processing=get(11) or "P",
            version=get(12) or "2.5",
            accept=get(15),
            application=get(16),
        )


def answers(header: Header, outcome: Outcome, now: float) -> list[bytes]:
    """The messages to send back, in order."""
    if not header.accept and not header.application:
        return [_build(header, outcome, "A", now)]
    found = []
    if _wanted(header.accept, outcome):
        found.append(_build(header, outcome, "C", now))
    if _wanted(header.application, outcome):
        found.append(_build(header, outcome, "A", now))
    return found


def _wanted(condition: str, outcome: Outcome) -> bool:
    """HL7 table 0155; an empty or unknown condition is never."""
    good = outcome.code == 0
    return condition == "AL" or (condition == "SU" and good) or (condition == "ER" and not good)


def _build(header: Header, outcome: Outcome, kind: str, now: float) -> bytes:
    marks = header.marks
    bar, hat = marks.field, marks.component
    word = "A" if not outcome.code else "R" if outcome.rejected else "E"
    sort = hat.join(("ACK", header.trigger, "ACK")) if header.trigger else "ACK"
    fields = [
        "MSH",
        marks.encoding,
        *(_plain(each, marks) for each in (*header.receiver, *header.sender)),
        stamp(now),
        "",
        sort,
        os.urandom(8).hex(),
        _plain(header.processing, marks),
        _plain(header.version, marks),
    ]
    lines = [bar.join(fields), bar.join(("MSA", kind + word, _plain(header.control, marks)))]
    if outcome.code:
        coded = hat.join((str(outcome.code), TEXTS[outcome.code], "HL70357"))
        segment, _, number = outcome.where.partition("-")
        place = hat.join((segment, "1", number)) if number else segment  # ERL, 2.A.28
        lines.append(bar.join(("ERR", "", place, coded, "E")))
    return ("\r".join(lines) + "\r").encode("ascii")


def _plain(text: str, marks: Delimiters) -> str:
    """A quoted value: short, ASCII, without delimiters of its own."""
    bad = {marks.field, marks.component, marks.repetition, marks.escape, marks.sub}
    return "".join(each for each in text[:_MOST] if each.isascii() and each.isprintable() and each not in bad)
