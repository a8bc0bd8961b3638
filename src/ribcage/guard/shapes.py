"""What leaves otherwise than it was stored: the patient as corrected, and the UIDs of what was filed.

Rules, in order (docs/adr/0013, 0014):
1. The original view is as stored.
2. A study whose identity was changed names its patient as corrected, in the full view.
3. A filed instance carries the UIDs under which it was filed, and in the full view the study's patient where it names
   another. A row of `filed` that does not hold opens nothing.
4. Where anything is written into an instance, its text is read in the character set of its device's registration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import msgspec
import sqlalchemy as sa

from ribcage.crypto.errors import CryptoError
from ribcage.database.schema import study
from ribcage.guard import catalogue, filing
from ribcage.guard.catalogue import HeldStudy
from ribcage.guard.core import Core
from ribcage.guard.errors import GuardRefused
from ribcage.guard.filing import Filed
from ribcage.guard.identities import Named
from ribcage.guard.protocol import Addressed, CorrectedPatient, View


@dataclass(frozen=True)
class Shape:
    """What the front writes into one instance on its way out."""

    named: CorrectedPatient | None = None
    addressed: Addressed | None = None
    charset: str = ""
    charset_overrides: bool = False


def shapes(
    core: Core, connection: sa.Connection, held: HeldStudy, view: View, rows: Mapping[bytes, sa.RowMapping]
) -> dict[bytes, Shape]:
    """For each of these instances (by object id, joined with `series_uid`). Raises GuardRefused('unavailable')."""
    named = None
    if held.named is not None and view == "full":
        named = _corrected(held.named, held.layers[-1].at)
    found = dict.fromkeys(rows, Shape(named))
    if view == "original":
        return found
    try:
        known = filing.filed_in(core, connection, held, list(rows))
        for object_id, what in known.items():
            row = rows[object_id]
            now = Addressed(held.uid, str(row["series_uid"]), str(row["uid"]), what.at)
            whose = named or (_of_study(connection, held, what) if view == "full" else None)
            found[object_id] = Shape(whose, now)
    except CryptoError as failure:
        raise GuardRefused("unavailable") from failure
    return {each: _in_charset(core, shape, str(rows[each]["source"])) for each, shape in found.items()}


def _in_charset(core: Core, shape: Shape, source: str) -> Shape:
    """What is written into is read as the registration of its device says (rule 4)."""
    kind, _, identifier = source.partition(":")
    if kind != "device" or (shape.named is None and shape.addressed is None):
        return shape
    charset, overrides = core.devices.charset_of(bytes.fromhex(identifier))
    return replace(shape, charset=charset, charset_overrides=overrides)


def _of_study(connection: sa.Connection, held: HeldStudy, what: Filed) -> CorrectedPatient | None:
    """The study's patient where the instance names another. Raises CryptoError."""
    sealed = connection.execute(sa.select(study.c.sealed).where(study.c.pk == held.pk)).scalar_one()
    named = catalogue.named_in(catalogue.facts_of(held, bytes(sealed)))
    return None if named == what.named else _corrected(named, what.at)


def _corrected(named: Named, at: float) -> CorrectedPatient:
    return CorrectedPatient(**msgspec.structs.asdict(named), changed_at=at)
