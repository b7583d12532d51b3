"""Uploads in parts: any order, any process, one blob; what is wrong is refused and said."""

import hashlib
from pathlib import Path

import pytest
from store_kit import MadeFile, MadeXorb, again, digest, files_of, findings, get, put_file

from headwater.errors import BadRequest, DigestMismatch, NotFound, Unavailable
from headwater.names import Digest
from headwater.store import Store, parts
from headwater.store.hashing import FRAME_BYTES

DATA = hashlib.shake_128(b"parts").digest(2 * FRAME_BYTES + 100)
PART_BYTES = 200_000  # no multiple of a frame
OID = digest(DATA)


def send(store: Store, number: int, data: bytes = DATA, upload: str = "up") -> tuple[int, str]:
    with store.write_part(upload, number) as writer:
        start = (number - 1) * PART_BYTES
        for at in range(start, min(start + PART_BYTES, len(data)), 30_000):
            writer.write(data[at : min(at + 30_000, start + PART_BYTES, len(data))])
        return number, writer.finish()


def send_all(store: Store, upload: str = "up") -> list[tuple[int, str]]:
    store.start_parts(upload, len(DATA), PART_BYTES)
    return sorted(send(store, number, upload=upload) for number in (3, 1, 2))


def test_parts_make_a_blob_whoever_takes_them(store: Store) -> None:
    """Each part and the end by another process's store; finished twice is the same."""
    store.start_parts("up", len(DATA), PART_BYTES)
    etags = [send(again(store), number) for number in (1, 2, 3)]
    done: list[int] = []
    blob = again(store).finish_parts("up", OID, etags, done.append)
    assert (blob.oid, blob.size_bytes, blob.layout) == (OID, len(DATA), "plain")
    assert done[-1] == len(DATA)
    assert get(store, OID) == DATA
    assert findings(store) == []
    assert store.finish_parts("up", OID, etags) == blob
    assert store.finish_parts("up", OID, []) == blob  # the etags were settled the first time
    with pytest.raises(NotFound):
        store.finish_parts("up", Digest("0" * 64), etags)
    with pytest.raises(NotFound):
        store.write_part("up", 1)
    store.delete_blob(OID)
    with pytest.raises(NotFound):
        store.finish_parts("up", OID, etags)


def test_lists_that_are_not_all_parts_in_order(store: Store) -> None:
    one, two, three = send_all(store)
    for etags in ([], [one, two], [two, one, three], [one, two, two, three], [one, three, two]):
        with pytest.raises(BadRequest):
            store.finish_parts("up", OID, etags)
    with pytest.raises(BadRequest, match="etag"):
        store.finish_parts("up", OID, [one, two, (3, one[1])])
    assert store.finish_parts("up", OID, [one, two, three]).oid == OID


def test_a_part_that_did_not_arrive(store: Store) -> None:
    store.start_parts("up", len(DATA), PART_BYTES)
    one, three = send(store, 1), send(store, 3)
    with pytest.raises(BadRequest, match="part 2"):
        store.finish_parts("up", OID, [one, (2, one[1]), three])
    assert store.finish_parts("up", OID, [one, send(store, 2), three]).oid == OID


def test_a_part_sent_again(store: Store) -> None:
    """The last one counts; one that was cut short counts as not arrived."""
    etags = send_all(store)
    other = send(store, 2, bytes(len(DATA)))
    assert other != etags[1]
    with store.write_part("up", 2) as writer:
        writer.write(b"cut")
    with pytest.raises(BadRequest, match="part 2"):
        store.finish_parts("up", OID, etags)
    assert send(store, 2) == etags[1]
    assert store.finish_parts("up", OID, etags).oid == OID


def test_parts_of_a_wrong_length(store: Store) -> None:
    store.start_parts("up", len(DATA), PART_BYTES)
    with store.write_part("up", 1) as writer, pytest.raises(DigestMismatch, match="more than"):
        writer.write(bytes(PART_BYTES + 1))
    with store.write_part("up", 3) as writer:
        writer.write(b"short")
        with pytest.raises(DigestMismatch, match="5 bytes"):
            writer.finish()
    for number in (0, 4, -1):
        with pytest.raises(BadRequest):
            store.write_part("up", number)


def test_wrong_bytes_are_dropped(store: Store) -> None:
    etags = send_all(store)
    with pytest.raises(DigestMismatch):
        store.finish_parts("up", Digest("0" * 64), etags)
    assert files_of(store) == []
    with pytest.raises(NotFound):
        store.write_part("up", 1)


def test_a_straggler_cannot_write_into_a_blob(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a part is being written there is no end; after the end its door is shut."""
    monkeypatch.setattr(parts, "FINISH_WAIT_S", 0.1)
    etags = send_all(store)
    straggler = store.write_part("up", 2)
    straggler.write(b"x")
    with pytest.raises(Unavailable):
        store.finish_parts("up", OID, etags)
    straggler.abort()
    with pytest.raises(BadRequest):
        straggler.write(b"y")
    etags[1] = send(store, 2)
    store.finish_parts("up", OID, etags)
    assert get(store, OID) == DATA


def test_an_end_that_was_cut_short_can_be_repeated(store: Store) -> None:
    """Sums and footer were appended, then the power went: the next end begins from the bytes."""
    etags = send_all(store)
    data = Path(store.root, "tmp/parts/up/data")
    with data.open("ab") as file:
        file.write(bytes(1234))
    store.finish_parts("up", OID, etags)
    assert get(store, OID) == DATA
    assert findings(store) == []


@pytest.mark.parametrize(
    ("upload", "size_bytes", "part_bytes"),
    [
        ("up", -1, 10),
        ("up", 10, 0),
        ("up", 10_001, 1),
        ("../up", 1, 1),
        ("", 1, 1),
        ("a" * 65, 1, 1),
    ],
)
def test_plans_that_are_refused(
    store: Store, upload: str, size_bytes: int, part_bytes: int
) -> None:
    with pytest.raises(BadRequest):
        store.start_parts(upload, size_bytes, part_bytes)
    assert files_of(store) == []


def test_begun_once_known_until_aborted(store: Store) -> None:
    store.start_parts("up", 10_000, 1)
    with pytest.raises(BadRequest):
        store.start_parts("up", 1, 1)
    store.abort_parts("up")
    store.abort_parts("up")
    for ask in (lambda: store.write_part("up", 1), lambda: store.finish_parts("up", OID, [])):
        with pytest.raises(NotFound):
            ask()
    assert files_of(store) == []


def test_an_empty_file_is_one_empty_part(store: Store) -> None:
    store.start_parts("up", 0, PART_BYTES)
    etag = send(store, 1, b"")
    assert store.finish_parts("up", digest(b""), [etag]).size_bytes == 0
    assert get(store, digest(b"")) == b""


def test_what_is_stored_in_chunks_stays(store: Store) -> None:
    xorb = MadeXorb.of([DATA[at : at + 100_000] for at in range(0, len(DATA), 100_000)])
    blob = put_file(store, MadeFile(((xorb, 0, len(xorb.chunks)),)))
    etags = send_all(store)
    assert store.finish_parts("up", OID, etags) == blob
    assert store.finish_parts("up", OID, etags) == blob
    assert not files_of(store, "**/*.plain")
