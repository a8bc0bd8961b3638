"""Whoever holds the database's key, the log's key and the checkpoint key, and makes another history of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa

from helpers.guard_house import PASSPHRASE
from ribcage.crypto.columns import column_context, open_column, seal_column
from ribcage.crypto.provider import FileKeyProvider
from ribcage.database.engine import open_engine
from ribcage.database.schema import checkpoint, log_leaf, log_tile
from ribcage.evidence.leaf import SALT_BYTES, make_leaf
from ribcage.evidence.merkle import leaf_hash
from ribcage.evidence.tiles import TileBuilder
from ribcage.guard.keyring import Keyring
from ribcage.guard.log_epochs import load_epochs
from ribcage.guard.place import read_facts
from ribcage.guard.second_journal import SecondJournal

Change = Callable[[list[bytes]], list[bytes]]


def forge(home: Path, change: Change) -> bytes:
    """Put another list of bodies in the log's place, consistently, and return its checkpoint.

    Entries that stay keep their salts.
    """
    provider = FileKeyProvider.open(home / "keys" / "provider.json", PASSPHRASE)
    keyring = Keyring.open(home / "keys" / "keystore.db", provider, read_facts(home).hospital)
    signer = load_epochs(keyring, read_facts(home).hospital).signer
    key, engine = (
        keyring.service("log"),
        open_engine(home / "database" / "ribcage.db", keyring.service("database")),
    )
    keyring.close()
    with engine.begin() as connection:
        salts, bodies = {}, []
        for number, sealed in connection.execute(
            sa.select(log_leaf.c.number, log_leaf.c.sealed).order_by(log_leaf.c.number)
        ):
            plain = open_column(key, column_context("log_leaf", "sealed", number), sealed)
            bodies.append(plain[SALT_BYTES:])
            salts[bodies[-1]] = plain[:SALT_BYTES]
        tree, rows = TileBuilder(), []
        for number, body in enumerate(change(list(bodies))):
            salt = salts.get(body) or os.urandom(SALT_BYTES)
            data, _ = make_leaf(body, salt)
            tree.append(leaf_hash(data))
            sealed = seal_column(key, column_context("log_leaf", "sealed", number), salt + body)
            rows.append({"number": number, "leaf_data": data, "sealed": sealed})
        for table in (log_leaf, log_tile, checkpoint):
            connection.execute(sa.delete(table))
        connection.execute(sa.insert(log_leaf), rows)
        note = signer.sign(tree.size, tree.root())
        connection.execute(sa.insert(checkpoint), {"size": tree.size, "note": note})
    engine.dispose()
    second = SecondJournal(home / "keys" / "keystore.db")
    second.remember_head(tree.size, note)
    second.close()
    return note
