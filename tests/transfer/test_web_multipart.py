"""The multipart parser: whatever the cuts between reads, the same parts; whatever else, the one permitted error."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ribcage.transfer.dicomweb.errors import MultipartMalformed, TooLarge, WebError
from ribcage.transfer.dicomweb.multipart import (
    MultipartLimits,
    MultipartParser,
    PartData,
    PartEnd,
    PartStart,
)

LIMITS = MultipartLimits(max_parts=5, max_part_bytes=1000, max_head_bytes=200, max_preamble_bytes=100)


def parse(body: bytes, step: int = 0, limits: MultipartLimits = LIMITS, boundary: str = "b0") -> list:
    parser = MultipartParser(boundary, limits)
    parts: list = []
    for start in range(0, len(body), step or max(1, len(body))):
        for event in parser.feed(body[start : start + step] if step else body):
            if isinstance(event, PartStart):
                parts.append([dict(event.headers), b"", False])
            elif isinstance(event, PartData):
                parts[-1][1] += event.data
            elif isinstance(event, PartEnd):
                parts[-1][2] = True
    parser.finish()
    return parts


@pytest.mark.parametrize("step", [0, 1, 2, 3, 7])
def test_parts_come_out_whatever_the_reads(step):
    body = (
        b"preamble\r\n--b0 \t\r\nContent-Type: application/dicom\r\nX-One: 1\r\n\r\nhello\r\n--b\r\nworld\r\n--b0\r\n"
        b"\r\nno head\r\n--b0\r\nA: b\r\n\r\n\r\n--b0--\r\nepilogue"
    )
    assert parse(body, step) == [
        [{"content-type": "application/dicom", "x-one": "1"}, b"hello\r\n--b\r\nworld", True],
        [{}, b"no head", True],
        [{"a": "b"}, b"", True],
    ]


@settings(deadline=None, max_examples=150)
@given(st.lists(st.binary(max_size=60), min_size=1, max_size=5), st.integers(1, 80))
def test_any_bytes_in_parts_survive(files, step):
    files = [file for file in files if b"--b0" not in file]
    body = b"".join(b"\r\n--b0\r\nContent-Type: application/dicom\r\n\r\n" + file for file in files)
    assert [part[1] for part in parse(body + b"\r\n--b0--", step)] == files


@settings(deadline=None, max_examples=300)
@given(st.lists(st.sampled_from([b"--b0", b"\r\n", b"--", b"A: b", b"\r\n\r\n", b"x" * 90, b"\0", b":"])))
def test_garbage_gives_parts_or_the_one_error(pieces):
    try:
        parse(b"".join(pieces), 5)
    except WebError as error:
        assert error.status in (400, 413)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--b0\r\n\r\ncut in the middle",
        b"--b0\r\nA: b\r\n",
        b"no boundary at all",
        b"--b0X\r\n\r\nboundary runs on\r\n--b0--",
        b"--b0\r\nfolded: a\r\n b\r\n\r\nx\r\n--b0--",
        b"--b0\r\nbad name : a\r\n\r\nx\r\n--b0--",
        b"--b0\r\nA: 1\r\na: 2\r\n\r\nx\r\n--b0--",
        b"--b0\r\nA: \0\r\n\r\nx\r\n--b0--",
        b"--b0\r\nA: " + b"x" * 300 + b"\r\n\r\nx\r\n--b0--",
        b"p" * 200 + b"\r\n--b0--",
        b"--b0" + b" " * 300 + b"\r\n\r\nx\r\n--b0--",
    ],
)
def test_malformed_bodies_are_refused(body):
    with pytest.raises(MultipartMalformed):
        parse(body)


def test_a_part_beyond_its_limit_is_refused():
    with pytest.raises(TooLarge):
        parse(b"--b0\r\n\r\n" + b"x" * 1001 + b"\r\n--b0--", 100)


def test_more_parts_than_permitted_are_refused():
    with pytest.raises(TooLarge):
        parse(b"--b0\r\n\r\nx\r\n" * 6 + b"--b0--")


@pytest.mark.parametrize("boundary", ["", "x" * 71, "line\r\nbreak", "end ", "é"])
def test_boundaries_that_rfc_2046_forbids_are_refused(boundary):
    with pytest.raises(MultipartMalformed):
        MultipartParser(boundary, LIMITS)


def test_the_parser_holds_no_more_than_a_delimiter_of_a_long_part():
    parser = MultipartParser("b0", LIMITS)
    list(parser.feed(b"--b0\r\n\r\n"))
    for _ in range(90):
        list(parser.feed(b"\r\n--b" * 2))
        assert len(parser._buffer) <= len(b"\r\n--b0") + 2
