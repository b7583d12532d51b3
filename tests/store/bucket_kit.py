"""Standing between a shelf and its bucket: requests are counted, ordered, or made to fail."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from typing import Any

from headwater.store import Store
from headwater.store.object_shelf import ObjectShelf

KEY = "blobs/ab/cd/some.plain"
VERBS = ("get", "put", "head", "list", "delete")


class Watched:
    """A bucket whose every request is announced to `before(verb, args, options)`."""

    def __init__(self, bucket: Any, before: Callable[[str, tuple[Any, ...], dict[str, Any]], None]):
        self._bucket = bucket
        self._before = before

    def __getattr__(self, verb: str) -> Any:
        real = getattr(self._bucket, verb)
        if verb not in VERBS:
            return real

        def call(*args: Any, **options: Any) -> Any:
            self._before(verb, args, options)
            # A listing asks when it is iterated; here it asks now.
            return list(real(*args, **options)) if verb == "list" else real(*args, **options)

        return call


def watch(shelf: Any, before: Callable[[str, tuple[Any, ...], dict[str, Any]], None]) -> None:
    shelf._bucket, shelf._once = (Watched(each, before) for each in (shelf._bucket, shelf._once))


class Turns:
    """Two threads that take turns, request by request, in a given order; a thread whose turns are
    used up, or that ended, no longer holds the other up."""

    def __init__(self, order: Sequence[int]) -> None:
        self._order = list(order)
        self._changed = threading.Condition()

    def take(self, who: int) -> None:
        with self._changed:
            while self._order and self._order[0] != who:
                # With no turn of its own left, it goes on when the other has used its turns up.
                if not self._changed.wait(timeout=20):
                    raise RuntimeError("the other thread neither asks nor ends")
            if self._order:
                self._order.pop(0)
            self._changed.notify_all()

    def leave(self, who: int) -> None:
        with self._changed:
            self._order = [other for other in self._order if other != who]
            self._changed.notify_all()


def interleaved(
    order: Sequence[int], shelves: Sequence[ObjectShelf], calls: Sequence[Callable[[Any], object]]
) -> list[object]:
    """What each call gave (or raised), each on its own shelf, their requests in the given order."""
    turns = Turns(order)
    results: list[object] = [None] * len(calls)

    def run(who: int) -> None:
        shelf: Any = shelves[who]
        buckets = shelf._bucket, shelf._once
        watch(shelf, lambda *_: turns.take(who))
        try:
            results[who] = calls[who](shelf)
        except Exception as error:
            results[who] = error
        finally:
            turns.leave(who)
            shelf._bucket, shelf._once = buckets

    threads = [threading.Thread(target=run, args=(who,)) for who in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def orders(first: int, second: int) -> Iterator[list[int]]:
    """Every order of `first` requests of one and `second` of another."""
    total = first + second
    for places in combinations(range(total), first):
        yield [0 if place in places else 1 for place in range(total)]


@contextmanager
def asked(shelf: Any) -> Iterator[list[tuple[str, Any]]]:
    """The requests made inside, each as (verb, range of bytes or None)."""
    seen: list[tuple[str, Any]] = []
    buckets = shelf._bucket, shelf._once
    watch(shelf, lambda verb, _, options: seen.append((verb, options.get("options"))))
    try:
        yield seen
    finally:
        shelf._bucket, shelf._once = buckets


def shelf_of(store: Store) -> ObjectShelf:
    shelf = store._layout.shelf
    assert isinstance(shelf, ObjectShelf)
    return shelf


def publish(shelf: ObjectShelf, folder: Path, key: str, data: bytes = b"some bytes") -> None:
    """As the store does, by way of a file of its own."""
    path = folder / os.urandom(8).hex()
    path.write_bytes(data)
    with path.open("rb") as file:
        shelf.publish(file.fileno(), str(path), key)
    assert not path.exists()
