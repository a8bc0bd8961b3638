"""The tables of docs/conformance.md, written from the code's own tables.

`python tests/gates/conformance_tables.py` prints them.
"""

from __future__ import annotations

import sys
from typing import NoReturn

from ribcage.dicom import sop_classes as sop
from ribcage.dicom.query_models import LEVELS, MATCHED, RETURNED, UNIQUE
from ribcage.dicom.statuses import Status, meaning
from ribcage.dicom.transfer_syntaxes import TRANSFER_SYNTAXES
from ribcage.guard.errors import GuardUnavailable
from ribcage.transfer.dicomweb.context import WebContext
from ribcage.transfer.dicomweb.routes import _dicom, methods_of

_NAMES = {
    sop.VERIFICATION: ("Verification", "any"),
    sop.PATIENT_ROOT_FIND: ("Patient Root Query/Retrieve - FIND", "`query`"),
    sop.STUDY_ROOT_FIND: ("Study Root Query/Retrieve - FIND", "`query`"),
    sop.STORAGE_COMMITMENT_PUSH: ("Storage Commitment Push Model", "`store`"),
    sop.MODALITY_WORKLIST_FIND: ("Modality Worklist - FIND", "`worklist`"),
    sop.PERFORMED_PROCEDURE_STEP: ("Modality Performed Procedure Step", "`worklist`"),
}
_FIND_STATUSES = (
    Status.PENDING, Status.PENDING_KEYS_UNSUPPORTED, Status.SUCCESS, Status.CANCEL, Status.OUT_OF_RESOURCES,
    Status.DATA_SET_MISMATCH, Status.CANNOT_UNDERSTAND, Status.SOP_CLASS_NOT_SUPPORTED, Status.NOT_AUTHORIZED,
)  # fmt: skip
_STOW_STATUSES = (
    Status.OUT_OF_RESOURCES, Status.DATA_SET_MISMATCH, Status.CANNOT_UNDERSTAND, Status.REFERENCED_TRANSFER_SYNTAX,
    Status.NOT_AUTHORIZED, Status.PROCESSING_FAILURE, Status.COERCED_OR_SUBOPERATIONS_FAILED,
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
        "dicomweb": _dicomweb(),
        "stow-statuses": _statuses(_STOW_STATUSES),
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


def _dicomweb() -> str:
    """Methods and media types of the service's own route table; frames by the first of their types."""

    def no_way() -> NoReturn:
        raise GuardUnavailable("a table asks nobody")

    rows: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for each in methods_of(_dicom(WebContext(no_way, no_way))):
        gives = each.gives if len(each.gives) < 5 else (*each.gives[:1], "the stored frames' own type")
        rows.setdefault((each.name, gives), []).append(f"`/{each.path}`")
    return _table(
        ("method", "resources", "media types"),
        [
            (name, "<br>".join(paths), "<br>".join(f"`{kind}`" for kind in gives))
            for (name, gives), paths in rows.items()
        ],
    )


def _statuses(statuses: tuple[Status, ...]) -> str:
    return _table(("status", "meaning"), [(f"{each:04X}", meaning(each)) for each in statuses])


if __name__ == "__main__":
    for name, text in tables().items():
        sys.stdout.write(f"<!-- {name} -->\n{text}\n<!-- end -->\n\n")
