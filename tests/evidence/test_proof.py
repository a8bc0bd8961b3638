"""The portable proof, checked by the library and by the stand-alone program that shares no code with it."""

import importlib.util
import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ribcage.crypto.signing import Signer
from ribcage.evidence.checkpoint import CheckpointSigner, Witness, add_signature
from ribcage.evidence.errors import (
    BundleMalformed,
    EvidenceError,
    InclusionBroken,
    OpeningBroken,
    WitnessMissing,
)
from ribcage.evidence.proof import make_bundle, verify_bundle

TOOL = Path(__file__).parents[2] / "tools" / "verify_proof.py"
_spec = importlib.util.spec_from_file_location("verify_proof", TOOL)
tool = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tool)

BODIES = [f'{{"kind":"test","number":{number},"text":"证据","version":1}}'.encode() for number in range(21)]


@pytest.fixture(scope="module")
def log(make_log):
    return make_log(BODIES)


def bundle_of(log, index, head=None):
    body, salt = log.entries[index]
    return make_bundle(
        body=body,
        salt=salt,
        index=index,
        path=log.path(index),
        checkpoint=head or log.head(),
        verifier_key=log.signer.verifier_key,
    )


def refused_by_both(data, key, error=EvidenceError):
    with pytest.raises(error):
        verify_bundle(data, key)
    with pytest.raises(tool.Refused):
        tool.check_bundle(data, key)


def changed(log, index, /, **fields):
    value = json.loads(bundle_of(log, index))
    value.update(fields)
    return json.dumps(value).encode()


def test_every_entry_is_proven_to_both_verifiers(log):
    key = log.signer.verifier_key
    for index, body in enumerate(BODIES):
        data = bundle_of(log, index)
        proven = verify_bundle(data, key)
        assert (proven.index, proven.body, proven.checkpoint.size) == (index, body, len(BODIES))
        bundle, origin = tool.check_bundle(data, key)
        assert (bundle["body"].encode(), origin) == (body, proven.checkpoint.origin)


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_any_flipped_bit_of_the_bundle_is_refused_or_changes_nothing(log, data):
    """JSON has several spellings of one value; a flip that survives must leave the proven entry as it was."""
    index = data.draw(st.integers(0, len(BODIES) - 1))
    bundle = bytearray(bundle_of(log, index))
    bit = data.draw(st.integers(0, len(bundle) * 8 - 1))
    bundle[bit // 8] ^= 1 << bit % 8
    try:
        proven = verify_bundle(bytes(bundle), log.signer.verifier_key)
    except EvidenceError:
        with pytest.raises(tool.Refused):
            tool.check_bundle(bytes(bundle), log.signer.verifier_key)
    else:
        assert (proven.index, proven.body) == (index, BODIES[index])
        assert json.loads(bundle) == json.loads(bundle_of(log, index))


def test_changed_entry_is_refused(log):
    data = changed(log, 3, body=BODIES[3].decode().replace("3", "4"))
    refused_by_both(data, log.signer.verifier_key, OpeningBroken)


def test_entry_with_a_leaf_made_to_fit_is_refused(log):
    other = json.loads(bundle_of(log, 4))
    data = changed(log, 3, body=other["body"], salt=other["salt"], leaf=other["leaf"])
    refused_by_both(data, log.signer.verifier_key, InclusionBroken)


def test_entry_at_another_index_is_refused(log):
    for index in (2, 4, 20, 21, 10**30):
        refused_by_both(changed(log, 3, index=index), log.signer.verifier_key, InclusionBroken)


def test_proof_under_an_impostors_checkpoint_is_refused(log):
    impostor = CheckpointSigner(log.signer.key.name, b"\x07" * 32)
    note = impostor.sign(log.size, log.tree.range.root()).decode()
    refused_by_both(changed(log, 3, checkpoint=note), log.signer.verifier_key)
    refused_by_both(
        changed(log, 3, checkpoint=note, verifier_key=impostor.verifier_key), log.signer.verifier_key
    )


def test_key_in_the_bundle_is_never_trusted(log):
    impostor = CheckpointSigner(log.signer.key.name, b"\x07" * 32)
    refused_by_both(bundle_of(log, 3), impostor.verifier_key, BundleMalformed)


@pytest.mark.parametrize(
    "fields",
    [
        {"format": "ribcage-proof/2"},
        {"extra": 1},
        {"index": True},
        {"index": "3"},
        {"index": -1},
        {"index": 3.0},
        {"size": 22},
        {"salt": "00"},
        {"salt": "AB" * 32},
        {"path": {}},
        {"path": ["00" * 32] * 63},
        {"path": [1]},
        {"body": ""},
        {"body": "\ud800"},
        {"body": "x" * 70_000},
        {"checkpoint": "\ud800"},
        {"checkpoint": ""},
        {"checkpoint": "x" * 300_000},
        {"leaf": None},
        {"body": ["x"]},
    ],
)
def test_bundle_outside_the_format_is_refused(log, fields):
    refused_by_both(changed(log, 3, **fields), log.signer.verifier_key)


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b" " * 2_000_000, b"1" * 5000])
def test_rubbish_is_refused(log, data):
    refused_by_both(data, log.signer.verifier_key, BundleMalformed)


