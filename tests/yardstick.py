"""How slow this machine is just now. Tests that bound a time are there to find what grows with the
square of its input, or a library's slow build; a busy or slow machine must not look like that."""

import json
import time
from collections.abc import Callable

# What each of the two below takes on an ordinary machine with nothing else to do.
LOOP_S = 0.03
JSON_S = 0.03

FRESH_S = 2.0  # a machine keeps its pace for so long

_last = [-FRESH_S, 1.0]  # when, and what it was
_DOCUMENT = json.dumps({f"{n:x}": {"dtype": "U8", "shape": [0, n]} for n in range(20_000)})


def slowness() -> float:
    """How many times longer than usual work takes now; 1 at least. Of counting, which needs the
    processor alone, and of parsing, which needs its memory too, the one that is worse off."""
    now_s = time.monotonic()
    if now_s > _last[0] + FRESH_S:
        _last[:] = now_s, max(_cpu_s(_count) / LOOP_S, _cpu_s(_parse) / JSON_S, 1.0)
    return _last[1]


def usual_s(work: Callable[[], object], *, tries: int = 1) -> float:
    """CPU seconds that `work` takes on an ordinary machine: the best of some tries."""
    return min(_cpu_s(work) / slowness() for _ in range(tries))


def _cpu_s(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def _count() -> None:
    total = 0
    for number in range(500_000):
        total += number & 7


def _parse() -> None:
    json.loads(_DOCUMENT)
