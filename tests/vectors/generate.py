"""Write the golden vectors: every `make_NAME.py` beside this file has `make() -> dict`, written to `NAME.json`.

Keys are fixed and nonces given, so a rebuild is equal byte for byte (`test_vectors.py`). Change a vector only
together with its format's version in `docs/formats.md`.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).parent


def makers() -> Iterator[str]:
    """The names that have a maker, sorted."""
    yield from sorted(path.stem.removeprefix("make_") for path in FOLDER.glob("make_*.py"))


def build(name: str) -> bytes:
    """The exact content of `NAME.json`."""
    spec = importlib.util.spec_from_file_location(f"ribcage_vectors_{name}", FOLDER / f"make_{name}.py")
    if spec is None or spec.loader is None:
        raise FileNotFoundError(f"make_{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return (json.dumps(module.make(), indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode()


def main() -> None:
    """Rewrite every file."""
    sys.path.insert(0, str(FOLDER.parent))  # as pytest does: makers use `helpers`
    for name in makers():
        (FOLDER / f"{name}.json").write_bytes(build(name))
        print(f"tests/vectors/{name}.json")


if __name__ == "__main__":
    main()
