"""Freed memory serves the next frame: counted in page faults, in a process of its own."""

import ctypes
import subprocess
import sys

import pytest

COUNT = """
import resource, sys
import numpy as np
from headwater.hub.heap import keep_freed
if sys.argv[1] == "kept":
    keep_freed()
def frame():
    return [np.ones(2**18, np.uint8) for _ in range(12)]
frame()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    frame()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="another C library")
def test_what_was_freed_is_not_faulted_in_again() -> None:
    def faults(how: str) -> int:
        done = subprocess.run([sys.executable, "-c", COUNT, how], capture_output=True, text=True)
        return int(done.stdout)

    assert faults("kept") * 10 < faults("as it is")
