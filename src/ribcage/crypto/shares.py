"""Recovery shares: a secret of 32 bytes split k of n into words that people keep (SLIP-0039).

Rules, in order:
1. One group, no passphrase of its own; 2 <= k <= n <= 16. A share is 33 words with a checksum over all of them.
2. Fewer than k shares tell nothing of the secret; that holds for any computing power (Shamir).
3. Every share that is given must fit the others. A message names a share by its place, never by its words.
"""

from __future__ import annotations

from collections.abc import Sequence

from shamir_mnemonic import MnemonicError, combine_mnemonics, generate_mnemonics
from shamir_mnemonic.share import Share

from ribcage.crypto._encode import KEY_BYTES, check_key
from ribcage.crypto.errors import SharesRefused

LEAST_NEEDED, MOST_SHARES = 2, 16
SHARE_WORDS = 33
_ITERATION_EXPONENT = 0  # stretches a passphrase, and there is none: the secret is random


def check_numbers(need: int, of: int) -> None:
    """Raises SharesRefused unless 2 <= need <= of <= 16."""
    if not LEAST_NEEDED <= need <= of <= MOST_SHARES:
        raise SharesRefused(
            f"expected {LEAST_NEEDED} <= needed <= shares <= {MOST_SHARES}, got {need} of {of}"
        )


def split(secret: bytes, need: int, of: int) -> list[str]:
    """`of` shares of a 32-byte secret, any `need` of which give it back. Raises SharesRefused."""
    check_numbers(need, of)
    groups = generate_mnemonics(
        1, [(need, of)], check_key(secret), extendable=True, iteration_exponent=_ITERATION_EXPONENT
    )
    return list(groups[0])


def join(shares: Sequence[str]) -> bytes:
    """The secret of at least as many shares as are needed. Raises SharesRefused."""
    texts = [" ".join(share.lower().split()) for share in shares]
    read = [_read(place, text) for place, text in enumerate(texts, 1)]
    first, seen = read[0] if read else None, dict[int, int]()
    if first is None:
        raise SharesRefused("expected shares, got none")
    for place, share in enumerate(read, 1):
        if share.group_parameters() != first.group_parameters():
            raise SharesRefused(f"share {place} belongs to another set than share 1")
        if share.index in seen:
            raise SharesRefused(f"share {place} is the same as share {seen[share.index]}")
        seen[share.index] = place
    need = first.member_threshold
    if len(texts) < need:
        raise SharesRefused(f"expected {need} shares, got {len(texts)}")
    base = texts[: need - 1]
    found = {_combine([*base, text], place) for place, text in enumerate(texts[need - 1 :], need)}
    if len(found) != 1:
        raise SharesRefused("the shares do not fit together: one of them is not genuine")
    return found.pop()


def check_share(place: int, share: str) -> None:
    """Raises SharesRefused unless this is an undamaged share; whether it fits others is for `join`."""
    _read(place, " ".join(share.lower().split()))


def _read(place: int, text: str) -> Share:
    words = len(text.split())
    if words != SHARE_WORDS:
        raise SharesRefused(f"share {place}: expected {SHARE_WORDS} words, got {words}")
    try:
        share = Share.from_mnemonic(text)
    except MnemonicError:
        raise SharesRefused(f"share {place} is damaged: a word is wrong, or two changed places") from None
    one_group = (share.group_count, share.group_threshold) == (1, 1)
    if not one_group or len(share.value) != KEY_BYTES or share.member_threshold < LEAST_NEEDED:
        raise SharesRefused(f"share {place} is a share of something else")
    return share


def _combine(texts: list[str], place: int) -> bytes:
    try:
        return check_key(combine_mnemonics(texts))
    except MnemonicError:
        raise SharesRefused(f"share {place} does not fit the ones before it: one is not genuine") from None
