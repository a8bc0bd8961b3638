"""Documents that can fail: commands, settings and links named in them exist."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from ribcage.cage import CageLimits
from ribcage.cli.settings import Listen, Settings, Shield
from ribcage.dicom.limits import UpperLayerLimits
from ribcage.dicom.scan import ScanLimits
from ribcage.guard.limits import GuardLimits
from ribcage.transfer.dicomweb.limits import WebLimits
from ribcage.transfer.edge.limits import EdgeLimits
from ribcage.transfer.hl7.limits import Hl7Limits
from ribcage.transfer.limits import FrontLimits, ListenLimits, OldPacs
from ribcage.usage.deid.batch import BatchLimits

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = (
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "docs/operations.md",
    "docs/threat-model.md",
    "docs/conformance.md",
    "docs/deid.md",
)
LIMITS = (
    Settings,
    Listen,
    Shield,
    OldPacs,
    GuardLimits,
    ListenLimits,
    FrontLimits,
    Hl7Limits,
    WebLimits,
    UpperLayerLimits,
    ScanLimits,
    CageLimits,
    EdgeLimits,
    BatchLimits,
)


def _fields(limits: type) -> set[str]:
    if dataclasses.is_dataclass(limits):
        return {field.name for field in dataclasses.fields(limits)}
    return {field.name for field in msgspec.structs.fields(limits)}


@pytest.mark.parametrize("limits", LIMITS, ids=lambda each: each.__name__)
def test_every_setting_is_in_the_operations_document(limits: type) -> None:
    text = (ROOT / "docs/operations.md").read_text()
    section = text.split(f"### `{limits.__name__}`")[1].split("###")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == _fields(limits)


def test_make_targets_named_in_documents_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for name in DOCUMENTS:
        for target in re.findall(r"(?:^|`)make ([a-z-]+)", (ROOT / name).read_text(), re.MULTILINE):
            assert target in targets, f"{name} names make {target}"


def test_verbs_named_in_documents_exist() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "ribcage.cli.main", "--help"], capture_output=True, text=True, check=True
    )
    verbs = set(re.findall(r"^    ([a-z]+)", shown.stdout, re.MULTILINE))
    assert {"init", "serve", "verify"} <= verbs
    for name in DOCUMENTS:
        for verb in re.findall(r"(?:^|`)ribcage ([a-z]+)", (ROOT / name).read_text(), re.MULTILINE):
            assert verb in verbs, f"{name} names ribcage {verb}"


def test_functions_named_in_the_life_of_an_image_exist() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    source = "\n".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))
    life = text.split("## Life of an image")[1]
    for dotted in re.findall(r"`([a-z_]+(?:\.[A-Za-z_]+)+)`", life):
        last = dotted.split(".")[-1]
        assert re.search(rf"(def|class) {last}\b", source) or list((ROOT / "src").rglob(f"{last}.py")), dotted


def test_links_between_documents_lead_somewhere() -> None:
    for name in DOCUMENTS:
        place = (ROOT / name).parent
        for link in re.findall(r"\]\(([^)#:]+)\)", (ROOT / name).read_text()):
            assert (place / link).exists(), f"{name} links to {link}"


def test_lock_files_carry_hashes_and_no_address() -> None:
    for path in (ROOT / "requirements").glob("*.txt"):
        text = path.read_text()
        assert "--hash=sha256:" in text
        assert not re.search(r"https?://|--index-url|--find-links|file:", text)


def test_no_private_key_and_no_image_is_committed() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    key = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/=]{40}")
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        assert path.suffix not in {".dcm", ".key", ".p12"}, name
        if path.is_file():
            assert not key.search(path.read_text(errors="replace")), name
