"""A small cache with a limit in bytes: what was used longest ago goes first.

Only indexes are kept here, never bytes of files: the kernel's page cache does that better.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Cache(Generic[Value]):
    """At most `bytes_max` bytes of values, by name. Safe to use from any thread."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._kept: OrderedDict[str, tuple[int, Value]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: str) -> Value | None:
        """What was put as `name`, if it is still here."""
        with self._lock:
            found = self._kept.get(name)
            if found is None:
                return None
            self._kept.move_to_end(name)
            return found[1]

    def put(self, name: str, value: Value, cost_bytes: int) -> None:
        """Keep `value`; one that alone is over the limit is not kept."""
        with self._lock:
            self._remove(name)
            if cost_bytes <= self._bytes_max:
                self._kept[name] = (cost_bytes, value)
                self._bytes += cost_bytes
            while self._bytes > self._bytes_max:
                self._bytes -= self._kept.popitem(last=False)[1][0]

    def _remove(self, name: str) -> None:
        cost_bytes, _ = self._kept.pop(name, (0, None))
        self._bytes -= cost_bytes
