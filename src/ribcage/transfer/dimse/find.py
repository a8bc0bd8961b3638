"""C-FIND (PS3.4 C.4.1) over the guard's `Query`, page by page.

Rules, in order:
1. An identifier that its SOP class does not permit is A900 and names the key; one that cannot be read is C000.
2. The guard answers a page under a durable entry that names its studies; then its records go out, one by one.
3. A page older than `find_fresh_seconds` is thrown away and asked for anew behind the last record sent: a right that
   fell is noticed however slowly the peer reads.
4. After `find_answers` records the answer is A700, with a hint to ask for less.
5. C-CANCEL is looked for before each record; a peer that has left is sent nothing more.
6. What stands in a key is never repeated in a response's comment.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from ribcage.dicom import identifier
from ribcage.dicom.dictionary import TAG_BY_KEYWORD
from ribcage.dicom.dimse import CFindRq, CFindRsp
from ribcage.dicom.errors import DicomError, IdentifierMismatch
from ribcage.dicom.pdu import AssociateRq
from ribcage.dicom.query_models import LEVEL, LEVELS, Level, Question, question
from ribcage.dicom.statuses import Status
from ribcage.dicom.upper_layer import AcceptedContext
from ribcage.guard.errors import GuardError, GuardRefused
from ribcage.guard.protocol import Device, Query, QueryAnswer, Record
from ribcage.transfer.dimse.exchange import Exchange
from ribcage.transfer.dimse.site import DimseSite

_GUARD_LEVELS: Final[Mapping[Level, Literal["patient", "study", "series", "instance"]]] = {
    "PATIENT": "patient", "STUDY": "study", "SERIES": "series", "IMAGE": "instance",
}  # fmt: skip
_RETRIEVE_AE: Final = TAG_BY_KEYWORD["RetrieveAETitle"]
_AVAILABILITY: Final = TAG_BY_KEYWORD["InstanceAvailability"]
_STATUSES: Final[Mapping[str, int]] = {
    "not_permitted": Status.NOT_AUTHORIZED,
    "not_authenticated": Status.NOT_AUTHORIZED,
    "invalid": Status.DATA_SET_MISMATCH,
}


@dataclass(frozen=True, slots=True)
class Negotiated:
    """What SOP Class Extended Negotiation granted for one FIND class (PS3.4 C.5.1.1)."""

    relational: bool = False
    combined: bool = False


def negotiated(request: AssociateRq, sop_class: str) -> Negotiated:
    """What was asked for, and is therefore granted."""
    asked = next((each.information for each in request.user.extended if each.sop_class == sop_class), b"")
    return Negotiated(asked[0:1] == b"\1", asked[1:2] == b"\1")


class Find:
    """C-FIND for one association."""

    def __init__(self, site: DimseSite, device: Device, called: str) -> None:
        self._site = site
        self._device = device
        self._called = called

    async def answer(
        self,
        command: CFindRq,
        data_set: bytes | bytearray,
        context: AcceptedContext,
        terms: Negotiated,
        exchange: Exchange,
    ) -> CFindRsp:
        """Send the pending responses; the final one is returned. Raises AssociationOver."""
        if command.sop_class != context.abstract_syntax or command.sop_class not in LEVELS:
            return _final(command, Status.SOP_CLASS_NOT_SUPPORTED)
        try:
            asked = identifier.read(data_set, context.transfer_syntax)
            wanted = question(command.sop_class, asked, relational=terms.relational)
        except IdentifierMismatch as mismatch:
            return _final(command, mismatch.dimse_status, str(mismatch), (mismatch.tag,))
        except DicomError as failure:
            return _final(command, Status.CANNOT_UNDERSTAND, type(failure).__name__)
        answers = _Answers(self, command, wanted, asked.character_set, context.transfer_syntax, exchange)
        try:
            return await answers.send(terms)
        except GuardRefused as refused:
            status = _STATUSES.get(refused.reason, Status.OUT_OF_RESOURCES)
            return _final(command, status, refused.reason)
        except GuardError as failure:
            return _final(command, Status.OUT_OF_RESOURCES, type(failure).__name__)

    async def page(self, wanted: Question, terms: Negotiated, after: str, limit: int) -> QueryAnswer:
        """Ask the guard (rule 2). Raises GuardError."""
        query = Query(
            principal=self._device, channel="dimse", level=_GUARD_LEVELS[wanted.level], filters=dict(wanted.filters),
            limit=limit, after=after, combined=terms.combined,
        )  # fmt: skip
        return await self._site.guard.call(query, QueryAnswer)

    @property
    def limits(self) -> tuple[int, int, float]:
        """Records of a page and of an answer; seconds for which a page is good."""
        limits = self._site.limits
        return limits.find_page_records, limits.find_answers, limits.find_fresh_seconds

    @property
    def called(self) -> str:
        """Our AE title as this peer calls it."""
        return self._called


class _Answers:
    def __init__(
        self, room: Find, command: CFindRq, wanted: Question, charset: str, syntax: str, exchange: Exchange
    ) -> None:
        self._room = room
        self._command = command
        self._wanted = wanted
        self._charset = charset
        self._syntax = syntax
        self._exchange = exchange
        status = Status.PENDING_KEYS_UNSUPPORTED if wanted.unsupported else Status.PENDING
        self._pending = CFindRsp(command.message_id, status, command.sop_class, has_data_set=True)

    async def send(self, terms: Negotiated) -> CFindRsp:
        page_records, most, fresh_seconds = self._room.limits
        sent, after, more = 0, "", True
        while more:
            page = await self._room.page(self._wanted, terms, after, page_records)
            until = time.monotonic() + fresh_seconds
            more = page.more and bool(page.records)
            for number, record in enumerate(page.records):
                if self._exchange.cancelled():
                    return _final(self._command, Status.CANCEL)
                if sent >= most:
                    hint = f"more than {most} answers: ask for less"
                    return _final(self._command, Status.OUT_OF_RESOURCES, hint)
                if number and time.monotonic() > until:  # the first one always goes: there is progress
                    more = True
                    break
                await self._exchange.send(self._pending, (self._data_set(record),))
                sent, after = sent + 1, record.position
        return _final(self._command, Status.CANCEL if self._exchange.cancelled() else Status.SUCCESS)

    def _data_set(self, record: Record) -> bytes:
        values: dict[int, identifier.Value] = {
            LEVEL: self._wanted.level,
            _RETRIEVE_AE: self._room.called,
            _AVAILABILITY: "ONLINE",
        }
        for tag, keyword in self._wanted.returned.items():
            values[tag] = record.attributes.get(keyword, "")
        return identifier.write(values, self._charset, self._syntax)


def _final(command: CFindRq, status: int, comment: str = "", tags: tuple[int, ...] = ()) -> CFindRsp:
    return CFindRsp(command.message_id, status, command.sop_class, comment[:64], tags)
