"""Packed files: the same bytes back, whole and in ranges, whatever they were and how they lie."""

import random
import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pack_kit import Arrays, bf16, grown, model, safetensors, tuned
from store_kit import (
    again,
    at,
    digest,
    examples,
    files_of,
    findings,
    flip,
    fresh_store,
    get,
    put,
    step,
)

from headwater.errors import Corrupt, HeadwaterError, NotFound, Refused
from headwater.names import Digest
from headwater.store import Store

BASE = model(1)
TUNED = tuned(BASE, 2)


def on_disk(store: Store) -> int:
    return sum(path.stat().st_size for path in files_of(store))


def keep(store: Store, data: bytes, *bases: Digest) -> Digest:
    """Put a file and pack it."""
    oid = put(store, data, 2**20).oid
    store.pack(oid, bases)
    return oid


def check_ranges(store: Store, oid: Digest, data: bytes, seed: int = 0) -> None:
    random_ = random.Random(seed)
    assert get(store, oid) == data
    for _ in range(12):
        start = random_.randint(0, len(data))
        stop = random_.randint(start, len(data))
        assert get(store, oid, start, stop) == data[start:stop]


@pytest.mark.coding
def test_a_family_takes_a_fraction(store: Store) -> None:
    """The second member costs what changed; the third, the same tensors under other names, next
    to nothing. Every byte of each comes back."""
    base, child = safetensors(BASE), safetensors(TUNED, {"format": "pt"})
    first = keep(store, base)
    size = on_disk(store)
    assert size < 0.72 * len(base)
    second = keep(store, child, first)
    assert on_disk(store) - size < 0.2 * len(child)
    size = on_disk(store)
    renamed = safetensors({f"model.{name}": tensor for name, tensor in TUNED.items()})
    third = keep(store, renamed)
    assert on_disk(store) - size < 0.03 * len(renamed)
    for oid, data in ((first, base), (second, child), (third, renamed)):
        blob = store.find(oid)
        assert blob is not None
        assert (blob.layout, blob.size_bytes) == ("packed", len(data))
        check_ranges(store, oid, data)
        check_ranges(again(store), oid, data)
    assert findings(store) == []


def test_rows_added_to_a_vocabulary(store: Store) -> None:
    base, more = safetensors(BASE), safetensors(grown(TUNED, 40, 3))
    first = keep(store, base)
    size = on_disk(store)
    second = keep(store, more, first)
    assert on_disk(store) - size < 0.35 * len(more)
    check_ranges(store, second, more)


def test_a_pruned_copy_is_a_mask(store: Store) -> None:
    first = keep(store, safetensors(BASE))
    pruned = {}
    for name, (dtype, shape, data) in BASE.items():
        words = np.frombuffer(data, "<u2").copy()
        words[np.random.default_rng(5).random(len(words)) < 0.5] = 0
        pruned[name] = (dtype, shape, words.tobytes())
    size = on_disk(store)
    second = keep(store, safetensors(pruned), first)
    assert on_disk(store) - size < 0.12 * len(safetensors(pruned))
    check_ranges(store, second, safetensors(pruned))


def f32(data: bytes) -> np.ndarray:
    return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)


def rounded(values: np.ndarray) -> bytes:
    """Float32 to BF16, to nearest even."""
    words = values.astype(np.float32).view(np.uint32)
    return ((words + 0x7FFF + (words >> 16 & 1)) >> 16).astype("<u2").tobytes()


def added(store: Store, arrays: Arrays, *bases: Digest) -> float:
    """Pack a file against bases; what it added to the store, as a share of its bytes."""
    data, size = safetensors(arrays), on_disk(store)
    oid = keep(store, data, *bases)
    check_ranges(store, oid, data)
    check_ranges(again(store), oid, data)
    return (on_disk(store) - size) / len(data)


