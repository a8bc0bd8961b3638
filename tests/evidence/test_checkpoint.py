"""Checkpoints, foreign notes, witnesses: forged, cut, rolled back, forked."""

import base64
import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ribcage.evidence.checkpoint import (
    Checkpoint,
    CheckpointSigner,
    Witness,
    add_signature,
    log_origin,
    verify_checkpoint,
    verify_cosignatures,
)
from ribcage.evidence.errors import (
    CheckpointBroken,
    CheckpointForged,
    ConsistencyBroken,
    NoteMalformed,
    WitnessMissing,
)
from ribcage.evidence.merkle import EMPTY_ROOT, consistency_path, tree_root
from ribcage.evidence.note import COSIGNATURE_V1, ED25519, Note, NoteSignature, VerifierKey

# Published with Go's checksum-database notes: a second implementation's key, text and signature.
FOREIGN_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
FOREIGN_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
).encode()
SEED = hashlib.sha256(b"log").digest()
ORIGIN = log_origin(bytes(range(16)))
NOW = 1_750_000_000


@pytest.fixture
def log(make_log):
    return make_log([b"entry %d" % number for number in range(40)])


def witness(log, name="witness.example/1", **memory):
    return Witness(name, hashlib.sha256(name.encode()).digest(), log.signer.verifier_key, **memory)


def head_at(log, size):
    return log.signer.sign(size, tree_root(log.tree.read, size))


def test_foreign_note_verifies_under_its_published_key():
    key = VerifierKey.parse(FOREIGN_KEY)
    assert key.encode() == FOREIGN_KEY
    note = Note.parse(FOREIGN_NOTE)
    note.verify(key)
    assert note.encode() == FOREIGN_NOTE
    with pytest.raises(NoteMalformed):
        verify_checkpoint(FOREIGN_NOTE, key)  # signed, but no checkpoint


def test_checkpoint_comes_back_as_signed(log):
    head = verify_checkpoint(log.head(), log.signer.verifier_key)
    assert head == Checkpoint(ORIGIN, 40, log.tree.range.root())
    assert log.head().decode().split("\n")[:2] == [ORIGIN, "40"]


def test_checkpoint_of_the_empty_log():
    signer = CheckpointSigner(ORIGIN, SEED)
    assert verify_checkpoint(signer.sign(0, EMPTY_ROOT), signer.verifier_key).size == 0
    with pytest.raises(NoteMalformed):
        signer.sign(0, bytes(32))


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_any_flipped_bit_of_a_checkpoint_is_refused(data):
    signer = CheckpointSigner(ORIGIN, SEED)
    note = signer.sign(123456, hashlib.sha256(b"root").digest())
    bit = data.draw(st.integers(0, len(note) * 8 - 1))
    changed = bytearray(note)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(CheckpointBroken):
        verify_checkpoint(bytes(changed), signer.verifier_key)


def test_checkpoint_by_another_key_of_the_same_name_is_refused(log):
    impostor = CheckpointSigner(ORIGIN, hashlib.sha256(b"impostor").digest())
    with pytest.raises(CheckpointForged, match="no signature by the expected key"):
        verify_checkpoint(impostor.sign(40, log.tree.range.root()), log.signer.verifier_key)


def test_impostor_who_claims_the_key_id_is_refused(log):
    impostor = CheckpointSigner(ORIGIN, hashlib.sha256(b"impostor").digest())
    note = Note.parse(impostor.sign(41, bytes(32)))
    forged = Note(note.text, (NoteSignature(ORIGIN, log.signer.key.key_id, note.signatures[0].blob),))
    with pytest.raises(CheckpointForged, match="does not verify"):
        verify_checkpoint(forged.encode(), log.signer.verifier_key)


def test_bad_signature_beside_a_good_one_spoils_the_note(log):
    note = Note.parse(log.head())
    bad = NoteSignature(ORIGIN, log.signer.key.key_id, bytes(64))
    with pytest.raises(CheckpointForged):
        verify_checkpoint(Note(note.text, (*note.signatures, bad)).encode(), log.signer.verifier_key)


