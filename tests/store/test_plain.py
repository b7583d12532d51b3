"""Plain blobs: the same bytes back, any range of them, or nothing kept and the reason said."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_kit import digest, examples, files_of, findings, flip, fresh_store, get, put

from headwater.errors import Corrupt, DigestMismatch, NotFound, RangeNotSatisfiable, Unavailable
from headwater.names import Digest
from headwater.store import Blob, Store
from headwater.store.hashing import FRAME_BYTES

ABSENT = Digest("0" * 64)


def long_bytes(size_bytes: int, seed: int = 0) -> bytes:
    """Bytes of which no two frames are alike."""
    return hashlib.shake_128(seed.to_bytes(4, "little")).digest(size_bytes)


@given(data=st.binary(max_size=5000), piece_bytes=st.integers(1, 6000), cut=st.data())
@settings(max_examples=examples(60), deadline=None)
def test_what_goes_in_comes_out(data: bytes, piece_bytes: int, cut: st.DataObject) -> None:
    """The one promise of the store: the same bytes back, whatever they were."""
    with fresh_store() as store:
        assert put(store, data, piece_bytes) == Blob(digest(data), len(data), "plain", None)
        assert store.find(digest(data)) == Blob(digest(data), len(data), "plain", None)
        assert get(store, digest(data)) == data
        start = cut.draw(st.integers(0, len(data)))
        stop = cut.draw(st.one_of(st.none(), st.integers(0, len(data) + 10)))
        assert get(store, digest(data), start, stop) == data[start:stop]
        assert findings(store) == []


FRAMES = (0, 1, FRAME_BYTES - 1, FRAME_BYTES, FRAME_BYTES + 1, 4 * FRAME_BYTES, 9 * FRAME_BYTES + 7)


@pytest.mark.parametrize("size_bytes", FRAMES)
@pytest.mark.parametrize("piece_bytes", [100_003, FRAME_BYTES, 2**20])
def test_sizes_around_the_frame(store: Store, size_bytes: int, piece_bytes: int) -> None:
    data = long_bytes(size_bytes)
    put(store, data, piece_bytes)
    assert get(store, digest(data)) == data
    assert findings(store) == []
    assert all(len(piece) <= 2**20 for piece in store.read(digest(data)))


def test_ranges_are_slices(store: Store) -> None:
    """Every pair of positions at and around the borders of frames and pieces."""
    data = long_bytes(5 * FRAME_BYTES + 12_345)
    put(store, data, 2**20)
    edges = [0, FRAME_BYTES, 2 * FRAME_BYTES, 4 * FRAME_BYTES, 5 * FRAME_BYTES, len(data)]
    places = sorted({max(0, edge + by) for edge in edges for by in (-1, 0, 1)})
    for start in (place for place in places if place <= len(data)):
        for stop in places:
            assert get(store, digest(data), start, stop) == data[start:stop]


def test_a_reused_buffer_is_hashed_before_write_returns(store: Store) -> None:
    """Long pieces are hashed on another thread; the caller may overwrite its buffer at once."""
    data = long_bytes(4 * 2**20)
    buffer = bytearray(2**20)
    with store.write_plain() as writer:
        for at in range(0, len(data), len(buffer)):
            buffer[:] = data[at : at + len(buffer)]
            writer.write(buffer)
            buffer[:] = bytes(len(buffer))
        writer.finish(digest(data))
    assert get(store, digest(data)) == data


def test_a_range_that_begins_past_the_end(store: Store) -> None:
    put(store, b"abc")
    assert get(store, digest(b"abc"), 3) == b""
    for start in (4, -1):
        with pytest.raises(RangeNotSatisfiable) as caught:
            store.read(digest(b"abc"), start)
        assert caught.value.size_bytes == 3


def test_absent(store: Store) -> None:
    assert store.find(ABSENT) is None
    assert store.file(ABSENT) is None
    store.delete_blob(ABSENT)
    with pytest.raises(NotFound):
        store.read(ABSENT)


@pytest.mark.parametrize("promised", [{"oid": ABSENT}, {"size_bytes": 2}, {"size_bytes": 4}])
def test_a_broken_promise_keeps_nothing(store: Store, promised: dict[str, object]) -> None:
    writer = store.write_plain()
    writer.write(b"abc")
    with pytest.raises(DigestMismatch):
        writer.finish(**promised)
    assert files_of(store) == []
    with pytest.raises(Unavailable):
        writer.finish()


def test_more_than_promised_is_refused_as_it_comes(store: Store) -> None:
    writer = store.write_plain(3)
    writer.write(b"abc")
    with pytest.raises(DigestMismatch):
        writer.write(b"d")
    assert files_of(store) == []
    with store.write_plain(4) as short, pytest.raises(DigestMismatch):
        short.finish()
    assert files_of(store) == []


def test_unfinished_means_gone(store: Store) -> None:
    with store.write_plain() as writer:
        writer.write(b"abc")
        assert len(files_of(store)) == 1
    forgotten = store.write_plain()
    forgotten.write(b"abc")
    del forgotten
    assert files_of(store) == []
    assert store.find(digest(b"abc")) is None


def test_writing_again_heals(store: Store) -> None:
    data = long_bytes(FRAME_BYTES + 1)
    put(store, data)
    (path,) = files_of(store)
    flip(path, FRAME_BYTES)
    with pytest.raises(Corrupt):
        get(store, digest(data))
    assert [finding.name for finding in findings(store)] == [digest(data)]
    put(store, data)
    assert findings(store) == []
    assert get(store, digest(data)) == data


def test_only_the_bad_frame_is_withheld(store: Store) -> None:
    """Rot in one place leaves every range that does not touch it readable."""
    data = long_bytes(6 * FRAME_BYTES)
    put(store, data)
    flip(files_of(store)[0], 5 * FRAME_BYTES + 3)
    pieces = store.read(digest(data))
    assert bytes(next(pieces)) == data[: 4 * FRAME_BYTES]
    with pytest.raises(Corrupt, match=digest(data)):
        next(pieces)
    assert get(store, digest(data), 0, 5 * FRAME_BYTES) == data[: 5 * FRAME_BYTES]


@pytest.mark.local_disk
def test_a_blob_deleted_while_it_is_read(store: Store) -> None:
    data = long_bytes(2**20 + 5)
    put(store, data)
    pieces = store.read(digest(data))
    store.delete_blob(digest(data))
    assert b"".join(pieces) == data
    assert store.find(digest(data)) is None


@pytest.mark.parametrize("kept_bytes", [0, 1, 127, 128, 200])
def test_a_cut_file_is_corrupt(store: Store, kept_bytes: int) -> None:
    put(store, bytes(300))
    (path,) = files_of(store)
    path.write_bytes(path.read_bytes()[:kept_bytes])
    with pytest.raises(Corrupt):
        store.find(digest(bytes(300)))
    assert len(findings(store)) == 1
