"""SLIP-0039 shares: any k give the secret back, k - 1 give nothing, and what does not fit is refused by its place."""

from __future__ import annotations

import itertools
import os
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shamir_mnemonic import MnemonicError, combine_mnemonics
from shamir_mnemonic.share import Share

from ribcage.crypto.errors import SharesRefused
from ribcage.crypto.shares import SHARE_WORDS, join, split

SECRET = bytes(range(32))

# Of the vectors published with SLIP-0039, those of 256 bits with one group; their passphrase is TREZOR.
_TWO_OF_THREE = (
    "humidity disease academic always aluminum jewelry energy woman receiver strategy amuse duckling "
    "lying evidence network walnut tactics forget hairy rebound impulse brother survive clothes "
    "stadium mailman rival ocean reward venture always armed unwrap",
    "humidity disease academic agency actress jacket gross physics cylinder solution fake mortgage "
    "benefit public busy prepare sharp friar change work slow purchase ruler again tricycle involve "
    "viral wireless mixture anatomy desert cargo upgrade",
)
_ONE_OF_ONE = (
    "theory painting academic academic armed sweater year military elder discuss acne wildlife "
    "boring employer fused large satoshi bundle carbon diagnose anatomy hamster leaves tracks paces "
    "beyond phantom capital marvel lips brave detect "
)


def test_the_published_vectors_hold() -> None:
    two = combine_mnemonics(_TWO_OF_THREE, b"TREZOR")
    assert two.hex() == "c938b319067687e990e05e0da0ecce1278f75ff58d9853f19dcaeed5de104aae"
    one = combine_mnemonics([_ONE_OF_ONE + "luck"], b"TREZOR")
    assert one.hex() == "989baf9dcaad5b10ca33dfd8cc75e42477025dce88ae83e75a230086a0e00e92"
    with pytest.raises(MnemonicError):
        combine_mnemonics([_ONE_OF_ONE + "lunar"], b"TREZOR")
    with pytest.raises(MnemonicError):
        combine_mnemonics(_TWO_OF_THREE[:1], b"TREZOR")
    assert len(join(_TWO_OF_THREE)) == 32  # another passphrase, none: another secret
    with pytest.raises(SharesRefused, match="something else"):
        join([_ONE_OF_ONE + "luck"])


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(2, 16), st.binary(min_size=32, max_size=32))
def test_any_k_of_n_give_it_back_and_k_minus_one_nothing(
    data: st.DataObject, need: int, secret: bytes
) -> None:
    of = data.draw(st.integers(need, 16))
    shares = split(secret, need, of)
    chosen = data.draw(st.permutations(shares))
    assert join(chosen[:need]) == secret
    assert join(chosen) == secret
    with pytest.raises(SharesRefused, match=f"expected {need} shares, got {need - 1}"):
        join(chosen[: need - 1])


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 16), st.binary(min_size=32, max_size=32))
def test_k_minus_one_holders_who_make_up_the_last_share_get_nothing(need: int, made_up: bytes) -> None:
    shares = split(SECRET, need, need)
    last = Share.from_mnemonic(shares[-1])
    forged = replace(last, value=made_up).mnemonic()
    with pytest.raises(SharesRefused, match="genuine"):
        join([*shares[:-1], forged])


@pytest.mark.parametrize("need", [3, 5, 16])
def test_shares_rewritten_to_claim_a_lower_threshold_give_nothing(need: int) -> None:
    shares = [Share.from_mnemonic(each) for each in split(SECRET, need, need)[: need - 1]]
    lowered = [replace(each, member_threshold=need - 1).mnemonic() for each in shares]
    with pytest.raises(SharesRefused, match="genuine"):
        join(lowered)


def test_every_pair_of_five_fits_and_spelling_is_forgiven() -> None:
    shares = split(SECRET, 2, 5)
    for pair in itertools.combinations(shares, 2):
        assert join([f"  {pair[0].upper()}\n", pair[1].replace(" ", "\n")]) == SECRET
    assert {len(each.split()) for each in shares} == {SHARE_WORDS}


def test_damaged_shares_are_named_by_place_and_never_by_their_words() -> None:
    first, second = split(SECRET, 2, 2)
    words = second.split()
    other = "academic" if words[9] != "academic" else "acid"
    swapped = next(i for i in range(4, 30) if words[i] != words[i + 1])
    damaged = [
        " ".join([*words[:9], other, *words[10:]]),
        " ".join([*words[:9], "notaword", *words[10:]]),
        " ".join([*words[:swapped], words[swapped + 1], words[swapped], *words[swapped + 2 :]]),
        " ".join(words[:-1]),
        second + " academic",
        "",
    ]
    for each in damaged:
        with pytest.raises(SharesRefused, match="share 2") as caught:
            join([first, each])
        assert not set(words) & set(str(caught.value).split()) - {"is", "a", "two"}


def test_the_same_share_twice_mixed_sets_and_none_are_refused() -> None:
    shares, others = split(SECRET, 2, 3), split(SECRET, 2, 3)
    for given_, said in (
        ([shares[0], shares[0]], "the same as share 1"),
        ([shares[0], others[1]], "another set|genuine"),
        ([*shares, others[0]], "another set|genuine"),
        ([], "got none"),
    ):
        with pytest.raises(SharesRefused, match=said):
            join(given_)


def test_an_extra_share_that_was_made_up_is_found() -> None:
    shares = split(SECRET, 2, 3)
    forged = replace(Share.from_mnemonic(shares[2]), value=os.urandom(32)).mnemonic()
    with pytest.raises(SharesRefused, match="share 3"):
        join([shares[0], shares[1], forged])


@pytest.mark.parametrize(("need", "of"), [(1, 1), (1, 3), (3, 2), (2, 17), (0, 0), (-1, 5)])
def test_impossible_numbers_are_refused(need: int, of: int) -> None:
    with pytest.raises(SharesRefused, match="expected 2 <="):
        split(SECRET, need, of)