def test_unknown_signatures_are_ignored(log):
    line = NoteSignature("stranger.example", b"abcd", b"x" * 64).encode()
    note = add_signature(log.head(), line)
    assert verify_checkpoint(note, log.signer.verifier_key).size == 40
    assert add_signature(note, line) == note


def test_checkpoint_of_another_log_under_the_same_key_is_refused():
    signer = CheckpointSigner("other.example/log", SEED)
    ours = CheckpointSigner(ORIGIN, SEED)
    text = Checkpoint("other.example/log", 1, bytes(32)).text()
    signature = Note.parse(signer.sign(1, bytes(32))).signatures[0].blob
    note = Note(text, (NoteSignature(ORIGIN, ours.key.key_id, signature),)).encode()
    with pytest.raises(CheckpointForged, match="expected a checkpoint of"):
        verify_checkpoint(note, ours.key)


@pytest.mark.parametrize(
    "text",
    [
        "o\n1\n",
        "o\n01\n{root}\n",
        "o\n+1\n{root}\n",
        "o\n1 \n{root}\n",
        "o\n١\n{root}\n",
        "o\n9999999999999999999\n{root}\n",
        "o\n-1\n{root}\n",
        "o\n0\n{root}\n",
        "\n1\n{root}\n",
        "o\n1\n{root}\n\n",
        "o\n1\n{root}\n\nextension\n",
        "o\n1\n{root}",
        "o\n1\nAAAA\n",
        "o\n1\n{root}=\n",
        "",
    ],
)
def test_text_that_is_no_checkpoint_is_refused(text):
    root = base64.b64encode(bytes(32)).decode()
    with pytest.raises(NoteMalformed):
        Checkpoint.parse(text.replace("{root}", root))


def test_extension_lines_are_kept():
    text = f"o\n1\n{base64.b64encode(bytes(32)).decode()}\nextension 1\n"
    assert Checkpoint.parse(text).extensions == ("extension 1",)
    assert Checkpoint.parse(text).text() == text


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"\n\n",
        b"text\n",
        b"text\n\n",
        b"text\n\n- name AAAAAAAA\n",
        "text\n\n— name AAAAAAAA".encode(),
        "text\n\n— name  AAAAAAAA\n".encode(),
        "text\n\n— na+me AAAAAAAA\n".encode(),
        "text\n\n— na\u00a0me AAAAAAAA\n".encode(),
        "text\n\n— name AAAA\n".encode(),
        "text\n\n— name AAAAAB==\n".encode(),
        "text\n\n— name AAAA AAAA\n".encode(),
        "te\rxt\n\n— name AAAAAAAA\n".encode(),
        b"te\xffxt\n\n\xe2\x80\x94 name AAAAAAAA\n",
        b"text\n\n" + "— name AAAAAAAA\n".encode() * 65,
        b"x" * 300_000,
    ],
)
def test_bytes_that_are_no_note_are_refused(note):
    with pytest.raises(NoteMalformed):
        Note.parse(note)


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=120) | st.text(max_size=80).map(lambda text: text.encode(errors="replace")))
def test_arbitrary_bytes_are_a_note_or_malformed(data):
    for candidate in (data, data + "\n\n— name AAAAAAAA\n".encode()):
        try:
            note = Note.parse(candidate)
        except NoteMalformed:
            continue
        assert note.encode() == candidate


@pytest.mark.parametrize(
    "key",
    [
        "",
        "name",
        FOREIGN_KEY.replace("PeterNeumann", "PeterNeumann2"),
        FOREIGN_KEY.replace("c74f20a3", "C74F20A3"),
        FOREIGN_KEY[:-4],
        FOREIGN_KEY.replace("+ARp", "+Ahp"),
    ],
)
def test_mistyped_verifier_key_is_refused(key):
    with pytest.raises(NoteMalformed):
        VerifierKey.parse(key)


