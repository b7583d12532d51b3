"""Hot files: packed blobs that are read often lie decoded beside, on the local disk, up to a limit.

    Hot.open(oid)           the decoded file, if it is here; its time begins anew
    Hot.wanted(oid)         one read began: True when it is worth decoding once for all
    Hot.keep(oid, pieces)   decode it here; what was used longest ago goes

A hot file is a plain container like any other, verified on every read. It is only ever a copy: when
it is damaged or gone, the packed file answers, and nothing needs it after a crash.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import suppress

from headwater.errors import Corrupt, HeadwaterError
from headwater.names import Digest
from headwater.store.cache import Cache
from headwater.store.containers import PLAIN, Container
from headwater.store.files import Folders, Temp, need_space
from headwater.store.hashing import FrameSums, Sha256
from headwater.store.local_shelf import LocalShelf
from headwater.store.plain import plain_tail

READS_MIN = 2  # within the window: the second reader waits for decoding, the third does not
WINDOW_S = 3600.0
COUNTED_MAX = 10_000  # files whose reads are counted
TOUCH_S = 60.0  # a use is noted so often at most


class Hot:
    """The hot files of one store. `bytes_max` 0: none are kept."""

    def __init__(self, tmp: str, folders: Folders, bytes_max: int) -> None:
        self._tmp = tmp
        self._shelf = LocalShelf(folders)
        self._bytes_max = bytes_max
        self._reads: Cache[Digest, tuple[float, int]] = Cache(COUNTED_MAX)
        self._busy: set[Digest] = set()
        self._lock = threading.Lock()

    def open(self, oid: Digest) -> Container | None:
        """The decoded file, its footer checked; None when it is not here or is damaged."""
        key = _key(oid)
        try:
            box = Container.open(self._shelf, key, PLAIN, bytes.fromhex(oid), f"hot {oid}")
        except Corrupt:
            self.drop(oid)
            return None
        if box is not None:
            with suppress(OSError):
                kept = self._shelf.stat(key)
                if kept is not None and time.time() - kept.mtime_s > TOUCH_S:
                    self._shelf.touch(key)
        return box

    def wanted(self, oid: Digest, size_bytes: int) -> bool:
        """Note a read of the file; whether to `keep` it now. True for one caller at a time."""
        if not 0 < size_bytes <= self._bytes_max:
            return False
        now_s = time.monotonic()
        with self._lock:
            since_s, count = self._reads.get(oid) or (now_s, 0)
            if now_s - since_s > WINDOW_S:
                since_s, count = now_s, 0
            self._reads.put(oid, (since_s, count + 1), 1)
            if count + 1 < READS_MIN or oid in self._busy:
                return False
            self._busy.add(oid)
            return True

    def keep(self, oid: Digest, size_bytes: int, pieces: Iterator[bytes | memoryview]) -> None:
        """Decode it here, and make room. What fails leaves nothing: it is only a copy."""
        try:
            need_space(self._tmp, size_bytes)
            sums, sha256 = FrameSums(), Sha256()
            with Temp(self._tmp, ".plain", f"hot {oid}") as temp:
                for piece in pieces:
                    temp.write(piece)
                    sums.update(memoryview(piece))
                    sha256.update(piece)
                if sha256.digest() == oid:
                    temp.write(plain_tail(sums.finish(), oid, size_bytes))
                    temp.publish(self._shelf, _key(oid))
            self.shrink()
        except (HeadwaterError, OSError):
            pass  # the packed file goes on answering
        finally:
            with self._lock:
                self._busy.discard(oid)

    def drop(self, oid: Digest) -> None:
        """Forget the copy. Harmless when there is none."""
        with suppress(OSError):
            self._shelf.delete([_key(oid)], None)

    def shrink(self) -> None:
        """Down to the limit: what was used longest ago goes."""
        found = [
            (kept.mtime_s, kept.size_bytes, key)
            for key, kept in self._shelf.list("hot", lambda error: None)
        ]
        total = sum(size for _, size, _ in found)
        for _, size, key in sorted(found):
            if total <= self._bytes_max:
                return
            with suppress(OSError):
                self._shelf.delete([key], None)
            total -= size

    @property
    def size_bytes(self) -> int:
        """What all hot files take on disk."""
        kept = self._shelf.list("hot", lambda error: None)
        return sum(kept.size_bytes for _, kept in kept)


def _key(oid: Digest) -> str:
    return f"hot/{oid[:2]}/{oid[2:4]}/{oid}.plain"
