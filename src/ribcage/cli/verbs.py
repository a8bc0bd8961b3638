"""What every verb of `ribcage` shares: its home, its passphrase, and how it says no."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_DEFAULT_HOME = Path("ribcage-home")


def verb(verbs: Any, name: str, text: str, run: Callable[[argparse.Namespace], int] | None) -> Any:
    """Add the parser of one verb."""
    parser = verbs.add_parser(name, help=text)
    parser.add_argument("--home", type=Path, default=_DEFAULT_HOME, help="the archive's folder")
    parser.add_argument(
        "--passphrase-fd", type=int, metavar="N", help="read the passphrase from descriptor N"
    )
    parser.set_defaults(run=run)
    return parser


def complain(message: str, hint: str) -> None:
    """One line and a hint."""
    print(f"ribcage: {message}" + (f"\nhint: {hint}" if hint else ""), file=sys.stderr)
