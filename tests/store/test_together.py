"""Many at once: threads on one store, and two stores on one folder as two workers have them."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from store_kit import (
    IN_BUCKET,
    MadeFile,
    MadeXorb,
    again,
    age,
    digest,
    files_of,
    findings,
    get,
    put,
    put_file,
    put_xorb,
)

from headwater.errors import DigestMismatch, NotFound, Unavailable
from headwater.store import Blob, Store

DATA = bytes(range(256)) * 4000


def at_once(*calls: Callable[[], object]) -> list[object]:
    """What each call gave, or the error it raised; all begin together."""
    barrier = threading.Barrier(len(calls))

    def run(call: Callable[[], object]) -> object:
        barrier.wait()
        try:
            return call()
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def test_ten_writers_of_one_blob_and_one_liar(store: Store) -> None:
    other = again(store)

    def lie() -> object:
        with store.write_plain() as writer:
            writer.write(DATA[:-1] + b"!")
            return writer.finish(digest(DATA))

    honest = [lambda s=s: put(s, DATA) for s in (store, other) * 5]
    results = at_once(lie, *honest)
    assert isinstance(results[0], DigestMismatch)
    assert {getattr(blob, "oid", blob) for blob in results[1:]} == {digest(DATA)}
    assert len(files_of(store)) == 1
    assert findings(store) == []


def test_reads_go_on_while_the_blob_is_replaced_and_deleted(store: Store) -> None:
    """A read that began sees all of it, whoever replaces or deletes the file meanwhile. In a bucket
    it may also be told to try again, and never sees anything else."""
    put(store, DATA)
    told = (NotFound, Unavailable) if IN_BUCKET else (NotFound,)

    def read() -> int:
        whole = 0
        for _ in range(30):
            try:
                assert get(store, digest(DATA)) == DATA
                whole += 1
            except told:
                pass
        return whole

    def churn() -> None:
        for _ in range(15):
            put(store, DATA)
            store.delete_blob(digest(DATA))
        put(store, DATA)

    *reads, churned = at_once(read, read, read, churn)
    assert all(isinstance(result, int) for result in reads), reads
    assert churned is None
    assert findings(store) == []


def test_layouts_switch_under_readers(store: Store) -> None:
    xorb = MadeXorb.of([DATA[at : at + 50_000] for at in range(0, len(DATA), 50_000)])
    file = MadeFile(((xorb, 0, len(xorb.chunks)),))
    put(store, DATA)

    def switch() -> None:
        for _ in range(10):
            put_file(store, file)
            (path,) = files_of(store, "**/*.chunked")
            path.write_bytes(path.read_bytes()[:-1])  # damaged, so that plain takes its place
            put(store, DATA)

    def read() -> int:
        """Between the damage and the healing a read may be refused; it is never wrong."""
        right = 0
        for _ in range(40):
            try:
                assert get(store, digest(DATA)) == DATA
                right += 1
            except AssertionError:
                raise
            except Exception:
                continue
        return right

    *reads, switched = at_once(read, read, switch)
    assert switched is None
    assert all(isinstance(result, int) and result > 0 for result in reads), reads
    assert findings(store) == []


def test_parts_in_parallel(store: Store) -> None:
    part_bytes = 100_000
    starts = range(0, len(DATA), part_bytes)
    store.start_parts("up", len(DATA), part_bytes)

    def part(number: int, start: int) -> tuple[int, str]:
        with again(store).write_part("up", number) as writer:
            for at in range(start, min(start + part_bytes, len(DATA)), 7000):
                writer.write(DATA[at : min(at + 7000, start + part_bytes)])
            return number, writer.finish()

    etags = at_once(*[lambda n=n, s=s: part(n, s) for n, s in enumerate(starts, 1)])
    ends = at_once(*[lambda: store.finish_parts("up", digest(DATA), etags)] * 3)
    assert {getattr(blob, "oid", blob) for blob in ends} == {digest(DATA)}
    assert get(store, digest(DATA)) == DATA
    assert findings(store) == []


@pytest.mark.local_disk
def test_gc_and_an_upload_that_needs_the_xorb(store: Store) -> None:
    """What was touched for a file that is being kept is not deleted by a gc that looked earlier:
    the file is either refused or whole, never acknowledged and broken."""
    xorb = MadeXorb.of([b"some chunk", b"another"])
    file = MadeFile(((xorb, 0, 2),))
    outcomes = set()
    for _ in range(60):
        put_xorb(store, xorb)
        age(files_of(store, "**/*.xorb")[0])
        kept, _ = at_once(
            lambda: store.write_chunked(file.hash, file.terms, oid=file.oid),
            lambda: store.delete_xorb(xorb.hash, unless_used_since_s=time.time() - 600),
        )
        outcomes.add(type(kept).__name__)
        if isinstance(kept, Blob):
            assert get(store, file.oid) == file.data
        store.delete_blob(file.oid)
    assert outcomes <= {"Blob", "BadRequest"}


@pytest.mark.local_disk
def test_gc_and_an_upload_of_what_it_is_about_to_delete(store: Store) -> None:
    """A blob or xorb of any age that is written again at that moment is there afterwards."""
    xorb = MadeXorb.of([b"some chunk", b"another"])
    data, before_s = b"old and new", time.time() - 600
    for _ in range(60):
        put(store, data)
        put_xorb(store, xorb)
        for path in (*files_of(store, "**/*.plain"), *files_of(store, "**/*.xorb")):
            age(path)
        at_once(
            lambda: put(store, data),
            lambda: put_xorb(store, xorb),
            lambda: store.delete_blob(digest(data), unless_written_since_s=before_s),
            lambda: store.delete_xorb(xorb.hash, unless_used_since_s=before_s),
        )
        assert store.find(digest(data)) is not None
        assert store.xorb(xorb.hash) is not None


@pytest.mark.parametrize("threads", [8])
def test_one_xorb_read_by_many(store: Store, threads: int) -> None:
    xorb = MadeXorb.of([DATA[at : at + 9000] for at in range(0, 500_000, 9000)])
    put_xorb(store, xorb)
    pieces = at_once(*[lambda: b"".join(store.read_xorb(xorb.hash, 0, len(xorb.body)))] * threads)
    assert set(pieces) == {xorb.body}
