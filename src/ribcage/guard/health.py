"""What an operator's `ribcage doctor` asks the guard: terms of certificates, the newest entries, formats.

Names of devices and of our own listeners are told, which are no secrets among operators; nothing of patients.
"""

from __future__ import annotations

import sqlalchemy as sa

from ribcage.crypto import authority
from ribcage.database.schema import FORMAT_VERSION, checkpoint, log_leaf
from ribcage.guard import protocol as p
from ribcage.guard._keystore import FORMAT
from ribcage.guard.core import Core
from ribcage.guard.home import AUTHORITY_BLOB, TLS_CHAIN_BLOB, newest_entry
from ribcage.guard.place import HOME_FORMAT

_NEWEST_ENTRIES = 10_000  # that many are counted: cheap, and a cut at the end is what somebody would try


class Examination:
    """Answers `GetHealth`."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def health(self, _: p.GetHealth) -> p.Health:
        """The state as it is now. Raises CryptoError where the key store does not give the certificates."""
        core = self._core
        leaf = authority.read_chain(core.keyring.load_blob(TLS_CHAIN_BLOB))[0]
        issuer, root = authority.read_chain(core.keyring.load_blob(AUTHORITY_BLOB))[:2]
        size = core.log.size
        head = core.second.head()
        with core.engine.connect() as connection:
            signed = connection.execute(sa.select(sa.func.max(checkpoint.c.size))).scalar()
            first = max(size - _NEWEST_ENTRIES, 0)
            newest = (log_leaf.c.number >= first, log_leaf.c.number < size)
            count = sa.select(sa.func.count()).select_from(log_leaf).where(*newest)
            there = int(connection.execute(count).scalar_one())
        return p.Health(
            listener=_term("the listeners' certificate", leaf),
            names=list(authority.names_of(leaf.der)),
            authorities=[_term("the issuing authority", issuer), _term("the root authority", root)],
            devices=core.devices.terms(),
            newest_entry=newest_entry(core.engine, core.log),
            newest_checkpoint=int(signed or 0),
            key_store_checkpoint=head[0] if head else 0,
            missing_entries=size - first - there,
            formats={"home": HOME_FORMAT, "database": FORMAT_VERSION, "key store": FORMAT},
        )


def _term(name: str, info: authority.CertificateInfo) -> p.Term:
    return p.Term(name, info.not_before.timestamp(), info.not_after.timestamp())
