"""The tables of docs/conformance.md, written from the code's own tables.

`python tests/gates/conformance_tables.py` prints them.
"""

from __future__ import annotations

import sys

from ribcage.dicom import sop_classes as sop
from ribcage.dicom.query_models import LEVELS, MATCHED, RETURNED, UNIQUE
from ribcage.dicom.statuses import Status, meaning
from ribcage.dicom.transfer_syntaxes import TRANSFER_SYNTAXES

_NAMES = {
    sop.VERIFICATION: ("Verification", "`store`, `query`, `retrieve` or `observe`"),
    sop.PATIENT_ROOT_FIND: ("Patient Root Query/Retrieve - FIND", "`query`"),
    sop.STUDY_ROOT_FIND: ("Study Root Query/Retrieve - FIND", "`query`"),
    sop.STORAGE_COMMITMENT_PUSH: ("Storage Commitment Push Model", "`store`"),
}
_FIND_STATUSES = (
    Status.PENDING, Status.PENDING_KEYS_UNSUPPORTED, Status.SUCCESS, Status.CANCEL, Status.OUT_OF_RESOURCES,
    Status.DATA_SET_MISMATCH, Status.CANNOT_UNDERSTAND, Status.SOP_CLASS_NOT_SUPPORTED, Status.NOT_AUTHORIZED,
)  # fmt: skip
_COMMITMENT_STATUSES = (
    Status.SUCCESS, Status.PROCESSING_FAILURE, Status.NO_SUCH_SOP_INSTANCE, Status.INVALID_ARGUMENT_VALUE,
    Status.NO_SUCH_SOP_CLASS, Status.NO_SUCH_ACTION, Status.NOT_AUTHORIZED, Status.RESOURCE_LIMITATION,
)  # fmt: skip


def tables() -> dict[str, str]:
    """Each table by the name that its marks in the document carry."""
    return {
        "services": _services(),
        "storage": _storage(),
        "keys": _keys(),
        "find-statuses": _statuses(_FIND_STATUSES),
        "commitment-statuses": _statuses(_COMMITMENT_STATUSES),
    }


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _services() -> str:
    rows = [(name, f"`{uid}`", right) for uid, (name, right) in _NAMES.items()]
    return _table(("SOP class", "UID", "right of the device"), rows)


def _storage() -> str:
    classes, retired = len(sop.STORAGE_CLASSES), len(sop.RETIRED_STORAGE_CLASSES)
    return f"{classes} storage SOP classes, {retired} of them retired; {len(TRANSFER_SYNTAXES)} transfer syntaxes."


def _keys() -> str:
    rows = []
    for level, unique in UNIQUE.items():
        for keyword in (*MATCHED[level], *RETURNED[level]):
            kind = "unique" if keyword == unique else "matched" if keyword in MATCHED[level] else "returned"
            models = ", ".join(
                name for uid, name in ((sop.PATIENT_ROOT_FIND, "Patient Root"), (sop.STUDY_ROOT_FIND, "Study Root"))
                if level in LEVELS[uid] or (level == "PATIENT" and keyword in MATCHED[level])
            )  # fmt: skip
            rows.append((level, f"`{keyword}`", kind, models))
    return _table(("level", "attribute", "key", "models"), rows)


def _statuses(statuses: tuple[Status, ...]) -> str:
    return _table(("status", "meaning"), [(f"{each:04X}", meaning(each)) for each in statuses])


if __name__ == "__main__":
    for name, text in tables().items():
        sys.stdout.write(f"<!-- {name} -->\n{text}\n<!-- end -->\n\n")
