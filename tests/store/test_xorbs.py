"""Xorbs: kept as they came, hashed anew, served whole records at a time."""

import os
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_kit import MadeXorb, again, examples, files_of, findings, flip, fresh_store, put_xorb

from headwater.errors import BadRequest, Corrupt, DigestMismatch, Malformed, NotFound, Stale
from headwater.formats.xet_hash import chunk_hash
from headwater.names import XetHash
from headwater.store import Store

ABSENT = XetHash("0" * 64)
TWO = MadeXorb.of([b"first chunk", bytes(4000)])
chunks = st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=12)


@given(chunks=chunks, piece_bytes=st.integers(1, 4000), compressed=st.booleans())
@settings(max_examples=examples(60), deadline=None)
def test_what_goes_in_comes_out(chunks: list[bytes], piece_bytes: int, compressed: bool) -> None:
    xorb = MadeXorb.of(chunks, compressed=compressed)
    with fresh_store() as store:
        made = put_xorb(store, xorb, piece_bytes)
        index = store.xorb(xorb.hash)
        assert index is not None
        assert index.form == made.form
        assert index.hashes == [chunk_hash(chunk) for chunk in chunks]
        assert index.raw_lengths.tolist() == xorb.lengths
        assert [0, *index.ends.tolist()] == xorb.borders
        assert (index.stored_bytes, index.raw_bytes) == (len(xorb.body), sum(xorb.lengths))
        assert b"".join(store.read_xorb(xorb.hash, 0, len(xorb.body))) == xorb.body
        assert findings(store) == []


@given(chunks=chunks)
@settings(max_examples=examples(25), deadline=None)
def test_ranges_are_runs_of_records(chunks: list[bytes]) -> None:
    """Every pair of borders gives its slice, every other pair is refused."""
    xorb = MadeXorb.of(chunks)
    with fresh_store() as store:
        index = put_xorb(store, xorb)
        for start, first in enumerate(xorb.borders):
            for stop, last in enumerate(xorb.borders):
                if start < stop:
                    assert index.byte_range(start, stop) == (first, last)
                    assert index.raw_range_bytes(start, stop) == sum(xorb.lengths[start:stop])
                    assert (
                        b"".join(store.read_xorb(xorb.hash, first, last)) == xorb.body[first:last]
                    )
                else:
                    with pytest.raises(BadRequest):
                        store.read_xorb(xorb.hash, first, last)
                    with pytest.raises(BadRequest):
                        index.byte_range(start, stop)
        for first, last in ((1, len(xorb.body)), (0, len(xorb.body) - 1), (0, len(xorb.body) + 1)):
            with pytest.raises(BadRequest):
                store.read_xorb(xorb.hash, first, last)


def test_long_xorbs_leave_in_pieces(store: Store) -> None:
    """Pieces stay below 1 MiB, stored and decoded, though zeros decode to 200 times as much."""
    random = np.random.default_rng(1)
    xorb = MadeXorb.of([random.bytes(131_072) for _ in range(30)] + [bytes(131_072)] * 60)
    index = put_xorb(store, xorb, 2**20)
    pieces = list(store.read_xorb(xorb.hash, 0, len(xorb.body)))
    assert b"".join(pieces) == xorb.body
    assert max(map(len, pieces)) <= 2**20
    runs = list(index.windows(0, len(index)))
    assert [stop for _, stop in runs[:-1]] == [start for start, _ in runs[1:]]
    assert max(index.raw_range_bytes(*run) for run in runs) <= 2**20


def test_a_wrong_name_keeps_nothing(store: Store) -> None:
    with store.write_xorb(ABSENT) as writer:
        writer.write(TWO.body)
        with pytest.raises(DigestMismatch):
            writer.finish()
    assert files_of(store) == []


@pytest.mark.parametrize(
    "body", [b"", TWO.body[:-1], TWO.body + b"\0", b"\1" + TWO.body[1:], TWO.body + TWO.body[:9]]
)
def test_malformed_bodies_keep_nothing(store: Store, body: bytes) -> None:
    broken = MadeXorb(TWO.chunks, (body,))  # under the name of the sound one
    with pytest.raises(Malformed):
        put_xorb(store, broken)
    assert files_of(store) == []


def test_a_footer_of_old_clients_is_dropped(store: Store) -> None:
    with store.write_xorb(TWO.hash) as writer:
        writer.write(TWO.body + b"XETBLOB" + bytes(500))
        assert writer.finish().stored_bytes == len(TWO.body)
    assert b"".join(store.read_xorb(TWO.hash, 0, len(TWO.body))) == TWO.body


def test_another_form_does_not_replace_a_sound_one(store: Store) -> None:
    """Byte ranges of the first form are in the hands of clients, who check only lengths."""
    as_is, packed = MadeXorb.of(TWO.chunks, compressed=False), TWO
    assert as_is.hash == packed.hash
    first = put_xorb(store, as_is)
    assert put_xorb(store, packed).form == first.form
    assert b"".join(store.read_xorb(as_is.hash, 0, len(as_is.body))) == as_is.body


def test_another_form_heals_a_damaged_one(store: Store) -> None:
    as_is, packed = MadeXorb.of(TWO.chunks, compressed=False), TWO
    first = put_xorb(store, as_is)
    flip(files_of(store)[0], 20)
    second = put_xorb(store, packed)
    assert second.form != first.form
    assert findings(store) == []
    assert b"".join(store.read_xorb(packed.hash, 0, len(packed.body))) == packed.body
    with pytest.raises(Stale):
        store.read_xorb(packed.hash, 0, len(packed.body), first.form)


def test_the_cache_notices_other_processes(store: Store) -> None:
    """A second store on the same folder deletes and writes; the first one's cache follows."""
    other = again(store)
    assert put_xorb(store, TWO).form == (other.xorb(TWO.hash) or ABSENT).form
    other.delete_xorb(TWO.hash)
    assert store.xorb(TWO.hash) is None
    as_is = put_xorb(other, MadeXorb.of(TWO.chunks, compressed=False))
    found = store.xorb(TWO.hash)
    assert found is not None
    assert found.form == as_is.form


@pytest.mark.local_disk
def test_grace_time(store: Store) -> None:
    put_xorb(store, TWO)
    (path,) = files_of(store)
    os.utime(path, (1000, 1000))
    assert list(store.xorbs()) == [(TWO.hash, 1000.0, path.stat().st_size)]
    store.touch_xorb(TWO.hash)
    ((_, used_s, _),) = store.xorbs()
    assert abs(used_s - time.time()) < 60
    assert not store.delete_xorb(TWO.hash, unless_used_since_s=time.time() - 600)
    assert store.delete_xorb(TWO.hash, unless_used_since_s=time.time() + 600)
    assert not store.delete_xorb(TWO.hash)
    assert store.xorb(TWO.hash) is None
    for ask in (store.touch_xorb, lambda name: store.read_xorb(name, 0, 1)):
        with pytest.raises(NotFound):
            ask(TWO.hash)


def test_rot_never_leaves(store: Store) -> None:
    put_xorb(store, TWO)
    flip(files_of(store)[0], len(TWO.records[0]) + 9)
    assert b"".join(store.read_xorb(TWO.hash, 0, TWO.borders[1])) == TWO.records[0]
    with pytest.raises(Corrupt, match=TWO.hash):
        list(store.read_xorb(TWO.hash, 0, len(TWO.body)))
