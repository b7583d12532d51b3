"""Containers from outside: what a liar can put into them, and into which order."""

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
import xxhash
from blake3 import blake3
from pack_kit import model, safetensors, tuned
from store_kit import again, digest, files_of, findings, fresh_store, get, put

from headwater.errors import Malformed
from headwater.names import Digest, TensorId
from headwater.store import Store, arrival
from headwater.store.containers import PACKED, TENSOR, Footer
from headwater.store.packed import NO_TENSOR
from headwater.store.packed import ROW as PACKED_ROW
from headwater.store.tensors import ROW, Head

RAW = 0
SAME = 8
FRAME = 262_144


@pytest.fixture
def target() -> Iterator[Store]:
    with fresh_store() as store:
        yield store


def tensor(
    raw: bytes,
    *,
    name: TensorId | None = None,
    parents: Iterable[TensorId] = (),
    frame_bytes: int = FRAME,
    raw_bytes: int | None = None,
    same: bool = False,
) -> tuple[TensorId, bytes]:
    """A tensor container that says what it is told to, its checksums all right."""
    parents = tuple(parents)
    head = Head(
        dtype="U8",
        shape=(len(raw),),
        frame_bytes=frame_bytes,
        parents=tuple(map(str, parents)),
        prediction={"op": "copy"} if parents else None,
    )
    text = msgspec.json.encode(head)
    rows = [(len(text), RAW, 0, *[xxhash.xxh3_64_intdigest(text)] * 2)]
    body = text
    for at in range(0, len(raw), min(frame_bytes, FRAME)):
        frame = raw[at : at + min(frame_bytes, FRAME)]
        payload = b"" if same else frame
        sums = (xxhash.xxh3_64_intdigest(payload), xxhash.xxh3_64_intdigest(frame))
        rows.append((len(payload), SAME if same else RAW, 0, *sums))
        body += payload
    made = name or TensorId(blake3(raw).hexdigest())
    index = np.array(rows, ROW).tobytes()
    size = len(raw) if raw_bytes is None else raw_bytes
    footer = Footer.of(TENSOR, index, made.raw, body_bytes=len(body), raw_bytes=size)
    return made, body + index + footer.pack()


def packed(oid: Digest, spans: Iterable[tuple[TensorId, int]], raw_bytes: int) -> bytes:
    """A packed container of whole tensors."""
    rows = [(name.raw, size, 0, 0, 0, 0) for name, size in spans]
    index = np.array(rows, PACKED_ROW).tobytes()
    name = bytes.fromhex(oid)
    return index + Footer.of(PACKED, index, name, body_bytes=0, raw_bytes=raw_bytes).pack()


def bring(store: Store, recipes: dict[Digest, tuple[int, bytes]], tensors: list) -> None:
    """All of a bundle's packed blobs and tensors, in this order."""
    with store.travel.arrival(keep=True) as coming:
        for oid, (size, data) in recipes.items():
            coming.packed(oid, size, [data])
        for name, data in tensors:
            coming.tensor(name, [data])
        coming.finish()


def one(raw: bytes, *parts: tuple[TensorId, bytes]) -> dict[Digest, tuple[int, bytes]]:
    """A packed blob of the parts whose raw bytes, joined, are `raw`."""
    size = len(raw) // len(parts)
    data = packed(digest(raw), [(name, size) for name, _ in parts], len(raw))
    return {digest(raw): (len(raw), data)}


A, B, C = (bytes([n]) * 40_000 for n in b"abc")


def test_what_the_kit_makes_is_taken(target: Store) -> None:
    first, second = tensor(B), tensor(C, parents=[tensor(B)[0]])
    bring(target, one(B + C, first, second), [first, second])
    assert get(target, digest(B + C)) == B + C
    assert findings(target) == []


