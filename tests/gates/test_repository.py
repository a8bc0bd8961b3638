"""What lies in the repository: no keys, addresses or paths of a machine. Each gate is proven by a planted fault."""

from __future__ import annotations

import re
import subprocess

import pytest

from gates import rules

MARKER = "-----BEGIN {}PRIVATE KEY-----".format
BODY = "\n" + "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7" * 2 + "\n"
MACHINE = re.compile(r"(?<![\w./])/(?:work|home/\w+|Users/\w+)/")


def tracked() -> list[tuple[str, str]]:
    """`(path, text)` of every file that git knows."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=rules.ROOT, capture_output=True, text=True, check=True
    )
    paths = [rules.ROOT / name for name in listed.stdout.split("\0") if name]
    assert len(paths) > 200, "the gate must see the repository"
    return [
        (path.relative_to(rules.ROOT).as_posix(), path.read_text(errors="replace"))
        for path in paths
        if path.is_file()
    ]


def locks() -> list[tuple[str, str]]:
    """Every lock file."""
    found = [(path.name, path.read_text()) for path in (rules.ROOT / "requirements").glob("*.txt")]
    assert found
    return found


def test_no_private_key_is_committed() -> None:
    assert [finding for name, text in tracked() for finding in rules.private_keys(name, text)] == []


@pytest.mark.parametrize("kind", ["", "RSA ", "EC ", "ENCRYPTED "])
def test_a_planted_private_key_is_named(kind: str) -> None:
    assert len(rules.private_keys("tests/planted.py", f'KEY = """{MARKER(kind)}{BODY}"""')) == 1
    assert len(rules.private_keys("tests/planted.pem", "")) == 1
    assert rules.private_keys("src/planted.py", f'if b"{MARKER(kind)}" in found:') == []


def test_locks_pin_and_hash_everything_and_carry_no_address() -> None:
    for name, text in locks():
        assert rules.addresses_in_locks(name, text) == []
        assert rules.unlocked_requirements(name, text) == []


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://packages.example/simple",
        "-i packages.example",
        "--find-links wheels",
        "--trusted-host packages.example",
        "package @ https://packages.example/package.whl",
        "    # from file:///somewhere/wheels",
    ],
)
def test_a_planted_address_in_a_lock_is_named(line: str) -> None:
    assert len(rules.addresses_in_locks("dev.txt", f"package==1 \\\n    --hash=sha256:00\n{line}\n")) == 1


@pytest.mark.parametrize(
    "line", ["package", "package>=1", "package==1", "package>=1 \\\n    --hash=sha256:00"]
)
def test_a_planted_loose_requirement_is_named(line: str) -> None:
    assert len(rules.unlocked_requirements("dev.txt", f"# header\n{line}\n")) == 1
    assert rules.unlocked_requirements("dev.txt", "package==1 \\\n    --hash=sha256:00\n    # via x\n") == []


def test_documents_name_targets_that_exist() -> None:
    makefile = (rules.ROOT / "Makefile").read_text()
    documents = [(name, text) for name, text in tracked() if name.endswith(".md")]
    assert [f for name, text in documents for f in rules.unknown_targets(name, text, makefile)] == []
    readme = (rules.ROOT / "README.md").read_text()
    assert {"make demo", "make test"} <= set(re.findall(r"make [a-z]+", readme))


def test_a_planted_target_is_named() -> None:
    makefile = "test: setup\n\tpytest\n\ntest-peers:\n\tpytest\n"
    for text in ("```\nmake tests   # words\n```", "run `make tests`"):
        assert rules.unknown_targets("README.md", text, makefile) == ["README.md: make tests is no target"]
    assert rules.unknown_targets("README.md", "`make test-peers`, and make it so", makefile) == []


def machine_paths(name: str, text: str) -> list[str]:
    """Paths of the machine that something was written on."""
    return [f"{name}: {found.group()}" for found in MACHINE.finditer(text)]


def test_nothing_names_a_path_of_one_machine() -> None:
    this = "tests/gates/test_repository.py"
    assert [f for name, text in tracked() if name != this for f in machine_paths(name, text)] == []


@pytest.mark.parametrize("text", ["see /work/main", 'open("/home/li/film.dcm")', "/Users/li/x"])
def test_a_planted_path_is_named(text: str) -> None:
    assert len(machine_paths("README.md", text)) == 1
    assert machine_paths("README.md", "https://host.example/work/x and ./work/x") == []
