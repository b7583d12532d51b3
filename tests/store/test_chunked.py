"""Chunked files: put together from runs of chunks, the same bytes as if they had come plain."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_kit import (
    MadeFile,
    MadeXorb,
    again,
    age,
    digest,
    examples,
    files_of,
    findings,
    flip,
    fresh_store,
    get,
    put,
    put_file,
    put_xorb,
)

from headwater.errors import BadRequest, Corrupt, DigestMismatch
from headwater.formats.xet_shard import Term
from headwater.names import Digest, XetHash
from headwater.store import Blob, Store

ABSENT = XetHash("0" * 64)
LEFT = MadeXorb.of([b"a" * 100, b"b" * 2000, b"c" * 7])
RIGHT = MadeXorb.of([b"d" * 50, bytes(range(256)) * 3])
FILE = MadeFile(((LEFT, 0, 2), (RIGHT, 0, 2), (LEFT, 1, 3)))


@st.composite
def made_files(draw: st.DrawFn) -> MadeFile:
    sizes = st.lists(st.integers(1, 200), min_size=1, max_size=6)
    xorbs = [
        MadeXorb.of([bytes([seed, at]) * size for at, size in enumerate(draw(sizes))])
        for seed in range(draw(st.integers(1, 3)))
    ]
    runs = []
    for _ in range(draw(st.integers(0, 6))):
        xorb = draw(st.sampled_from(xorbs))
        start = draw(st.integers(0, len(xorb.chunks) - 1))
        runs.append((xorb, start, draw(st.integers(start + 1, len(xorb.chunks)))))
    return MadeFile(tuple(runs))


@given(file=made_files(), cut=st.data())
@settings(max_examples=examples(60), deadline=None)
def test_what_goes_in_comes_out(file: MadeFile, cut: st.DataObject) -> None:
    with fresh_store() as store:
        blob = Blob(file.oid, len(file.data), "chunked", file.hash)
        assert put_file(store, file) == blob
        assert store.find(file.oid) == blob
        assert get(store, file.oid) == file.data
        for _ in range(5):
            start = cut.draw(st.integers(0, len(file.data)))
            stop = cut.draw(st.integers(0, len(file.data) + 5))
            assert get(store, file.oid, start, stop) == file.data[start:stop]
        recipe = store.file(file.oid)
        assert recipe is not None
        assert list(recipe.terms) == file.terms
        assert (recipe.file_hash, recipe.size_bytes) == (file.hash, len(file.data))
        assert recipe.xorbs() == {term.xorb for term in file.terms}
        assert findings(store) == []


def test_ranges_are_slices(store: Store) -> None:
    """Every pair of positions at and around the borders of chunks."""
    put_file(store, FILE)
    edges, at = {0}, 0
    for chunk in FILE.chunks:
        at += len(chunk)
        edges |= {at - 1, at, at + 1}
    for start in (edge for edge in edges if edge <= len(FILE.data)):
        for stop in edges:
            assert get(store, FILE.oid, start, stop) == FILE.data[start:stop]


def test_long_files_leave_in_pieces(store: Store) -> None:
    """Zeros decode to 200 times what is stored; a piece is still at most 1 MiB."""
    xorb = MadeXorb.of([bytes(131_072)] * 50)
    file = MadeFile(((xorb, 0, 50), (xorb, 3, 40)))
    put_file(store, file)
    assert max(len(piece) for piece in store.read(file.oid)) <= 2**20
    assert get(store, file.oid) == file.data


def test_the_name_may_be_found_out(store: Store) -> None:
    put_xorb(store, LEFT)
    done: list[int] = []
    file = MadeFile(((LEFT, 0, 1), (LEFT, 0, 3)))
    blob = store.write_chunked(file.hash, file.terms, oid=None, progress=done.append)
    assert blob.oid == digest(file.data)
    assert done == [100, 100 + 2107]


def test_claims_that_do_not_hold(store: Store) -> None:
    put_xorb(store, LEFT)
    file = MadeFile(((LEFT, 0, 2),))
    wrong = Digest("0" * 64)
    with pytest.raises(DigestMismatch, match="sha256"):
        store.write_chunked(file.hash, file.terms, oid=wrong)
    with pytest.raises(DigestMismatch, match="Xet"):
        store.write_chunked(ABSENT, file.terms, oid=file.oid)
    # Trust needs a recipe that was checked before: there is none.
    with pytest.raises(DigestMismatch):
        store.write_chunked(file.hash, file.terms, oid=wrong, trusted=True)
    for term in (
        Term(ABSENT, 5, 0, 1),
        Term(LEFT.hash, 5, 0, 1),
        Term(LEFT.hash, 100, 0, 4),
        Term(LEFT.hash, 0, 1, 1),
    ):
        with pytest.raises(BadRequest):
            store.write_chunked(file.hash, [term], oid=file.oid)
    assert [path.suffix for path in files_of(store)] == [".xorb"]


def test_trusted_reads_no_chunk(store: Store) -> None:
    """A recipe known already is taken again without its bytes: here they are rotten."""
    blob = put_file(store, FILE)
    for path in files_of(store, "**/*.xorb"):
        flip(path, 10)
    assert store.write_chunked(FILE.hash, FILE.terms, oid=FILE.oid, trusted=True) == blob
    with pytest.raises(Corrupt):
        store.write_chunked(FILE.hash, FILE.terms, oid=FILE.oid)


def test_one_layout_at_a_time(store: Store) -> None:
    """Chunked takes the place of plain; plain that of chunked only if that is damaged."""
    put(store, FILE.data)
    put_file(store, FILE)
    assert [path.suffix for path in files_of(store, "blobs/**/*")] == [".chunked"]
    age(files_of(store, "**/*.chunked")[0])
    assert put(store, FILE.data).layout == "chunked"
    assert not store.delete_blob(FILE.oid, unless_written_since_s=2000)  # kept as if written now
    assert [path.suffix for path in files_of(store, "blobs/**/*")] == [".chunked"]
    flip(files_of(store, "**/*.xorb")[0], 10)
    assert put(store, FILE.data).layout == "plain"
    assert [path.suffix for path in files_of(store, "blobs/**/*")] == [".plain"]
    assert get(store, FILE.oid) == FILE.data


def test_other_chunks_do_not_replace_a_sound_recipe(store: Store) -> None:
    put_file(store, FILE)
    other = MadeFile(((MadeXorb.of([FILE.data[:1000], FILE.data[1000:]]), 0, 2),))
    assert other.oid == FILE.oid
    assert put_file(store, other).xet_hash == FILE.hash
    flip(files_of(store, "**/*.chunked")[0], 3)
    assert put_file(store, other).xet_hash == other.hash
    assert get(store, FILE.oid) == FILE.data


def test_a_missing_xorb(store: Store) -> None:
    """Never a short or wrong read; named by `check` without reading any data."""
    put_file(store, FILE)
    store.delete_xorb(RIGHT.hash)
    assert get(store, FILE.oid, 0, 2100) == FILE.data[:2100]
    with pytest.raises(Corrupt, match=RIGHT.hash):
        get(store, FILE.oid)
    (finding,) = findings(store, data=False)
    assert (finding.kind, finding.name) == ("blob", FILE.oid)
    assert RIGHT.hash in finding.problem
    put_xorb(store, RIGHT)
    assert findings(store) == []


def test_the_cache_notices_other_processes(store: Store) -> None:
    other = again(store)
    put_file(store, FILE)
    assert other.file(FILE.oid) is not None
    store.delete_blob(FILE.oid)
    assert other.file(FILE.oid) is None
