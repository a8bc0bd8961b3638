"""Research projects: a name, a key of their own, a profile, an officer, and an end.

Rules, in order:
1. The key is 32 random bytes, made here, sealed to its row under the service key "log". It leaves the guard only in
   `ReleaseBegun`, for the process that makes the pseudonyms.
2. A project is a subject on the ledger like a person or device: without a grant to it, nothing is released to it.
3. What ended stays ended; its name is not used again, so that no two projects share pseudonyms or are taken for one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

import msgspec
import sqlalchemy as sa

from ribcage.crypto.columns import column_context, open_column, seal_column
from ribcage.crypto.errors import CryptoError
from ribcage.database.research import project, release_link
from ribcage.evidence.audit_event import ProjectChanged
from ribcage.guard import protocol as p
from ribcage.guard.approvals import APPROVING_ROLES
from ribcage.guard.committer import Transaction
from ribcage.guard.core import Actor, Core
from ribcage.guard.errors import GuardRefused

_ID_BYTES, _KEY_BYTES = 16, 32
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_LABEL = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_MOST_OPTIONS = 32
Row = dict[str, Any]


class Projects:
    """Adds, ends and lists."""

    def __init__(self, core: Core, rights_changed: Callable[[], None]) -> None:
        self._core = core
        self._rights_changed = rights_changed

    async def add(self, actor: Actor, request: p.AddProject) -> p.ProjectItem:
        """Make a project. Raises GuardRefused('invalid' | 'conflict' | 'not_found' | 'not_permitted')."""
        core, now = self._core, self._core.clock_watch.trusted()
        officer = core.people.find(request.officer)
        if not APPROVING_ROLES & set(str(officer["roles"]).split()):
            raise GuardRefused("not_permitted")
        if not _NAME.fullmatch(request.name) or request.until <= now or not _sound(request.profile):
            raise GuardRefused("invalid")
        identifier = os.urandom(_ID_BYTES)
        sealed = seal_column(core.keyring.service("log"), _context(identifier), os.urandom(_KEY_BYTES))
        values: Row = {
            "id": identifier,
            "name": request.name,
            "profile": msgspec.json.encode(request.profile).decode(),
            "sealed": sealed,
            "officer": bytes(officer["id"]),
            "added_at": now,
            "until": request.until,
            "ended_at": 0.0,
            "releases": 0,
        }

        def write(tx: Transaction) -> Row:
            names = list(tx.connection.execute(sa.select(project.c.name)).scalars())
            if request.name in names or len(names) >= core.limits.projects:
                raise GuardRefused("conflict")
            row = core.rows.insert(tx.connection, project, values)
            core.append(tx, _changed(actor, row, "added"))
            return row

        return self._item(await core.committer.run(write))

    async def end(self, actor: Actor, request: p.EndProject) -> p.ProjectItem:
        """End it, and what is being released to it, at once. Raises GuardRefused('not_found' | 'conflict')."""
        core, now = self._core, self._core.clock_watch.trusted()

        def write(tx: Transaction) -> Row:
            row = find_row(core, tx.connection, request.name)
            if row["ended_at"]:
                raise GuardRefused("conflict")
            core.append(tx, _changed(actor, row, "ended"))
            return core.rows.update(tx.connection, project, dict(row, ended_at=now))

        row = await core.committer.run(write)
        core.releases.end_project(bytes(row["id"]))
        self._rights_changed()
        return self._item(row)

    def page(self, _: p.ListProjects) -> p.ProjectItems:
        """All of them."""
        return p.ProjectItems([self._item(row) for row in all_projects(self._core)])

    def _item(self, row: Row) -> p.ProjectItem:
        query = sa.select(sa.func.count(sa.distinct(release_link.c.study_key_id)))
        with self._core.engine.connect() as connection:
            studies = connection.execute(query.where(release_link.c.project_id == row["id"])).scalar_one()
        return p.ProjectItem(
            name=str(row["name"]),
            project=bytes(row["id"]),
            profile=profile_of(row),
            officer=self._core.people.name_of(bytes(row["officer"])),
            until=float(row["until"]),
            ended_at=float(row["ended_at"]),
            releases=int(row["releases"]),
            studies=int(studies),
        )


def find_row(core: Core, connection: sa.Connection, name: str) -> Row:
    """A project's row. Raises GuardRefused('not_found'), RowTampered."""
    row = connection.execute(sa.select(project).where(project.c.name == name)).mappings().one_or_none()
    if row is None:
        raise GuardRefused("not_found")
    return core.rows.check(project, row)


def find_project(core: Core, name: str) -> Row:
    """The same, by a connection of its own."""
    with core.engine.connect() as connection:
        return find_row(core, connection, name)


def all_projects(core: Core) -> list[Row]:
    """All rows, by name. Raises RowTampered."""
    with core.engine.connect() as connection:
        rows = connection.execute(sa.select(project).order_by(project.c.name)).mappings().all()
    return [core.rows.check(project, row) for row in rows]


def key_of(core: Core, row: Row) -> bytes:
    """The project's key. Raises GuardRefused('unavailable') where it does not open."""
    try:
        return open_column(core.keyring.service("log"), _context(bytes(row["id"])), bytes(row["sealed"]))
    except CryptoError as failure:
        raise GuardRefused("unavailable") from failure


def profile_of(row: Row) -> p.ProjectProfile:
    """How its files are made."""
    return msgspec.json.decode(str(row["profile"]), type=p.ProjectProfile)


def _context(identifier: bytes) -> bytes:
    return column_context("project", "sealed", identifier)


def _sound(profile: p.ProjectProfile) -> bool:
    """Labels, few of them: what they mean is for whoever makes the files."""
    words = [profile.name, profile.unread, profile.digest, *profile.options]
    return len(profile.options) <= _MOST_OPTIONS and all(_LABEL.fullmatch(each) for each in words)


def _changed(actor: Actor, row: Row, change: Any) -> ProjectChanged:
    return ProjectChanged(
        actor.evidence, bytes(row["id"]), change, bytes(row["officer"]), int(float(row["until"]) * 1000)
    )
