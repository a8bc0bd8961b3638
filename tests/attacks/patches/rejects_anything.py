"""A note rejects whatever it names, wherever that is."""

from __future__ import annotations

import sqlalchemy as sa

from attacks.patches._put import Put
from ribcage.database.schema import instance
from ribcage.guard import protocol as p
from ribcage.guard.rejections import Rejections


def apply(put: Put) -> None:
    def objects(connection: sa.Connection, request: p.Admit) -> list[bytes]:
        uids = [each.instance for each in request.rejection.instances] if request.rejection else []
        found = connection.execute(sa.select(instance.c.object_id).where(instance.c.uid.in_(uids)))
        return [bytes(each) for each in found.scalars()]

    put(Rejections, "_objects", staticmethod(objects))
