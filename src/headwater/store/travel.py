"""Containers on their way to another store: what a set of blobs needs, each proven before it goes.

    travel.still()                nothing that is named goes or is coded anew meanwhile
    travel.pieces(oids, folder)   every container that these blobs are read out of, parents first
    travel.arrival(keep)          the way in (see `arrival`)

A packed blob travels packed, its tensors as they lie: deltas stay deltas. A tensor that is coded
against one which no travelling blob consists of is coded by itself first, in `folder`: nothing
travels that is not a part of the blobs named. Any other blob travels plain, chunks or not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from headwater.errors import Corrupt, NotFound, Unavailable
from headwater.names import Digest, TensorId
from headwater.store.arrival import Arrival
from headwater.store.blob import Blob
from headwater.store.containers import PIECE_BYTES
from headwater.store.files import Folders
from headwater.store.hashing import FrameSums
from headwater.store.layout import Layout
from headwater.store.local_shelf import LocalShelf
from headwater.store.locks import lock_of
from headwater.store.packed import Packed
from headwater.store.packing import LOCK_WAIT_S, PACK_LOCK
from headwater.store.plain import plain_tail
from headwater.store.tensor_writer import Source, write_tensor
from headwater.store.tensors import Tensors

Buffers = Iterator[bytes | memoryview]
Progress = Callable[[int], None]  # called with bytes done since the last call


@dataclass(frozen=True, slots=True)
class Piece:
    """One container as it travels. `read` gives exactly `size_bytes` bytes with this `sha256`, or
    other ones when the store changed meanwhile: whoever sends them hashes them again."""

    path: str  # blobs/<sha256>.plain, blobs/<sha256>.packed or tensors/<blake3>.tensor
    size_bytes: int
    sha256: str
    read: Callable[[], Buffers] = field(repr=False)


class Travel:
    """For one store. `find` and `read` are the store's own; `upgrade` prepares it for tensors."""

    def __init__(
        self,
        layout: Layout,
        find: Callable[[Digest], Blob | None],
        read: Callable[[Digest], Buffers],
        upgrade: Callable[[], None],
    ) -> None:
        self._layout = layout
        self._find = find
        self._read = read
        self._upgrade = upgrade

    @property
    def folder(self) -> str:
        """Where unfinished things lie: swept after a day."""
        return self._layout.tmp

    def still(self) -> AbstractContextManager[None]:
        """While this is held no tensor is deleted or coded anew. Unavailable when that is being
        done just now."""
        return lock_of(self._layout.root, PACK_LOCK, shared=True, wait_s=LOCK_WAIT_S)

    def arrival(self, *, keep: bool) -> Arrival:
        """The way in, for a `with`. Without `keep` everything is verified and nothing stays."""
        return Arrival(self._layout, self._find, self._read, self._upgrade, keep=keep)

    def pieces(
        self, oids: Iterable[Digest], folder: str, progress: Progress = lambda _: None
    ) -> list[Piece]:
        """Containers of packed blobs, then plain ones, then tensors, parents before children. All
        bytes were read and are what their names say. NotFound when a blob is not here, Corrupt
        when it is damaged. Call it under `still`."""
        packed: list[Piece] = []
        plain: list[Piece] = []
        named: set[TensorId] = set()
        fresh = Packed(self._layout, Tensors(self._layout))  # nothing cached is believed
        for oid in oids:
            blob = self._find(oid)
            if blob is None:
                raise NotFound(f"no blob {oid}")
            if blob.layout == "packed":
                named |= self._proven(fresh, oid)
                packed.append(
                    _stored(self._layout, self._layout.packed(oid), f"blobs/{oid}.packed")
                )
            else:
                plain.append(self._plain(blob))
            progress(blob.size_bytes)
        return [*packed, *plain, *self._tensors(named, folder)]

    def _proven(self, fresh: Packed, oid: Digest) -> set[TensorId]:
        """The tensors of a packed blob, all of it decoded."""
        file, problem = fresh.find(oid), fresh.problem(oid)
        if file is None or problem is None:
            raise Unavailable(f"blob {oid} changed its layout just now; try again")
        with file.box:
            if problem:
                raise Corrupt(f"blob {oid} is damaged: {problem}; run `headwater check`")
            return file.tensors()

    def _plain(self, blob: Blob) -> Piece:
        """A blob as its plain container, whatever its layout."""
        sums, sha256 = FrameSums(), hashlib.sha256()
        for piece in self._read(blob.oid):
            sums.update(memoryview(piece))
            sha256.update(piece)
        if sha256.hexdigest() != blob.oid:
            raise Corrupt(f"blob {blob.oid} is damaged; run `headwater check`")
        tail = plain_tail(sums.finish(), blob.oid, blob.size_bytes)
        sha256.update(tail)

        def read() -> Buffers:
            yield from self._read(blob.oid)
            yield tail

        size = blob.size_bytes + len(tail)
        return Piece(f"blobs/{blob.oid}.plain", size, sha256.hexdigest(), read)

    def _tensors(self, named: set[TensorId], folder: str) -> Iterator[Piece]:
        """All of `named`. Those that lean on others than these are coded by themselves."""
        folders = Folders(folder)
        aside = Layout(folder, folders, LocalShelf(folders))
        folders.make(aside.tmp)
        tensors = Tensors(self._layout)
        done: set[TensorId] = set()
        for first in sorted(named):
            todo = [first]
            while todo:
                name = todo[-1]
                head = tensors.head(name)
                if head is None:
                    raise Corrupt(f"tensor {name} is missing; run `headwater check`")
                parents = {TensorId(text) for text in head.parents}
                waiting = parents - done if parents <= named and name not in done else set()
                if waiting:
                    todo += sorted(waiting)
                    continue
                todo.pop()
                if name not in done:
                    done.add(name)
                    where = self._layout
                    if not parents <= named:
                        where = aside
                        self._alone(tensors, name, aside)
                    yield _stored(where, where.tensor(name), f"tensors/{name}.tensor")

    def _alone(self, tensors: Tensors, name: TensorId, aside: Layout) -> None:
        """The tensor coded against nothing, beside the store, and proven."""
        tensor = tensors.open(name)
        if tensor is None:
            raise Corrupt(f"tensor {name} is missing; run `headwater check`")
        head = tensor.head
        source = Source(head.dtype, head.shape, tensor.raw_bytes, tensor.read)
        write_tensor(aside, Tensors(aside), source, name, None, head.sketch)
        tensor.close()
        problem = Tensors(aside).problem(name)
        if problem is not None:
            raise Corrupt(f"tensor {name} is damaged: {problem}; run `headwater check`")


def _stored(layout: Layout, key: str, path: str) -> Piece:
    """A container that travels as it lies."""

    def read() -> Buffers:
        source = layout.shelf.open(key)
        if source is None:
            raise Unavailable(f"{key} was replaced while it was read; try again")
        try:
            at, size = 0, source.size_bytes
            while at < size:
                data = source.pread(min(PIECE_BYTES, size - at), at)
                if not data:
                    raise Corrupt(f"{key} ends too early; run `headwater check`")
                yield data
                at += len(data)
        finally:
            source.close()

    sha256, size_bytes = hashlib.sha256(), 0
    for data in read():
        sha256.update(data)
        size_bytes += len(data)
    return Piece(path, size_bytes, sha256.hexdigest(), read)
