"""docs/conformance.md says what the code's tables say."""

from __future__ import annotations

import re

from gates.conformance_tables import tables
from gates.rules import ROOT
from ribcage.dicom.limits import UpperLayerLimits


def test_tables_of_the_conformance_statement_are_those_of_the_code() -> None:
    text = (ROOT / "docs/conformance.md").read_text(encoding="utf-8")
    written = {
        name: body.strip()
        for name, body in re.findall(r"<!-- ([a-z-]+) -->\n(.*?)<!-- end -->", text, re.DOTALL)
    }
    assert written == tables()


def test_lengths_of_the_conformance_statement_are_the_defaults() -> None:
    text = (ROOT / "docs/conformance.md").read_text(encoding="utf-8")
    limits = UpperLayerLimits()
    assert f"| maximum length received | {limits.max_pdu_bytes} |" in text
    assert (
        f"at most {limits.max_sent_pdu_bytes}; a peer that takes less than {limits.min_peer_pdu_bytes}"
        in text
    )