def test_witness_follows_the_log_and_its_cosignatures_count(log):
    watcher = witness(log)
    size = 0
    for new in (1, 7, 8, 8, 33, 40):
        note = head_at(log, new)
        line = watcher.update(note, consistency_path(log.tree.read, size, new), NOW + new)
        size = new
        cosigned = add_signature(note, line)
        assert verify_checkpoint(cosigned, log.signer.verifier_key).size == new
        times = verify_cosignatures(cosigned, [watcher.key.encode()], 1, not_after=NOW + 100)
        assert times == {"witness.example/1": NOW + new}
    assert (watcher.size, watcher.root) == (40, log.tree.range.root())


def test_rolled_back_log_is_refused_by_its_witness(log):
    watcher = witness(log, size=40, root=log.tree.range.root())
    with pytest.raises(ConsistencyBroken, match="rolled back or cut"):
        watcher.update(head_at(log, 39), [], NOW)
    assert watcher.size == 40


def test_cut_and_regrown_log_is_refused_by_its_witness(log, make_log):
    watcher = witness(log, size=40, root=log.tree.range.root())
    regrown = make_log([body for body, _ in log.entries[:38]] + [b"other"] * 10)
    with pytest.raises(ConsistencyBroken):
        watcher.update(regrown.head(), consistency_path(regrown.tree.read, 40, 48), NOW)
    assert (watcher.size, watcher.root) == (40, log.tree.range.root())


def test_forked_log_of_equal_size_is_refused_by_its_witness(log, make_log):
    watcher = witness(log, size=40, root=log.tree.range.root())
    fork = make_log([b"fork %d" % number for number in range(40)])
    with pytest.raises(ConsistencyBroken, match="forked"):
        watcher.update(fork.head(), [], NOW)


def test_witness_signs_nothing_for_another_log(log):
    other = CheckpointSigner("other.example/log", SEED)
    with pytest.raises(CheckpointForged):
        witness(log).update(other.sign(1, bytes(32)), [], NOW)


def test_cosignature_does_not_move_to_another_checkpoint(log):
    watcher = witness(log)
    line = watcher.update(head_at(log, 10), [], NOW)
    with pytest.raises(CheckpointForged):
        verify_cosignatures(add_signature(log.head(), line), [watcher.key], 1)


def test_cosignature_with_a_changed_time_is_refused(log):
    watcher = witness(log)
    mark = NoteSignature.parse(watcher.update(log.head(), [], NOW).rstrip("\n"))
    for moment in (NOW + 1, 1 << 63):
        later = NoteSignature(mark.name, mark.key_id, moment.to_bytes(8) + mark.blob[8:])
        with pytest.raises(CheckpointForged):
            verify_cosignatures(add_signature(log.head(), later.encode()), [watcher.key], 1)


def test_cosignature_from_the_future_is_refused(log):
    watcher = witness(log)
    note = add_signature(log.head(), watcher.update(log.head(), [], NOW))
    with pytest.raises(CheckpointForged, match="future"):
        verify_cosignatures(note, [watcher.key], 1, not_after=NOW - 1)


def test_one_witness_does_not_make_a_quorum_of_two(log):
    seed = hashlib.sha256(b"w").digest()
    note = log.head()
    keys = []
    for name in ("a.example", "b.example"):  # one key under two names
        watcher = Witness(name, seed, log.signer.verifier_key)
        note = add_signature(note, watcher.update(log.head(), [], NOW))
        keys.append(watcher.key)
    with pytest.raises(WitnessMissing):
        verify_cosignatures(note, [*keys, keys[0]], 2)
    with pytest.raises(WitnessMissing):
        verify_cosignatures(log.head(), keys, 1)
    with pytest.raises(WitnessMissing):
        verify_cosignatures(note, keys, 0)


def test_log_key_is_no_witness_key_and_the_other_way_round(log):
    watcher = witness(log)
    assert (log.signer.key.kind, watcher.key.kind) == (ED25519, COSIGNATURE_V1)
    note = add_signature(log.head(), watcher.update(log.head(), [], NOW))
    with pytest.raises(CheckpointForged):
        verify_cosignatures(note, [log.signer.key], 1)
    with pytest.raises(CheckpointForged):
        verify_checkpoint(note, watcher.key)