@pytest.mark.coding
def test_what_is_computed_from_others_costs_next_to_nothing(store: Store) -> None:
    """Merges, an adapter merged in, another type: a formula and its proof, no weights."""
    base, one, two = model(1, 128), tuned(model(1, 128), 2), tuned(model(1, 128), 3)
    oids = [keep(store, safetensors(arrays)) for arrays in (base, one, two)]

    def made(formula: Callable[[str], np.ndarray], dtype: str = "BF16") -> Arrays:
        def data(name: str) -> bytes:
            values = formula(name)
            return values.tobytes() if dtype == "F32" else rounded(values)

        return {name: (dtype, shape, data(name)) for name, (_, shape, _) in base.items()}

    def of(arrays: Arrays, name: str) -> np.ndarray:
        return f32(arrays[name][2])

    half = np.float32(0.5)
    merged = made(lambda name: half * of(one, name) + half * of(two, name))
    assert added(store, merged, *oids) < 0.06
    wide = made(lambda name: of(base, name), "F32")
    assert added(store, wide, *oids) < 0.04

    rng, rank = np.random.default_rng(4), 16
    adapter, lora = {}, {}
    for name, (dtype, shape, data) in base.items():
        lora[name] = (dtype, shape, data)
        if "layers" in name and len(shape) == 2:
            a, b = (rng.standard_normal(s).astype("<f4") * 0.05 for s in ((rank, 128), (128, rank)))
            stem = f"base_model.model.{name.removesuffix('.weight')}"
            adapter[f"{stem}.lora_A.weight"] = ("F32", a.shape, a.tobytes())
            adapter[f"{stem}.lora_B.weight"] = ("F32", b.shape, b.tobytes())
            delta = np.zeros(shape, np.float32)
            for k in range(rank):
                delta += b[:, k, None] * a[k]
            merged_in = f32(data).reshape(shape) + np.float32(2) * delta
            lora[name] = (dtype, shape, rounded(merged_in.ravel()))
    assert added(store, lora, oids[0], keep(store, safetensors(adapter))) < 0.06
    assert findings(store) == []


dtypes = st.sampled_from(["BF16", "F16", "F32", "F64", "I8", "U8"])
WIDTHS = {"BF16": 2, "F16": 2, "F32": 4, "F64": 8, "I8": 1, "U8": 1}


