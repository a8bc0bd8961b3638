"""What the gates hold, as functions of a file's text: each returns findings, and an empty list is good."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODULE_LINES, FUNCTION_LINES, CLASS_LINES = 500, 60, 300

# Modules that may be longer: declarations and nothing else. `tables_hold_no_code` looks at each of them.
DATA_TABLES = {
    "src/ribcage/guard/protocol.py": "every message of the guard's protocol in one place",
}

# Functions that may be longer: one literal table of handlers, nothing to split.
LONG_TABLES: dict[str, str] = {}

# Tests that may sleep, each with its reason.
SLEEPERS: dict[str, str] = {
    "tests/guard/test_guard_clock.py": "asks again, within a deadline, until the ticker has looked at the clock",
    "tests/guard/test_guard_disk.py": "asks again, within a deadline, until the ticker has looked at the disk",
    "tests/helpers/edge_house.py": "asks again, within a deadline, until an edge has nothing left to send",
    "tests/helpers/queue_house.py": "asks again, within a deadline, until a job of the queue has ended",
    "tests/transfer/test_dimse_store.py": "polls the log, within a deadline, for what a front reports unasked",
    "tests/transfer/test_dimse_supervisor.py": "asks again, within a deadline, while a process restarts",
}

_FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)


def python_files(root: Path, *folders: str) -> Iterator[tuple[str, str]]:
    """`(path relative to root, text)` of every Python file below the folders, sorted."""
    for folder in folders:
        for path in sorted((root / folder).rglob("*.py")):
            yield path.relative_to(root).as_posix(), path.read_text(encoding="utf-8")


def long_modules(name: str, text: str) -> list[str]:
    """Modules over the budget, data tables apart."""
    lines = len(text.splitlines())
    if lines <= MODULE_LINES or name in DATA_TABLES:
        return []
    return [f"{name}: {lines} lines, at most {MODULE_LINES}: split it by what changes together"]


def tables_hold_no_code(name: str, text: str) -> list[str]:
    """A module on the list of data tables declares; it does not act."""
    if name not in DATA_TABLES:
        return []
    return [
        f"{name}:{node.lineno}: a function or control flow in a data table"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, (*_FUNCTION, ast.For, ast.While, ast.If, ast.Try))
    ]


def long_functions(name: str, text: str) -> list[str]:
    """Functions over the budget, decorators not counted."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, _FUNCTION) and f"{name}:{node.name}" not in LONG_TABLES:
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES:
                found.append(f"{name}: {node.name} has {lines} lines, at most {FUNCTION_LINES}")
    return found


def long_classes(name: str, text: str) -> list[str]:
    """Classes over the budget."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > CLASS_LINES:
                found.append(f"{name}: class {node.name} has {lines} lines, at most {CLASS_LINES}")
    return found


def global_statements(name: str, text: str) -> list[str]:
    """`global`: module state that changes."""
    return [
        f"{name}:{node.lineno}: global {', '.join(node.names)}"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Global)
    ]


def asserts(name: str, text: str) -> list[str]:
    """`assert` disappears under `python -O`: raise instead."""
    return [f"{name}:{n.lineno}: assert" for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Assert)]


def missing_docstrings(name: str, text: str) -> list[str]:
    """Modules, public classes, public functions and public methods of public classes say what they are for."""
    tree = ast.parse(text)
    found = [] if ast.get_docstring(tree) or not tree.body else [f"{name}: module without docstring"]

    def look(body: list[ast.stmt], owner: str) -> None:
        for node in body:
            if not isinstance(node, (*_FUNCTION, ast.ClassDef)) or node.name.startswith("_"):
                continue
            if not ast.get_docstring(node):
                found.append(f"{name}:{node.lineno}: {owner}{node.name} without docstring")
            if isinstance(node, ast.ClassDef):
                look(node.body, f"{node.name}.")

    look(tree.body, "")
    return found


def unexplained_ignores(name: str, text: str) -> list[str]:
    """A silenced check says why, on its line: `noqa: CODE - reason`, `type: ignore[code]  # reason`."""
    found = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT:
            continue
        noqa, typed = _NOQA.match(token.string), _TYPE_IGNORE.match(token.string)
        if noqa and not _NOQA_REASON.match(token.string, noqa.end()):
            found.append(f"{name}:{token.start[0]}: noqa without code or reason")
        if typed and name.startswith("src/") and not _TYPE_REASON.match(token.string, typed.end()):
            found.append(f"{name}:{token.start[0]}: type: ignore without code or reason")
    return found


_NOQA, _NOQA_REASON = re.compile(r"#\s*noqa\b"), re.compile(r": ?[A-Z]+\d+(, ?[A-Z]+\d+)* +[-#] ?\w")
_TYPE_IGNORE, _TYPE_REASON = re.compile(r"#\s*type:\s*ignore\b"), re.compile(r"\[[a-z, -]+\]  # \w")


def sleeps(name: str, text: str) -> list[str]:
    """Tests wait for events, never for time; `asyncio.sleep(0)` only gives way."""
    if name in SLEEPERS:
        return []
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and _called(node) == "sleep":
            given = node.args[0] if node.args else None
            if not (isinstance(given, ast.Constant) and given.value == 0):
                found.append(f"{name}:{node.lineno}: sleep")
    return found


def _called(node: ast.Call) -> str:
    function = node.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def private_keys(name: str, text: str) -> list[str]:
    """A PEM private key with its body; the marker alone is allowed to code that looks for keys."""
    found = re.search(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----\s+[A-Za-z0-9+/=\s]{48,}", text)
    suffix = name.endswith((".pem", ".key", ".p12", ".pfx", ".crt", ".der"))
    return [f"{name}: key material does not belong in the repository"] if found or suffix else []


def addresses_in_locks(name: str, text: str) -> list[str]:
    """A lock names packages and hashes; where they come from is the machine's affair."""
    return [
        f"{name}:{number}: an address"
        for number, line in enumerate(text.splitlines(), 1)
        if re.search(
            r"://|^\s*--?(?:i|f|index|extra|find|trusted)\b|--(?:index-url|find-links|trusted-host)", line
        )
    ]


def unlocked_requirements(name: str, text: str) -> list[str]:
    """Every requirement of a lock is pinned and hashed."""
    joined = re.sub(r"\\\n", " ", text)
    return [
        f"{name}: {line.split()[0]} is not pinned with a hash"
        for line in joined.splitlines()
        if line.strip() and not line.lstrip().startswith("#")
        if "==" not in line or "--hash=sha256:" not in line
    ]


def unknown_targets(name: str, text: str, makefile: str) -> list[str]:
    """`make …` in code of a document names targets of the Makefile."""
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    code = re.findall(r"```.*?```|`[^`\n]+`", text, re.DOTALL)
    asked = {t for piece in code for t in re.findall(r"(?:^|[\s`])make ([a-z][a-z-]*)", piece)}
    return [f"{name}: make {target} is no target" for target in sorted(asked - targets)]
