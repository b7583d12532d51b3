"""The store: immutable bytes on a local disk or in a bucket, self-checking, without a database.

    Store.open(root, url)  folders and FORMAT are made when absent; a newer format is refused
    find / read            any blob, whatever its layout, through one seam
    write_plain            a file as it comes; start_parts … finish_parts for one in pieces
    write_xorb             Xet chunks as they come; write_chunked: a file made of them
    pack / unpack          a file taken apart into tensors, each kept once, and back
    check                  does everything still match its name?

Every write is durable when it returns and invisible until then: written aside, fsync, rename, fsync
of the folder. Every byte that leaves was verified a moment before. Writing what is stored already
takes its place, whole: that is how rot is healed. All methods may be called from any thread, and
from several processes at once. A disk that is full raises NoSpace, one that fails Unavailable;
stored bytes that no longer match raise Corrupt, with the name of what is damaged.
docs/design/001-store-on-disk.md says why, docs/format.md shows every byte.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Self

from headwater.errors import NotFound, Refused
from headwater.formats.xet_shard import Term
from headwater.names import Digest, XetHash
from headwater.store.blob import Blob
from headwater.store.check import Checker, Finding, leftovers
from headwater.store.chunked import Progress, Recipes
from headwater.store.files import FOLDER_MODE, Folders, sync_folder, writing
from headwater.store.format import TOPS, generation_of, upgrade
from headwater.store.hot import Hot
from headwater.store.layout import Layout
from headwater.store.local_shelf import LocalShelf
from headwater.store.packing import Packing
from headwater.store.packs import Packs, Usage
from headwater.store.parts import PartWriter, Upload
from headwater.store.plain import PlainWriter
from headwater.store.reading import Reading
from headwater.store.recipe import ChunkedFile
from headwater.store.shelf import Shelf
from headwater.store.solid import Solid
from headwater.store.travel import Travel
from headwater.store.xorb_index import XorbIndex
from headwater.store.xorbs import Xorbs, XorbWriter

HOT_BYTES_MAX = 8 * 2**30


class Store:
    """All bytes of one hub."""

    def __init__(self, layout: Layout, generation: int, hot_bytes_max: int) -> None:
        self.generation = generation  # part of the CAS address: a new one empties client caches
        self.root = Path(layout.root)
        self._layout = layout
        self._hot = Hot(layout.tmp, layout.folders, hot_bytes_max)
        self._solid = Solid(layout, self._hot)
        self._xorbs = Xorbs(layout, self._solid)
        self._recipes = Recipes(layout, self._xorbs)
        self._packs = Packs(layout, self._solid, self._xorbs, self._recipes, self._hot)
        self._reading = Reading(self._solid, self._recipes, self._packs.warm)
        self.travel = Travel(layout, self.find, self.read, lambda: upgrade(layout, generation))

    @classmethod
    def open(cls, root: Path, url: str = "", *, hot_bytes_max: int = HOT_BYTES_MAX) -> Self:
        """The store in `root`, made there if there is none. With `url` ('s3://bucket/prefix',
        'gs://…', 'az://…') what is published lies in that bucket and only what is being written in
        `root`, and decoded copies of packed files, which may take `hot_bytes_max`. Refused when it
        is of a newer format, or when it holds blobs but no readable FORMAT, or when there is no
        such bucket."""
        top = os.path.abspath(root)
        folders = Folders(top)
        layout = Layout(top, folders, _shelf(folders, url))
        with writing(f"store {top}"):
            if not os.path.isdir(top):
                os.makedirs(top, FOLDER_MODE)
                sync_folder(os.path.dirname(top))
            layout.shelf.prepare(TOPS)
            folders.make(layout.tmp)
            return cls(layout, generation_of(layout), hot_bytes_max)

    # Blobs

    def find(self, oid: Digest) -> Blob | None:
        """What is kept as `oid`; None when nothing is. Corrupt when its footer is damaged."""
        return self._reading.find(oid)

    def read(
        self, oid: Digest, start: int = 0, stop: int | None = None
    ) -> Iterator[bytes | memoryview]:
        """Bytes `start` to `stop` (exclusive; clamped to the end) in pieces of at most 1 MiB,
        from whatever layout the blob has, even if that changes meanwhile.

        Everything is verified before it leaves. NotFound, RangeNotSatisfiable and a damaged footer
        are raised here; Corrupt may be raised by any later step, before the bad bytes.
        """
        return self._reading.read(oid, start, stop)

    def write_plain(self, size_bytes: int | None = None) -> PlainWriter:
        """Begin a file; NoSpace at once when `size_bytes` cannot fit."""
        return PlainWriter(self._layout, size_bytes, self._packs.sound)

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
        made = Upload(self._layout, upload_id).finish(oid, etags, self._packs.sound, progress)
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
        `unless_written_since_s` (Unix time) stays, and of one that a virtual xorb is read out of
        the bytes stay, without their Xet name. Harmless when it is not here."""
        here = self._layout
        with writing(f"blob {oid}"):
            held = here.shelf.stat(here.held(oid)) is not None
            chunked = here.shelf.delete([here.chunked(oid)], unless_written_since_s)
            keys = [here.plain(oid), here.packed(oid)]
            solid = here.shelf.delete(keys, unless_written_since_s, here.held(oid))
        self._hot.drop(oid)
        return solid or (chunked and not held)

    # Packing

    def pack(
        self,
        oid: Digest,
        bases: Sequence[Digest] = (),
        *,
        small: bool = False,
        progress: Progress | None = None,
    ) -> Packing | None:
        """Take a blob apart into tensors, each kept once in its smallest form, against tensors of
        `bases` (packed blobs) where that saves a twentieth. None when it stays as it is: packed
        already, or no gain. With `small` in the smallest forms, which take two to five times as
        long to read.

        Read back and compared before the old bytes go; durable when it returns. NotFound when the
        blob is not here, Unavailable while tensors are being deleted or packed anew.
        """
        upgrade(self._layout, self.generation)
        return self._packs.pack(oid, bases, progress, small)

    def repack(
        self,
        oid: Digest,
        bases: Sequence[Digest],
        *,
        small: bool = False,
        progress: Progress | None = None,
    ) -> Packing | None:
        """The same for a packed blob, whose tensors are coded anew where a base is nearer. No one
        else packs meanwhile. `stored_bytes` of the result is negative by what was saved."""
        return self._packs.repack(oid, bases, progress, small)

    def unpack(self, oid: Digest) -> Blob:
        """Give up the packed form: its chunks are the blob again, or it becomes plain, when it has
        none or a virtual xorb is read out of it. NotFound when it is not here."""
        self._packs.unpack(oid)
        blob = self.find(oid)
        if blob is None:
            raise NotFound(f"no blob {oid}")
        return blob

    def release_xorbs(self, oids: Sequence[Digest]) -> int:
        """Make every xorb virtual whose chunks all lie in these packed blobs; how many. Its stored
        form goes an hour later, by `sweep_tmp`: clients hold addresses of it."""
        return self._packs.release_xorbs(oids)

    def usage(self, oid: Digest) -> Usage | None:
        """What a blob takes, and by what means; None when it is not here."""
        return self._packs.usage(oid)

    def sweep_tensors(self, older_than_s: float, *, dry_run: bool = False) -> tuple[int, int]:
        """Delete tensors that no packed file and no other tensor names, last written or used before
        that Unix time; (how many, bytes). Unavailable while something is being packed."""
        return self._packs.sweep_tensors(older_than_s, dry_run)

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
        blob = self._recipes.write(file_hash, terms, oid, trusted, progress)
        if not trusted:
            self._packs.heal(blob.oid)
        return blob

    def file(self, oid: Digest) -> ChunkedFile | None:
        """The recipe of a blob; None when it is not stored as chunks."""
        return self._recipes.find(oid)

    def touch_xorb(self, hash: XetHash) -> None:
        """Begin a xorb's grace time anew. NotFound when it is not stored."""
        self._xorbs.touch(hash)

    def xorbs(self) -> Iterator[tuple[XetHash, float, int]]:
        """(hash, Unix time of last write or touch, bytes on disk) of every xorb."""
        for name, forms in groupby(self._layout.xorbs_kept(), key=itemgetter(0)):
            kept = [kept for _, kept in forms]  # stored and virtual, for an hour
            used_s = max(one.mtime_s for one in kept)
            yield XetHash(name), used_s, sum(one.size_bytes for one in kept)

    def delete_xorb(self, hash: XetHash, *, unless_used_since_s: float | None = None) -> bool:
        """Forget a xorb; True when it was here and is gone. Looks once more, under the lock that
        `touch_xorb` takes, and leaves one written or touched since `unless_used_since_s` (Unix)."""
        return self._xorbs.delete(hash, unless_used_since_s)

    # Care

    def check(self, data: bool = False) -> Iterator[Finding]:
        """Everything that is wrong; with `data` every byte is read. Changes nothing."""
        return Checker(self._layout).run(data)

    def sweep_tmp(self, age_s: float) -> int:
        """Remove what was begun and not written to for `age_s` seconds, and stored forms of xorbs
        that have been virtual for an hour; returns how many."""
        swept = self._packs.fade()
        for path, idle_s in leftovers(self._layout):
            if idle_s > age_s:
                if os.path.isdir(path):
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    with suppress(OSError):
                        os.unlink(path)
                swept += 1
        return swept


def _shelf(folders: Folders, url: str) -> Shelf:
    """Where published containers lie. The library for buckets is loaded only when one is used."""
    local = LocalShelf(folders)
    if not url:
        return local
    if any(os.path.isdir(local.path(top)) for top in TOPS) and not local.empty(TOPS):
        raise Refused(
            f"store_url is set, but blobs lie in {folders.root}: copy its blobs, xorbs and FORMAT "
            "into the bucket and move them away here, or unset it"
        )
    from headwater.store.object_shelf import ObjectShelf

    return ObjectShelf(url)
