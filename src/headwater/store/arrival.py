"""Containers on their way in from another store: nothing of them is believed.

    with store.travel.arrival(keep=True) as arrival:
        arrival.packed(oid, size_bytes, pieces)    recipes first: they say which tensors belong here
        arrival.plain(oid, size_bytes, pieces)
        arrival.tensor(name, pieces)               after its parents
        arrival.finish()                           every packed blob decoded and compared

A container becomes part of the store when all of it was decoded, from the bytes that came, and has
the hash it is named by: also where the store has those bytes already, so that naming a hash never
gives them (safety rule T1). What is kept already and sound stays as it is. Malformed for anything
wrong; what was admitted until then is named by nothing, and gc sweeps it.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Self

from blake3 import blake3

from headwater.errors import Corrupt, Malformed, NotFound, Unavailable
from headwater.names import Digest, TensorId
from headwater.store.blob import Blob
from headwater.store.containers import FOOTER_BYTES, PACKED, PLAIN, TENSOR, Container
from headwater.store.files import FILE_MODE, FOLDER_MODE, Folders, need_space, write_all, writing
from headwater.store.hashing import FRAME_BYTES, Sha256
from headwater.store.layout import Layout
from headwater.store.local_shelf import LocalShelf, open_file
from headwater.store.locks import lock_of
from headwater.store.packed import Packed, PackedFile
from headwater.store.packing import LOCK_WAIT_S, PACK_LOCK
from headwater.store.plain import read_plain
from headwater.store.tensors import DEPTH_MAX, OpenTensor, Tensors

FRAME_BYTES_MAX = 2**20  # of a tensor: what decoding one frame takes in memory; ours have 512 KiB
# Of a packed file: its rows are read at once. A tensor of 4 KiB after a gap of a byte makes 2 KiB.
SPAN_BYTES_MEAN_MIN = 1024
SPANS_MAX = 2**22  # 235 MB of rows; a large family of experts has some ten thousand tensors
TENSOR_FRAME_BYTES_MIN = 2**16
WORK_MAX = 256  # frames decoded for one: ours take at most some ten

Pieces = Iterable[bytes | memoryview]


class Arrival:
    """For one bundle, in a `with`. Not for several threads."""

    def __init__(
        self,
        layout: Layout,
        find: Callable[[Digest], Blob | None],
        read: Callable[[Digest], Iterator[bytes | memoryview]],
        upgrade: Callable[[], None],
        *,
        keep: bool,
    ) -> None:
        self._store = layout
        self._keep = keep
        self._find = find
        self._read = read
        self._upgrade = upgrade
        self._folder = f"{layout.tmp}/arrival-{secrets.token_hex(8)}"
        self._target = layout
        self._stack = ExitStack()
        self._prepared = False
        self._packed: dict[Digest, int] = {}  # what came, still to be proven: size in bytes
        self._wanted: dict[TensorId, int] = {}  # tensors that they name: raw bytes
        self._arrived: set[TensorId] = set()
        self._costs: dict[TensorId, tuple[int, int]] = {}  # (depth, frames decoded for one)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            root = self._store.root
            stack.enter_context(lock_of(root, PACK_LOCK, shared=True, wait_s=LOCK_WAIT_S))
            with writing("arrival"):
                os.mkdir(self._folder, FOLDER_MODE)
            stack.callback(shutil.rmtree, self._folder, ignore_errors=True)
            self._stack = stack.pop_all()
        if not self._keep:
            folders = Folders(self._folder)
            self._target = Layout(self._folder, folders, LocalShelf(folders))
        self._tensors = Tensors(self._target)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def packed(self, oid: Digest, size_bytes: int, pieces: Pieces) -> None:
        """A packed blob; proven by `finish`, when its tensors are here."""
        self._stage(f"{oid}.packed", pieces)
        with self._file(oid, size_bytes) as file:
            for span in file.spans():
                if span.tensor is not None:
                    raw_bytes = span.stop - span.start
                    if self._wanted.setdefault(span.tensor, raw_bytes) != raw_bytes:
                        raise Malformed(f"blob {oid}: tensor {span.tensor} has two lengths")
        self._packed[oid] = size_bytes

    def plain(self, oid: Digest, size_bytes: int, pieces: Pieces) -> None:
        """A plain blob."""
        path = self._stage(f"{oid}.plain", pieces)
        with (
            _hostile(f"blob {oid}"),
            Container.of(open_file(path), PLAIN, bytes.fromhex(oid), f"blob {oid}") as box,
        ):
            footer = box.footer
            frames = -(-size_bytes // FRAME_BYTES)
            if not footer.raw_bytes == footer.body_bytes == size_bytes or footer.count != frames:
                raise Malformed(f"blob {oid} is not {size_bytes} bytes long")
            box.index()
            self._compare(oid, read_plain(box, 0, size_bytes))
        self._admit_blob(oid, path, self._target.plain(oid))

    def tensor(self, name: TensorId, pieces: Pieces) -> None:
        """A tensor that a packed blob of this arrival names, after its parents."""
        raw_bytes = self._wanted.get(name)
        if raw_bytes is None:
            raise Malformed(f"tensor {name} belongs to no file that came")
        path = self._stage(f"{name}.tensor", pieces)
        with _hostile(f"tensor {name}"):
            box = Container.of(open_file(path), TENSOR, name.raw, f"tensor {name}")
            with box:
                footer = box.footer
                if (
                    footer.raw_bytes != raw_bytes
                    or footer.count > 2 + raw_bytes // TENSOR_FRAME_BYTES_MIN
                ):
                    raise Malformed(f"tensor {name} is not {raw_bytes} bytes in frames")
                parents = self._prove_tensor(OpenTensor(self._tensors, name, box, 0))
        self._arrived.add(name)
        self._admit_tensor(name, path, parents)

    def _prove_tensor(self, tensor: OpenTensor) -> set[TensorId]:
        """Decode all of it, if that is within bounds; its parents."""
        name = tensor.name
        parents = {TensorId(text) for text in tensor.head.parents}
        if tensor.head.frame_bytes > FRAME_BYTES_MAX:
            raise Malformed(f"tensor {name} has frames over {FRAME_BYTES_MAX} bytes")
        if not parents <= self._arrived:
            raise Malformed(f"tensor {name} came before one that it is coded against")
        self._afford(name, parents)
        hasher = blake3()
        try:
            for raw in tensor.read(0, tensor.raw_bytes):
                hasher.update(raw)
        finally:
            tensor.close()
        if hasher.hexdigest() != name:
            raise Malformed(f"tensor {name} holds other bytes than its name says")
        return parents

    def finish(self, progress: Callable[[int], None] = lambda _: None) -> None:
        """Prove and admit the packed blobs. Malformed when something did not come. `progress` is
        called with the bytes decoded since the last call."""
        missing = self._wanted.keys() - self._arrived
        if missing:
            raise Malformed(f"tensor {min(missing)} did not come")
        files = Packed(self._target, self._tensors)
        for oid, size_bytes in self._packed.items():
            with _hostile(f"blob {oid}"), self._file(oid, size_bytes) as file:
                self._compare(oid, files.read(file, 0, size_bytes))
            self._prepare()
            self._admit_blob(oid, f"{self._folder}/{oid}.packed", self._target.packed(oid))
            progress(size_bytes)
        self._packed.clear()

    def _stage(self, name: str, pieces: Pieces) -> str:
        """A container written aside, not yet looked at."""
        path, size_bytes = f"{self._folder}/{name}", 0
        with writing(name):
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
        try:
            for piece in pieces:
                with writing(name):
                    write_all(fd, piece)
                size_bytes += len(piece)
        finally:
            os.close(fd)
        if size_bytes < FOOTER_BYTES:
            raise Malformed(f"{name} has only {size_bytes} bytes")
        return path

    @contextmanager
    def _file(self, oid: Digest, size_bytes: int) -> Iterator[PackedFile]:
        """A packed blob that was staged, its rows within bounds."""
        what = f"blob {oid}"
        with _hostile(what):
            source = open_file(f"{self._folder}/{oid}.packed")
            with Container.of(source, PACKED, bytes.fromhex(oid), what) as box:
                if box.footer.count > min(4 + size_bytes // SPAN_BYTES_MEAN_MIN, SPANS_MAX):
                    raise Malformed(f"{what} has too many spans for {size_bytes} bytes")
                file = PackedFile.of(oid, box)
                lengths = file.table["raw_bytes"].tolist()
                if sum(lengths) != size_bytes or 0 in lengths:
                    raise Malformed(f"{what} is not {size_bytes} bytes long")
                if sum(file.table["bytes"].tolist()) != box.footer.body_bytes:
                    raise Malformed(f"{what} contradicts itself")
                yield file

    def _afford(self, name: TensorId, parents: set[TensorId]) -> None:
        """Malformed when reading a frame of it would read too many others. Parents as they lie
        here count, in the form that was here before, perhaps."""
        depth, frames = _above([self._cost(parent) for parent in parents])
        if depth > DEPTH_MAX or frames > WORK_MAX:
            raise Malformed(
                f"tensor {name} is {depth} deltas deep and takes {frames} frames to read one; at "
                f"most {DEPTH_MAX} and {WORK_MAX} are taken in"
            )

    def _cost(self, name: TensorId) -> tuple[int, int]:
        """(depth, frames decoded to read one) of a tensor of the target."""
        known = self._costs.get(name)
        if known is None:
            head = self._tensors.head(name)
            known = _above([self._cost(TensorId(text)) for text in (head.parents if head else ())])
            self._costs[name] = known
        return known

    def _compare(self, oid: Digest, pieces: Pieces) -> None:
        sha256 = Sha256()
        for piece in pieces:
            sha256.update(piece)
        if sha256.digest() != oid:
            raise Malformed(f"blob {oid} holds other bytes than its name says")

    def _admit_tensor(self, name: TensorId, path: str, parents: set[TensorId]) -> None:
        """Keep a proven tensor. One that is here stays, unless it is damaged."""
        self._prepare()
        key, what = self._target.tensor(name), f"tensor {name}"
        with writing(what):
            here = self._target.shelf.touch(key)
        problem = Tensors(self._target).problem(name) if here else None
        if problem is None:
            self._publish(path, key, what)
        elif name in self._tensors.ancestors(list(parents)):
            raise Corrupt(f"{what} is damaged here: {problem}; run `headwater check`")
        else:
            self._publish(path, key, what, replace=True)

    def _admit_blob(self, oid: Digest, path: str, key: str) -> None:
        """Keep a proven container. A blob that is here stays in whatever layout, unless it is
        damaged."""
        here = self._store
        keys = (here.plain(oid), here.packed(oid), here.chunked(oid))
        if not (self._keep and self._is_sound(oid)):
            self._publish(path, key, f"blob {oid}", replace=True)
            if self._keep:
                for other in {*keys[:2]} - {key}:
                    with suppress(OSError, Unavailable):  # `check` names what is left over
                        here.shelf.drop(other, key)
            return
        with writing(f"blob {oid}"):
            for other in keys:
                here.shelf.touch(other)
            os.unlink(path)

    def _is_sound(self, oid: Digest) -> bool:
        """Whether the blob is here, every byte of it."""
        try:
            if self._find(oid) is None:
                return False
            self._compare(oid, self._read(oid))
        except (Corrupt, Malformed, NotFound):
            return False
        return True

    def _prepare(self) -> None:
        """Before the first packed thing is published."""
        if self._keep and not self._prepared:
            self._upgrade()
            self._prepared = True

    def _publish(self, path: str, key: str, what: str, *, replace: bool = False) -> None:
        shelf = self._target.shelf
        with writing(what):
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                if replace:
                    shelf.publish(fd, path, key)
                else:
                    shelf.publish_new(fd, path, key)
            finally:
                os.close(fd)

    def need_space(self, size_bytes: int) -> None:
        """NoSpace now rather than later."""
        need_space(self._store.tmp, size_bytes)


def _above(parents: list[tuple[int, int]]) -> tuple[int, int]:
    """What a tensor costs over these parents."""
    depth = 1 + max((depth for depth, _ in parents), default=-1)
    return depth, 1 + sum(frames for _, frames in parents)


@contextmanager
def _hostile(what: str) -> Iterator[None]:
    """Damage that is met inside came from outside: nothing stored is damaged."""
    try:
        yield
    except Corrupt as error:
        told = error.message.removesuffix("; run `headwater check`")
        raise Malformed(f"{what} cannot be taken in: {told}") from error
