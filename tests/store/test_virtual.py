"""Xorbs whose chunks were packed: gone from the disk, and still what they were to every client."""

import random
import time
from contextlib import suppress

import pytest
from pack_kit import model, safetensors, tuned
from store_kit import (
    MadeFile,
    MadeXorb,
    again,
    decoded,
    files_of,
    findings,
    flip,
    get,
    put,
    put_file,
    put_xorb,
    step,
)

from headwater.errors import BadRequest, Corrupt, Stale
from headwater.names import Digest
from headwater.store import Store
from headwater.store import virtual as virtual_module

BASE, TUNED = safetensors(model(1)), safetensors(tuned(model(1), 2))


def cut(data: bytes, seed: int = 0) -> list[bytes]:
    """Chunks of some kilobytes, as a client's chunker makes them."""
    random_, chunks, at = random.Random(seed), [], 0
    while at < len(data):
        size = random_.randint(500, 9_000)
        chunks.append(data[at : at + size])
        at += size
    return chunks


def uploaded(store: Store, data: bytes, seed: int = 0) -> tuple[MadeXorb, MadeFile]:
    """A file that came by Xet, all of it in one xorb of its own."""
    xorb = MadeXorb.of(cut(data, seed))
    file = MadeFile(((xorb, 0, len(xorb.chunks)),))
    put_file(store, file)
    return xorb, file


