"""Shelf: where published containers lie, by key; the seam between the store and what holds it.

    publish(fd, path, key)    a whole local file becomes `key`, durable when it returns
    open(key) -> Source       its bytes, by offset; readable even if it is replaced meanwhile
    touch / delete            grace time: who looks at an age and deletes never meets a touch
    keys / list               what is there

A key is a path below the store's root: 'blobs/ab/cd/<sha256>.plain', 'xorbs/ab/cd/<hash>.xorb'.
What is being written always lies on a local disk; only what is published lies on a shelf.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

Unreadable = Callable[[OSError], None]  # called with a folder that cannot be listed


@dataclass(frozen=True, slots=True)
class Kept:
    """What is known of a key without opening it."""

    mtime_s: float  # Unix time of the last publish or touch
    size_bytes: int


class Source(Protocol):
    """The open bytes of a key, as they were when it was opened: these or Moved, never others."""

    @property
    def size_bytes(self) -> int: ...

    def pread(self, count: int, offset: int) -> bytes:
        """At most `count` bytes from `offset`, at least one unless the end is there. An OSError
        of the disk, or Unavailable."""

    def close(self) -> None:
        """Give back what it holds. Harmless when closed already."""


class Shelf(Protocol):
    """All published containers of one store. Safe to use from any thread and process.

    A local one raises OSError where a disk fails, for the caller to name what it did; one beyond a
    network raises Unavailable itself, and Moved from a source whose bytes are gone.
    """

    where: str  # for messages: a folder or an address

    def prepare(self, tops: Sequence[str]) -> None:
        """Make what keys below `tops` need; Refused when the shelf cannot be used at all."""

    def empty(self, tops: Sequence[str]) -> bool:
        """Whether nothing lies below any of `tops`."""

    def create(self, key: str, data: bytes) -> bool:
        """A few bytes as `key`, durable; False when someone else made it first (on a local disk
        the later of two that begin at once stays: they write the same)."""

    def publish(self, fd: int, path: str, key: str) -> None:
        """The file open as `fd`, which lies at `path`, durably becomes `key`, in place of what
        may be there; `path` is gone then. After an error `path` may be there still."""

    def publish_new(self, fd: int, path: str, key: str) -> bool:
        """As `publish`, but what is there already stays, its grace time begins anew, and the
        answer is False: of two at the same moment one is first."""

    def settle(self, keys: Iterable[str]) -> None:
        """Whoever put these here, and whether they have synced it: durable when it returns."""

    def open(self, key: str) -> Source | None:
        """None when absent."""

    def stat(self, key: str) -> Kept | None:
        """None when absent."""

    def touch(self, key: str) -> bool:
        """Begin the grace time of `key` anew; False when it is absent."""

    def drop(self, key: str, kept: str, unless_key: str | None = None) -> None:
        """Remove `key` whatever its age, if `kept` is there: of two who each drop what the other
        keeps, one stays; and not while `unless_key` is there. Harmless when absent."""

    def delete(
        self, keys: Sequence[str], unless_since_s: float | None, unless_key: str | None = None
    ) -> bool:
        """Remove each key that was not published or touched since that Unix time (None: each);
        True when any was here and is gone. Nothing goes while `unless_key` is here. Looks once
        more where no touch or publish can come between."""

    def keys(self, top: str, unreadable: Unreadable) -> Iterator[str]:
        """Every key below `top`; a folder that cannot be read is given to `unreadable`."""

    def list(self, top: str, unreadable: Unreadable) -> Iterator[tuple[str, Kept]]:
        """The same, with what `stat` says of each."""
