"""A prediction that one CPU wrote is read on another, in another year: its bits are for good."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from digest_script import digests
from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

SCRIPT = Path(__file__).with_name("digest_script.py")
AT_HAND = [name for name in __cpu_dispatch__ if __cpu_features__[name]]

# Stores hold what was coded against these bits. A change here is a new op, never a new number.
FOR_GOOD = {
    "cast": "849c97eddf345fb2",
    "linear": "0dbc359510b66109",
    "lora": "cbb1bbe3847edfc6",
    "prune": "780acb1a0b27c016",
    "quant": "a9f6e26613b1ef6c",
    "rows": "82f160312dcec37a",
    "scaled": "af7f826102aab508",
    "transpose": "99281e2f39974da3",
}


def test_what_was_predicted_once_is_predicted_for_good() -> None:
    assert digests() == FOR_GOOD


@pytest.mark.skipif(not AT_HAND, reason="numpy has one way only on this CPU")
@pytest.mark.parametrize("kept", range(len(AT_HAND)))
def test_the_same_bits_without_the_newer_instructions(kept: int) -> None:
    """numpy has loops for several CPUs; without them it does what an older CPU would."""
    run = subprocess.run(
        [sys.executable, str(SCRIPT)],
        env=os.environ | {"NPY_DISABLE_CPU_FEATURES": " ".join(AT_HAND[kept:])},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.stderr == ""
    assert json.loads(run.stdout) == FOR_GOOD