def fade(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour later."""
    monkeypatch.setattr("headwater.store.packs.FADE_S", -1.0)
    store.sweep_tmp(1e9)
    monkeypatch.undo()


def every_record(store: Store, xorb: MadeXorb) -> bytes:
    index = store.xorb(xorb.hash)
    assert index is not None
    assert index.hashes == [bytes(h) for h in index.hashes]
    return b"".join(store.read_xorb(xorb.hash, 0, index.stored_bytes, index.form))


def kinds(store: Store) -> list[str]:
    return sorted({path.suffix for path in files_of(store)})


def test_the_stored_form_fades_and_clients_notice_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    xorb, file = uploaded(store, BASE)
    old = store.xorb(xorb.hash)
    assert old is not None
    assert store.pack(file.oid) is not None
    new = store.xorb(xorb.hash)
    assert new is not None
    assert new.form != old.form
    assert new.hashes == old.hashes
    assert kinds(store) == [".chunked", ".held", ".packed", ".tensor", ".virtual", ".xorb"]
    # A client that holds an address of the stored form still gets it, byte for byte.
    assert b"".join(store.read_xorb(xorb.hash, 0, old.stored_bytes, old.form)) == xorb.body
    assert decoded(every_record(store, xorb)) == BASE
    fade(store, monkeypatch)
    assert ".xorb" not in kinds(store)
    with pytest.raises(Stale):
        store.read_xorb(xorb.hash, 0, old.stored_bytes, old.form)
    for reader in (store, again(store)):
        assert decoded(every_record(reader, xorb)) == BASE
        first, last = new.byte_range(3, 9)
        records = b"".join(reader.read_xorb(xorb.hash, first, last, new.form))
        assert decoded(records) == b"".join(xorb.chunks[3:9])
        with pytest.raises(BadRequest):
            reader.read_xorb(xorb.hash, first + 1, last)
        blob = reader.find(file.oid)
        assert blob is not None
        assert (blob.layout, blob.xet_hash) == ("packed", file.hash)
        recipe = reader.file(file.oid)
        assert recipe is not None
        assert list(recipe.terms) == file.terms
        assert get(reader, file.oid) == BASE
    assert findings(store) == []
    assert len(list(store.xorbs())) == 1


def test_an_upload_dedups_against_a_virtual_xorb(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another file names its chunks; it is read by way of the packed file, even when that has lost
    its name, and packed in turn."""
    xorb, file = uploaded(store, BASE)
    store.pack(file.oid)
    fade(store, monkeypatch)
    tail = MadeXorb.of([b"another end" * 100])
    other = MadeFile(((xorb, 2, len(xorb.chunks)), (tail, 0, 1)))
    put_xorb(store, tail)
    blob = store.write_chunked(other.hash, other.terms, oid=other.oid)
    assert blob.layout == "chunked"
    assert get(again(store), other.oid) == other.data

    assert not store.delete_blob(file.oid)  # its bytes are needed
    assert store.file(file.oid) is None
    assert get(again(store), other.oid) == other.data
    store.sweep_tensors(time.time() + 10)
    assert get(again(store), other.oid) == other.data
    assert findings(store) == []

    assert store.pack(other.oid) is not None
    assert get(store, other.oid) == other.data
    assert store.delete_blob(other.oid) in (True, False)
    for name, _, _ in list(store.xorbs()):
        assert store.delete_xorb(name)
    store.sweep_tensors(time.time() + 10)
    for oid in {blob.oid for blob in store.blobs()}:
        assert store.delete_blob(oid)
    store.sweep_tensors(time.time() + 10)
    assert files_of(store) == []


def test_a_xorb_of_two_files_waits_for_both(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    xorb = MadeXorb.of([*cut(BASE, 1), *cut(TUNED, 2)])
    border = len(cut(BASE, 1))
    one = MadeFile(((xorb, 0, border),))
    two = MadeFile(((xorb, border, len(xorb.chunks)),))
    put_file(store, one)
    put_file(store, two)
    store.pack(one.oid)
    fade(store, monkeypatch)
    assert ".virtual" not in kinds(store)
    store.pack(two.oid, [one.oid])
    assert store.release_xorbs([one.oid, two.oid]) == 1
    assert store.release_xorbs([one.oid, two.oid]) == 0
    fade(store, monkeypatch)
    assert ".xorb" not in kinds(store)
    assert decoded(every_record(store, xorb)) == BASE + TUNED
    for file in (one, two):
        assert get(again(store), file.oid) == file.data
    assert findings(store) == []


def test_chunks_that_no_file_has_keep_a_xorb_as_it_is(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    xorb = MadeXorb.of([*cut(BASE), b"nobody names this one"])
    file = MadeFile(((xorb, 0, len(xorb.chunks) - 1),))
    put_file(store, file)
    store.pack(file.oid)
    fade(store, monkeypatch)
    assert kinds(store) == [".chunked", ".packed", ".tensor", ".xorb"]
    assert get(store, file.oid) == BASE


def test_the_same_xorb_uploaded_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sound, it stays virtual; when what it is read out of is damaged, the upload takes over."""
    xorb, file = uploaded(store, BASE)
    store.pack(file.oid)
    fade(store, monkeypatch)
    put_xorb(store, xorb)
    assert ".xorb" not in kinds(store)
    path = files_of(store, "tensors/**/*")[0]
    flip(path, path.stat().st_size // 2)
    with pytest.raises(Corrupt):
        every_record(again(store), xorb)
    put_xorb(store, xorb)
    assert ".virtual" not in kinds(store)
    assert every_record(store, xorb) == xorb.body


def test_the_same_file_uploaded_again_plain_or_in_other_chunks(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    xorb, file = uploaded(store, BASE)
    store.pack(file.oid)
    fade(store, monkeypatch)
    assert put(store, BASE).layout == "packed"
    recut = MadeXorb.of(cut(BASE, 7))
    other = MadeFile(((recut, 0, len(recut.chunks)),))
    blob = put_file(store, other)
    assert blob.xet_hash == file.hash  # clients hold the first
    assert get(store, file.oid) == BASE
    assert store.unpack(file.oid).layout == "plain"
    assert decoded(every_record(store, xorb)) == BASE  # out of the plain file now
    blob = store.write_chunked(file.hash, file.terms, oid=file.oid)
    assert decoded(every_record(store, xorb)) == BASE
    assert get(again(store), file.oid) == BASE
    assert findings(store) == []


def test_every_byte_of_a_virtual_xorb(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    xorb, file = uploaded(store, BASE)
    store.pack(file.oid)
    fade(store, monkeypatch)
    (path,) = files_of(store, "**/*.virtual")
    sound = path.read_bytes()
    for at in range(0, len(sound), 5 * step(40)):
        flip(path, at, 0x10)
        assert ("xorb", xorb.hash) in {(f.kind, f.name) for f in findings(store)}, at
        with suppress(Corrupt):
            assert decoded(every_record(again(store), xorb)) == BASE
        assert get(store, file.oid) == BASE  # the file itself does not need it
        path.write_bytes(sound)
    assert findings(store) == []


def test_a_source_that_went_before_it_was_named(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The packed file is deleted while its xorb is made virtual: the xorb stays as it is."""
    xorb, file = uploaded(store, BASE)
    make = virtual_module._place

    def deleted_meanwhile(*args: object) -> list[Digest]:
        used: list[Digest] = make(*args)  # type: ignore[arg-type]
        store.delete_blob(file.oid)
        return used

    monkeypatch.setattr(virtual_module, "_place", deleted_meanwhile)
    store.pack(file.oid)
    monkeypatch.undo()
    assert ".virtual" not in kinds(store)
    assert every_record(store, xorb) == xorb.body
