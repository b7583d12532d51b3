"""Bit rot: one byte changed at every offset of every kind of container.

`check(data=True)` must find each one, and no read may ever return a wrong byte: it returns the
right ones or raises Corrupt. Both for a store that has the indexes in its cache and for one that
has just been started.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_kit import (
    InBucket,
    MadeFile,
    MadeXorb,
    again,
    digest,
    examples,
    files_of,
    findings,
    flip,
    fresh_store,
    get,
    put,
    put_file,
    step,
)

from headwater.errors import Corrupt
from headwater.store import Store

DATA = bytes(range(256)) + b"end"
XORB = MadeXorb.of([b"a chunk", bytes(300), b"\0\1\2\3" * 40])
OTHER = MadeXorb.of([b"of another xorb"], compressed=False)
FILE = MadeFile(((XORB, 0, 3), (OTHER, 0, 1), (XORB, 1, 2)))


def damaged(path: Path | InBucket, masks: tuple[int, ...] = (0x01, 0xFF)) -> Iterator[int]:
    """Damage each byte of a file in turn, and mend it again; in a bucket, every 11th."""
    sound = path.read_bytes()
    if isinstance(path, InBucket):
        for offset in range(0, len(sound), step(11)):
            flip(path, offset, masks[-1])
            yield offset
            path.write_bytes(sound)
        return
    fd = os.open(path, os.O_WRONLY)
    try:
        for offset in range(len(sound)):
            for mask in masks:
                os.pwrite(fd, bytes([sound[offset] ^ mask]), offset)
                yield offset
            os.pwrite(fd, sound[offset : offset + 1], offset)
    finally:
        os.close(fd)


def right_or_corrupt(read: Callable[[], bytes], right: bytes) -> bool:
    """Whether the read refused; a wrong answer fails the test."""
    try:
        assert read() == right
    except Corrupt:
        return True
    return False


def test_plain(store: Store) -> None:
    put(store, DATA)
    oid = digest(DATA)
    (path,) = files_of(store)
    for offset in damaged(path):
        assert [finding.name for finding in findings(store)] == [oid], offset
        refused = right_or_corrupt(lambda: get(store, oid), DATA)
        assert refused, offset  # one frame: whatever is damaged, it cannot be vouched for
    assert findings(store) == []


def test_recipe(store: Store) -> None:
    put_file(store, FILE)
    (path,) = files_of(store, "**/*.chunked")
    for offset in damaged(path):
        assert [finding.name for finding in findings(store)] == [FILE.oid], offset
        assert right_or_corrupt(lambda: get(again(store), FILE.oid), FILE.data), offset
        right_or_corrupt(lambda: get(store, FILE.oid), FILE.data)
    assert findings(store) == []


def test_xorb(store: Store) -> None:
    put_file(store, FILE)
    path = next(path for path in files_of(store) if path.name == f"{XORB.hash}.xorb")
    size_bytes = len(XORB.body)
    for offset in damaged(path):
        found = findings(store)
        assert ("xorb", XORB.hash) in [(finding.kind, finding.name) for finding in found], offset
        for reader in (store, again(store)):
            refused = right_or_corrupt(lambda: get(reader, FILE.oid), FILE.data)  # noqa: B023
            records = right_or_corrupt(
                lambda: b"".join(reader.read_xorb(XORB.hash, 0, size_bytes)),  # noqa: B023
                XORB.body,
            )
            assert refused == records
            assert refused or reader is store, offset  # the store may know the index by heart
        right_or_corrupt(lambda: get(store, FILE.oid, 10, 20), FILE.data[10:20])
    assert findings(store) == []


@given(size_bytes=st.integers(1, 3 * 2**18), place=st.floats(0, 1), mask=st.integers(1, 255))
@settings(max_examples=examples(60), deadline=None)
def test_longer_plain_files(size_bytes: int, place: float, mask: int) -> None:
    """Several frames, any byte, any change of it, whole and in ranges."""
    data = (DATA * (size_bytes // len(DATA) + 1))[:size_bytes]
    oid = digest(data)
    with fresh_store() as store:
        put(store, data, 2**20)
        (path,) = files_of(store)
        flip(path, min(int(place * path.stat().st_size), path.stat().st_size - 1), mask)
        assert [finding.name for finding in findings(store)] == [oid]
        for start in range(0, size_bytes, 100_000):
            stop = min(start + 50_000, size_bytes)
            right_or_corrupt(lambda: get(store, oid, start, stop), data[start:stop])  # noqa: B023


@pytest.mark.parametrize("suffix", [".plain", ".chunked", ".xorb"])
def test_cut_and_extended_files(store: Store, suffix: str) -> None:
    """A length that is not what the footer says is damage too, at either end."""
    put(store, DATA)
    put_file(store, FILE)
    path = files_of(store, f"**/*{suffix}")[0]
    sound = path.read_bytes()
    for content in (sound[:-1], sound[1:], sound + b"\0", sound[:100], b"", sound + sound):
        path.write_bytes(content)
        assert findings(store, data=False), len(content)
        right_or_corrupt(lambda: get(store, digest(DATA)), DATA)
        right_or_corrupt(lambda: get(store, FILE.oid), FILE.data)
    path.write_bytes(sound)
    assert findings(store) == []


def test_one_file_in_the_place_of_another(store: Store) -> None:
    """A whole and sound container under the name of another is not served as that other."""
    put(store, b"one")
    put(store, b"two")
    one, two = (
        next(path for path in files_of(store) if path.stem == digest(data))
        for data in (b"one", b"two")
    )
    one.write_bytes(two.read_bytes())
    with pytest.raises(Corrupt, match=digest(b"one")):
        get(store, digest(b"one"))
    assert [finding.name for finding in findings(store, data=False)] == [digest(b"one")]
