"""What is different in a bucket: no lock, no utime, no open file that outlives its name, and a
server that may die. Against a real radosgw."""

import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import store_kit
from bucket_kit import KEY, asked, publish, shelf_of, watch
from obstore.exceptions import NotSupportedError
from relay import relay
from rgw import Ceph
from store_kit import (
    InBucket,
    MadeFile,
    MadeXorb,
    digest,
    files_of,
    findings,
    get,
    put,
    put_file,
    put_xorb,
)

from headwater.errors import HeadwaterError, Moved, NotFound, Refused, Unavailable
from headwater.names import XetHash
from headwater.store import Store, bucket, object_shelf

pytestmark = pytest.mark.s3

MIB = 2**20


@pytest.fixture
def store(tmp_path: Path, url: str) -> Store:
    return Store.open(tmp_path / "store", url)


def long_bytes(size_bytes: int) -> bytes:
    return random.Random(size_bytes).randbytes(size_bytes)


def read_until_it_fails(
    pieces: Iterator[bytes | memoryview], came: bytes = b""
) -> tuple[bytes, Exception | None]:
    try:
        for piece in pieces:
            came += piece
    except Exception as error:
        return came, error
    return came, None


# Two machines


def test_two_machines_share_a_bucket(tmp_path: Path, url: str) -> None:
    """Each with a disk of its own: what one acknowledged, the other reads."""
    one, two = (Store.open(tmp_path / name, url) for name in ("one", "two"))
    xorb = MadeXorb.of([b"a chunk", b"another"])
    file = MadeFile(((xorb, 0, 2),))
    blob = put(one, b"weights")
    assert get(two, blob.oid) == b"weights"
    assert put_file(two, file).xet_hash == file.hash
    assert get(one, file.oid) == file.data
    assert findings(one) == findings(two) == []
    assert files_of(one, "tmp/**/*") == []
    assert two.delete_blob(blob.oid)
    with pytest.raises(NotFound):
        get(one, blob.oid)


