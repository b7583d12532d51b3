"""Packing against a dict: any mix of packing, uploads, gc, damage and healing, by two stores on one
folder. Whatever the layout of the moment, every live blob and xorb reads right."""

import tempfile
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from pack_kit import model, safetensors, tuned
from store_kit import (
    MadeFile,
    MadeXorb,
    again,
    decoded,
    digest,
    examples,
    files_of,
    findings,
    flip,
    get,
    new_url,
    put,
    put_xorb,
)

from headwater.errors import Corrupt, NotFound, Stale
from headwater.names import Digest, XetHash
from headwater.store import Store


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


ROOT = model(1, width=8, layers=1, vocabulary=12)
CHILD = tuned(ROOT, 2)
FILES = (
    safetensors(ROOT),
    safetensors(CHILD),
    safetensors(tuned(CHILD, 3), {"step": "3"}),
    b"All happy families are alike. " * 40,
    b"few bytes",
)
CHUNKS = [cut(data, 211) for data in FILES]
ONE = MadeXorb.of(CHUNKS[0])
TWO = MadeXorb.of([*CHUNKS[1], *CHUNKS[2][:3]])  # of one file all, of another a part
THREE = MadeXorb.of([b"of no file", *CHUNKS[2][3:], *CHUNKS[3]], compressed=False)
OTHER = MadeXorb.of(cut(FILES[0], 333))  # the first file in other chunks
TAIL = MadeXorb.of(CHUNKS[1][4:])
XORBS = {xorb.hash: xorb for xorb in (ONE, TWO, THREE, OTHER, TAIL)}
LAST = len(TWO.chunks)
RECIPES = (
    MadeFile(((ONE, 0, len(ONE.chunks)),)),
    MadeFile(((OTHER, 0, len(OTHER.chunks)),)),
    MadeFile(((TWO, 0, len(CHUNKS[1])),)),
    MadeFile(((TWO, 0, 4), (TAIL, 0, len(TAIL.chunks)))),
    MadeFile(((TWO, LAST - 3, LAST), (THREE, 1, 1 + len(CHUNKS[2]) - 3))),
    MadeFile(((THREE, 1 + len(CHUNKS[2]) - 3, len(THREE.chunks)),)),
)
OIDS = tuple(map(digest, FILES))
DATA = dict(zip(OIDS, FILES, strict=True))

files = st.integers(0, len(FILES) - 1)
either = st.integers(0, 1)
recipes = st.integers(0, len(RECIPES) - 1)
names = st.sampled_from(list(XORBS))


