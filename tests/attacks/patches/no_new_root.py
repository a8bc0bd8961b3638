"""New shares are made for the root that is there: the passphrase is the same."""

from __future__ import annotations

from attacks.patches._put import Put
from ribcage.crypto.provider import FileKeyProvider

_fresh = FileKeyProvider._new_root


def _same(self: FileKeyProvider, passphrase: bytes) -> tuple[bytes, bytes]:
    if self._parameters.stretch(passphrase, self._salt) == self._root:
        return self._salt, self._root
    return _fresh(self, passphrase)


def apply(put: Put) -> None:
    put(FileKeyProvider, "_new_root", _same)
