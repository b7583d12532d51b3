"""Opening, listing, checking, sweeping: what an operator and the hub's own jobs rely on."""

import os
import time
from pathlib import Path

import pytest
from store_kit import (
    MadeFile,
    MadeXorb,
    again,
    at,
    digest,
    files_of,
    findings,
    flip,
    get,
    put,
    put_file,
    put_xorb,
)

from headwater.errors import Corrupt, Refused, Unavailable
from headwater.store import Store
from headwater.store.cache import Cache

XORB = MadeXorb.of([b"one", b"two"])
FILE = MadeFile(((XORB, 0, 2),))


@pytest.mark.local_disk
def test_opened_again_it_is_the_same(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "deep" / "store")
    assert store.generation == 1
    put(store, b"kept")
    again = Store.open(tmp_path / "deep" / "store")
    assert get(again, digest(b"kept")) == b"kept"
    assert (tmp_path / "deep/store/FORMAT").read_text() == '{"format": 1, "generation": 1}\n'


def test_the_generation_is_the_operators(store: Store) -> None:
    assert again(store).generation == 1
    at(store, "FORMAT").write_text('{"format": 1, "generation": 7}')
    assert again(store).generation == 7


@pytest.mark.parametrize("text", ['{"format": 3, "generation": 1}', "", "{}", "[]", "null"])
def test_a_format_it_does_not_know_is_left_alone(store: Store, text: str) -> None:
    at(store, "FORMAT").write_text(text)
    with pytest.raises(Refused):
        again(store)
    assert at(store, "FORMAT").read_text() == text


def test_a_lost_format_is_not_made_up(store: Store) -> None:
    put(store, b"kept")
    at(store, "FORMAT").unlink()
    with pytest.raises(Refused):
        again(store)


def test_listing(store: Store) -> None:
    blobs = [put(store, b"one"), put(store, b""), put_file(store, FILE)]
    assert sorted(store.blobs(), key=lambda blob: blob.oid) == sorted(
        blobs, key=lambda blob: blob.oid
    )
    assert [name for name, _, _ in store.xorbs()] == [XORB.hash]
    flip(files_of(store, "**/*.chunked")[0], 0)
    list(store.blobs())  # the footer is all that a listing needs
    flip(files_of(store, "**/*.chunked")[0], 50)
    with pytest.raises(Corrupt):
        list(store.blobs())


def test_both_layouts_after_a_crash(store: Store) -> None:
    """Between rename and unlink the power went: readable, listed once, and named by `check`."""
    blob = put_file(store, FILE)
    (recipe,) = files_of(store, "**/*.chunked")
    aside = recipe.read_bytes()
    recipe.unlink()
    put(store, FILE.data)
    recipe.write_bytes(aside)
    assert get(store, FILE.oid) == FILE.data
    assert len(list(store.blobs())) == 1
    (finding,) = findings(store)
    key = f"blobs/{FILE.oid[:2]}/{FILE.oid[2:4]}/{recipe.name}"
    assert (finding.kind, finding.name) == ("stray", key)
    assert put_file(store, FILE) == blob
    assert findings(store) == []


def test_two_layouts_that_drop_each_other(store: Store) -> None:
    """One upload ended as plain and one as chunks, at once: each removes the other's, and the
    blob stays."""
    put_file(store, FILE)
    (recipe,) = files_of(store, "**/*.chunked")
    aside = recipe.read_bytes()
    recipe.unlink()
    put(store, FILE.data)
    recipe.write_bytes(aside)
    for kept in ("plain", "chunked"):
        store._layout.drop_other(FILE.oid, kept)
    assert len(list(store.blobs())) == 1
    assert get(store, FILE.oid) == FILE.data


@pytest.mark.parametrize(
    "name", ["blobs/x", "xorbs/ab/cd/x.xorb", "blobs/ab/cd/" + "ab" * 32 + ".plain"]
)
def test_strays_are_named_and_left(store: Store, name: str) -> None:
    put(store, b"kept")
    path = at(store, name)
    if isinstance(path, Path):
        path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"what is this")
    (finding,) = findings(store)
    assert (finding.kind, finding.name) == ("stray", name)
    assert [blob.oid for blob in store.blobs()] == [digest(b"kept")]
    assert list(store.xorbs()) == []
    assert path.exists()


@pytest.mark.local_disk
def test_a_xorb_that_is_a_folder(store: Store) -> None:
    """Something no code of ours makes: a finding, not a crash."""
    put_xorb(store, XORB)
    (path,) = files_of(store)
    path.unlink()
    path.mkdir()
    (path / "inside").write_bytes(b"")
    assert [finding.kind for finding in findings(store)] == ["stray"]


@pytest.mark.local_disk
def test_a_folder_that_cannot_be_read(store: Store) -> None:
    """Named by `check`; and a listing stops, or a gc would take it for an empty one."""
    put(store, b"kept")
    (store.root / "blobs").rename(store.root / "elsewhere")
    (finding,) = findings(store)
    assert (finding.kind, finding.name) == ("stray", "blobs")
    with pytest.raises(Unavailable):
        list(store.blobs())


def test_leftovers_are_named_then_swept(store: Store) -> None:
    writer = store.write_plain()
    writer.write(b"unfinished")
    store.start_parts("up", 10, 5)
    assert findings(store) == []
    assert store.sweep_tmp(3600) == 0
    long_ago = time.time() - 3 * 86_400
    for path in (*files_of(store), store.root / "tmp/parts/up"):
        os.utime(path, (long_ago, long_ago))
    assert {(finding.kind, finding.problem) for finding in findings(store)} == {
        ("leftover", "unfinished for 3.0 days")
    }
    assert store.sweep_tmp(86_400) == 2
    assert findings(store) == []
    assert files_of(store) == []
    writer.abort()


def test_a_swept_upload_can_not_be_finished(store: Store) -> None:
    writer = store.write_plain()
    writer.write(b"slow")
    assert store.sweep_tmp(-1) == 1
    with pytest.raises(Unavailable):
        writer.finish()
    assert store.find(digest(b"slow")) is None


def test_the_cache_keeps_to_its_limit() -> None:
    cache: Cache[str, str] = Cache(10)
    cache.put("a", "A", 4)
    cache.put("b", "B", 4)
    assert cache.get("a") == "A"
    cache.put("c", "C", 4)  # "b" was used longest ago
    assert [cache.get(name) for name in "abc"] == ["A", None, "C"]
    cache.put("a", "AA", 8)
    assert [cache.get(name) for name in "ac"] == ["AA", None]
    cache.put("a", "too long", 11)
    assert cache.get("a") is None
    cache.put("d", "D", 10)
    assert cache.get("d") == "D"
