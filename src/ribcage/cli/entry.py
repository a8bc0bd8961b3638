"""The `ribcage` command. `deid` needs nothing of the server, and `serve` stays: they load what is theirs alone.

Rules, in order:
1. Whoever reads the output may stop: then the command ends as one that SIGPIPE ended, without a word (`… | head`).
"""

from __future__ import annotations

import os
import select
import sys

_CUT_OFF = 128 + 13  # what a shell reports of SIGPIPE


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 done, 1 findings, 2 usage."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        try:
            return _run(words)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        if not _nobody_reads():
            raise  # another pipe: that is a fault
        return _CUT_OFF


def _nobody_reads() -> bool:
    """Whether it is standard output that broke; what is buffered then goes nowhere, so that the end is silent too."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)  # errors are told unasked
    if not poll.poll(0):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return True


def _run(words: list[str]) -> int:
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
