"""The store: immutable bytes on a local disk, self-checking, without a database.

    Store.open(root)       folders and FORMAT are made when absent; a newer format is refused
    find / read            any blob, plain or chunked, through one seam
    write_plain            a file as it comes; start_parts … finish_parts for one in pieces
    write_xorb             Xet chunks as they come; write_chunked: a file made of them
    check                  does everything still match its name?

Every write is durable when it returns and invisible until then: written aside, fsync, rename, fsync
of the folder. Every byte that leaves was verified a moment before. Writing what is stored already
takes its place, whole: that is how rot is healed. All methods may be called from any thread, and
from several processes at once. A disk that is full raises NoSpace, one that fails Unavailable;
stored bytes that no longer match raise Corrupt, with the name of what is damaged.
docs/design/001-store-on-disk.md says why, docs/format.md shows every byte.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from headwater.errors import NotFound, RangeNotSatisfiable, Refused
from headwater.formats.xet_shard import Term
from headwater.names import Digest, XetHash
from headwater.store.blob import Blob
from headwater.store.check import Checker, Finding, leftovers
from headwater.store.chunked import Progress, Recipes
from headwater.store.files import FOLDER_MODE, Folders, sync_folder, write_file, writing
from headwater.store.layout import Layout
from headwater.store.locks import file_lock
from headwater.store.parts import PartWriter, Upload
from headwater.store.plain import PlainWriter, open_plain, read_plain
from headwater.store.recipe import ChunkedFile
from headwater.store.xorb_index import XorbIndex
from headwater.store.xorbs import Xorbs, XorbWriter

FORMAT = 1


class Store:
    """All bytes of one hub."""

    def __init__(self, layout: Layout, generation: int) -> None:
        self.generation = generation  # part of the CAS address: a new one empties client caches
        self.root = Path(layout.root)
        self._layout = layout
        self._xorbs = Xorbs(layout)
        self._recipes = Recipes(layout, self._xorbs)

    @classmethod
    def open(cls, root: Path) -> Self:
        """The store in `root`, made there if there is none. Refused when it is of a newer format,
        or when it holds blobs but no readable FORMAT."""
        top = os.path.abspath(root)
        layout = Layout(top, Folders(top))
        with writing(f"store {top}"):
            if not os.path.isdir(top):
                os.makedirs(top, FOLDER_MODE)
                sync_folder(os.path.dirname(top))
            for name in ("blobs", "xorbs", "tmp"):
                layout.folders.make(f"{top}/{name}")
            return cls(layout, _generation(layout))

    # Blobs

    def find(self, oid: Digest) -> Blob | None:
        """What is kept as `oid`; None when nothing is. Corrupt when its footer is damaged."""
        plain = open_plain(self._layout, oid)
        if plain is not None:
            plain.close()
            return Blob(oid, plain.footer.raw_bytes, "plain", None)
        footer = self._recipes.footer(oid)
        if footer is not None:
            return Blob(oid, footer.raw_bytes, "chunked", XetHash.of_raw(footer.other))
        return None

    def read(
        self, oid: Digest, start: int = 0, stop: int | None = None
    ) -> Iterator[bytes | memoryview]:
        """Bytes `start` to `stop` (exclusive; clamped to the end) in pieces of at most 1 MiB.

        Everything is verified before it leaves. NotFound, RangeNotSatisfiable and a damaged footer
        are raised here; Corrupt may be raised by any later step, before the bad bytes.
        """
        plain = open_plain(self._layout, oid)
        file = self._recipes.find(oid) if plain is None else None
        if plain is not None:
            size_bytes = plain.footer.raw_bytes
        elif file is not None:
            size_bytes = file.size_bytes
        else:
            raise NotFound(f"no blob {oid}")
        stop = size_bytes if stop is None else min(stop, size_bytes)
        if not 0 <= start <= size_bytes:
            raise RangeNotSatisfiable(
                f"byte {start} is not in blob {oid} of {size_bytes} bytes", size_bytes=size_bytes
            )
        if plain is not None:
            return read_plain(plain, start, stop)
        assert file is not None
        return self._recipes.read(file, start, stop)

    def write_plain(self, size_bytes: int | None = None) -> PlainWriter:
        """Begin a file; NoSpace at once when `size_bytes` cannot fit."""
        return PlainWriter(self._layout, size_bytes, self._recipes.sound)

    def start_parts(self, upload_id: str, size_bytes: int, part_bytes: int) -> None:
        """Begin a file that comes in parts, from any worker process, in any order.

        `upload_id`: 1 to 64 letters, digits, `-`, `_`, never used before. BadRequest for more than
        10,000 parts.
        """
        Upload(self._layout, upload_id).start(size_bytes, part_bytes)

    def write_part(self, upload_id: str, number: int) -> PartWriter:
        """Begin part `number`, counted from 1. NotFound for an unknown or finished upload."""
        return PartWriter(Upload(self._layout, upload_id), number)

    def finish_parts(
        self,
        upload_id: str,
        oid: Digest,
        etags: Sequence[tuple[int, str]],
        progress: Progress | None = None,
    ) -> Blob:
        """Make the parts a blob, durable when it returns; again for the same gives the same.

        `etags` are (number, etag) of all parts in order (else BadRequest: nothing is lost, send
        what is missing). DigestMismatch when the bytes are not `oid`: everything is dropped.
        Unavailable while a part is still being written. Takes as long as a SHA-256 of the file;
        `progress` is called with the bytes hashed so far.
        """
        made = Upload(self._layout, upload_id).finish(oid, etags, self._recipes.sound, progress)
        blob = made or self.find(oid)
        if blob is None:
            raise NotFound(f"upload {upload_id} was finished and its blob deleted since")
        return blob

    def abort_parts(self, upload_id: str) -> None:
        """Drop an upload in parts. Harmless when there is none."""
        Upload(self._layout, upload_id).abort()

    def blobs(self) -> Iterator[Blob]:
        """Every blob. Corrupt at the first that cannot be read: who collects garbage must not go
        on without knowing what a recipe needs."""
        last = ""
        for _, name, _ in self._layout.blob_files():
            if name and name != last:  # in both layouts for a moment: named once
                last = name
                blob = self.find(Digest(name))
                if blob is not None:
                    yield blob

    def delete_blob(self, oid: Digest, *, unless_written_since_s: float | None = None) -> bool:
        """Forget a blob, in whatever layout; True when it was here and is gone. One written since
        `unless_written_since_s` (Unix time) stays. Harmless when it is not here."""
        gone = False
        with writing(f"blob {oid}"), file_lock(self._layout.root, shared=False):
            for path in (self._layout.plain(oid), self._layout.chunked(oid)):
                with suppress(FileNotFoundError):
                    written_s = os.stat(path).st_mtime
                    if unless_written_since_s is None or written_s < unless_written_since_s:
                        os.unlink(path)
                        gone = True
        return gone

    # Xet

    def write_xorb(self, hash: XetHash) -> XorbWriter:
        """Begin a xorb that must turn out to be `hash`."""
        return XorbWriter(self._layout, self._xorbs, hash)

    def xorb(self, hash: XetHash) -> XorbIndex | None:
        """Where the chunks of a xorb are; None when it is not stored."""
        return self._xorbs.index(hash)

    def read_xorb(
        self, hash: XetHash, start_byte: int, stop_byte: int, form: int | None = None
    ) -> Iterator[bytes]:
        """Serialized records from `start_byte` to `stop_byte` (exclusive), each verified.

        Both must be borders of records, else BadRequest. Give the `form` of the index they came
        from when it was looked at earlier: Stale when the xorb lies in another by now.
        """
        return self._xorbs.read(hash, start_byte, stop_byte, form)

    def write_chunked(
        self,
        file_hash: XetHash,
        terms: Sequence[Term],
        *,
        oid: Digest | None,
        trusted: bool = False,
        progress: Progress | None = None,
    ) -> Blob:
        """Keep a file made of stored chunks; durable when it returns.

        BadRequest when a xorb is not stored or a term does not fit it; DigestMismatch when the
        chunks do not make `file_hash`, or their bytes, all decoded and hashed, not `oid`. With
        `trusted` and a recipe of the same `oid` and `file_hash` already stored, nothing is decoded:
        it was then. Renews the grace time of every xorb named. The blob's `xet_hash` is the one
        stored first when the same bytes came in other chunks before.
        """
        return self._recipes.write(file_hash, terms, oid, trusted, progress)

    def file(self, oid: Digest) -> ChunkedFile | None:
        """The recipe of a blob; None when it is not stored as chunks."""
        return self._recipes.find(oid)

    def touch_xorb(self, hash: XetHash) -> None:
        """Begin a xorb's grace time anew. NotFound when it is not stored."""
        self._xorbs.touch(hash)

    def xorbs(self) -> Iterator[tuple[XetHash, float, int]]:
        """(hash, Unix time of last write or touch, bytes on disk) of every xorb."""
        for path, name, _ in self._layout.xorb_files():
            if name:
                with suppress(FileNotFoundError):
                    stat = os.stat(path)
                    yield XetHash(name), stat.st_mtime, stat.st_size

    def delete_xorb(self, hash: XetHash, *, unless_used_since_s: float | None = None) -> bool:
        """Forget a xorb; True when it was here and is gone. Looks once more, under the lock that
        `touch_xorb` takes, and leaves one written or touched since `unless_used_since_s` (Unix)."""
        return self._xorbs.delete(hash, unless_used_since_s)

    # Care

    def check(self, data: bool = False) -> Iterator[Finding]:
        """Everything that is wrong; with `data` every byte is read. Changes nothing."""
        return Checker(self._layout).run(data)

    def sweep_tmp(self, age_s: float) -> int:
        """Remove what was begun and not written to for `age_s` seconds; returns how many."""
        swept = 0
        for path, idle_s in leftovers(self._layout):
            if idle_s > age_s:
                if os.path.isdir(path):
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    with suppress(OSError):
                        os.unlink(path)
                swept += 1
        return swept


def _generation(layout: Layout) -> int:
    """Read FORMAT, or write it in a store that is still empty."""
    path = f"{layout.root}/FORMAT"
    # Looked at first: whatever another process stores now, it has written FORMAT before.
    empty = not os.listdir(f"{layout.root}/blobs") and not os.listdir(f"{layout.root}/xorbs")
    try:
        with open(path, "rb") as file:
            fields = json.load(file)
        version, generation = int(fields["format"]), int(fields["generation"])
    except FileNotFoundError:
        if not empty:
            raise Refused(f"{layout.root} holds blobs but no FORMAT; restore that file") from None
        version, generation = FORMAT, 1
        data = json.dumps({"format": version, "generation": generation}).encode("ascii")
        write_file(layout.tmp, path, data + b"\n", layout.folders, "FORMAT")
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(f"{path} cannot be read ({error}); restore that file") from error
    if version != FORMAT:
        raise Refused(f"{path} says format {version}; this Headwater reads format {FORMAT} only")
    return generation
