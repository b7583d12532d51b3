"""LocalShelf: containers as files below a folder of a local disk. The default.

Publishing is fsync, rename, fsync of the folder. The age of a file is its mtime; one lock file
keeps a delete from coming between a look at an age and a touch.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from headwater.store.files import Folders, publish, sync_folder, write_file
from headwater.store.locks import file_lock
from headwater.store.shelf import Kept, Unreadable


class LocalSource:
    """An open file: what was opened stays readable when its name is gone."""

    __slots__ = ("_fd", "size_bytes")

    def __init__(self, fd: int, size_bytes: int) -> None:
        self._fd = fd
        self.size_bytes = size_bytes

    def pread(self, count: int, offset: int) -> bytes:
        return os.pread(self._fd, count, offset)

    def close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)


def open_file(path: str) -> LocalSource:
    """A local file as a source; OSError when it cannot be opened."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return LocalSource(fd, os.fstat(fd).st_size)
    except BaseException:
        os.close(fd)
        raise


class LocalShelf:
    """The shelf below `folders.root`. See `Shelf`."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders
        self._root = self.where = folders.root

    def path(self, key: str) -> str:
        return f"{self._root}/{key}"

    def prepare(self, tops: Sequence[str]) -> None:
        for top in tops:
            self._folders.make(self.path(top))

    def empty(self, tops: Sequence[str]) -> bool:
        paths = [self.path(top) for top in tops]
        return not any(os.listdir(path) for path in paths if os.path.isdir(path))

    def create(self, key: str, data: bytes) -> bool:
        write_file(self.path("tmp"), self.path(key), data, self._folders, key)
        return True

    def publish(self, fd: int, path: str, key: str) -> None:
        os.fsync(fd)
        publish(path, self.path(key), self._folders)

    def publish_new(self, fd: int, path: str, key: str) -> bool:
        os.fsync(fd)
        folder = os.path.dirname(self.path(key))
        self._folders.make(folder)
        with file_lock(self._root, shared=True):
            try:
                os.link(path, self.path(key))  # unlike a rename, it never replaces
                first = True
            except FileExistsError:
                os.utime(self.path(key))
                first = False
        os.unlink(path)
        sync_folder(folder)
        return first

    def settle(self, keys: Iterable[str]) -> None:
        for folder in sorted({os.path.dirname(self.path(key)) for key in keys}):
            self._folders.make(folder)  # its own name
            sync_folder(folder)

    def open(self, key: str) -> LocalSource | None:
        try:
            return open_file(self.path(key))
        except FileNotFoundError:
            return None

    def stat(self, key: str) -> Kept | None:
        try:
            found = os.stat(self.path(key))
        except FileNotFoundError:
            return None
        return Kept(found.st_mtime, found.st_size)

    def touch(self, key: str) -> bool:
        with file_lock(self._root, shared=True):
            try:
                os.utime(self.path(key))
            except FileNotFoundError:
                return False
        return True

    def drop(self, key: str, kept: str, unless_key: str | None = None) -> None:
        if not os.path.exists(self.path(key)):
            return  # nearly always; one that comes later is dropped, or drops, by itself
        with file_lock(self._root, shared=False), suppress(FileNotFoundError):
            os.stat(self.path(kept))
            if unless_key is not None and os.path.exists(self.path(unless_key)):
                return
            os.unlink(self.path(key))

    def delete(
        self, keys: Sequence[str], unless_since_s: float | None, unless_key: str | None = None
    ) -> bool:
        gone = False
        with file_lock(self._root, shared=False):
            if unless_key is not None and os.path.exists(self.path(unless_key)):
                return False
            for path in map(self.path, keys):
                with suppress(FileNotFoundError):
                    since_s = os.stat(path).st_mtime
                    if unless_since_s is None or since_s < unless_since_s:
                        os.unlink(path)
                        gone = True
        return gone

    def keys(self, top: str, unreadable: Unreadable) -> Iterator[str]:
        for folder, inner, names in os.walk(self.path(top), onerror=unreadable):
            inner.sort()
            below = folder[len(self._root) + 1 :]
            for name in sorted(names):
                yield f"{below}/{name}"

    def list(self, top: str, unreadable: Unreadable) -> Iterator[tuple[str, Kept]]:
        for key in self.keys(top, unreadable):
            kept = self.stat(key)
            if kept is not None:  # else deleted a moment ago
                yield key, kept
