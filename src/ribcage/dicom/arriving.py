"""Scanning a data set while it arrives: its header as soon as that is there, the bulk stream as it passes by.

Rules, in order:
1. The result is that of `scan.scan` over the same bytes: what that refuses is refused here, with the same errors.
2. Of the bulk element's value nothing is kept; what follows it is kept and scanned at the end, within
   `MAX_TAIL_BYTES`.
3. What cannot be told apart while it arrives (deflated, no bulk element, one that is a sequence) is not begun: the
   caller keeps it whole and calls `scan.scan`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from ribcage.dicom.errors import DataSetLimitExceeded, DataSetMalformed, DicomError
from ribcage.dicom.scan import (
    DEFAULT_LIMITS,
    FRAGMENT_VRS,
    ITEM,
    SEQUENCE_END,
    UNDEFINED,
    WIDE_HEAD,
    Buffer,
    Element,
    Scan,
    ScanLimits,
    Walker,
    encoding_of,
)
from ribcage.dicom.transfer_syntaxes import lookup

MAX_TAIL_BYTES: Final = 16 * 1024**2
_HEAD_BYTES: Final = 8


class ArrivingScan:
    """One data set whose header is there and whose bulk stream comes in pieces of any size.

    `header` is the scan of the header alone: its bulk element has no value yet.
    """

    def __init__(self, header: Scan, walker: Walker, bulk: Element, limits: ScanLimits) -> None:
        self.header = header
        self._walker, self._bulk, self._limits = walker, bulk, limits
        self._in_fragments = bulk.length == UNDEFINED
        # First the element's own header, which is the bulk stream's beginning, and a value of defined length.
        self._skip = bulk.value - bulk.start + (0 if self._in_fragments else bulk.length)
        self._head = bytearray()  # of the next fragment
        self._fragments = 0
        self._tail = bytearray()
        self._taken = header.header_end

    def forget_rest(self) -> None:
        """Keep the header's bytes and no others: what was given to `begin` may be reused."""
        kept = bytes(memoryview(self.header.data)[: self._bulk.value])
        self.header = replace(self.header, data=kept)

    def pass_by(self, piece: Buffer) -> None:
        """The next bytes of the bulk stream. Raises DataSetMalformed, DataSetLimitExceeded."""
        view = memoryview(piece)
        self._taken += len(view)
        if self._taken > self._limits.max_data_set_bytes:
            raise DataSetLimitExceeded(
                f"expected a data set of at most {self._limits.max_data_set_bytes} bytes, got more"
            )
        while view:
            if self._skip:
                step = min(self._skip, len(view))
                self._skip -= step
            elif self._in_fragments:
                step = min(_HEAD_BYTES - len(self._head), len(view))
                self._head += view[:step]
                if len(self._head) == _HEAD_BYTES:
                    self._fragment()
            else:
                step = len(view)
                if len(self._tail) + step > MAX_TAIL_BYTES:
                    raise DataSetLimitExceeded(
                        f"expected at most {MAX_TAIL_BYTES} bytes behind the bulk element, got more"
                    )
                self._tail += view
            view = view[step:]

    def finish(self) -> Scan:
        """Everything has passed: the scan of the whole, whose `data` lacks the bulk element's value.

        Raises DataSetMalformed, DataSetLimitExceeded.
        """
        if self._in_fragments:
            raise DataSetMalformed("expected a sequence delimiter behind the fragments, got the end")
        if self._skip:
            raise DataSetMalformed(
                f"expected a value within its container, {self._skip} bytes of it did not come"
            )
        header, bulk, walker = self.header, self._bulk, self._walker
        data = bytes(memoryview(header.data)[: bulk.value]) + bytes(self._tail)
        walker.data = data
        walker.to_bulk = False
        if bulk.length & 1 and bulk.length != UNDEFINED:
            walker.notes.add("odd_length")
        behind, end = walker.walk(bulk.value, len(data), header.encoding, 0, delimited=False, last=bulk.tag)
        return replace(
            header,
            data=data,
            elements=(*header.elements, bulk, *behind),
            elements_end=end,
            notes=frozenset(walker.notes),
        )

    def _fragment(self) -> None:
        """The header of a fragment, or the end of them (PS3.5 A.4)."""
        group, number, length = WIDE_HEAD[self.header.encoding].unpack_from(self._head)
        tag = group << 16 | number
        self._head.clear()
        if tag == SEQUENCE_END and length == 0:
            self._in_fragments = False
            return
        if tag != ITEM:
            raise DataSetMalformed("expected a fragment within the data set, got another tag or length")
        self._fragments += 1
        if self._fragments > self._limits.max_fragments:
            raise DataSetLimitExceeded(f"expected at most {self._limits.max_fragments} fragments, got more")
        self._skip = length


def begin(data: Buffer, transfer_syntax_uid: str, limits: ScanLimits = DEFAULT_LIMITS) -> ArrivingScan | None:
    """The beginning of a data set, of which `data` is what there is; None while its bulk element has not begun.

    What is wrong with the header is for `scan.scan` to say, once all is there (rule 3).
    Raises UnsupportedTransferSyntax, DataSetLimitExceeded.
    """
    syntax = lookup(transfer_syntax_uid)
    if syntax.deflated:
        return None
    encoding = encoding_of(syntax)
    walker = Walker(data, limits, to_bulk=True)
    try:
        elements, _ = walker.walk(0, len(data), encoding, 0, delimited=False)
    except DataSetLimitExceeded:
        raise
    except DicomError:
        return None  # cut in the middle, as far as can be told
    bulk = walker.bulk
    if bulk is None or (bulk.length == UNDEFINED and bulk.vr not in FRAGMENT_VRS) or bulk.vr == "SQ":
        return None
    header = Scan(
        data=data,
        transfer_syntax_uid=transfer_syntax_uid,
        encoding=encoding,
        deflated=False,
        start=0,
        elements=tuple(elements),
        bulk=bulk,
        header_end=bulk.start,
        elements_end=bulk.start,
        notes=frozenset(walker.notes),
        nested=walker.nested,
    )
    return ArrivingScan(header, walker, bulk, limits)
