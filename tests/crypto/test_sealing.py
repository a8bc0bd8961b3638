"""Sealed objects: what was sealed comes back, anything else is refused, and Tink agrees on the bytes."""

from __future__ import annotations

import dataclasses
import io
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tink import proto_keyset_format, secret_key_access, streaming_aead
from tink.proto import aes_gcm_hkdf_streaming_pb2, common_pb2, tink_pb2

from ribcage.crypto import sealing
from ribcage.crypto.errors import CryptoError, FormatNewer, SealBroken
from ribcage.crypto.sealing import ENVELOPE_BYTES, Algorithm, Envelope, Sealed, Stream

KEY = bytes(range(32))
SMALL = Envelope(Stream.BULK, 7, b"h" * 16, b"k" * 16, b"o" * 16, segment_log2=7)
FIRST, REST = 128 - 56, 128 - 16
EDGES = [0, 1, FIRST - 1, FIRST, FIRST + 1, FIRST + REST - 1, FIRST + REST, FIRST + REST + 1, 1000]
BOTH = pytest.mark.parametrize("algorithm", list(Algorithm))


def reader(sealed: bytes, envelope: Envelope = SMALL, key: bytes = KEY) -> Sealed:
    return Sealed(lambda offset, length: sealed[offset : offset + length], len(sealed), key, envelope)


