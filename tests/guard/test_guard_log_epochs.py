"""Epochs of the log: each history has its own signers, and no two share a key."""

from __future__ import annotations

from ribcage.guard.log_epochs import LogEpoch, LogEpochs

HOSPITAL, KEY = bytes(16), bytes(range(32))


def test_without_a_restore_origin_and_key_are_the_first() -> None:
    first = LogEpochs(HOSPITAL, KEY)
    assert first.number == 1
    assert first.signer.key.name == f"ribcage.local/{HOSPITAL.hex()}"
    assert first.verifier_key(1) == first.verifier_key(1 << 40) == first.signer.verifier_key


def test_a_checkpoint_belongs_to_the_epoch_that_begins_below_it() -> None:
    log = LogEpochs(HOSPITAL, KEY, (LogEpoch(2, 100, b"a" * 16, 1), LogEpoch(3, 150, b"b" * 16, 2)))
    one, two, three = log.verifier_keys
    assert [log.verifier_key(size) for size in (1, 100, 101, 150, 151)] == [one, one, two, two, three]


def test_an_abandoned_epoch_signs_nothing_of_the_history_and_is_still_known() -> None:
    """Epoch 3 was restored from a backup of epoch 1, older than the begin of epoch 2."""
    log = LogEpochs(HOSPITAL, KEY, (LogEpoch(2, 100, b"a" * 16, 1), LogEpoch(3, 80, b"b" * 16, 1)))
    one, two, three = log.verifier_keys
    assert [log.verifier_key(size) for size in (80, 81, 101, 500)] == [one, three, three, three]
    assert two not in {log.verifier_key(size) for size in range(1, 600)}
    assert log.highest == 3


def test_two_restores_of_one_key_store_do_not_share_a_key() -> None:
    """They take the same number, not knowing of each other; the random part keeps them apart."""
    one = LogEpochs(HOSPITAL, KEY, (LogEpoch(2, 100, b"a" * 16, 1),))
    other = LogEpochs(HOSPITAL, KEY, (LogEpoch(2, 100, b"b" * 16, 1),))
    assert one.signer.key.name == other.signer.key.name
    assert one.signer.verifier_key != other.signer.verifier_key
