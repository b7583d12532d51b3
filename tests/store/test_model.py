"""The store against a dict: any mix of calls, by two stores on one folder, same answers."""

from contextlib import suppress

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule
from store_kit import (
    MadeFile,
    MadeXorb,
    again,
    digest,
    examples,
    files_of,
    flip,
    fresh_store,
    get,
    put,
    put_xorb,
)

from headwater.errors import BadRequest, Corrupt, DigestMismatch, NotFound
from headwater.names import Digest, XetHash

contents = st.sampled_from([b"", b"a", b"b" * 300, bytes(range(256)) * 2, b"shared" * 50])
SHARED = MadeXorb.of([b"shared" * 20, b"shared" * 30])  # together a content of the list above
XORBS = (SHARED, MadeXorb.of([b"a"]), MadeXorb.of([b"x" * 99, b"a", b"y"], compressed=False))


class StoreModel(RuleBasedStateMachine):
    """`blobs` and `xorbs` are what the store must hold, `rotten` what was damaged behind it."""

    uploads = Bundle("uploads")

    def __init__(self) -> None:
        super().__init__()
        self.made = fresh_store()
        store = self.made.__enter__()
        self.stores = [store, again(store)]
        self.blobs: dict[Digest, bytes] = {}
        self.needs: dict[Digest, set[XetHash]] = {}  # of the blobs that are chunked
        self.xorbs: dict[XetHash, MadeXorb] = {}
        self.begun = 0

    def teardown(self) -> None:
        self.made.__exit__(None, None, None)

    @rule(data=contents, who=st.integers(0, 1))
    def put_plain(self, data: bytes, who: int) -> None:
        oid = digest(data)
        whole = oid in self.needs and self.needs[oid] <= self.xorbs.keys()
        assert put(self.stores[who], data).layout == ("chunked" if whole else "plain")
        self.blobs[oid] = data
        if not whole:
            self.needs.pop(oid, None)

    @rule(data=contents, who=st.integers(0, 1))
    def put_wrong(self, data: bytes, who: int) -> None:
        with self.stores[who].write_plain() as writer:
            writer.write(data + b"!")
            try:
                writer.finish(digest(data))
            except DigestMismatch:
                return
        raise AssertionError("accepted bytes that are not what they were called")

    @rule(xorb=st.sampled_from(XORBS), who=st.integers(0, 1))
    def put_xorb(self, xorb: MadeXorb, who: int) -> None:
        put_xorb(self.stores[who], xorb)
        self.xorbs[xorb.hash] = xorb

    @rule(xorb=st.sampled_from(XORBS), who=st.integers(0, 1))
    def delete_xorb(self, xorb: MadeXorb, who: int) -> None:
        assert self.stores[who].delete_xorb(xorb.hash) == (xorb.hash in self.xorbs)
        self.xorbs.pop(xorb.hash, None)

    @rule(
        picks=st.lists(st.sampled_from(XORBS), max_size=3),
        who=st.integers(0, 1),
        trusted=st.booleans(),
    )
    def put_chunked(self, picks: list[MadeXorb], who: int, trusted: bool) -> None:
        file = MadeFile(tuple((xorb, 0, len(xorb.chunks)) for xorb in picks))
        needs = {xorb.hash for xorb in picks}
        try:
            self.stores[who].write_chunked(file.hash, file.terms, oid=file.oid, trusted=trusted)
        except BadRequest:
            assert not needs <= self.xorbs.keys()
            return
        assert needs <= self.xorbs.keys()
        self.blobs[file.oid], self.needs[file.oid] = file.data, needs

    @rule(data=contents, who=st.integers(0, 1))
    def delete(self, data: bytes, who: int) -> None:
        self.stores[who].delete_blob(digest(data))
        self.blobs.pop(digest(data), None)
        self.needs.pop(digest(data), None)

    @rule(target=uploads, data=contents, part_bytes=st.integers(40, 400), who=st.integers(0, 1))
    def start_parts(self, data: bytes, part_bytes: int, who: int) -> tuple[str, bytes, int]:
        self.begun += 1
        self.stores[who].start_parts(f"up-{self.begun}", len(data), part_bytes)
        return f"up-{self.begun}", data, part_bytes

    @rule(upload=uploads, who=st.integers(0, 1))
    def finish_parts(self, upload: tuple[str, bytes, int], who: int) -> None:
        """Sends every part, then the end: the first time it makes a blob, then it is the same."""
        name, data, part_bytes = upload
        oid, etags = digest(data), []
        try:
            for number, at in enumerate(range(0, max(len(data), 1), part_bytes), 1):
                with self.stores[1 - who].write_part(name, number) as writer:
                    writer.write(data[at : at + part_bytes])
                    etags.append((number, writer.finish()))
        except NotFound:
            try:
                blob = self.stores[who].finish_parts(name, oid, etags)
            except NotFound:
                assert oid not in self.blobs
            else:
                assert oid in self.blobs
                assert blob.size_bytes == len(data)
            return
        whole = oid in self.needs and self.needs[oid] <= self.xorbs.keys()
        self.stores[who].finish_parts(name, oid, etags)
        self.blobs[oid] = data
        if not whole:
            self.needs.pop(oid, None)

    @rule(data=contents, place=st.floats(0, 0.999), who=st.integers(0, 1))
    def rot_and_heal(self, data: bytes, place: float, who: int) -> None:
        """A plain blob is damaged, refused or right, found by `check`, and healed by a new put."""
        oid = digest(data)
        if oid not in self.blobs or oid in self.needs:
            return
        store = self.stores[who]
        (path,) = files_of(store, f"blobs/*/*/{oid}.plain")
        flip(path, int(place * path.stat().st_size))
        with suppress(Corrupt):
            assert get(store, oid) == data
        assert oid in {finding.name for finding in store.check(data=True)}
        put(self.stores[1 - who], data)

    @invariant()
    def same_answers(self) -> None:
        for store in self.stores:
            assert {blob.oid for blob in store.blobs()} == self.blobs.keys()
            assert {name for name, _, _ in store.xorbs()} == self.xorbs.keys()
            broken = set()
            for oid, data in self.blobs.items():
                if self.needs.get(oid, set()) <= self.xorbs.keys():
                    assert get(store, oid, 1 if data else 0, 400) == data[1:400]
                else:
                    broken.add(oid)
            assert {finding.name for finding in store.check(data=True)} == broken


StoreModel.TestCase.settings = settings(
    max_examples=examples(60), stateful_step_count=30, deadline=None
)
test_the_store_against_a_dict = StoreModel.TestCase
