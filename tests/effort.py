"""How much of what could be tried is tried.

An everyday run, which must end within minutes on a small machine, takes a sample of large
matrices and fewer cases of each property, other ones each time: `pytest --randomly-seed=N`, with
the N that a run printed, takes the same again. With HEADWATER_TEST_FULL=1, for a release,
everything is tried.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")

FULL = bool(os.environ.get("HEADWATER_TEST_FULL"))
EXAMPLES_DEFAULT = 100  # hypothesis's own
EVERYDAY = 3  # one of so many


def examples(count: int = EXAMPLES_DEFAULT) -> int:
    """How many cases hypothesis tries of `count`."""
    return count if FULL else -(-count // EVERYDAY)


def sample(cases: Iterable[T], one_of: int = EVERYDAY) -> list[T]:
    """Every so manieth of many like cases, from a place that differs from run to run. Inside a
    test only: each worker must collect the same parameters."""
    listed = list(cases)
    return listed if FULL else listed[random.randrange(min(one_of, len(listed) or 1)) :: one_of]
