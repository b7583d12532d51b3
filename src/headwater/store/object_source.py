"""ObjectSource: the bytes of one object, by ranges, with read-ahead.

Opening fetches the end of the object: its size, its ETag, and with them the footer and, nearly
always, the index of a container in one round trip. A read that follows the one before it fetches
more than it was asked for, twice as much each time up to 4 MiB, and from then on the next 4 MiB
while these are being used. So pieces of 1 MiB do not cost a round trip each, a small range fetches
little more than itself, and an open source holds at most 8 MiB and the end.

Every range is asked for by the ETag of the first (If-Match): bytes of two versions never mix. A
version that is gone is Moved. Nothing here is trusted: containers verify what they read.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from obstore.exceptions import BaseError, NotSupportedError
from obstore.store import ObjectStore

from headwater.errors import Moved, Unavailable
from headwater.store.bucket import asking

if TYPE_CHECKING:
    from obstore import GetOptions  # only there for type checkers

END_BYTES = 64 * 2**10  # footer, and the sums of 2 GiB, or the rows of 1,300 chunks
AHEAD_BYTES_MAX = 4 * 2**20  # one such piece in use and one on its way
_AHEAD_THREADS = 16  # of this process; a reader that finds none free waits for its own fetch
_ahead = ThreadPoolExecutor(_AHEAD_THREADS, "read-ahead")


class ObjectSource:
    """See `Source`. Safe from any thread; reads of one source take turns."""

    def __init__(
        self, bucket: ObjectStore, key: str, etag: str | None, size_bytes: int, end: bytes
    ) -> None:
        self._bucket = bucket
        self._key = key
        self._etag = etag
        self.size_bytes = size_bytes
        self._end_at, self._end = size_bytes - len(end), end
        self._at, self._piece = 0, b""  # what was fetched last, and from where
        self._next: Future[bytes] | None = None  # what follows it, on its way
        self._lock = threading.Lock()

    @property
    def end(self) -> bytes:
        """The last bytes, as fetched when this was opened."""
        return self._end

    def pread(self, count: int, offset: int) -> bytes:
        if offset >= self._end_at:
            start = offset - self._end_at
            return self._end[start : start + count]
        with self._lock:
            if not self._at <= offset < self._at + len(self._piece):
                self._fetch(count, offset)
            start = offset - self._at
            if start == 0 and len(self._piece) <= count:
                return self._piece
            return self._piece[start : start + count]

    def _fetch(self, count: int, offset: int) -> None:
        """Makes the piece begin at `offset`, and longer than asked for if it follows the last."""
        follows = bool(self._piece) and offset == self._at + len(self._piece)
        coming, self._next = self._next, None
        if follows and coming is not None:
            self._piece = coming.result()
        else:
            if coming is not None:
                coming.cancel()
            wanted = min(2 * len(self._piece), AHEAD_BYTES_MAX) if follows else 0
            self._piece = self._range(offset, max(count, wanted))
        self._at = offset
        if follows and len(self._piece) >= AHEAD_BYTES_MAX:
            after = offset + len(self._piece)
            if after < self._end_at:
                self._next = _ahead.submit(self._range, after, AHEAD_BYTES_MAX)

    def _range(self, offset: int, count: int) -> bytes:
        stop = min(offset + count, self._end_at)
        try:
            with asking(self._key):
                data = _between(self._bucket, self._key, offset, stop, self._etag)
        except FileNotFoundError as error:
            raise Moved(f"{self._key} was deleted while it was read; ask again") from error
        if len(data) != stop - offset:
            raise Unavailable(f"{self._key}: the object storage sent too little; try again")
        return data

    def close(self) -> None:
        coming, self._next = self._next, None
        if coming is not None:
            coming.cancel()
        self._piece = b""


def open_object(bucket: ObjectStore, key: str, end_bytes: int = END_BYTES) -> ObjectSource | None:
    """The object `key`, its end fetched; None when absent."""
    try:
        with asking(key):
            try:
                got = bucket.get(key, options={"range": {"suffix": end_bytes}})
                meta, end = got.meta, bytes(got.bytes())
            except BaseError as error:
                # Azure knows no such range, and an empty object has no end to give.
                if not isinstance(error, NotSupportedError) and " 416 " not in str(error):
                    raise
                meta = bucket.head(key)
                start = max(0, meta["size"] - end_bytes)
                end = b""
                if meta["size"]:
                    end = _between(bucket, key, start, meta["size"], meta["e_tag"])
    except FileNotFoundError:
        return None
    if len(end) != min(end_bytes, meta["size"]):
        raise Unavailable(f"{key}: the object storage sent too little; try again")
    return ObjectSource(bucket, key, meta["e_tag"], meta["size"], end)


def _between(bucket: ObjectStore, key: str, start: int, stop: int, etag: str | None) -> bytes:
    options: GetOptions = {"range": (start, stop), "if_match": etag}
    return bytes(bucket.get(key, options=options).bytes())
