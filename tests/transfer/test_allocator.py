"""A film's memory is mapped once, not for each film."""

from __future__ import annotations

import subprocess
import sys

_COUNT = """
import resource, sys
from ribcage.transfer.allocator import keep_buffers
if sys.argv[1] == "kept": assert keep_buffers()
def film(): bytearray(b"x") * (10 << 20)
film()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20): film()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    command = [sys.executable, "-c", _COUNT, how]
    return int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


def test_buffers_that_are_kept_fault_no_pages_anew() -> None:
    kept, given_back = faults("kept"), faults("given back")
    assert kept < 100 < given_back