def plaintext(size: int) -> bytes:
    return (bytes(range(251)) * (size // 251 + 1))[:size]


def tink_primitive(key: bytes, segment_bytes: int) -> streaming_aead.StreamingAead:
    streaming_aead.register()
    raw = aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingKey(version=0, key_value=key)
    raw.params.hkdf_hash_type = common_pb2.SHA256
    raw.params.derived_key_size = 32
    raw.params.ciphertext_segment_size = segment_bytes
    keyset = tink_pb2.Keyset(primary_key_id=1)
    entry = keyset.key.add(key_id=1, status=tink_pb2.ENABLED, output_prefix_type=tink_pb2.RAW)
    entry.key_data.type_url = "type.googleapis.com/google.crypto.tink.AesGcmHkdfStreamingKey"
    entry.key_data.value = raw.SerializeToString()
    entry.key_data.key_material_type = tink_pb2.KeyData.SYMMETRIC
    handle = proto_keyset_format.parse(keyset.SerializeToString(), secret_key_access.TOKEN)
    return handle.primitive(streaming_aead.StreamingAead)


class Kept(io.BytesIO):
    """Tink closes what it writes to; keep the bytes."""

    def close(self) -> None:
        pass


TINK_CASES = [(7, size) for size in EDGES] + [
    (20, 0),
    (20, (1 << 20) - 56),
    (20, (1 << 20) - 55),
    (20, 2_500_000),
]


@pytest.mark.parametrize(("log2", "size"), TINK_CASES)
def test_tink_opens_what_we_seal(log2: int, size: int) -> None:
    envelope = dataclasses.replace(SMALL, segment_log2=log2)
    sealed = sealing.seal(KEY, envelope, plaintext(size))
    source = io.BytesIO(sealed[ENVELOPE_BYTES:])
    with tink_primitive(KEY, 1 << log2).new_decrypting_stream(source, envelope.encode()) as opened:
        assert opened.read() == plaintext(size)


@pytest.mark.parametrize(("log2", "size"), TINK_CASES)
def test_we_open_what_tink_seals(log2: int, size: int) -> None:
    envelope = dataclasses.replace(SMALL, segment_log2=log2)
    kept = Kept()
    with tink_primitive(KEY, 1 << log2).new_encrypting_stream(kept, envelope.encode()) as stream:
        stream.write(plaintext(size))
    sealed = envelope.encode() + kept.getvalue()
    assert len(sealed) == sealing.sealed_size(size, 1 << log2)
    opened = reader(sealed, envelope)
    assert (opened.plain_size, opened.read(0, size + 1)) == (size, plaintext(size))


@BOTH
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_any_range_of_any_parts_comes_back(algorithm: Algorithm, data: st.DataObject) -> None:
    parts = data.draw(st.lists(st.binary(max_size=300), max_size=5))
    whole = b"".join(parts)
    envelope = dataclasses.replace(SMALL, algorithm=algorithm)
    out = bytearray(sealing.sealed_size(len(whole), 128) + 5)
    written = sealing.seal_into(KEY, envelope, parts, memoryview(out))
    assert written == len(out) - 5
    assert out[written:] == bytes(5)
    opened = reader(bytes(out[:written]), envelope)
    offset = data.draw(st.integers(0, len(whole) + 3))
    length = data.draw(st.integers(0, len(whole) + 3))
    assert opened.plain_size == len(whole)
    assert opened.read(offset, length) == whole[offset : offset + length]
    assert b"".join(opened.segments(offset)) == whole[offset:]
    assert b"".join(opened.segments()) == whole


@BOTH
@pytest.mark.parametrize("size", [0, 1, FIRST, FIRST + REST, 300])
def test_every_flipped_bit_position_is_refused(algorithm: Algorithm, size: int) -> None:
    envelope = dataclasses.replace(SMALL, algorithm=algorithm)
    sealed = sealing.seal(KEY, envelope, plaintext(size))
    for position in range(len(sealed)):
        broken = bytearray(sealed)
        broken[position] ^= 1 << (position % 8)
        with pytest.raises((SealBroken, FormatNewer)):
            reader(bytes(broken), envelope).read(0, size)


@pytest.mark.parametrize("size", EDGES)
def test_every_cut_is_refused_even_for_the_first_byte(size: int) -> None:
    sealed = sealing.seal(KEY, SMALL, plaintext(size))
    for kept in range(len(sealed)):
        with pytest.raises(SealBroken):
            reader(sealed[:kept]).read(0, 1)


@pytest.mark.parametrize("size", EDGES)
@pytest.mark.parametrize("tail", [1, 16, 17, 128, 144])
def test_an_extended_object_is_refused(size: int, tail: int) -> None:
    sealed = sealing.seal(KEY, SMALL, plaintext(size))
    with pytest.raises(SealBroken):
        reader(sealed + bytes(tail)).read(0, 1)


def test_a_reader_told_a_longer_size_than_the_file_has_is_refused() -> None:
    sealed = sealing.seal(KEY, SMALL, plaintext(1000))
    short = sealed[:-1]
    with pytest.raises(SealBroken, match="cut"):
        Sealed(lambda offset, length: short[offset : offset + length], len(sealed), KEY, SMALL).read(990, 10)


def test_swapped_repeated_or_dropped_segments_are_refused() -> None:
    sealed = sealing.seal(KEY, SMALL, plaintext(FIRST + 4 * REST))
    head, body = sealed[:ENVELOPE_BYTES], sealed[ENVELOPE_BYTES:]
    pieces = [body[at : at + 128] for at in range(0, len(body), 128)]
    assert len(pieces) == 5
    for order in ([0, 2, 1, 3, 4], [0, 1, 1, 3, 4], [0, 1, 3, 4], [0, 1, 2, 3, 4, 4], [0, 1, 2, 4, 3]):
        moved = head + b"".join(pieces[index] for index in order)
        with pytest.raises(SealBroken):
            b"".join(reader(moved).segments())


def test_segments_of_another_object_under_the_same_key_are_refused() -> None:
    one = sealing.seal(KEY, SMALL, plaintext(500))
    other = sealing.seal(KEY, SMALL, plaintext(500))
    cut = ENVELOPE_BYTES + 128
    with pytest.raises(SealBroken):
        b"".join(reader(one[:cut] + other[cut:]).segments())


@pytest.mark.parametrize(
    "change",
    [
        {"stream": Stream.HEADER},
        {"epoch": 8},
        {"hospital": b"H" * 16},
        {"key_id": b"K" * 16},
        {"object_id": b"O" * 16},
        {"algorithm": Algorithm.CHACHA20_POLY1305},
        {"segment_log2": 8},
    ],
)
def test_an_object_put_in_the_place_of_another_is_refused(change: dict[str, int | bytes]) -> None:
    expected = dataclasses.replace(SMALL, **change)  # type: ignore[arg-type]
    sealed = sealing.seal(KEY, SMALL, plaintext(50))
    with pytest.raises(SealBroken):
        reader(sealed, expected).read(0, 50)
    # and rewriting the clear envelope does not help: it is in the key derivation
    relabelled = expected.encode() + sealed[ENVELOPE_BYTES:]
    with pytest.raises(SealBroken):
        reader(relabelled, expected).read(0, 50)


def test_another_key_opens_nothing() -> None:
    with pytest.raises(SealBroken):
        reader(sealing.seal(KEY, SMALL, b"film"), key=bytes(32)).read(0, 4)


def test_newer_versions_and_unknown_algorithms_say_so() -> None:
    encoded = bytearray(SMALL.encode())
    encoded[4] = 2
    with pytest.raises(FormatNewer):
        Envelope.parse(encoded)
    encoded[4], encoded[5] = 1, 3
    with pytest.raises(FormatNewer):
        Envelope.parse(encoded)


@settings(deadline=None, max_examples=200)
@given(st.binary(min_size=0, max_size=80), st.booleans())
def test_envelope_parse_accepts_only_what_encode_makes(data: bytes, plausible: bool) -> None:
    data = b"RBCG\x01" + data if plausible else data
    try:
        parsed = Envelope.parse(data)
    except CryptoError:
        return
    assert parsed.encode() == data[:ENVELOPE_BYTES]


def test_sealing_twice_never_gives_the_same_bytes() -> None:
    assert sealing.seal(KEY, SMALL, b"film") != sealing.seal(KEY, SMALL, b"film")


def test_a_short_output_buffer_is_refused_before_a_byte_is_written() -> None:
    out = bytearray(sealing.sealed_size(100, 128) - 1)
    with pytest.raises(ValueError, match="room"):
        sealing.seal_into(KEY, SMALL, [bytes(100)], memoryview(out))
    assert out == bytes(len(out))


def test_a_partial_read_touches_only_its_segments_and_the_last() -> None:
    sealed = sealing.seal(KEY, SMALL, os.urandom(FIRST + 50 * REST))
    asked: list[int] = []

    def pread(offset: int, length: int) -> bytes:
        asked.append(length)
        return sealed[offset : offset + length]

    Sealed(pread, len(sealed), KEY, SMALL).read(FIRST + 10 * REST, 5)
    assert asked == [ENVELOPE_BYTES + 40, 128, 128]
