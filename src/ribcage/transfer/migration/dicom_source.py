"""An old PACS that speaks DIMSE: C-FIND for what there is, C-GET for the instances (PS3.4 C.4.1, C.4.3).

Rules, in order:
1. Study Root. Studies, then series, then images: what a study consists of is the old PACS's own list.
2. Each class is proposed once for each transfer syntax, the compressed ones included, so that the instance can come
   as it is stored; nobody decodes or compresses on the way.
3. A study that was begun before is asked for image by image: what the archive has is not fetched again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ribcage.dicom import dimse, identifier
from ribcage.dicom.sop_classes import STUDY_ROOT_FIND, STUDY_ROOT_GET, is_storage
from ribcage.dicom.statuses import category
from ribcage.dicom.transfer_syntaxes import LITTLE_ENDIAN
from ribcage.transfer.migration.association import LIMITS, OTHER_WAYS, Association, Proposal
from ribcage.transfer.migration.errors import NotOffered, PeerRefused
from ribcage.transfer.migration.journal import Listed
from ribcage.transfer.migration.peer import Peer
from ribcage.transfer.migration.source import UID, Arrived, Take

LEVEL, STUDY, SERIES, INSTANCE, SOP_CLASS = 0x00080052, 0x0020000D, 0x0020000E, 0x00080018, 0x00080016
STUDY_DATE, STUDY_COUNT = 0x00080020, 0x00201208
SYNTAXES = (  # the first ones matter where many classes share the 128 contexts
    *LITTLE_ENDIAN,
    "1.2.840.10008.1.2.4.70",  # JPEG Lossless, selection value 1
    "1.2.840.10008.1.2.4.90",  # JPEG 2000 lossless
    "1.2.840.10008.1.2.4.50",  # JPEG Baseline
    "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.57",
    "1.2.840.10008.1.2.4.81",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.4.100",
    "1.2.840.10008.1.2.4.102",
    "1.2.840.10008.1.2.4.201",
    "1.2.840.10008.1.2.4.202",
    "1.2.840.10008.1.2.4.203",
)


class DicomSource:
    """One worker's associations with the old PACS: one for queries, one for each retrieval."""

    def __init__(self, peer: Peer, calling: str, dates: str = "") -> None:
        self._peer = peer
        self._calling = calling
        self._dates = dates
        self._finder: Association | None = None

    def studies(self) -> Iterator[tuple[str, int]]:
        """See `Source`."""
        keys = {LEVEL: "STUDY", STUDY: "", STUDY_COUNT: "", STUDY_DATE: self._dates}
        for answer in self._find(keys):
            uid, count = answer.get(STUDY, ""), answer.get(STUDY_COUNT, "").strip()
            readable = UID.fullmatch(uid) is not None
            yield (uid, int(count) if count.isdecimal() else 0) if readable else ("", 0)

    def instances(self, study_uid: str) -> list[Listed]:
        """See `Source` (rule 1)."""
        found = []
        series = {
            each.get(SERIES, "") for each in self._find({LEVEL: "SERIES", STUDY: study_uid, SERIES: ""})
        }
        for uid in sorted(series - {""}):
            keys = {LEVEL: "IMAGE", STUDY: study_uid, SERIES: uid, INSTANCE: "", SOP_CLASS: ""}
            for answer in self._find(keys):
                if UID.fullmatch(answer.get(INSTANCE, "")):
                    found.append(Listed(answer[INSTANCE], uid, answer.get(SOP_CLASS, "")))
        return found

    def fetch(self, study_uid: str, wanted: Sequence[Listed], whole: bool, take: Take) -> None:
        """See `Source`: C-GET."""
        classes = sorted({each.sop_class for each in wanted if is_storage(each.sop_class)})
        if not classes:
            raise NotOffered(
                f"{self._peer.name} does not list SOP classes: C-GET cannot be negotiated", OTHER_WAYS
            )
        with Association(
            self._peer, self._peer.path, self._calling, proposals(classes), classes
        ) as association:
            association.offered(STUDY_ROOT_GET)
            for keys in retrieval_keys(study_uid, wanted, whole):
                self._get(association, keys, take)

    def close(self) -> None:
        """See `Source`."""
        if self._finder is not None:
            self._finder.release()
            self._finder = None

    def _find(self, keys: Mapping[int, str]) -> Iterator[Mapping[int, str]]:
        if self._finder is None:
            proposal: Proposal = (STUDY_ROOT_FIND, LITTLE_ENDIAN)
            self._finder = Association(self._peer, self._peer.path, self._calling, [proposal])
        try:
            yield from self._finder.find(STUDY_ROOT_FIND, keys)
        except BaseException:
            if self._finder is not None:
                self._finder.abort()
            self._finder = None
            raise

    def _get(self, association: Association, keys: Mapping[int, str], take: Take) -> None:
        context = association.offered(STUDY_ROOT_GET)
        request = dimse.CGetRq(association.message_id(), STUDY_ROOT_GET)
        association.send(context.context_id, request, identifier.write(keys, "", context.transfer_syntax))
        while True:
            message = association.receive()
            command = message.command
            if isinstance(command, dimse.CStoreRq):
                syntax = association.contexts[message.context_id].transfer_syntax
                arrived = Arrived(command.sop_class, command.sop_instance, syntax, message.data_set or b"")
                association.send(message.context_id, dimse.respond(command, take(arrived)))
            elif not isinstance(command, dimse.CGetRsp):
                raise PeerRefused(f"{self._peer.name} answered C-GET with something else")
            elif category(command.status) != "pending":
                return  # what it did not send is found missing


def proposals(classes: Sequence[str]) -> list[Proposal]:
    """C-GET itself, and each class in as many transfer syntaxes of its own as there is room for (rule 2)."""
    room = (LIMITS.max_contexts - 1) // len(classes)
    if not room:
        raise PeerRefused("a study of more than 127 SOP classes", OTHER_WAYS)
    pairs = [(uid, (syntax,)) for uid in classes for syntax in SYNTAXES[:room]]
    return [(STUDY_ROOT_GET, LITTLE_ENDIAN), *pairs]


def retrieval_keys(study_uid: str, wanted: Sequence[Listed], whole: bool) -> Iterator[dict[int, str]]:
    """The identifiers of C-GET or C-MOVE (rule 3)."""
    if whole:
        yield {LEVEL: "STUDY", STUDY: study_uid}
        return
    for each in wanted:
        yield {LEVEL: "IMAGE", STUDY: study_uid, SERIES: each.series_uid, INSTANCE: each.uid}
