"""The rows of one study when its identity changes: sealed again under the patient it has from now on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from ribcage.crypto.columns import column_context, open_column, seal_column
from ribcage.database.schema import parked, patient_link, series, study
from ribcage.guard import catalogue
from ribcage.guard.catalogue import HeldPatient, HeldStudy
from ribcage.guard.core import Core
from ribcage.guard.errors import GuardRefused
from ribcage.guard.identities import Layers


def move_rows(
    core: Core, connection: sa.Connection, held: HeldStudy, whose: HeldPatient, layers: Layers
) -> None:
    """Study, series, tokens and layers of one study. Raises GuardRefused('conflict') where it changed meanwhile."""
    row = connection.execute(sa.select(study).where(study.c.pk == held.pk)).mappings().one_or_none()
    if row is None or bytes(row["patient_id"]) != held.patient_id:
        raise GuardRefused("conflict")
    checked = core.rows.check(study, row)
    named = layers[-1].named
    facts = msgspec.structs.replace(
        catalogue.facts_of(held, bytes(row["sealed"])), **msgspec.structs.asdict(named)
    )
    change = {
        "patient_id": whose.patient_id,
        "sealed": catalogue.seal_facts(whose.key, held.uid, facts),
        **catalogue.search_columns(core, named),
    }
    core.rows.update(connection, study, dict(checked, **change))
    catalogue.write_name_tokens(core, connection, held.pk, named)
    _seal_series(connection, held, whose)
    before, after = (
        catalogue.study_context(core, each, held.uid) for each in (held.patient_id, whose.patient_id)
    )
    connection.execute(sa.update(parked).where(parked.c.key_context == before).values(key_context=after))
    catalogue.write_layers(core, connection, held.key_id, held.key, layers)


def _seal_series(connection: sa.Connection, held: HeldStudy, whose: HeldPatient) -> None:
    if whose.patient_id == held.patient_id:
        return
    rows = connection.execute(sa.select(series).where(series.c.study_pk == held.pk)).mappings().all()
    for row in rows:
        context = column_context("series", "sealed", str(row["uid"]))
        sealed = seal_column(whose.key, context, open_column(held.patient_key, context, bytes(row["sealed"])))
        connection.execute(sa.update(series).where(series.c.pk == row["pk"]).values(sealed=sealed))


def link_rows(core: Core, connection: sa.Connection, link: dict[str, Any]) -> None:
    """A merged patient's link, new or changed."""
    known = core.identities.known_link(bytes(link["id"]))
    if known is None:
        core.rows.insert(connection, patient_link, link)
    else:
        core.rows.update(connection, patient_link, dict(known, **{k: link[k] for k in _LINKED}))


_LINKED = ("into_id", "change", "standing")


def settle_keys(core: Core, connection: sa.Connection, keys: Sequence[tuple[bytes, str]]) -> None:
    """Give each study's key (`(key id, Study UID)`) to the patient that its row names."""
    owners = []
    for key_id, uid in keys:
        owner = connection.execute(sa.select(study.c.patient_id).where(study.c.key_id == key_id)).scalar()
        if owner is not None:
            owners.append((key_id, catalogue.study_context(core, bytes(owner), uid)))
    core.keyring.rebind_all("study", owners)
