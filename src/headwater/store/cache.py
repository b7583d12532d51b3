"""A small cache: what was used longest ago goes first.

Only indexes, recipes and parsed objects are kept, never bytes of files: the kernel's page cache
does that better.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Cache(Generic[Key, Value]):
    """Values that together cost at most `cost_max`, in whatever their owner counts (bytes, rows).
    Safe to use from any thread."""

    def __init__(self, cost_max: int) -> None:
        self._cost_max = cost_max
        self._cost = 0
        self._kept: OrderedDict[Key, tuple[int, Value]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Key) -> Value | None:
        """What was put as `key`, if it is still here."""
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                return None
            self._kept.move_to_end(key)
            return found[1]

    def put(self, key: Key, value: Value, cost: int) -> None:
        """Keep `value` in place of any earlier; one that alone is over the limit is not kept."""
        with self._lock:
            self._put(key, value, cost)

    def put_new(self, key: Key, value: Value, cost: int) -> None:
        """As `put`, for what never changes: the first value stays."""
        with self._lock:
            if key not in self._kept:
                self._put(key, value, cost)

    def _put(self, key: Key, value: Value, cost: int) -> None:
        self._cost -= self._kept.pop(key, (0, None))[0]
        if cost <= self._cost_max:
            self._kept[key] = (cost, value)
            self._cost += cost
        while self._cost > self._cost_max:
            self._cost -= self._kept.popitem(last=False)[1][0]