def test_a_ring_of_parents(target: Store) -> None:
    a, b = tensor(A, parents=[tensor(B)[0]]), tensor(B, parents=[tensor(A)[0]])
    for order in ([a, b], [b, a], [tensor(A, parents=[tensor(A)[0]]), b]):
        with pytest.raises(Malformed, match="before one that it is coded against"):
            bring(target, one(A + B, a, b), order)
    bring(target, one(A + B, a, b), [tensor(A), b])
    with pytest.raises(Malformed, match="before one"):
        bring(target, one(A + B, a, b), [a, b])
    bring(target, one(A + B, a, b), [tensor(B), a])  # A is kept as it lies: no ring is closed
    assert get(again(target), digest(A + B)) == A + B
    assert findings(target) == []


def test_chains_too_deep_and_too_wide(target: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when half of the chain lies here already, in another form than the one that came."""
    monkeypatch.setattr(arrival, "DEPTH_MAX", 3)
    raws = [bytes([n]) * 20_000 for n in range(8)]
    chain = [tensor(raws[0])]
    for raw in raws[1:]:
        chain.append(tensor(raw, parents=[chain[-1][0]]))
    with pytest.raises(Malformed, match="4 deltas deep"):
        bring(target, one(b"".join(raws), *chain), chain)
    bring(target, one(b"".join(raws[:4]), *chain[:4]), chain[:4])
    flat = tensor(raws[3])
    leaning = tensor(raws[5], parents=[flat[0]])
    with pytest.raises(Malformed, match="4 deltas deep"):
        bring(target, one(raws[3] + raws[5], flat, leaning), [flat, leaning])
    monkeypatch.setattr(arrival, "WORK_MAX", 2)
    with pytest.raises(Malformed, match="takes 3 frames"):
        bring(target, one(raws[0] + raws[1] + raws[2], *chain[:3]), chain[:3])


def test_naming_what_is_here_gives_nothing(target: Store) -> None:
    """The bytes must come: a tensor and a blob that this store has are proven like any other."""
    secret = safetensors(model(5))
    oid = put(target, secret).oid
    target.pack(oid)
    usage = target.usage(oid)
    assert usage is not None
    name = next(iter(usage.tensors))
    other = tensor(b"x" * 18_432, name=name)
    with pytest.raises(Malformed, match="other bytes than its name"):
        bring(target, one(b"x" * 18_432, other), [other])
    lean = tensor(b"x" * 18_432, name=name, parents=[tensor(B[:18_432])[0]], same=True)
    with pytest.raises(Malformed, match="other bytes"):
        bring(target, one(B[:18_432] * 2, tensor(B[:18_432]), lean), [tensor(B[:18_432]), lean])
    with target.travel.arrival(keep=True) as coming:
        with pytest.raises(Malformed):
            coming.plain(oid, len(secret), [b"y" * len(secret)])
        recipe = files_of(target, f"**/{oid}.packed")[0].read_bytes()
        coming.packed(oid, len(secret), [recipe])
        with pytest.raises(Malformed, match="did not come"):
            coming.finish()
    assert get(target, oid) == secret


def test_numbers_out_of_range(target: Store) -> None:
    """Sizes that would take memory or wrap around are refused before anything is decoded."""
    raw = A
    for wrong in (
        tensor(raw, frame_bytes=2**40),
        tensor(raw, frame_bytes=2**40, raw_bytes=2**40),
        tensor(raw, frame_bytes=1),
        tensor(raw, frame_bytes=0x7FFFFFFFFFFFFFFF),
        tensor(raw, raw_bytes=2**64 - 1),
        (tensor(raw)[0], b""),
        (tensor(raw)[0], b"\0" * 128),
    ):
        with pytest.raises(Malformed):
            bring(target, one(raw, tensor(raw)), [wrong])
    name, oid = tensor(raw)[0], digest(raw)
    for spans, size in (
        ([(name, 2**64 - 1), (name, 40_001)], 40_000),
        ([(name, 0), (name, 40_000)], 40_000),
        ([(name, 2**63), (name, 2**63), (name, 40_000)], 40_000),
        ([(name, 1)] * 40_000, 40_000),
        ([], 0),
        ([(name, 39_999)], 39_999),
        ([(name, 20_000), (name, 20_000)], 40_000),
    ):
        data = packed(oid, spans, size)
        with pytest.raises(Malformed):
            bring(target, {oid: (40_000, data)}, [tensor(raw)])
    assert list(target.blobs()) == []


def test_inline_rows_of_a_liar(target: Store) -> None:
    oid = digest(A)
    for rows in (
        [(NO_TENSOR, 40_000, 0, 2**32 - 1, 1, 0)],
        [(NO_TENSOR, 40_000, 0, 0, 77, 0)],
        [(NO_TENSOR, 40_000, 0, 0, 0, 0)],
        [(NO_TENSOR, 40_000, 0, 0, SAME, 0)],
    ):
        index = np.array(rows, PACKED_ROW).tobytes()
        name = bytes.fromhex(oid)
        footer = Footer.of(PACKED, index, name, body_bytes=0, raw_bytes=40_000).pack()
        with pytest.raises(Malformed):
            bring(target, {oid: (40_000, index + footer)}, [])
    assert struct.calcsize("<32sQQIHH") == PACKED_ROW.itemsize


def test_tensors_that_no_file_names(target: Store) -> None:
    a, b = tensor(A), tensor(B)
    with pytest.raises(Malformed, match="belongs to no file"):
        bring(target, one(A, a), [a, b])
    with pytest.raises(Malformed, match="did not come"):
        bring(target, one(A + B, a, b), [a])


def test_what_is_here_stays_as_it_lies(target: Store, tmp_path: Path) -> None:
    """Kept, not replaced; also a blob in another layout."""
    other = Store.open(tmp_path / "other")
    base, child = safetensors(model(1)), safetensors(tuned(model(1), 2))
    first = put(other, base).oid
    other.pack(first)
    second = put(other, child).oid
    other.pack(second, [first])
    plain = put(target, base).oid
    (tmp_path / "aside").mkdir()
    with other.travel.still():
        pieces = other.travel.pieces([first, second], str(tmp_path / "aside"))
    before = {path: path.stat().st_ino for path in files_of(target)}
    for _ in range(2):
        with target.travel.arrival(keep=True) as coming:
            for piece in pieces:
                folder, _, name = piece.path.partition("/")
                stem, _, suffix = name.partition(".")
                if suffix == "packed":
                    size = len(base) if stem == first else len(child)
                    coming.packed(Digest(stem), size, piece.read())
                else:
                    assert folder == "tensors"
                    coming.tensor(TensorId(stem), piece.read())
            coming.finish()
    found = target.find(plain)
    assert found is not None
    assert found.layout == "plain"
    assert {path: path.stat().st_ino for path in before} == before
    assert get(again(target), second) == child
    assert findings(target) == []
    assert list((target.root / "tmp").iterdir()) == []


def test_what_is_damaged_here_is_healed(target: Store) -> None:
    """A blob or tensor whose bytes rotted takes the sound ones that came."""
    a, b = tensor(A), tensor(B, parents=[tensor(A)[0]])
    recipes = one(A + B, a, b)
    bring(target, recipes, [a, b])
    for path in files_of(target):
        sound = path.read_bytes()
        path.write_bytes(sound[:50] + bytes([sound[50] ^ 1]) + sound[51:])
        bring(again(target), recipes, [a, b])
        assert get(again(target), digest(A + B)) == A + B
        assert findings(target) == []
    oid = put(target, C).oid
    (path,) = files_of(target, f"**/{oid}.plain")
    path.write_bytes(b"z" + path.read_bytes()[1:])
    c = tensor(C)
    bring(again(target), one(C, c), [c])
    found = target.find(oid)
    assert found is not None
    assert found.layout == "packed"
    assert findings(target) == []
