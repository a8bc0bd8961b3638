"""Budgets of the source. Each gate is proven by a violation planted in a folder of its own."""

from __future__ import annotations

import graphlib
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import grimp
import pytest

from gates import rules

BIN = Path(sys.executable).parent
Rule = Callable[[str, str], list[str]]

LONG_BODY = "".join(f"    x = {n}\n" for n in range(rules.FUNCTION_LINES))
LONG_CLASS = "".join(f"    x{n}: int = {n}\n" for n in range(rules.CLASS_LINES))
SILENCED, UNTYPED = "# noqa", "# type: ignore"
SOURCE_RULES: dict[Rule, str] = {
    rules.long_modules: "x = 1\n" * (rules.MODULE_LINES + 1),
    rules.long_functions: f"def f() -> None:\n{LONG_BODY}",
    rules.long_classes: f"class C:\n{LONG_CLASS}",
    rules.global_statements: "def f() -> None:\n    global x\n    x = 1\n",
    rules.asserts: "def f(x: int) -> None:\n    assert x\n",
    rules.missing_docstrings: '"""A module."""\n\n\ndef public() -> None:\n    pass\n',
    rules.unexplained_ignores: f"x = 1  {SILENCED}: S101\n",
}


@pytest.mark.parametrize("rule", SOURCE_RULES, ids=lambda rule: rule.__name__)
def test_the_source_keeps_its_budget(rule: Rule) -> None:
    files = list(rules.python_files(rules.ROOT, "src"))
    assert len(files) > 100, "the gate must see the source"
    assert [finding for name, text in files for finding in rule(name, text)] == []


@pytest.mark.parametrize("rule", SOURCE_RULES, ids=lambda rule: rule.__name__)
def test_a_planted_violation_is_named(rule: Rule, tmp_path: Path) -> None:
    planted = tmp_path / "src" / "ribcage" / "planted.py"
    planted.parent.mkdir(parents=True)
    planted.write_text(SOURCE_RULES[rule])
    findings = [f for name, text in rules.python_files(tmp_path, "src") for f in rule(name, text)]
    assert len(findings) == 1
    assert findings[0].startswith("src/ribcage/planted.py")


@pytest.mark.parametrize(
    "line",
    [f"x = 1  {SILENCED}", f"x = 1  {SILENCED}: S101 -", f"x = 1  {UNTYPED}", f"x = 1  {UNTYPED}[misc]"],
)
def test_ignores_without_reason_are_named(line: str) -> None:
    assert len(rules.unexplained_ignores("src/ribcage/planted.py", line)) == 1


@pytest.mark.parametrize(
    "line",
    [f"x = 1  {SILENCED}: S101 - the reason", f"x = 1  {UNTYPED}[misc]  # the reason", "x = 1  # plain"],
)
def test_ignores_with_reason_pass(line: str) -> None:
    assert rules.unexplained_ignores("src/ribcage/planted.py", line) == []


def test_data_tables_hold_no_code() -> None:
    for name in rules.DATA_TABLES:
        text = (rules.ROOT / name).read_text()
        assert len(text.splitlines()) > rules.MODULE_LINES, f"{name} needs no exemption any more"
        assert rules.tables_hold_no_code(name, text) == []
        assert len(rules.tables_hold_no_code(name, text + "\ndef f() -> None:\n    pass\n")) == 1


def test_silenced_lints_in_tests_and_tools_say_why() -> None:
    files = rules.python_files(rules.ROOT, "tests", "benchmarks", "tools", "contracts")
    assert [f for name, text in files for f in rules.unexplained_ignores(name, text)] == []


def test_tests_do_not_sleep() -> None:
    files = list(rules.python_files(rules.ROOT, "tests"))
    assert [finding for name, text in files for finding in rules.sleeps(name, text)] == []
    assert set(rules.SLEEPERS) <= {name for name, _ in files}, "the allow-list names files that are there"


@pytest.mark.parametrize("call", ["time.sleep(0.1)", "sleep(1)", "await asyncio.sleep(x)"])
def test_a_planted_sleep_is_named(call: str) -> None:
    assert len(rules.sleeps("tests/planted.py", f"async def test():\n    {call}\n")) == 1
    assert rules.sleeps("tests/planted.py", "async def test():\n    await asyncio.sleep(0)\n") == []


