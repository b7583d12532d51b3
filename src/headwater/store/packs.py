"""Everything about packed files that is more than reading them.

pack, repack, unpack     one blob (see `packing`)
release_xorbs, fade      xorbs whose chunks lie in packed files become virtual
sound                    a blob whose every byte still comes out right
usage                    what a blob takes, and by what means
sweep_tensors            tensors that nothing names
warm                     decode a file once for many readers, in a thread of its own
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from headwater.errors import Corrupt, NotFound, Unavailable
from headwater.names import Digest, TensorId, XetHash
from headwater.store.blob import Blob
from headwater.store.chunked import Progress, Recipes
from headwater.store.files import Temp, need_space, writing
from headwater.store.hashing import FrameSums, Sha256
from headwater.store.hot import Hot
from headwater.store.layout import Layout
from headwater.store.locks import lock_of
from headwater.store.packing import LOCK_WAIT_S, PACK_LOCK, Packer, Packing
from headwater.store.plain import open_plain, plain_tail, read_plain
from headwater.store.solid import Pieces, Solid
from headwater.store.virtual import FADE_S, make_virtual, open_virtual
from headwater.store.xorbs import Xorbs

SWEEP_WAIT_S = 5.0  # gc comes again; a long packing job does not wait for it


@dataclass(frozen=True, slots=True)
class Usage:
    """What one blob takes in the store."""

    raw_bytes: int
    own_bytes: int  # on disk, but for tensors: the blob's own file
    means: dict[str, int]  # raw bytes by the means that keep them: plain, chunked, delta, planes, …
    tensors: dict[TensorId, int]  # each tensor it names, and the bytes that takes on disk
    parents: dict[TensorId, int]  # the same for what those are coded against


class Packs:
    """Packing, for one store."""

    def __init__(
        self, layout: Layout, solid: Solid, xorbs: Xorbs, recipes: Recipes, hot: Hot
    ) -> None:
        self._layout = layout
        self._solid = solid
        self._xorbs = xorbs
        self._recipes = recipes
        self._hot = hot
        self._packer = Packer(layout, solid.tensors, solid.packed, self._pieces)

    def pack(
        self, oid: Digest, bases: Sequence[Digest], progress: Progress | None, small: bool
    ) -> Packing | None:
        """See `Store.pack`."""
        if self._solid.packed.footer(oid) is not None:
            # One that was cut off before the old bytes went.
            plain = self._layout.shelf.stat(self._layout.plain(oid))
            if plain is not None and self._solid.packed.sound(oid):
                self._packer.drop_old(oid)
            return None
        made = self._packer.pack(oid, self._size(oid), bases, progress, small=small)
        if made is not None:
            self.release_xorbs([oid])
        return made

    def repack(
        self, oid: Digest, bases: Sequence[Digest], progress: Progress | None, small: bool
    ) -> Packing | None:
        """See `Store.repack`."""
        if self._solid.packed.footer(oid) is None:
            return None
        size = self._size(oid)
        return self._packer.pack(oid, size, bases, progress, again=True, small=small)

    def unpack(self, oid: Digest) -> None:
        """See `Store.unpack`. The packed form goes last. Alone: no xorb becomes virtual
        meanwhile, and no one who packs the same takes the plain file away again."""
        with lock_of(self._layout.root, PACK_LOCK, shared=False, wait_s=LOCK_WAIT_S):
            self._unpack(oid)

    def _unpack(self, oid: Digest) -> None:
        file = self._solid.packed.find(oid)
        if file is None:
            return
        held = self._layout.shelf.stat(self._layout.held(oid)) is not None
        kept = self._layout.chunked(oid)
        if held or self._recipes.sound(oid) is None:
            pieces = self._solid.packed.read(file, 0, file.size_bytes)
            self._write_plain(oid, file.size_bytes, pieces)
            kept = self._layout.plain(oid)
        for name in file.tensors():  # someone may be reading by way of them still
            with suppress(NotFound):
                self._solid.tensors.touch(name)
        with suppress(OSError, Unavailable):
            self._layout.shelf.drop(self._layout.packed(oid), kept)
        self._hot.drop(oid)

    def _write_plain(self, oid: Digest, size: int, pieces: Pieces) -> None:
        need_space(self._layout.tmp, size)
        sums, sha256 = FrameSums(), Sha256()
        with Temp(self._layout.tmp, ".plain", f"blob {oid}") as temp:
            for piece in pieces:
                temp.write(piece)
                sums.update(memoryview(piece))
                sha256.update(piece)
            if sha256.digest() != oid:
                raise Corrupt(f"blob {oid} is damaged: run `headwater check`")
            temp.write(plain_tail(sums.finish(), oid, size))
            temp.publish(self._layout.shelf, self._layout.plain(oid))

    def sound(self, oid: Digest) -> Blob | None:
        """The blob, if it is kept without being plain and every byte of it comes out right: on
        disk, not in a cache. Its grace time begins anew, as if written now."""
        with writing(f"blob {oid}"):
            here = self._layout.shelf.touch(self._layout.packed(oid))
            if here:
                self._layout.shelf.touch(self._layout.chunked(oid))  # its Xet name
        if here:
            fresh = self._solid.fresh().packed
            footer = fresh.footer(oid) if fresh.sound(oid) else None
            if footer is not None:
                return Blob(oid, footer.raw_bytes, "packed", self._xet_name(oid))
        blob = self._recipes.sound(oid)
        if here and blob is not None:
            self.drop_packed(oid)
        return blob

    def _xet_name(self, oid: Digest) -> XetHash | None:
        """The Xet hash of a packed blob. A damaged recipe goes: an upload by Xet makes it anew."""
        try:
            recipe = self._recipes.fresh().find(oid)
        except Corrupt:
            with suppress(OSError, Unavailable):
                self._layout.shelf.drop(self._layout.chunked(oid), self._layout.packed(oid))
            return None
        return None if recipe is None else recipe.file_hash

    def heal(self, oid: Digest) -> None:
        """The blob's chunks have just proven right: a solid form that is not gives way."""
        if self._solid.fresh().packed.problem(oid):
            self.drop_packed(oid)
        elif self._layout.shelf.stat(self._layout.plain(oid)) is not None and self._rotten(oid):
            recipe = self._recipes.find(oid)
            assert recipe is not None, "its chunks have just proven right"
            pieces = self._recipes.read(recipe, 0, recipe.size_bytes)
            self._write_plain(oid, recipe.size_bytes, pieces)

    def _rotten(self, oid: Digest) -> bool:
        """Whether a byte of the plain form, kept for a virtual xorb, is not what it was."""
        try:
            if box := open_plain(self._layout, oid):
                with box:
                    for _ in read_plain(box, 0, box.footer.raw_bytes):
                        pass
        except Corrupt:
            return True
        return False

    def drop_packed(self, oid: Digest) -> None:
        """The damaged packed form makes way for the chunks; where a virtual xorb is read out of
        the blob, for a plain one made of them."""
        here = self._layout
        kept = here.chunked(oid)
        if here.shelf.stat(here.held(oid)) is not None:
            recipe = self._recipes.find(oid)
            assert recipe is not None, "its chunks have just proven right"
            pieces = self._recipes.read(recipe, 0, recipe.size_bytes)
            self._write_plain(oid, recipe.size_bytes, pieces)
            kept = here.plain(oid)
        with suppress(OSError, Unavailable):  # `check` names what is left over
            here.shelf.drop(here.packed(oid), kept)

    def release_xorbs(self, oids: Sequence[Digest]) -> int:
        """See `Store.release_xorbs`."""
        files = {}
        for oid in oids:
            recipe = self._recipes.find(oid)
            if recipe is not None and self._solid.packed.footer(oid) is not None:
                files[oid] = recipe
        names = {name for recipe in files.values() for name in recipe.xorbs()}
        made = 0
        with lock_of(self._layout.root, PACK_LOCK, shared=True, wait_s=LOCK_WAIT_S):
            terms = {oid: recipe.terms for oid, recipe in files.items()}
            for name in sorted(names):
                virtual = open_virtual(self._layout, name, self._solid)
                if virtual is not None:
                    virtual.close()
                    continue
                stored = self._xorbs.stored(name)
                if stored is None:
                    continue
                stored.close()
                made += make_virtual(self._layout, stored.index, terms, self._solid.fresh())
        return made

    def fade(self) -> int:
        """Stored forms of xorbs that have been virtual for an hour go; how many."""
        before_s, gone = time.time() - FADE_S, 0
        kinds: dict[str, int] = {}
        for _, name, _ in self._layout.xorb_files():
            if name:
                kinds[name] = kinds.get(name, 0) + 1
        for name in sorted(name for name, count in kinds.items() if count > 1):
            gone += self._xorbs.fade(XetHash(name), before_s)
        return gone

    def usage(self, oid: Digest) -> Usage | None:
        """See `Store.usage`."""
        file = self._solid.packed.find(oid)
        if file is None:
            solid = self._solid.open(oid)
            if solid is not None:
                solid.close()
                kept = self._layout.shelf.stat(self._layout.plain(oid))
                size = kept.size_bytes if kept is not None else solid.size_bytes
                return Usage(solid.size_bytes, size, {"plain": solid.size_bytes}, {}, {})
            recipe = self._recipes.find(oid)
            if recipe is None:
                return None
            return Usage(recipe.size_bytes, 0, {"chunked": recipe.size_bytes}, {}, {})
        means: dict[str, int] = {}
        tensors: dict[TensorId, int] = {}
        parents: dict[TensorId, int] = {}
        with file.box:
            for span in file.spans():
                if span.tensor is None:
                    means["inline"] = means.get("inline", 0) + span.stop - span.start
                    continue
                tensor = self._solid.tensors.open(span.tensor)
                if tensor is None:
                    continue
                for word, raw_bytes in tensor.means().items():
                    means[word] = means.get(word, 0) + raw_bytes
                tensors[span.tensor] = tensor.stored_bytes
                with suppress(Corrupt):  # a parent is missing: for `check` to say
                    for parent in tensor.ancestors():
                        parents[parent.name] = parent.stored_bytes
                tensor.close()
        return Usage(file.size_bytes, file.stored_bytes, means, tensors, parents)

    def sweep_tensors(self, older_than_s: float, dry_run: bool) -> tuple[int, int]:
        """See `Store.sweep_tensors`. Parents go in a later pass than their last child."""
        gone = gone_bytes = 0
        with lock_of(self._layout.root, PACK_LOCK, shared=False, wait_s=SWEEP_WAIT_S):
            self._release_held()
            while True:
                named = self._named_tensors()
                found = 0
                for name, kept in list(self._layout.tensors_kept()):
                    if TensorId(name) in named or kept.mtime_s >= older_than_s:
                        continue
                    key = self._layout.tensor(TensorId(name))
                    with writing(f"tensor {name}"):
                        done = dry_run or self._layout.shelf.delete([key], older_than_s)
                    found += done
                    gone_bytes += kept.size_bytes if done else 0
                gone += found
                if dry_run or not found:
                    return gone, gone_bytes

    def warm(self, oid: Digest, size_bytes: int) -> None:
        """Note a read of a cold file, and decode it for the next ones if there may be some."""
        if self._hot.wanted(oid, size_bytes):
            file = self._solid.packed.find(oid)
            if file is not None:
                pieces = self._solid.packed.read(file, 0, size_bytes)
                args = (oid, size_bytes, pieces)
                threading.Thread(target=self._hot.keep, args=args, name="hot", daemon=True).start()

    def _named_tensors(self) -> set[TensorId]:
        """What any packed file or any tensor names. Corrupt when one that matters cannot be read,
        for who deletes must know it all; a damaged tensor that no packed file leads to does not."""
        packed: set[TensorId] = set()
        for _, name, kind in self._layout.blob_files():
            if kind == "packed":
                file = self._solid.packed.find(Digest(name))
                if file is not None:
                    packed |= file.tensors()
                    file.box.close()
        needed = self._solid.tensors.ancestors(list(packed))
        named = set(needed)
        for _, name, _ in self._layout.tensor_files():
            if name and TensorId(name) not in needed:
                with suppress(Corrupt):
                    head = self._solid.tensors.head(TensorId(name))
                    parents = head.parents if head is not None else ()
                    named |= {TensorId(text) for text in parents}
        return named

    def _release_held(self) -> None:
        """Blobs that no virtual xorb is read out of any more are held no longer."""
        sources: set[str] = set()
        held: list[Digest] = []
        for _, name, kind in self._layout.xorb_files():
            if kind == "virtual":
                virtual = open_virtual(self._layout, XetHash(name), self._solid)
                if virtual is not None:
                    sources |= set(virtual.sources)
                    virtual.close()
        for _, name, kind in self._layout.blob_files():
            if kind == "held" and name not in sources:
                held.append(Digest(name))
        for oid in held:
            with writing(f"blob {oid}"):  # beside a plain file its recipe is needless from here on
                self._layout.shelf.drop(self._layout.chunked(oid), self._layout.plain(oid))
                self._layout.shelf.delete([self._layout.held(oid)], None)

    def _pieces(self, oid: Digest, start: int, stop: int) -> Pieces:
        solid = self._solid.read(oid, start, stop)
        if solid is not None:
            return solid
        recipe = self._recipes.find(oid)
        if recipe is None:
            raise NotFound(f"no blob {oid}")
        return self._recipes.read(recipe, start, stop)

    def _size(self, oid: Digest) -> int:
        solid = self._solid.open(oid)
        if solid is not None:
            solid.close()
            return solid.size_bytes
        recipe = self._recipes.footer(oid)
        if recipe is None:
            raise NotFound(f"no blob {oid}")
        return recipe.raw_bytes