@given(
    tensors=st.lists(st.tuples(dtypes, st.integers(0, 40_000), st.integers(0, 3)), max_size=5),
    seed=st.integers(0, 1000),
    cut=st.one_of(st.none(), st.floats(0, 1)),
    tail=st.binary(max_size=20),
)
@settings(max_examples=examples(60), deadline=None)
def test_any_weights_in_the_same_weights_out(
    tensors: list[tuple[str, int, int]], seed: int, cut: float | None, tail: bytes
) -> None:
    """Any dtype and size, sound or cut anywhere or with a tail, packed against a base or not."""
    rng = np.random.default_rng(seed)

    def data(dtype: str, count: int, kind: int) -> bytes:
        size = count // WIDTHS[dtype] * WIDTHS[dtype]
        if kind == 0:
            return rng.bytes(size)
        if kind == 1:
            return bytes(size)
        return bf16(rng.standard_normal(size // 2 + 1) * 0.02).tobytes()[:size]

    arrays = {}
    for number, (dtype, count, kind) in enumerate(tensors):
        raw = data(dtype, count, kind)
        arrays[f"t{number}"] = (dtype, (len(raw) // WIDTHS[dtype],), raw)
    whole = safetensors(arrays) + tail
    moved = bytearray(whole)
    for place in rng.integers(0, len(moved), len(moved) // 50):
        moved[place] ^= 1
    if cut is not None:
        whole = whole[: int(cut * len(whole))]
    with fresh_store() as store:
        first = keep(store, whole)
        second = keep(store, bytes(moved), first)
        check_ranges(store, first, whole, seed)
        check_ranges(store, second, bytes(moved), seed)
        assert findings(store) == []


@pytest.mark.parametrize("size", [0, 1, 100, 16_384, 300_000, 3_000_000])
@pytest.mark.parametrize("kind", ["text", "noise"])
def test_what_is_no_weights(store: Store, size: int, kind: str) -> None:
    """Text is packed if it is worth it; noise stays plain, and nothing of it is left over."""
    noise = random.Random(size).randbytes(size)
    data = (
        noise if kind == "noise" else (b"All happy families are alike. " * (size // 30 + 1))[:size]
    )
    oid = put(store, data, 2**20).oid
    made = store.pack(oid)
    check_ranges(store, oid, data)
    blob = store.find(oid)
    assert blob is not None
    if kind == "text" and size >= 16_384:
        assert made is not None
        assert on_disk(store) < 0.3 * size
    if kind == "noise" and size:
        assert (made, blob.layout) == (None, "plain")
        store.sweep_tensors(time.time() + 10)
        assert len(files_of(store, "blobs/**/*")) == len(files_of(store)) == 1


@pytest.mark.coding
def test_an_edited_file_shares_what_was_not_edited(store: Store) -> None:
    data = random.Random(1).randbytes(6_000_000)
    text = data.hex().encode()  # compressible, or it would stay plain
    edited = text[:5_000_000] + b"an edit" + text[5_000_000:]
    keep(store, text)
    size = on_disk(store)
    oid = keep(store, edited)
    assert on_disk(store) - size < 0.2 * len(edited)
    check_ranges(store, oid, edited)


@pytest.mark.coding
def test_packing_again_against_a_better_base(store: Store) -> None:
    """An old checkpoint came first; the true root comes later and the child is packed around it."""
    far, root = safetensors(model(9)), safetensors(BASE)
    child = safetensors(TUNED)
    oid = keep(store, child, keep(store, far))
    before = on_disk(store)
    base = keep(store, root)
    grew = on_disk(store) - before
    made = store.repack(oid, [base])
    assert made is not None
    assert on_disk(store) - before - grew < -0.4 * len(child)
    check_ranges(store, oid, child)
    check_ranges(store, base, root)
    assert store.repack(base, [oid]) is not None  # a ring is not made of it
    check_ranges(again(store), base, root)
    check_ranges(again(store), oid, child)
    assert findings(store) == []


@pytest.mark.coding
def test_the_smallest_forms_are_smaller_and_stay(store: Store) -> None:
    """A file that nobody asks for is packed once more, and not undone by the next repack."""
    base = model(1, 256)
    rng = np.random.default_rng(6)
    child = {}
    for name, (dtype, shape, data) in base.items():
        moved = f32(data) + (rng.standard_normal(len(data) // 2) * 1e-4).astype(np.float32)
        child[name] = (dtype, shape, rounded(moved))
    first, data = keep(store, safetensors(base)), safetensors(child)
    second = keep(store, data, first)
    before = on_disk(store)
    assert store.repack(second, [first], small=True) is not None
    assert before - on_disk(store) > 0.03 * len(data)
    size = on_disk(store)
    store.repack(second, [first])
    assert on_disk(store) == size
    assert store.repack(first, [], small=True) is not None
    check_ranges(again(store), second, data)
    check_ranges(again(store), first, safetensors(base))
    assert findings(store) == []


def test_unpacked_it_is_plain_again(store: Store) -> None:
    data = safetensors(BASE)
    oid = keep(store, data)
    assert store.unpack(oid).layout == "plain"
    check_ranges(store, oid, data)
    assert store.sweep_tensors(time.time() + 10)[0] > 0
    assert files_of(store, "tensors/**/*") == []
    check_ranges(store, oid, data)
    assert findings(store) == []


def test_a_tensor_stays_while_anything_names_it(store: Store) -> None:
    """A base that was deleted is still what its child is coded against."""
    first = keep(store, safetensors(BASE))
    second = keep(store, safetensors(TUNED), first)
    assert store.delete_blob(first)
    with pytest.raises(NotFound):
        store.read(first)
    store.sweep_tensors(time.time() + 10)
    check_ranges(again(store), second, safetensors(TUNED))
    assert store.delete_blob(second)
    gone, gone_bytes = store.sweep_tensors(time.time() - 3600)
    assert (gone, gone_bytes) == (0, 0)  # young
    assert store.sweep_tensors(time.time() + 10, dry_run=True)[0] > 0
    store.sweep_tensors(time.time() + 10)
    assert files_of(store) == []


def test_the_same_bytes_uploaded_again_heal_what_is_damaged(store: Store) -> None:
    data = safetensors(BASE)
    oid = keep(store, data)
    assert put(store, data).layout == "packed"  # sound: nothing to do
    for path in files_of(store, "tensors/**/*")[:2]:
        flip(path, path.stat().st_size // 3)
    assert put(store, data).layout == "plain"
    check_ranges(again(store), oid, data)
    assert {finding.kind for finding in findings(store)} == {"tensor"}
    store.pack(oid)  # its tensors are there, damaged, and the right bytes at hand
    check_ranges(again(store), oid, data)
    assert findings(store) == []


def right_or_corrupt(read: Callable[[], bytes], right: bytes) -> bool:
    try:
        assert read() == right
    except Corrupt:
        return True
    return False


@pytest.mark.parametrize("suffix", [".packed", ".tensor"])
def test_a_flipped_byte_anywhere(store: Store, suffix: str) -> None:
    """Found by check, and never served: every byte of head, index and footer, some of the rest."""
    base, child = safetensors(BASE), safetensors(TUNED)
    first = keep(store, base)
    second = keep(store, child, first)
    random_ = random.Random(4)
    for path in files_of(store, f"**/*{suffix}")[: 6 // step(3)]:
        sound, size = path.read_bytes(), path.stat().st_size
        ends = range(max(0, size - 400), size, 7 * step(10))
        places = {*ends, *random_.sample(range(size), 12 // step(4))}
        for place in sorted(places):
            flip(path, place, random_.randint(1, 255))
            fresh = again(store)
            assert findings(fresh), (path.name, place)
            refused = right_or_corrupt(lambda: get(fresh, first), base)  # noqa: B023
            refused |= right_or_corrupt(lambda: get(fresh, second), child)  # noqa: B023
            assert refused, (path.name, place)
            path.write_bytes(sound)
    assert findings(store) == []


def test_cut_and_swapped_containers(store: Store) -> None:
    data = safetensors(BASE)
    oid = keep(store, data)
    paths = files_of(store)
    for path in paths:
        sound = path.read_bytes()
        for content in (sound[:-1], sound[1:], b"", sound + b"\0", paths[0].read_bytes()):
            if content == sound:
                continue
            path.write_bytes(content)
            assert findings(store, data=False)
            assert right_or_corrupt(lambda: get(again(store), oid), data)
        path.write_bytes(sound)
    assert findings(store) == []


def test_a_missing_tensor_is_said(store: Store) -> None:
    oid = keep(store, safetensors(BASE))
    files_of(store, "tensors/**/*")[0].unlink()
    with pytest.raises(Corrupt, match="missing"):
        get(again(store), oid)
    assert [finding.kind for finding in findings(store, data=False)] == ["blob"]


def test_a_store_with_packed_files_is_of_a_newer_format(store: Store) -> None:
    """An older release refuses it rather than take a packed file for a missing one."""
    text = at(store, "FORMAT").read_text()
    assert '"format": 1' in text
    keep(store, safetensors(BASE))
    text = at(store, "FORMAT").read_text()
    assert '"format": 2' in text
    at(store, "FORMAT").write_text(text.replace("2", "3", 1))
    with pytest.raises(Refused, match="format 3"):
        again(store)


def test_usage_says_by_what_means(store: Store) -> None:
    first = keep(store, safetensors(BASE))
    second = keep(store, safetensors(TUNED), first)
    plain = put(store, b"as it came").oid
    usage = store.usage(second)
    assert usage is not None
    assert usage.raw_bytes == sum(usage.means.values()) == len(safetensors(TUNED))
    assert usage.means["delta"] > 0.9 * usage.raw_bytes
    total = usage.own_bytes + sum(usage.tensors.values())
    assert total < 0.2 * usage.raw_bytes
    kept = store.usage(plain)
    assert kept is not None
    assert kept.means == {"plain": 10}
    assert store.usage(digest(b"not here")) is None


def test_what_cannot_be_packed(store: Store) -> None:
    with pytest.raises(NotFound):
        store.pack(digest(b"not here"))
    oid = keep(store, safetensors(BASE))
    assert store.pack(oid) is None  # packed already
    assert store.repack(put(store, b"plain").oid, [oid]) is None
    child = put(store, safetensors(TUNED)).oid
    assert store.pack(child, [digest(b"no such base"), child]) is not None
    check_ranges(store, child, safetensors(TUNED))


def test_hot_files_are_decoded_once_and_kept_under_a_limit(store: Store) -> None:
    files = [safetensors(model(seed)) for seed in range(4)]
    limited = again(store, hot_bytes_max=int(2.5 * len(files[0])))
    oids = [keep(limited, data) for data in files]

    def hot() -> set[str]:
        return {path.stem for path in files_of(store, "hot/**/*")}

    for oid, data in zip(oids, files, strict=True):
        for _ in range(3):
            assert get(limited, oid) == data
        deadline = time.monotonic() + 20
        while oid not in hot() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert oid in hot()
        check_ranges(limited, oid, data)
        time.sleep(0.02)
    deadline = time.monotonic() + 20
    while len(hot()) > 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert hot() == set(oids[2:])
    for place in (5, len(files[3]) // 2):  # in the footer, in a frame
        (path,) = files_of(store, f"hot/**/{oids[2]}*")
        sound = path.read_bytes()
        flip(path, path.stat().st_size - place)
        reader = again(store)
        assert get(reader, oids[2], 1) == files[2][1:]  # the packed file answers
        assert oids[2] not in hot()
        path.write_bytes(sound)
    limited.delete_blob(oids[2])
    assert oids[2] not in hot()


@given(st.binary(max_size=400), st.integers(0, 3))
@settings(max_examples=examples(80), deadline=None)
def test_hostile_headers(noise: bytes, kind: int) -> None:
    """Headers that lie: the bytes come back, and nothing else happens."""
    data = {
        0: (2**63).to_bytes(8, "little") + noise,
        1: len(noise).to_bytes(8, "little") + noise + bytes(40_000),
        2: b"GGUF\x03\0\0\0" + noise + bytes(40_000),
        3: b"PK\x03\x04" + noise + bytes(40_000),
    }[kind]
    with fresh_store() as store:
        oid = put(store, data).oid
        try:
            store.pack(oid)
        except HeadwaterError as error:
            pytest.fail(f"packing must leave what it does not understand: {error}")
        check_ranges(store, oid, data)
        assert findings(store) == []