class PackModel(RuleBasedStateMachine):
    """`live` is what names lead to; all else is garbage that may be there or not."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr("headwater.store.packing.TENSOR_BYTES_MIN", 64)
        self.folder = tempfile.TemporaryDirectory()
        first = Store.open(Path(self.folder.name), new_url())
        self.stores = [first, again(first)]
        self.live: set[Digest] = set()
        self.forms: list[tuple[XetHash, int, int]] = []  # xorb, form, size: in hands of clients

    # Uploads

    @rule(which=files, who=either)
    def put_plain(self, which: int, who: int) -> None:
        put(self.stores[who], FILES[which])
        self.live.add(OIDS[which])

    @rule(number=recipes, who=either)
    def put_chunked(self, number: int, who: int) -> None:
        file = RECIPES[number]
        for name in {xorb.hash for xorb, _, _ in file.runs}:
            put_xorb(self.stores[who], XORBS[name])
        self.stores[who].write_chunked(file.hash, file.terms, oid=file.oid)
        self.live.add(file.oid)

    @rule(number=recipes, who=either)
    def put_chunked_of_what_is_here(self, number: int, who: int) -> None:
        """As a client whose chunks are all known: only the recipe comes."""
        file = RECIPES[number]
        if {xorb.hash for xorb, _, _ in file.runs} <= self.needed():
            self.stores[who].write_chunked(file.hash, file.terms, oid=file.oid)
            self.live.add(file.oid)

    @rule(name=names, who=either)
    def upload_xorb(self, name: XetHash, who: int) -> None:
        xorb = XORBS[name]
        index = put_xorb(self.stores[who], xorb)
        self.forms.append((xorb.hash, index.form, index.stored_bytes))

    # Packing

    @rule(which=files, bases=st.lists(files, max_size=3), who=either)
    def pack(self, which: int, bases: list[int], who: int) -> None:
        with suppress(NotFound):
            self.stores[who].pack(OIDS[which], [OIDS[n] for n in bases])

    @rule(which=files, bases=st.lists(files, max_size=3), who=either)
    def repack(self, which: int, bases: list[int], who: int) -> None:
        self.stores[who].repack(OIDS[which], [OIDS[n] for n in bases])

    @rule(which=files, who=either)
    def unpack(self, which: int, who: int) -> None:
        try:
            blob = self.stores[who].unpack(OIDS[which])
        except NotFound:
            assert OIDS[which] not in self.live
            return
        assert blob.layout != "packed"

    @rule(which=st.lists(files, max_size=5), who=either)
    def release(self, which: list[int], who: int) -> None:
        self.stores[who].release_xorbs([OIDS[n] for n in which])

    @rule(who=either)
    def fade(self, who: int) -> None:
        """An hour later."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("headwater.store.packs.FADE_S", -1.0)
            self.stores[who].sweep_tmp(1e9)

    # Garbage

    @rule(which=files, who=either)
    def delete(self, which: int, who: int) -> None:
        self.live.discard(OIDS[which])
        self.stores[who].delete_blob(OIDS[which])

    @rule(which=files)
    def forget(self, which: int) -> None:
        """Its name goes; its bytes with the next gc."""
        self.live.discard(OIDS[which])

    @rule(name=names, who=either)
    def delete_xorb(self, name: XetHash, who: int) -> None:
        """As gc does: only what no recipe names that is still stored."""
        recipes = [self.stores[0].file(oid) for oid in OIDS]
        if not any(name in recipe.xorbs() for recipe in recipes if recipe is not None):
            self.stores[who].delete_xorb(name)

    @rule(old=st.booleans(), who=either)
    def sweep(self, old: bool, who: int) -> None:
        self.stores[who].sweep_tensors(time.time() + (-3600 if old else 10))

    @rule()
    def check(self) -> None:
        """Every byte of every container."""
        self.nothing_is_wrong()

    @rule(who=either)
    def gc(self, who: int) -> None:
        """Names, then blobs, then xorbs, then tensors: until nothing more goes, nothing is left."""
        store, needed = self.stores[who], self.needed()
        for _ in range(4):
            for oid in {blob.oid for blob in store.blobs()} - self.live:
                store.delete_blob(oid)
            for name in {name for name, _, _ in store.xorbs()} - needed:
                store.delete_xorb(name)
            store.sweep_tensors(time.time() + 10)
        if not self.live:
            assert files_of(store) == []
        if not needed:
            assert {blob.oid for blob in store.blobs()} == self.live

    # Reads

    @rule(which=files, start=st.floats(0, 1), share=st.floats(0, 1), who=either)
    def read(self, which: int, start: float, share: float, who: int) -> None:
        oid, data = OIDS[which], FILES[which]
        first = int(start * len(data))
        last = first + int(share * (len(data) - first))
        if oid in self.live:
            assert get(self.stores[who], oid, first, last) == data[first:last]
            blob = self.stores[who].find(oid)
            assert blob is not None
            assert blob.size_bytes == len(data)
            usage = self.stores[who].usage(oid)
            assert usage is not None
            assert sum(usage.means.values()) == usage.raw_bytes == len(data)

    @rule(name=names, who=either)
    def ask_for_xorb(self, name: XetHash, who: int) -> None:
        index = self.stores[who].xorb(name)
        if index is None:
            assert name not in self.needed()
            return
        self.forms.append((name, index.form, index.stored_bytes))

    @rule(number=st.integers(0, 1000), who=either)
    def read_xorb(self, number: int, who: int) -> None:
        """What a client was told of its ranges holds, or is refused as stale."""
        if not self.forms:
            return
        name, form, size_bytes = self.forms[number % len(self.forms)]
        try:
            records = b"".join(self.stores[who].read_xorb(name, 0, size_bytes, form))
        except Stale:
            return
        except NotFound:
            assert name not in self.needed()
            return
        assert decoded(records) == b"".join(XORBS[name].chunks)

    # Damage

    @rule(
        where=st.floats(0, 0.999),
        place=st.floats(0, 0.999),
        mask=st.integers(1, 255),
        chunked=st.booleans(),
        who=either,
    )
    def rot_and_heal(self, where: float, place: float, mask: int, chunked: bool, who: int) -> None:
        """One byte of one file: found, refused wherever it matters, healed by new uploads."""
        paths = [path for path in files_of(self.stores[0]) if path.stat().st_size]
        if not paths:
            return
        path = paths[int(where * len(paths))]
        flip(path, int(place * path.stat().st_size), mask)
        store, other = again(self.stores[0]), self.stores[who]
        assert path.stem in {finding.name for finding in findings(store)}, path
        broken = [oid for oid in sorted(self.live) if not reads(store, oid)]
        recipes = {file.oid: file for file in RECIPES if file.hash in self.hashes()}
        for name in sorted(self.needed_of(recipes)):
            put_xorb(other, XORBS[name])
        for oid in broken:
            if chunked and oid in recipes:
                file = recipes[oid]
                other.write_chunked(file.hash, file.terms, oid=oid)
            else:
                put(other, DATA[oid])
            assert reads(again(other), oid), (path, oid)
        for file in findings(again(other)):
            # What is damaged still: it was garbage, or a copy that no read needs.
            self.clear_away(file.name, other)
        self.gc(who)

    def clear_away(self, name: str, store: Store) -> None:
        """An upload of what is damaged, though it is still read out of another form."""
        if name in DATA:
            put(store, DATA[Digest(name)])
        elif name in XORBS:
            put_xorb(store, XORBS[XetHash(name)])

    # What must hold

    def hashes(self) -> set[XetHash]:
        found = set()
        for oid in self.live:
            with suppress(Corrupt):
                recipe = self.stores[0].file(oid)
                if recipe is not None:
                    found.add(recipe.file_hash)
        return found

    def needed_of(self, recipes: dict[Digest, MadeFile]) -> set[XetHash]:
        return {xorb.hash for file in recipes.values() for xorb, _, _ in file.runs}

    def needed(self) -> set[XetHash]:
        """The xorbs that live recipes name."""
        found: set[XetHash] = set()
        for oid in self.live:
            recipe = self.stores[0].file(oid)
            found |= recipe.xorbs() if recipe is not None else set()
        return found

    @invariant()
    def all_reads_right(self) -> None:
        for store in (*self.stores, again(self.stores[0])):
            for oid in self.live:
                assert get(store, oid, 1, 900) == DATA[oid][1:900]

    def teardown(self) -> None:
        try:
            self.nothing_is_wrong()
        finally:
            self.patch.undo()
            self.folder.cleanup()

    def nothing_is_wrong(self) -> None:
        fresh = again(self.stores[0])
        for name in self.needed():
            index = fresh.xorb(name)
            assert index is not None
            records = b"".join(fresh.read_xorb(name, 0, index.stored_bytes, index.form))
            assert decoded(records) == b"".join(XORBS[name].chunks)
        assert findings(fresh) == []


def reads(store: Store, oid: Digest) -> bool:
    try:
        assert get(store, oid) == DATA[oid]
    except Corrupt:
        return False
    return True


PackModel.TestCase.settings = settings(
    max_examples=examples(60), stateful_step_count=30, deadline=None
)
test_packing_against_a_dict = PackModel.TestCase