def test_machines_that_start_at_once_agree_on_the_format(tmp_path: Path, url: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        stores = list(pool.map(lambda n: Store.open(tmp_path / str(n), url), range(8)))
    assert {store.generation for store in stores} == {1}
    InBucket(url, "FORMAT").write_text('{"format": 1, "generation": 5}')
    assert not shelf_of(stores[0]).create("FORMAT", b"mine")
    assert Store.open(tmp_path / "late", url).generation == 5


def test_a_local_store_is_not_forgotten(tmp_path: Path, url: str) -> None:
    put(Store.open(tmp_path), b"lies here")
    with pytest.raises(Refused, match="store_url"):
        Store.open(tmp_path, url)


# What an operator may get wrong


@pytest.mark.parametrize(
    "wrong", ["bucket", "ftp://host/x", "https://host/x", "s3:/bucket", "file:///tmp"]
)
def test_addresses_that_are_no_bucket(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(Refused, match="store_url"):
        Store.open(tmp_path, wrong)


def test_a_bucket_that_does_not_exist(tmp_path: Path, server: Ceph) -> None:
    with pytest.raises(Refused, match="does not exist"):
        Store.open(tmp_path, "s3://no-such-bucket/x")


def test_wrong_credentials(
    tmp_path: Path, store: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the start, and later: never "it is not there"."""
    put(store, b"kept")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of someone else")
    with pytest.raises(Unavailable, match="credentials"):
        Store.open(tmp_path / "other", url)
    shelf = shelf_of(store)
    shelf._bucket = shelf._once = bucket.open_bucket(url)  # the key was changed while we run
    for call in (
        lambda: store.find(digest(b"kept")),
        lambda: get(store, digest(b"kept")),
        lambda: put(store, b"new"),
        lambda: list(store.blobs()),
        lambda: store.delete_blob(digest(b"kept")),
    ):
        with pytest.raises(Unavailable, match="credentials"):
            call()


def test_nobody_is_there(tmp_path: Path, server: Ceph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(bucket, "RETRY_S", 1)
    with pytest.raises(Unavailable):
        Store.open(tmp_path, "s3://some-bucket")


# A server that dies


@pytest.mark.parametrize("sent_bytes", [1000, 5 * MIB, 15 * MIB, 22 * MIB])
def test_the_server_dies_in_an_upload(
    server: Ceph, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch, sent_bytes: int
) -> None:
    """Unavailable, and no blob; nothing is left here, and later it works."""
    data = long_bytes(24 * MIB)
    monkeypatch.setattr(bucket, "RETRY_S", 1)
    with server.gateway() as gateway, relay(gateway) as between:
        monkeypatch.setenv("AWS_ENDPOINT", between.url)
        store = Store.open(tmp_path, url)
        between.limit(up=sent_bytes)
        with pytest.raises(Unavailable):
            put(store, data, MIB)
        assert not gateway.answers()
    monkeypatch.setenv("AWS_ENDPOINT", server.url)
    store = Store.open(tmp_path, url)
    assert store.find(digest(data)) is None
    assert findings(store) == []
    assert files_of(store) == []
    put(store, data, MIB)
    assert get(store, digest(data)) == data


def test_the_server_dies_before_it_answers_a_small_upload(
    server: Ceph, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Perhaps it kept the bytes, perhaps not; no one was told that it did, and none are wrong."""
    monkeypatch.setattr(bucket, "RETRY_S", 1)
    with server.gateway() as gateway, relay(gateway) as between:
        monkeypatch.setenv("AWS_ENDPOINT", between.url)
        store = Store.open(tmp_path, url)
        between.limit(down=1)  # requests arrive; the first answer kills
        with pytest.raises(Unavailable):
            put(store, b"small")
    monkeypatch.setenv("AWS_ENDPOINT", server.url)
    store = Store.open(tmp_path, url)
    assert findings(store) == []
    put(store, b"small")
    assert get(store, digest(b"small")) == b"small"


def test_the_server_dies_in_a_download(
    server: Ceph, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = long_bytes(24 * MIB)
    put(Store.open(tmp_path, url), data, MIB)
    monkeypatch.setattr(bucket, "RETRY_S", 1)
    with server.gateway() as gateway, relay(gateway) as between:
        monkeypatch.setenv("AWS_ENDPOINT", between.url)
        store = Store.open(tmp_path, url)
        between.limit(down=10 * MIB)
        came, error = read_until_it_fails(store.read(digest(data)))
        assert isinstance(error, Unavailable)
        assert 0 < len(came) < len(data)
        assert data.startswith(came)


def test_parts_survive_a_server_that_died(
    server: Ceph, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of an upload in parts is answered 503; the parts are still here, and it is sent
    again."""
    data = long_bytes(12 * MIB)
    monkeypatch.setattr(bucket, "RETRY_S", 1)
    with server.gateway() as gateway, relay(gateway) as between:
        monkeypatch.setenv("AWS_ENDPOINT", between.url)
        store = Store.open(tmp_path, url)
        store.start_parts("up", len(data), len(data))
        with store.write_part("up", 1) as writer:
            writer.write(data)
            etags = [(1, writer.finish())]
        between.limit(up=5 * MIB)
        with pytest.raises(Unavailable):
            store.finish_parts("up", digest(data), etags)
    monkeypatch.setenv("AWS_ENDPOINT", server.url)
    store = Store.open(tmp_path, url)
    assert store.finish_parts("up", digest(data), etags).size_bytes == len(data)
    assert store.finish_parts("up", digest(data), etags).size_bytes == len(data)
    assert get(store, digest(data)) == data


# Ages, and many keys


def test_grace_time(store: Store) -> None:
    """A touch, an upload of the same and a recipe that names it begin it anew."""
    xorb = MadeXorb.of([b"first chunk", b"second"])
    file = MadeFile(((xorb, 0, 2),))
    renewals = (
        lambda: store.touch_xorb(xorb.hash),
        lambda: put_xorb(store, xorb),
        lambda: put_file(store, file),
    )
    put_xorb(store, xorb)
    for renew in renewals:
        time.sleep(2.1)
        before_s = time.time()
        ((_, used_s, size_bytes),) = store.xorbs()
        assert used_s < before_s
        assert size_bytes == files_of(store, "xorbs/**/*")[0].stat().st_size
        renew()
        ((_, used_s, _),) = store.xorbs()
        assert abs(used_s - time.time()) < 2
        assert not store.delete_xorb(xorb.hash, unless_used_since_s=before_s)
    time.sleep(2.1)
    assert store.delete_xorb(xorb.hash, unless_used_since_s=time.time())
    assert not store.delete_xorb(xorb.hash)
    assert shelf_of(store).empty(["touched", "deleting", "clock"])
    with pytest.raises(NotFound):
        store.touch_xorb(xorb.hash)


def test_more_keys_than_a_page(store: Store, server: Ceph) -> None:
    """1,100 xorbs, every third touched later: all are listed, each with its own age."""
    _, _, name, prefix = store._layout.shelf.where.split("/")
    client = server.client(name, prefix)
    names = sorted(XetHash(f"{number * 2**40:064x}") for number in range(1100))

    def make(number: int) -> None:
        client.put(store._layout.xorb(names[number]), bytes(number))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(make, range(1100)))
        time.sleep(1.5)
        between_s = time.time()
        late = [names[number] for number in range(0, 1100, 3)]
        list(pool.map(store.touch_xorb, late))
    listed = list(store.xorbs())
    assert [name for name, _, _ in listed] == names
    assert [size_bytes for _, _, size_bytes in listed] == list(range(1100))
    assert [name for name, used_s, _ in listed if used_s > between_s] == late


# Reading


def test_reads_in_order_ask_seldom(store: Store) -> None:
    data = long_bytes(40 * MIB)
    put(store, data, MIB)
    with asked(shelf_of(store)) as requests:
        assert get(store, digest(data)) == data
    assert len(requests) <= 15  # the end, 1, 2, then 4 MiB each
    with asked(shelf_of(store)) as requests:
        assert get(store, digest(data), 7 * MIB, 7 * MIB + 1000) == data[7 * MIB : 7 * MIB + 1000]
    assert len(requests) == 2  # the end, with the footer and the sums; the frame
    with asked(shelf_of(store)) as requests:
        assert store.find(digest(data)) is not None
    assert len(requests) == 1


def test_many_readers_of_one_source(store: Store) -> None:
    """One open container read from eight threads, at random."""
    data = long_bytes(6 * MIB)
    put(store, data, MIB)
    source = shelf_of(store).open(store._layout.plain(digest(data)))
    assert source is not None

    def read(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(30):
            start = chance.randrange(len(data))
            count = chance.randrange(1, 300_000)
            got = b""
            while len(got) < count and start + len(got) < len(data):
                got += source.pread(count - len(got), start + len(got))
            assert got[: len(data) - start] == data[start : start + count]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(read, range(8)))
    source.close()


def test_a_bucket_that_knows_no_ends(store: Store) -> None:
    """Azure refuses a range that counts from the end; then the size is asked for first."""
    data = long_bytes(3 * MIB)
    put(store, data)

    def refuse(verb: str, _: object, options: dict[str, dict[str, object]]) -> None:
        if verb == "get" and isinstance(options["options"].get("range"), dict):
            raise NotSupportedError("no suffix ranges here")

    watch(shelf_of(store), refuse)
    assert get(store, digest(data)) == data
    assert put(store, b"new").size_bytes == 3
    assert findings(store) == []


def test_versions_never_mix(store: Store, tmp_path: Path) -> None:
    """An open source gives the bytes it was opened for, or Moved."""
    shelf = shelf_of(store)
    old, new = long_bytes(MIB), long_bytes(MIB + 1)[:MIB]
    publish(shelf, tmp_path, KEY, old)
    source = shelf.open(KEY)
    assert source is not None
    publish(shelf, tmp_path, KEY, new)
    with pytest.raises(Moved):
        source.pread(1000, 0)
    again = shelf.open(KEY)
    assert again is not None
    assert again.pread(1000, 0) == new[:1000]
    shelf.delete([KEY], None)
    with pytest.raises(Moved):
        again.pread(1000, 5000)


def test_a_read_goes_on_in_the_new_layout(store: Store) -> None:
    """While a blob is read, chunks take the place of its plain container, and the reader gets
    every byte; deleted, it gets no wrong one."""
    data = long_bytes(14 * MIB)
    put(store, data, MIB)
    pieces = store.read(digest(data))
    came = bytes(next(pieces))
    chunks = [data[at : at + 100_000] for at in range(0, len(data), 100_000)]
    xorb = MadeXorb.of(chunks, compressed=False)
    put_file(store, MadeFile(((xorb, 0, len(xorb.chunks)),)))
    assert [path.suffix for path in files_of(store, "blobs/**/*")] == [".chunked"]
    assert came + b"".join(pieces) == data
    pieces = store.read(digest(data))
    first = bytes(next(pieces))
    store.delete_blob(digest(data))
    store.delete_xorb(xorb.hash)
    came, error = read_until_it_fails(pieces, first)
    assert isinstance(error, HeadwaterError)
    assert data.startswith(came)


def test_an_upload_that_another_overtakes(store: Store, tmp_path: Path) -> None:
    """Who finds other bytes under its key than it sent is not told that they were kept."""
    shelf = shelf_of(store)

    def overtake(verb: str, args: tuple[str, ...], _: object) -> None:
        if verb == "get" and args[0] == KEY:
            InBucket(shelf.where, KEY).write_bytes(b"other bytes")

    watch(shelf, overtake)
    with pytest.raises(Unavailable, match="someone else"):
        publish(shelf, tmp_path, KEY)


def test_part_sizes() -> None:
    """As few bytes as may be in memory, and never more parts than S3 takes."""
    assert object_shelf.part_bytes_of(0) == 8 * MIB
    assert object_shelf.part_bytes_of(70 * 2**30) == 8 * MIB
    for size_bytes in (100 * 2**30, 2 * 2**40 + 1, 5 * 2**40):
        part_bytes = object_shelf.part_bytes_of(size_bytes)
        assert -(-size_bytes // part_bytes) <= 10_000
        assert part_bytes % MIB == 0


def test_reading_ends_with_its_threads(store: Store) -> None:
    """A reader that stops in the middle leaves nothing that runs."""
    data = long_bytes(24 * MIB)
    put(store, data, MIB)
    before = threading.active_count()
    for _ in range(20):
        pieces = store.read(digest(data))
        for _ in range(12):
            next(pieces)
        del pieces
    assert threading.active_count() - before <= 16 + 1
    assert store_kit.get(store, digest(data), 0, 100) == data[:100]