# --- imports --------------------------------------------------------------------------------------------


def cycle_in(graph: grimp.ImportGraph) -> list[str]:
    """The modules of one import cycle, or nothing."""
    arrows = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    try:
        graphlib.TopologicalSorter(arrows).prepare()
    except graphlib.CycleError as cycle:
        return list(cycle.args[1])
    return []


def test_no_import_cycles() -> None:
    graph = grimp.build_graph("ribcage", cache_dir=None)
    assert len(graph.modules) > 100
    assert cycle_in(graph) == []


def test_a_planted_cycle_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "planted_cycle"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "a.py").write_text("from planted_cycle import b\n")
    (package / "b.py").write_text("import planted_cycle.a\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert set(cycle_in(grimp.build_graph("planted_cycle", cache_dir=None))) >= {
        "planted_cycle.a",
        "planted_cycle.b",
    }


def lint_imports(source: Path) -> subprocess.CompletedProcess[str]:
    """The project's own contracts over `source`, as `make check` runs them."""
    return subprocess.run(
        [BIN / "lint-imports", "--no-cache", "--config", rules.ROOT / "pyproject.toml"],
        cwd=source,
        env={"PYTHONPATH": str(source), "PATH": str(BIN)},
        capture_output=True,
        text=True,
        check=False,
    )


def skeleton(folder: Path) -> Path:
    """An empty house with every module that the contracts name."""
    contracts = tomllib.loads((rules.ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
        "contracts"
    ]
    named = set()
    for contract in contracts:
        for entry in [
            *contract.get("layers", []),
            *contract.get("source_modules", []),
            *contract.get("forbidden_modules", []),
        ]:
            named |= {part.strip() for part in entry.replace(":", "|").split("|")}
    for module in sorted(named):
        if module.startswith("ribcage."):
            path = folder / Path(*module.split("."))
            path.mkdir(parents=True, exist_ok=True)
            for parent in (path, *path.parents):
                if parent == folder:
                    break
                (parent / "__init__.py").touch()
    return folder


def test_the_floors_hold() -> None:
    outcome = lint_imports(rules.ROOT / "src")
    assert outcome.returncode == 0, outcome.stdout


def test_every_contract_of_the_floors_notices_its_violation(tmp_path: Path) -> None:
    house = skeleton(tmp_path)
    assert lint_imports(house).returncode == 0, "an empty house keeps every contract"
    for module, line in {
        "database": "import ribcage.guard\n",
        "evidence": "import cryptography\n",
        "ledger": "import webauthn\n",
        "transfer": "import ribcage.guard.server\n",
        "guard": "import pydicom\n",
        "oversight/drill/attackers": "import ribcage.crypto\n",
        "oversight/deid_check": "import ribcage.dicom\n",
        "usage": "import numpy\n",
    }.items():
        (house / "ribcage" / module / "planted.py").write_text(line)
    outcome = lint_imports(house)
    contracts = tomllib.loads((rules.ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
        "contracts"
    ]
    assert outcome.returncode == 1
    assert outcome.stdout.count("BROKEN") == len(contracts), outcome.stdout


# --- what the tools hold --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("S101", "assert 1\n"),
        ("BLE001", "try:\n    pass\nexcept Exception:\n    pass\n"),
        ("PLW0603", "X = 1\n\n\ndef _f() -> None:\n    global X\n    X = 2\n"),
        ("D103", "def f() -> None:\n    pass\n"),
        ("T201", "print(1)\n"),
        ("F401", "import os\n"),
    ],
)
def test_ruff_refuses(code: str, text: str) -> None:
    run = subprocess.run(
        [
            BIN / "ruff",
            "check",
            "--no-cache",
            "--quiet",
            "--stdin-filename",
            "src/ribcage/guard/planted.py",
            "-",
        ],
        cwd=rules.ROOT,
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert code in run.stdout


def test_mypy_refuses_what_is_not_strict(tmp_path: Path) -> None:
    (tmp_path / "planted.py").write_text("def f(x): return x\n")
    run = subprocess.run(
        [BIN / "mypy", "--config-file", "pyproject.toml", "--cache-dir", tmp_path, tmp_path / "planted.py"],
        cwd=rules.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert "no-untyped-def" in run.stdout
