"""Wraps, sealed columns, row MACs and derived keys: nothing opens outside its context."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ribcage.crypto import columns, derive, rowmac, signing, wraps
from ribcage.crypto.errors import FormatNewer, RowTampered, SignatureBroken, WrapBroken

KEK = b"k" * 32
part = st.one_of(st.binary(max_size=8), st.text(max_size=8), st.integers(0, 2**40))
row = st.dictionaries(
    st.text(max_size=6),
    st.one_of(st.none(), st.binary(max_size=6), st.text(max_size=6), st.integers()),
    max_size=5,
)


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=64), st.lists(part, max_size=4), st.lists(part, max_size=4))
def test_a_wrap_opens_in_its_context_and_no_other(key: bytes, here: list[bytes], there: list[bytes]) -> None:
    wrapped = wraps.wrap(KEK, key, wraps.context(*here))
    assert len(wrapped) == len(key) + wraps.OVERHEAD_BYTES
    assert wraps.unwrap(KEK, wrapped, wraps.context(*here)) == key
    if [(type(p), p) for p in here] != [(type(p), p) for p in there]:
        with pytest.raises(WrapBroken):
            wraps.unwrap(KEK, wrapped, wraps.context(*there))


def test_fields_do_not_slide_into_their_neighbours() -> None:
    assert wraps.context("ab", "c") != wraps.context("a", "bc")
    assert wraps.context("1") != wraps.context(1) != wraps.context(b"1")


def test_every_changed_or_missing_byte_of_a_wrap_is_refused() -> None:
    wrapped = wraps.wrap(KEK, b"s" * 32, b"")
    for position in range(len(wrapped)):
        broken = bytearray(wrapped)
        broken[position] ^= 0x80
        with pytest.raises((WrapBroken, FormatNewer)):
            wraps.unwrap(KEK, bytes(broken), b"")
        with pytest.raises(WrapBroken):
            wraps.unwrap(KEK, wrapped[:position], b"")


def test_a_wrap_is_no_column_and_a_column_no_wrap() -> None:
    bound = columns.column_context("patient", "name", b"1")
    with pytest.raises(WrapBroken):
        columns.open_column(KEK, bound, wraps.wrap(KEK, b"x", bound))
    with pytest.raises(WrapBroken):
        wraps.unwrap(KEK, columns.seal_column(KEK, bound, b"x"), bound)


@pytest.mark.parametrize("place", [("study", "name", 1), ("patient", "sex", 1), ("patient", "name", 2)])
def test_a_column_copied_elsewhere_does_not_open(place: tuple[str, str, int]) -> None:
    sealed = columns.seal_column(KEK, columns.column_context("patient", "name", 1), "王^小明".encode())
    assert (
        columns.open_column(KEK, columns.column_context("patient", "name", 1), sealed) == "王^小明".encode()
    )
    with pytest.raises(WrapBroken):
        columns.open_column(KEK, columns.column_context(*place), sealed)


@settings(deadline=None, max_examples=150)
@given(row, row, st.integers(0, 9), st.integers(0, 9))
def test_a_row_mac_holds_for_equal_rows_only(
    one: dict[str, rowmac.Column], two: dict[str, rowmac.Column], version: int, later: int
) -> None:
    mac = rowmac.row_mac(KEK, "person", one, version)
    rowmac.verify_row_mac(KEK, "person", dict(reversed(one.items())), version, mac)
    if (one, version) != (two, later):
        with pytest.raises(RowTampered):
            rowmac.verify_row_mac(KEK, "person", two, later, mac)


def test_row_macs_tell_tables_keys_and_types_apart_and_name_the_table_only() -> None:
    mac = rowmac.row_mac(KEK, "role", {"name": "1"}, 1)
    for table, columns_, key in (
        ("person", {"name": "1"}, KEK),
        ("role", {"name": 1}, KEK),
        ("role", {"name": b"1"}, KEK),
        ("role", {"name": None}, KEK),
        ("role", {"name": "1"}, b"K" * 32),
    ):
        with pytest.raises(RowTampered) as caught:
            rowmac.verify_row_mac(key, table, columns_, 1, mac)
        assert table in str(caught.value)
        assert "name" not in str(caught.value)


def test_a_float_in_a_row_mac_is_a_programming_error() -> None:
    with pytest.raises(TypeError):
        rowmac.row_mac(KEK, "session", {"expires": 1.5}, 1)  # type: ignore[dict-item]


def test_object_keys_differ_in_every_part_of_their_context() -> None:
    base = {"hospital": b"h" * 16, "key_id": b"k" * 16, "object_id": b"o" * 16, "stream": 1}
    changes = [{}, {"hospital": b"H" * 16}, {"key_id": b"K" * 16}, {"object_id": b"O" * 16}, {"stream": 2}]
    made = {derive.object_key(KEK, **{**base, **change}) for change in changes}  # type: ignore[arg-type]
    made.add(derive.object_key(b"K" * 32, **base))  # type: ignore[arg-type]
    made.add(derive.derive(KEK, "object"))
    assert len(made) == 7
    assert {len(key) for key in made} == {32}


def test_labels_and_contexts_of_derived_keys_do_not_slide() -> None:
    assert derive.derive(KEK, "ab", b"c") != derive.derive(KEK, "a", b"bc")


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_keys_of_another_length_are_refused(length: int) -> None:
    short = bytes(length)
    for use in (
        lambda: derive.derive(short, "x"),
        lambda: wraps.wrap(short, b"", b""),
        lambda: rowmac.row_mac(short, "t", {}, 0),
        lambda: signing.Signer(short),
    ):
        with pytest.raises(ValueError, match="32 bytes"):
            use()


def test_signatures_by_others_or_over_other_words_are_refused() -> None:
    signer = signing.Signer(KEK)
    signature = signer.sign(b"checkpoint")
    signing.verify(signer.public_key, signature, b"checkpoint")
    for key, mark, message in (
        (signer.public_key, signature, b"Checkpoint"),
        (signer.public_key, bytes(64), b"checkpoint"),
        (signer.public_key, signature[:-1], b"checkpoint"),
        (signing.Signer(b"o" * 32).public_key, signature, b"checkpoint"),
        (b"short", signature, b"checkpoint"),
    ):
        with pytest.raises(SignatureBroken):
            signing.verify(key, mark, message)
