"""What was read and can never change, kept for the next asker: the oldest unused go first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Lru(Generic[K, V]):
    """A mapping of bounded weight, for many threads. A value heavier than all is not kept."""

    def __init__(self, weight_max: int) -> None:
        self.weight_max = weight_max
        self._lock = threading.Lock()
        self._items: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._weight = 0

    def get(self, key: K) -> V | None:
        with self._lock:
            found = self._items.get(key)
            if found is None:
                return None
            self._items.move_to_end(key)
            return found[0]

    def put(self, key: K, value: V, weight: int) -> None:
        with self._lock:
            if key in self._items or weight > self.weight_max:
                return
            self._items[key] = (value, weight)
            self._weight += weight
            while self._weight > self.weight_max:
                _, (_, dropped) = self._items.popitem(last=False)
                self._weight -= dropped
