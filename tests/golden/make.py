"""Makes the golden stores. Run once for a format, never again: they are to be read forever.

    python tests/golden/make.py tests/golden/store-2

Every kind of container and every form that a release writes has a file in there. What a file
must read as is its name.
"""

import hashlib
import os
import random
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "store"), str(HERE.parents[1] / "src")]

from pack_kit import Arrays, bf16, grown, model, safetensors, tuned  # noqa: E402
from store_kit import MadeFile, MadeXorb, put, put_file  # noqa: E402

from headwater.names import Digest  # noqa: E402
from headwater.store import Store  # noqa: E402


def changed(arrays: Arrays, dtype: str, seed: int, share: float = 0.2) -> dict:
    """The same tensors as another dtype, some bytes moved by one."""
    rng = np.random.default_rng(seed)
    made = {}
    for name, (_, _, data) in arrays.items():
        raw = np.frombuffer(data, np.uint8).copy()
        raw[rng.random(len(raw)) < share] ^= 1
        width = {"F32": 4, "I8": 1, "F64": 8, "I32": 4}[dtype]
        made[name] = (dtype, (len(raw) // width,), raw[: len(raw) // width * width].tobytes())
    return made


def absolute(arrays: Arrays, seed: int, size: float) -> dict:
    """Every weight moved by about the same amount: classes."""
    rng = np.random.default_rng(seed)
    made = {}
    for name, (dtype, shape, data) in arrays.items():
        values = (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
        moved = values + (rng.standard_normal(len(values)) * size).astype(np.float32)
        made[name] = (dtype, shape, bf16(moved).tobytes())
    return made


def pruned(arrays: Arrays, seed: int) -> dict:
    rng = np.random.default_rng(seed)
    made = {}
    for name, (dtype, shape, data) in arrays.items():
        words = np.frombuffer(data, "<u2").copy()
        words[rng.random(len(words)) < 0.5] = 0
        made[name] = (dtype, shape, words.tobytes())
    return made


def half(one: Arrays, two: Arrays) -> dict:
    """A merge: (one + two) / 2, to nearest even."""
    made = {}
    for name, (dtype, shape, data) in one.items():
        a, b = (
            (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
            for raw in (data, two[name][2])
        )
        words = (np.float32(0.5) * a + np.float32(0.5) * b).view(np.uint32)
        rounded = ((words + 0x7FFF + (words >> 16 & 1)) >> 16).astype("<u2")
        made[name] = (dtype, shape, rounded.tobytes())
    return made


def chunked(store: Store, data: bytes, seed: int) -> Digest:
    random_, chunks, at = random.Random(seed), [], 0
    while at < len(data):
        size = random_.randint(2_000, 9_000)
        chunks.append(data[at : at + size])
        at += size
    xorb = MadeXorb.of(chunks)
    return put_file(store, MadeFile(((xorb, 0, len(chunks)),))).oid


def fill(store: Store, *, packed: bool) -> None:
    base = model(1, width=96, layers=1, vocabulary=128)
    one, two = tuned(base, 2, 0.3), tuned(base, 3, 0.3)
    put(store, b"")
    put(store, b"as it came\n" * 30_000)
    chunked(store, safetensors(two, {"came": "as chunks"}), 5)
    if not packed:
        return
    kept: list[Digest] = []
    big = model(7, width=128, layers=1, vocabulary=128)
    others = {
        dtype: changed(model(20 + n, width=64, layers=1, vocabulary=64), dtype, n)
        for n, dtype in enumerate(("F32", "I8", "F64", "I32"))
    }
    for arrays in (
        base, one, two, tuned(base, 4, 0.02), tuned(base, 5, 0.9, 60), grown(one, 20, 6),
        pruned(base, 7), half(one, two), big, absolute(big, 8, 1e-4),
        tuned(base, 13, 1.0, 1),
        *others.values(),
        *(changed(arrays, dtype, 30, 0.3) for dtype, arrays in others.items()),
    ):  # fmt: skip
        oid = put(store, safetensors(arrays)).oid
        store.pack(oid, kept)
        kept.append(oid)
    for oid in kept[8:10]:  # in the smallest forms
        store.repack(oid, kept[:8], small=True)
    text = (HERE / "make.py").read_bytes() * 20
    store.pack(put(store, text).oid)
    virtual = chunked(store, safetensors(tuned(one, 11)), 12)
    store.pack(virtual, kept)
    for path in store.root.glob("xorbs/*/*/*.virtual"):
        path.with_suffix(".xorb").unlink()


if __name__ == "__main__":
    root = Path(sys.argv[1])
    fill(Store.open(root), packed=root.name != "store-1")
    for name in ("LOCK", "PACK"):
        (root / name).unlink(missing_ok=True)
    for folder, _, _ in os.walk(root, topdown=False):
        if not os.listdir(folder):
            os.rmdir(folder)
    print(hashlib.sha256(b"".join(sorted(p.read_bytes() for p in root.rglob("*.*")))).hexdigest())
