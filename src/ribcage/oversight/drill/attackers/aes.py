"""AES-256 encryption of one block (FIPS 197), slow and plain: a thief needs no library to try a key."""

from __future__ import annotations


def _xtime(value: int) -> int:
    return ((value << 1) ^ 0x1B) & 0xFF if value & 0x80 else value << 1


def _make_sbox() -> bytes:
    box = bytearray(256)
    p = q = 1
    while True:  # p runs through the field by the generator 3, q is its inverse
        p = p ^ _xtime(p)
        for shift in (1, 2, 4):
            q ^= (q << shift) & 0xFF
        if q & 0x80:
            q ^= 0x09
        box[p] = q ^ _rotate(q, 1) ^ _rotate(q, 2) ^ _rotate(q, 3) ^ _rotate(q, 4) ^ 0x63
        if p == 1:
            break
    box[0] = 0x63
    return bytes(box)


def _rotate(value: int, count: int) -> int:
    return ((value << count) | (value >> (8 - count))) & 0xFF


_SBOX = _make_sbox()
_SHIFT = (0, 5, 10, 15, 4, 9, 14, 3, 8, 13, 2, 7, 12, 1, 6, 11)


def _expand(key: bytes) -> list[bytes]:
    words = [key[i : i + 4] for i in range(0, 32, 4)]
    constant = 1
    for place in range(8, 60):
        word = words[-1]
        if place % 8 == 0:
            word = bytes(_SBOX[b] for b in word[1:] + word[:1])
            word = bytes((word[0] ^ constant,)) + word[1:]
            constant = _xtime(constant)
        elif place % 8 == 4:
            word = bytes(_SBOX[b] for b in word)
        words.append(bytes(a ^ b for a, b in zip(words[place - 8], word, strict=True)))
    return [b"".join(words[i : i + 4]) for i in range(0, 60, 4)]


def encrypt(key: bytes, block: bytes) -> bytes:
    """One block of 16 bytes under a key of 32 bytes."""
    rounds = _expand(key)
    state = bytes(a ^ b for a, b in zip(block, rounds[0], strict=True))
    for number in range(1, 15):
        state = bytes(_SBOX[state[place]] for place in _SHIFT)
        if number < 14:
            state = _mix(state)
        state = bytes(a ^ b for a, b in zip(state, rounds[number], strict=True))
    return state


def _mix(state: bytes) -> bytes:
    mixed = bytearray()
    for start in range(0, 16, 4):
        column = state[start : start + 4]
        whole = column[0] ^ column[1] ^ column[2] ^ column[3]
        for row in range(4):
            mixed.append(column[row] ^ whole ^ _xtime(column[row] ^ column[(row + 1) % 4]))
    return bytes(mixed)
