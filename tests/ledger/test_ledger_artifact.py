"""The shipped bytecode is what the source gives, and the calldata fits its ABI."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ribcage.ledger import Purpose, View, abi, calls
from ribcage.ledger.errors import InvalidCall, LedgerUnavailable

ROOT = Path(__file__).resolve().parents[2]
ARTIFACT = ROOT / "src" / "ribcage" / "ledger" / "artifact.json"
WORD = b"\x07" * 32
CALLS = [
    calls.register_institution(bytes(20), 1),
    calls.rotate_signer(bytes(20)),
    calls.add_grant(WORD, WORD, Purpose.TREAT, View.FULL, 1, 2),
    calls.revoke_grant(1),
    calls.suspend(WORD),
    calls.legal_block(WORD),
    calls.objection(WORD),
    calls.consent_needed(Purpose.TREAT),
    calls.consent(WORD, Purpose.TREAT, True),
    calls.tombstone(WORD, WORD),
    calls.break_glass(WORD, WORD, 1, 2),
    calls.anchor(WORD, 1, WORD),
]


def build(*arguments: str) -> subprocess.CompletedProcess[str]:
    script = ROOT / "contracts" / "build.py"
    command = [sys.executable, str(script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_artifact_is_reproducible_from_the_source() -> None:
    result = build("--check")
    assert result.returncode == 0, result.stderr


def test_damaged_artifact_is_noticed(tmp_path: Path) -> None:
    damaged = tmp_path / "artifact.json"
    text = ARTIFACT.read_text(encoding="utf-8")
    damaged.write_text(text.replace("600", "601", 1), encoding="utf-8")
    result = build("--check", "--artifact", str(damaged))
    assert result.returncode == 1
    assert "make artifact" in result.stderr


def test_every_call_fits_the_contracts_abi_and_every_change_has_a_call() -> None:
    functions = [
        f for f in json.loads(ARTIFACT.read_text(encoding="utf-8"))["abi"] if f["type"] == "function"
    ]
    changes = {f["name"]: f for f in functions if f["stateMutability"] == "nonpayable"}
    assert len(CALLS) == len(changes)
    for call in CALLS:
        function = changes[call.name]
        signature = f"{call.name}({','.join(i['type'] for i in function['inputs'])})"
        assert call.data[:4] == abi.selector(signature)
        assert call.answers == bool(function["outputs"])


def test_known_selectors() -> None:
    assert abi.selector("transfer(address,uint256)").hex() == "a9059cbb"
    assert abi.selector("sam(bytes,bool,uint256[])").hex() == "a5643bf2"


@settings(max_examples=100, deadline=None)
@given(bits=st.sampled_from([8, 16, 32, 64, 128, 256]), value=st.integers(-(2**9), 2**257))
def test_integer_is_encoded_whole_or_refused(bits: int, value: int) -> None:
    if 0 <= value < 2**bits:
        assert abi.decode_words(abi.encode([f"uint{bits}"], [value]), 1) == [value]
    else:
        with pytest.raises(InvalidCall):
            abi.encode([f"uint{bits}"], [value])


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("bytes32", bytes(31)),
        ("bytes32", bytes(33)),
        ("bytes32", 1),
        ("address", bytes(32)),
        ("bool", 1),
        ("uint8", True),
        ("uint8", b"\x01"),
        ("int8", 1),
        ("uint7", 1),
        ("bytes32[]", WORD),
        ("bytes32[]", [bytes(31)]),
    ],
)
def test_value_of_another_type_is_refused(kind: str, value: abi.Value) -> None:
    with pytest.raises(InvalidCall):
        abi.encode([kind], [value])


def test_dynamic_array_is_laid_out_behind_the_head() -> None:
    encoded = abi.encode(["bytes32", "bytes32[]", "uint8"], [WORD, [b"\x01" * 32, b"\x02" * 32], 9])
    head = WORD + (96).to_bytes(32, "big") + (9).to_bytes(32, "big")
    assert encoded == head + (2).to_bytes(32, "big") + b"\x01" * 32 + b"\x02" * 32


def test_wrong_number_of_arguments_or_words_is_refused() -> None:
    with pytest.raises(InvalidCall):
        abi.encode(["uint8"], [])
    with pytest.raises(LedgerUnavailable):
        abi.decode_words(bytes(33), 1)


def test_revert_without_a_text_has_none() -> None:
    assert abi.revert_reason(b"") == ""
    assert abi.revert_reason(bytes.fromhex("4e487b71") + bytes(32)) == ""
