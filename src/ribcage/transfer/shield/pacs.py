"""What is asked of the old PACS: C-ECHO, C-FIND, C-GET of one instance, C-STORE (PS3.4 B, C).

Rules, in order (DESIGN rules 7 and 8):
1. Study Root, one level at a time. What a study consists of is the PACS's own list; an answer without a well-formed
   UID of its level is left out.
2. An instance is fetched by its UIDs as it is stored: each class is proposed once for each transfer syntax.
3. What comes must be the instance that was asked for, of the study that was decided about; another is not handed on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping

from ribcage.dicom import dimse, identifier
from ribcage.dicom.dictionary import TAG_BY_KEYWORD
from ribcage.dicom.errors import DicomError
from ribcage.dicom.limits import UpperLayerLimits
from ribcage.dicom.part10 import check_uid
from ribcage.dicom.sop_classes import STUDY_ROOT_FIND, STUDY_ROOT_GET, VERIFICATION
from ribcage.dicom.statuses import Status, category
from ribcage.dicom.transfer_syntaxes import LITTLE_ENDIAN, TRANSFER_SYNTAXES
from ribcage.storage.ports import Octets
from ribcage.transfer.limits import OldPacs
from ribcage.transfer.shield.errors import PacsLost, PacsRefused, TooManyAnswers
from ribcage.transfer.shield.upstream import Terms, Upstream, Upstreams

LEVEL = TAG_BY_KEYWORD["QueryRetrieveLevel"]
UNIQUE = {
    "STUDY": TAG_BY_KEYWORD["StudyInstanceUID"],
    "SERIES": TAG_BY_KEYWORD["SeriesInstanceUID"],
    "IMAGE": TAG_BY_KEYWORD["SOPInstanceUID"],
}
_FIND: Terms = (((STUDY_ROOT_FIND, LITTLE_ENDIAN),), ())
_ECHO: Terms = (((VERIFICATION, LITTLE_ENDIAN),), ())
_SYNTAXES = sorted(TRANSFER_SYNTAXES)


class Pacs:
    """One front's way to the old PACS."""

    def __init__(self, settings: OldPacs, limits: UpperLayerLimits) -> None:
        self._limits = limits
        self._upstreams = Upstreams(settings, limits)

    def close(self) -> None:
        """Let its associations go."""
        self._upstreams.close()

    async def echo(self) -> None:
        """C-ECHO. Raises PacsError."""
        async with self._upstreams.take(_ECHO) as upstream:
            context = _offered(upstream, VERIFICATION)
            await upstream.send(context, dimse.CEchoRq(upstream.message_id(), VERIFICATION))
            answer = (await upstream.receive()).command
            if not isinstance(answer, dimse.CEchoRsp) or answer.status != Status.SUCCESS:
                raise PacsRefused("the PACS does not answer C-ECHO as asked")

    async def find(self, level: str, keys: Mapping[int, str], most: int) -> list[dict[int, str]]:
        """The answers at this level, as text by tag. Raises PacsError."""
        found: list[dict[int, str]] = []
        async with self._upstreams.take(_FIND) as upstream:
            context_id = _offered(upstream, STUDY_ROOT_FIND)
            syntax = upstream.context(context_id).transfer_syntax
            request = dimse.CFindRq(upstream.message_id(), STUDY_ROOT_FIND)
            asked = identifier.write({LEVEL: level, **keys}, "", syntax)
            await upstream.send(context_id, request, asked)
            while True:
                message = await upstream.receive()
                command = message.command
                if not isinstance(command, dimse.CFindRsp) or command.responds_to != request.message_id:
                    raise PacsLost("the PACS answered C-FIND with something else")
                if message.data_set is None:
                    if command.status != Status.SUCCESS:
                        raise PacsRefused("the PACS ended C-FIND otherwise", command.status)
                    return found
                if len(found) >= most:
                    raise TooManyAnswers(f"the PACS found more than {most}")
                found += _answer(message.data_set, syntax, UNIQUE[level])

    async def fetch(self, sop_class: str, keys: Mapping[int, str]) -> tuple[str, bytearray]:
        """Transfer syntax and data set of one instance, by its UIDs. Raises PacsError."""
        syntaxes = _SYNTAXES[: self._limits.max_contexts - 1]
        terms: Terms = (
            ((STUDY_ROOT_GET, LITTLE_ENDIAN), *((sop_class, (each,)) for each in syntaxes)),
            (sop_class,),
        )
        async with self._upstreams.take(terms) as upstream:
            context_id = _offered(upstream, STUDY_ROOT_GET)
            asked = identifier.write(
                {LEVEL: "IMAGE", **keys}, "", upstream.context(context_id).transfer_syntax
            )
            request = dimse.CGetRq(upstream.message_id(), STUDY_ROOT_GET)
            await upstream.send(context_id, request, asked)
            got: tuple[str, bytearray] | None = None
            while True:
                message = await upstream.receive()
                command = message.command
                if isinstance(command, dimse.CStoreRq):
                    wanted = command.sop_instance == keys[UNIQUE["IMAGE"]] and message.data_set is not None
                    if wanted and message.data_set is not None:
                        got = upstream.context(message.context_id).transfer_syntax, message.data_set
                    status = Status.SUCCESS if wanted else Status.DATA_SET_MISMATCH
                    await upstream.send(message.context_id, dimse.respond(command, status))
                elif not isinstance(command, dimse.CGetRsp) or command.responds_to != request.message_id:
                    raise PacsLost("the PACS answered C-GET with something else")
                elif category(command.status) != "pending":
                    if got is None:
                        raise PacsRefused("the PACS did not send the instance", command.status)
                    return got

    async def store(
        self, sop_class: str, uid: str, syntax: str, data: Octets, allowed: Awaitable[object]
    ) -> int:
        """C-STORE; the PACS's status. What `allowed` raises passes on, nothing stored. Raises PacsError."""
        async with self._upstreams.take((((sop_class, (syntax,)),), ())) as upstream:
            context = upstream.context_for(sop_class, syntax)
            if context is None:
                return Status.SOP_CLASS_NOT_SUPPORTED
            request = dimse.CStoreRq(upstream.message_id(), sop_class, uid)
            await upstream.send(context.context_id, request, data, allowed)
            answer = (await upstream.receive()).command
            if not isinstance(answer, dimse.CStoreRsp) or answer.responds_to != request.message_id:
                raise PacsLost("the PACS answered C-STORE with something else")
            return answer.status


def _offered(upstream: Upstream, sop_class: str) -> int:
    context = upstream.context_for(sop_class)
    if context is None:
        raise PacsRefused("the PACS does not offer this service", Status.SOP_CLASS_NOT_SUPPORTED)
    return context.context_id


def _answer(data: bytearray, syntax: str, unique: int) -> list[dict[int, str]]:
    """One answer, or none where it names nothing (rule 1)."""
    try:
        keys = dict(identifier.read(data, syntax).keys)
        check_uid(keys.get(unique, "").strip("\0 "), "unique key")
    except DicomError:
        return []
    return [keys]
