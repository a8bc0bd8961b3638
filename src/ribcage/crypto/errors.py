"""The error tree of this room. Messages name formats and tables, never a person, a key or a value.

CryptoError
├── SealBroken            a sealed object is not what was sealed, or not the object that was asked for
├── WrapBroken            a wrapped key or sealed column does not open in this context
├── FormatNewer           written by a newer version, or with an algorithm this one does not have
│   └── KeyStoreNewer     the same of the key store
├── RowTampered           a row that decides access was changed by somebody without the guard's key
├── SignatureBroken       a signature does not verify
├── CertificateRefused    a certificate or signing request is unusable
├── KeyProviderFailure    the key provider's state is missing, damaged or refuses
│   ├── WrongPassphrase
│   └── RecoveryTampered  the recovery record is not what was written under this passphrase
├── SharesRefused         recovery shares are damaged, too few, of different sets or of another home
└── KeyStoreFailure       the key store is missing, damaged or belongs to another home
    ├── KeyUnknown        no such key was ever wrapped, or its context differs
    └── KeyDestroyed      the key was destroyed on purpose
"""

from __future__ import annotations


class CryptoError(Exception):
    """Base of everything this room raises on purpose."""


class SealBroken(CryptoError):
    """A sealed object was flipped, cut, reordered, extended, or is another object than expected."""


class WrapBroken(CryptoError):
    """A wrapped key or sealed column does not open: wrong key, wrong context, or changed bytes."""


class FormatNewer(CryptoError):
    """The bytes name a version or an algorithm that this program does not have."""


class KeyStoreNewer(FormatNewer):
    """The key store was written by a newer Ribcage; use that version."""


class RowTampered(CryptoError):
    """A row's MAC does not match its columns; names the table only."""


class SignatureBroken(CryptoError):
    """A signature does not verify under this key."""


class CertificateRefused(CryptoError):
    """A certificate or signing request cannot be read or does not meet the profile."""


class KeyProviderFailure(CryptoError):
    """The key provider's state is missing, damaged or refuses."""


class WrongPassphrase(KeyProviderFailure):
    """The passphrase does not open the key provider (or its state was changed: the two look alike)."""


class RecoveryTampered(KeyProviderFailure):
    """The recovery record was changed by somebody who does not know the passphrase."""


class SharesRefused(CryptoError):
    """Recovery shares do not fit: damaged, too few, twice the same, of different sets, or of another home."""


class KeyStoreFailure(CryptoError):
    """The key store is missing, damaged or belongs to another home."""


class KeyUnknown(KeyStoreFailure):
    """No key with this id and context."""


class KeyDestroyed(KeyStoreFailure):
    """The key was destroyed on purpose; nothing sealed under it opens again."""
