"""Files of the store: written aside, synced, renamed; a reader sees all of one or nothing.

    Temp(folder, suffix)      a new file in the tmp folder; gone again unless published
    Temp.write(data, ...)     appended
    Temp.publish(shelf, key)  on the shelf, by fsync, rename, fsync of the folder on a local one
    Folders.make(folder)      the folder and its parents, each one's name synced once
    writing(what)             OSError becomes NoSpace (disk full, quota) or Unavailable

The order is the one promise here: bytes, fsync of the file, rename, fsync of the folder. Only
then may anyone be told that the file is kept. After a failed fsync the file is dropped, never
synced again as if it were clean: the kernel forgets the pages that it could not write.
"""

from __future__ import annotations

import errno
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Self

from headwater.errors import HeadwaterError, NoSpace, Unavailable
from headwater.store.locks import file_lock
from headwater.store.shelf import Shelf

Buffer = bytes | bytearray | memoryview

FILE_MODE = 0o600  # weights may be private; only the server reads them
FOLDER_MODE = 0o700
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def disk_error(error: OSError, what: str) -> HeadwaterError:
    """What to tell the caller of an OSError met while writing `what`."""
    if error.errno in _FULL:
        return NoSpace("Not enough storage on the hub. Nothing was saved.")
    return Unavailable(f"{what}: {error.strerror or error}; nothing was saved, try again")


@contextmanager
def writing(what: str) -> Iterator[None]:
    """Turns an OSError inside into NoSpace or Unavailable."""
    try:
        yield
    except OSError as error:
        raise disk_error(error, what) from error


def write_all(fd: int, data: Buffer, offset: int | None = None) -> None:
    """Every byte of `data`, appended or at `offset`, however many calls it takes."""
    done = os.write(fd, data) if offset is None else os.pwrite(fd, data, offset)
    while done < len(data):
        rest = memoryview(data)[done:]
        done += os.write(fd, rest) if offset is None else os.pwrite(fd, rest, offset + done)


def sync_folder(folder: str) -> None:
    """Makes the names in `folder` durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def need_space(folder: str, size_bytes: int) -> None:
    """NoSpace now rather than after an hour of upload, when `size_bytes` cannot fit."""
    with writing("free space"):
        disk = os.statvfs(folder)
    if size_bytes > disk.f_bavail * disk.f_frsize:
        raise NoSpace("Not enough storage on the hub. Nothing was saved.")


class Folders:
    """Folders below `root` whose names are known to be durable.

    A folder that is merely there may have been made a moment ago by someone who has not synced
    it yet, so each process syncs each one once before it relies on it.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self._synced = {root}
        self._lock = threading.Lock()

    def make(self, folder: str) -> None:
        """Makes `folder` and its parents up to the root, durably."""
        if folder in self._synced:
            return
        parent = os.path.dirname(folder)
        self.make(parent)
        with suppress(FileExistsError):
            os.mkdir(folder, FOLDER_MODE)
        sync_folder(parent)
        with self._lock:
            self._synced.add(folder)


class Temp:
    """A file being written, in a folder from which nothing is served."""

    __slots__ = ("_open", "_what", "fd", "path", "size_bytes")

    def __init__(self, folder: str, suffix: str, what: str) -> None:
        self._open = False
        self._what = what
        self.path = f"{folder}/{secrets.token_hex(16)}{suffix}"
        self.size_bytes = 0
        with writing(what):
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self.fd = os.open(self.path, flags, FILE_MODE)
        self._open = True

    def write(self, *pieces: Buffer) -> None:
        """Append each piece. After an error the file is gone and so is the space it took."""
        if not self._open:
            raise Unavailable(f"{self._what}: writing was given up; begin again")
        try:
            for piece in pieces:
                write_all(self.fd, piece)
                self.size_bytes += len(piece)
        except OSError as error:
            self.drop()
            raise disk_error(error, self._what) from error

    def publish(self, shelf: Shelf, key: str) -> None:
        """Durably become `key`, in place of what may be there, or raise and be gone."""
        self._become(lambda: shelf.publish(self.fd, self.path, key))

    def publish_new(self, shelf: Shelf, key: str) -> bool:
        """As `publish`, but what is there already stays; False, and this one is gone, then."""
        first = [True]

        def publish_() -> None:
            first[0] = shelf.publish_new(self.fd, self.path, key)

        self._become(publish_)
        return first[0]

    def rename(self, path: str, folders: Folders) -> None:
        """Durably become the local file `path`, else as `publish`."""

        def sync_and_rename() -> None:
            os.fsync(self.fd)
            publish(self.path, path, folders)

        self._become(sync_and_rename)

    def _become(self, publish_: Callable[[], None]) -> None:
        if not self._open:
            raise Unavailable(f"{self._what}: writing was given up; begin again")
        try:
            publish_()
        except OSError as error:
            self.drop()
            raise disk_error(error, self._what) from error
        except BaseException:
            self.drop()
            raise
        self._open = False
        os.close(self.fd)

    def drop(self) -> None:
        """Give the file up. Harmless when published or dropped already."""
        if self._open:
            self._open = False
            with suppress(OSError):
                os.close(self.fd)
            with suppress(OSError):
                os.unlink(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.drop()

    __del__ = drop


def publish(source: str, path: str, folders: Folders) -> None:
    """Rename a file that was synced already; its new name is durable when this returns."""
    folder = os.path.dirname(path)
    folders.make(folder)
    with file_lock(folders.root, shared=True):  # not between the look and the unlink of a delete
        os.rename(source, path)
    sync_folder(folder)


def write_file(folder: str, path: str, data: bytes, folders: Folders, what: str) -> None:
    """A small file, whole or not at all, by way of `folder`."""
    with Temp(folder, ".file", what) as temp:
        temp.write(data)
        temp.rename(path, folders)