def test_field_named_twice_is_refused(log):
    data = bundle_of(log, 3).replace(b'"index": 3,', b'"index": 4,\n "index": 3,')
    refused_by_both(data, log.signer.verifier_key, BundleMalformed)


def test_missing_field_is_refused(log):
    value = json.loads(bundle_of(log, 3))
    for name in value:
        less = {key: each for key, each in value.items() if key != name}
        refused_by_both(json.dumps(less).encode(), log.signer.verifier_key, BundleMalformed)


def test_bundle_that_would_not_verify_is_not_made(log):
    body, salt = log.entries[3]
    with pytest.raises(InclusionBroken):
        make_bundle(
            body=body,
            salt=salt,
            index=4,
            path=log.path(4),
            checkpoint=log.head(),
            verifier_key=log.signer.verifier_key,
        )


def test_quorum_of_witnesses_is_asked_by_both(log):
    key = log.signer.verifier_key
    witness = Witness("w.example", b"\x09" * 32, key)
    absent = Witness("v.example", b"\x0a" * 32, key).key.encode()
    head = add_signature(log.head(), witness.update(log.head(), [], 1_750_000_000))
    data, names = bundle_of(log, 5, head), [witness.key.encode(), absent]
    assert verify_bundle(data, key, witnesses=names, quorum=1).witnessed == {"w.example": 1_750_000_000}
    note = json.loads(data)["checkpoint"]
    assert tool.check_witnesses(note, names, 1) == ["witness w.example at Unix time 1750000000"]
    with pytest.raises(WitnessMissing):
        verify_bundle(data, key, witnesses=names, quorum=2)
    with pytest.raises(tool.Refused):
        tool.check_witnesses(note, [names[0], names[0], names[1]], 2)


@settings(deadline=None, max_examples=20)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=100), st.integers(0, 511))
def test_stand_alone_ed25519_agrees_with_the_library(seed, message, bit):
    signer = Signer(seed)
    signature = signer.sign(message)
    tool.verify_signature(signer.public_key, signature, message)
    changed = bytearray(signature)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(tool.Refused):
        tool.verify_signature(signer.public_key, bytes(changed), message)
    with pytest.raises(tool.Refused):
        tool.verify_signature(signer.public_key, signature, message + b"x")


def test_stand_alone_ed25519_knows_the_rfcs_vector_and_refuses_malleability():
    public = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")  # RFC 8032 7.1
    signature = bytes.fromhex(
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
    )
    tool.verify_signature(public, signature, b"")
    scalar = int.from_bytes(signature[32:], "little") + tool.L
    with pytest.raises(tool.Refused, match="not canonical"):
        tool.verify_signature(public, signature[:32] + scalar.to_bytes(32, "little"), b"")


def test_program_says_proven_or_not(log, tmp_path, capsys):
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_bytes(bundle_of(log, 7))
    bad.write_bytes(changed(log, 7, index=8))
    key = log.signer.verifier_key
    assert tool.main([str(good), "--key", key]) == 0
    out = capsys.readouterr().out
    assert re.match(r"PROVEN: entry 7 of 21 in ribcage\.local/", out)
    assert out.isascii()
    for arguments in (
        [str(bad), "--key", key],
        [str(good), "--key", key[:-2]],
        [str(good), "--key", key, "--quorum", "1"],
        [str(tmp_path / "absent.json"), "--key", key],
    ):
        assert tool.main(arguments) == 1
        captured = capsys.readouterr()
        assert captured.err.startswith("NOT PROVEN: ")
        assert "PROVEN" not in captured.out


def test_program_imports_nothing_but_the_standard_library():
    allowed = {"__future__", "argparse", "base64", "hashlib", "json", "re", "sys", "typing"}
    lines = re.findall(r"^(?:import|from) (\w+)", TOOL.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(lines) == allowed
