"""Tensors for the tests of predictions, and the plainest way to make one out of others."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from headwater.codec.predict import Candidate, Prediction, TensorKind, needs, predict

Array = npt.NDArray[Any]
FRAME_ELEMENTS = 992  # a multiple of 32, and of no row


def bf16(values: Array) -> Array:
    """Nearest BF16, ties to even, in 64-bit integers: slow, and nothing to get wrong."""
    bits = np.asarray(values, np.float32).view(np.uint32).astype(np.int64)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def f32(words: Array) -> Array:
    return (words.astype(np.uint32) << 16).view(np.float32)


def r16(values: Array) -> Array:
    """Through BF16 and back."""
    return f32(bf16(values))


def candidate(name: str, dtype: str, array: Array, shape: tuple[int, ...] = ()) -> Candidate:
    data = array.tobytes()
    return Candidate(name, TensorKind(dtype, shape or array.shape), lambda a, b: data[a:b])


def whole(one: Candidate) -> bytes:
    return bytes(one.read(0, one.kind.raw_bytes))


def in_frames(
    prediction: Prediction, target: TensorKind, parents: list[Candidate], elements: int
) -> bytes:
    """The whole target, `elements` at a time, each parent read only where `needs` says."""
    kinds = [parent.kind for parent in parents]
    step = elements // target.format.block * target.format.block_bytes
    out = []
    for start in range(0, target.raw_bytes, step):
        stop = min(start + step, target.raw_bytes)
        ranges = needs(prediction, target, kinds, start, stop)
        for (first, last), kind in zip(ranges, kinds, strict=True):
            assert 0 <= first <= last <= kind.raw_bytes
        parts = [
            memoryview(parent.read(*range)) for parent, range in zip(parents, ranges, strict=True)
        ]
        frame = predict(prediction, target, kinds, start, stop, parts)
        assert len(frame) == stop - start
        out.append(frame)
    return b"".join(out)


def share(target: Candidate, guess: bytes) -> float:
    """How many elements (blocks) of `guess` are the target's."""
    width = target.kind.format.block_bytes
    a = np.frombuffer(guess, np.uint8).reshape(-1, width)
    b = np.frombuffer(whole(target), np.uint8).reshape(-1, width)
    return float((a == b).all(axis=1).mean())


class Family:
    """A base, three fine-tunes and an adapter, all of one matrix."""

    shape = (96, 160)

    def __init__(self, seed: int = 1) -> None:
        random = np.random.default_rng(seed)
        self.base = bf16(random.normal(0, 0.02, self.shape))
        self.tuned = [
            bf16(f32(self.base) + random.normal(0, 0.002, self.shape).astype(np.float32))
            for _ in range(3)
        ]
        self.a = random.normal(0, 0.05, (8, self.shape[1])).astype(np.float32)
        self.b = random.normal(0, 0.05, (self.shape[0], 8)).astype(np.float32)
        self.candidates = [
            candidate("tuned.1", "BF16", self.tuned[1]),
            candidate("other", "I64", np.arange(4)),  # of a type that no prediction knows
            candidate("base", "BF16", self.base),
            candidate("tuned.0", "BF16", self.tuned[0]),
            candidate("w.lora_B.weight", "F32", self.b),
            candidate("w.lora_A.weight", "F32", self.a),
            candidate("tuned.2", "BF16", self.tuned[2]),
        ]
