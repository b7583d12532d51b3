"""ObjectShelf: containers as objects of a bucket (S3, GCS, Azure), for any number of machines.

    <key>                       the container
    touched/<key>               empty; its date is when the key was last touched
    deleting/<key>/<token>      empty; someone is about to remove the key

An object store knows no lock and no utime, so a removal announces itself before it looks:

    touch, publish    write the marker (or the object), then look for announcements: wait for them
                      to go, then see whether the object is there
    delete, drop      announce, then look at the dates of object and marker: remove, or let be

Both write first and look second, and what was written is seen by whoever looks after (all three
stores promise that), so at least one of the two sees the other. An announcement whose owner died is
ignored after `ANNOUNCED_S`, by the bucket's own clock; the owner removes nothing later than
`REMOVE_WITHIN_S` after it. docs/design/005-object-storage.md has the argument and its limits.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from obstore.exceptions import AlreadyExistsError
from obstore.store import ObjectStore

from headwater.errors import HeadwaterError, Unavailable
from headwater.store.bucket import asking, open_bucket, was_answered
from headwater.store.object_source import ObjectSource, open_object
from headwater.store.shelf import Kept, Unreadable

ANNOUNCED_S = 900.0  # far beyond REMOVE_WITHIN_S and every request's end
REMOVE_WITHIN_S = 60.0
WAIT_S = 10.0  # a removal takes a few requests
DATE_STEP_S = 1.0  # HTTP dates have whole seconds: a key may be this much younger than it says

PART_BYTES_MIN = 8 * 2**20  # one request up to here, several above
PARTS_MAX = 9_000  # S3 allows 10,000
UPLOAD_BYTES_MAX = 32 * 2**20  # of one file in memory at once, unless a single part is longer
REMOVE_TRIES = 5  # of requests that the bucket answered it could not do
REMOVE_PAUSE_S = 0.1
PUBLISH_TRIES = 3  # a removal may take away what was just sent
VERIFY_BYTES = 4096  # footer and more, read back before anyone is told
PAGE_KEYS = 1000


class ObjectShelf:
    """The shelf in a bucket. See `Shelf`. Unavailable whenever the bucket cannot be asked."""

    def __init__(self, url: str) -> None:
        self.where = url
        self._bucket: ObjectStore = open_bucket(url)
        # For removals: of two tries of one request the first may be carried out after the second.
        self._once: ObjectStore = open_bucket(url, retries=0)

    def prepare(self, tops: Sequence[str]) -> None:
        self.empty(tops)

    def empty(self, tops: Sequence[str]) -> bool:
        return not any(True for top in tops for _ in self._below(top))

    def create(self, key: str, data: bytes) -> bool:
        try:
            self._send(key, data, mode="create")
        except AlreadyExistsError:
            return False
        return True

    def publish(self, fd: int, path: str, key: str) -> None:
        size_bytes = os.stat(path).st_size
        part_bytes = part_bytes_of(size_bytes)
        long = size_bytes > part_bytes
        for _ in range(PUBLISH_TRIES):
            self._send(
                key,
                Path(path),
                use_multipart=long,
                chunk_size=part_bytes,
                max_concurrency=max(1, UPLOAD_BYTES_MAX // part_bytes),
            )
            if long:  # S3 dates an object in parts by when its upload began
                self._send(_marker(key))
            self._await_removals(key)
            found = open_object(self._bucket, key, VERIFY_BYTES)
            if found is None:
                continue  # a removal that had looked before came after
            if found.size_bytes != size_bytes or found.end != _end_of(fd, size_bytes):
                raise Unavailable(f"{key} was sent by someone else at once; try again")
            with suppress(OSError):  # what stays is swept like every other leftover
                os.unlink(path)
            return
        raise Unavailable(f"{key} is being removed again and again; try again")

    def publish_new(self, fd: int, path: str, key: str) -> bool:
        claim = f"making/{key}"
        deadline_s = time.monotonic() + WAIT_S
        while not self.create(claim, b""):  # someone else is making it, or died at it
            began = self._head(claim)
            if began and began[0] < self._bucket_time() - timedelta(seconds=ANNOUNCED_S):
                self._unlink(claim)
            elif self._head(key) is not None:
                break
            elif time.monotonic() > deadline_s:
                raise Unavailable(f"{key} is being sent by someone else; try again")
            else:
                time.sleep(0.1)
        else:
            try:
                if self._head(key) is None:
                    self.publish(fd, path, key)
                    return True
            finally:
                self._unlink(claim)
        if not self.touch(key):
            raise Unavailable(f"{key} was removed a moment ago; try again")
        with suppress(OSError):
            os.unlink(path)
        return False

    def settle(self, keys: Iterable[str]) -> None:
        """What an object store shows is durable."""

    def open(self, key: str) -> ObjectSource | None:
        return open_object(self._bucket, key)

    def stat(self, key: str) -> Kept | None:
        found = self._head(key)
        if found is None:
            return None
        marker = self._head(_marker(key))
        return _kept(*found, marker[0] if marker else None)

    def touch(self, key: str) -> bool:
        if self._head(key) is None:
            return False
        self._send(_marker(key))
        self._await_removals(key)
        if self._head(key) is not None:
            return True
        self._unlink(_marker(key))
        return False

    def drop(self, key: str, kept: str, unless_key: str | None = None) -> None:
        if self._head(key) is None:
            return  # nearly always; one that comes later is dropped, or drops, by itself

        def other_stays() -> bool:
            if unless_key is not None and self._head(unless_key) is not None:
                return False
            return not self._announced(kept) and self._head(kept) is not None

        self._remove(key, other_stays)

    def delete(
        self, keys: Sequence[str], unless_since_s: float | None, unless_key: str | None = None
    ) -> bool:
        gone = False
        for key in keys:
            if self._head(key) is None:
                continue

            def unused(key: str = key) -> bool:
                kept = self.stat(key)
                if kept is None:
                    return False
                if unless_key is not None and self._head(unless_key) is not None:
                    return False
                return unless_since_s is None or kept.mtime_s + DATE_STEP_S < unless_since_s

            gone |= self._remove(key, unused)
        return gone

    def keys(self, top: str, unreadable: Unreadable) -> Iterator[str]:
        return (key for key, _, _ in self._below(top))

    def list(self, top: str, unreadable: Unreadable) -> Iterator[tuple[str, Kept]]:
        """Objects and markers are listed side by side: both come in the order of their keys."""
        markers = self._below(_marker(top))
        marker = next(markers, None)
        last = ""
        for key, since, size_bytes in self._below(top):
            if key <= last:
                raise Unavailable(f"{self.where} does not list its keys in order")
            last = key
            while marker is not None and marker[0] < _marker(key):
                marker = next(markers, None)
            touched = marker[1] if marker is not None and marker[0] == _marker(key) else None
            yield key, _kept(since, size_bytes, touched)

    # Requests

    def _head(self, key: str) -> tuple[datetime, int] | None:
        """(date, size) of an object; None when absent."""
        try:
            with asking(key):
                meta = self._bucket.head(key)
        except FileNotFoundError:
            return None
        return meta["last_modified"], meta["size"]

    def _below(self, top: str) -> Iterator[tuple[str, datetime, int]]:
        """(key, date, size) of every object below `top/`, page by page."""
        with asking(top):
            for page in self._bucket.list(top, chunk_size=PAGE_KEYS):
                for meta in page:
                    yield meta["path"], meta["last_modified"], meta["size"]

    def _send(self, key: str, body: bytes | Path = b"", **options: Any) -> None:
        try:
            with asking(key):
                self._bucket.put(key, body, **options)
        except FileNotFoundError as error:
            raise Unavailable(f"{key} could not be sent; try again") from error

    def _unlink(self, key: str) -> None:
        with suppress(FileNotFoundError), asking(key):
            self._bucket.delete(key)

    # Removals

    def _announced(self, key: str) -> Sequence[tuple[str, datetime, int]]:
        return tuple(self._below(f"deleting/{key}"))

    def _remove(self, key: str, allowed: Callable[[], bool]) -> bool:
        """Announce, ask `allowed`, remove; whether it was removed."""
        announcement = f"deleting/{key}/{secrets.token_hex(8)}"
        began_s = time.monotonic()
        self._send(announcement)
        try:
            gone = allowed() and time.monotonic() - began_s < REMOVE_WITHIN_S
        except BaseException:
            self._retract(announcement)
            raise
        try:
            if gone:
                self._unlink_firmly(key)
                self._unlink(_marker(key))
        except Unavailable as error:
            # No one can say whether the removal is done or under way: the announcement stays until
            # it cannot be.
            if was_answered(error):
                self._retract(announcement)
            raise
        self._retract(announcement)
        return gone

    def _retract(self, announcement: str) -> None:
        with suppress(HeadwaterError):  # what stays is ignored when it is old
            self._unlink(announcement)

    def _unlink_firmly(self, key: str) -> None:
        """Tries again only after an answer: what was not answered may be carried out later."""
        for left in reversed(range(REMOVE_TRIES)):
            try:
                with suppress(FileNotFoundError), asking(key):
                    self._once.delete(key)
                return
            except Unavailable as error:
                if not left or not was_answered(error):
                    raise
                time.sleep(REMOVE_PAUSE_S)

    def _await_removals(self, key: str) -> None:
        """Returns when nobody who looked before now can remove `key` any more."""
        deadline_s = time.monotonic() + WAIT_S
        pause_s = 0.005
        while announced := self._announced(key):
            old = self._bucket_time() - timedelta(seconds=ANNOUNCED_S)
            for announcement, since, _ in announced:
                if since < old:
                    self._unlink(announcement)  # its owner died
            if all(since < old for _, since, _ in announced):
                return
            if time.monotonic() > deadline_s:
                raise Unavailable(f"{key} is being removed; try again in some minutes")
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, 1.0)

    def _bucket_time(self) -> datetime:
        """What the bucket's clock says: no clock of ours is compared with its dates here."""
        clock = f"clock/{secrets.token_hex(8)}"
        self._send(clock)
        found = self._head(clock)
        self._unlink(clock)
        if found is None:
            raise Unavailable("the object storage forgets what it was just sent")
        return found[0]


def part_bytes_of(size_bytes: int) -> int:
    """The least whole MiB, from 8, of which `PARTS_MAX` hold the file."""
    return max(PART_BYTES_MIN, -(-size_bytes // (PARTS_MAX * 2**20)) * 2**20)


def _marker(key: str) -> str:
    return f"touched/{key}"


def _kept(since: datetime, size_bytes: int, touched: datetime | None) -> Kept:
    return Kept(max(since, touched or since).timestamp(), size_bytes)


def _end_of(fd: int, size_bytes: int) -> bytes:
    return os.pread(fd, VERIFY_BYTES, max(0, size_bytes - VERIFY_BYTES))
