"""The `ribcage` command. `deid` needs nothing of the server, and `serve` stays: they load what is theirs alone."""

from __future__ import annotations

import sys


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 done, 1 findings, 2 usage."""
    words = sys.argv[1:] if arguments is None else arguments
    if words[:1] == ["deid"]:
        from ribcage.cli import deid

        return deid.main(words)
    if words[:1] == ["serve"]:
        from ribcage.cli import serving

        return serving.main(words)
    from ribcage.cli import main as every_verb

    return every_verb.main(words)


if __name__ == "__main__":
    sys.exit(main())
