"""Frames: any bytes in, the same bytes out, whatever the dtype; and nothing else ever comes out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.codec import classes, delta, frames
from headwater.codec.elements import FRAME_BYTES, Element
from headwater.errors import Malformed

DTYPES = (
    "BF16", "F16", "F32", "F64", "C64", "I8", "U8", "BOOL", "F8_E4M3", "I16", "U16", "I32", "I64",
    "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q8_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K",
    "IQ4_NL", "IQ4_XS", "MXFP4", "IQ1_M", "not a dtype",
)  # fmt: skip
dtypes = st.sampled_from(DTYPES)


def cut(data: bytes, element: Element) -> memoryview:
    return memoryview(data[: len(data) // element.width * element.width])


def round_trip(raw: memoryview, element: Element, base: memoryview | None = None) -> int:
    """The codec that was chosen; the smallest form comes back as well, and is no larger."""
    sizes = []
    for small in (True, False):
        codec, payload = frames.encode(raw, element, base, small=small)
        out = frames.decode(codec, memoryview(payload), element, len(raw), base)
        assert bytes(out) == bytes(raw)
        sizes.append(len(payload))
    assert sizes[0] <= sizes[1] + 0.002 * len(raw)
    return codec


def bf16(values: np.ndarray) -> np.ndarray:
    return (values.astype(np.float32).view(np.uint32) >> 16).astype("<u2")


@given(st.binary(max_size=5000), dtypes)
def test_any_bytes_by_themselves(data: bytes, dtype: str) -> None:
    element = Element.of(dtype)
    round_trip(cut(data, element), element)


@given(st.binary(max_size=5000), st.binary(max_size=5000), dtypes)
def test_any_bytes_against_any_base(data: bytes, other: bytes, dtype: str) -> None:
    element = Element.of(dtype)
    size = min(len(data), len(other)) // element.width * element.width
    round_trip(memoryview(data[:size]), element, memoryview(other[:size]))


@given(
    st.integers(0, 2**32 - 1), dtypes, st.integers(0, 9000), st.floats(0, 1),
    st.sampled_from([1, 8, 200, 70_000]),
)  # fmt: skip
def test_what_training_does_to_a_frame(
    seed: int, dtype: str, count: int, changed: float, reach: int
) -> None:
    """Some values moved by a little, some by a lot, the rest as they were."""
    rng = np.random.default_rng(seed)
    element = Element.of(dtype)
    base = cut(rng.bytes(count), element)
    words = np.frombuffer(base, np.uint8).copy()
    if element.width == 2:
        moved = words.view("<u2")
        at = rng.random(len(moved)) < changed
        moved[at] += rng.integers(-reach, reach + 1, int(at.sum())).astype(np.uint16)
    else:
        at = rng.random(len(words)) < changed
        words[at] += rng.integers(-reach, reach + 1, int(at.sum())).astype(np.uint8)
    round_trip(words.data, element, base)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fill", [b"\0", b"\xff", b"\x80", b"\x7f"])
def test_a_whole_frame_of_one_byte(dtype: str, fill: bytes) -> None:
    element = Element.of(dtype)
    raw = memoryview(fill * element.frame_bytes)
    round_trip(raw, element)
    round_trip(raw, element, memoryview(bytes(element.frame_bytes)))
    round_trip(memoryview(bytes(element.frame_bytes)), element, raw)


def test_each_form_is_taken_where_it_is_the_smallest() -> None:
    rng = np.random.default_rng(7)
    element = Element.of("BF16")
    weights = bf16(rng.standard_normal(FRAME_BYTES // 2) * 0.02)
    base = weights.data.cast("B")
    assert round_trip(base, element) == frames.PCO
    assert round_trip(base, element, base) == frames.SAME
    step = weights.copy()
    step[rng.random(len(step)) < 0.2] += 1
    assert round_trip(step.data.cast("B"), element, base) == frames.STEPS
    pruned = np.where(rng.random(len(weights)) < 0.5, weights, np.uint16(0))
    assert round_trip(pruned.data.cast("B"), element, base) == frames.MASK
    assert round_trip(base, element, bf16(rng.standard_normal(len(weights))).data.cast("B")) == 3
    floats = (rng.standard_normal(65536) * 0.02).astype("<f4")
    moved = floats * np.float32(1 + 1e-6)
    assert round_trip(moved.data.cast("B"), Element.of("F32"), floats.data.cast("B")) == 10
    assert round_trip(memoryview(rng.bytes(4096)), Element.of("U8")) == frames.RAW
    assert round_trip(memoryview(b"the same words again. " * 200), Element.of("U8")) == frames.TEXT


def test_sizes_on_gaussian_weights() -> None:
    """Near the entropy of what they code: these are laws, not timings."""
    rng = np.random.default_rng(1)
    weights = bf16(rng.standard_normal(FRAME_BYTES // 2) * 0.02)
    raw = weights.data.cast("B")
    codec, payload = frames.encode(raw, Element.of("BF16"))
    assert codec == frames.PCO
    assert len(payload) < 0.662 * len(raw)
    step = weights.copy()
    step[rng.random(len(step)) < 0.05] ^= 1
    codec, payload = frames.encode(step.data.cast("B"), Element.of("BF16"), raw)
    assert len(payload) < 0.025 * len(raw)  # H(0.05) + 0.05 bits, of 16, is 2.1 %


def absolute_steps(seed: int, size: float) -> tuple[memoryview, memoryview]:
    """(base, target): every weight moved by about the same amount, as an optimiser does."""
    rng = np.random.default_rng(seed)
    values = (rng.standard_normal(FRAME_BYTES // 2) * 0.02).astype(np.float32)
    moved = values + (rng.standard_normal(len(values)) * size).astype(np.float32)
    return bf16(values).data.cast("B"), bf16(moved).data.cast("B")


@pytest.mark.parametrize("size", [1e-6, 1e-5, 1e-4, 1e-3])
def test_large_weights_move_by_fewer_steps(size: float) -> None:
    """What the base's exponent tells is not paid for: a tenth smaller than one code for all."""
    element = Element.of("BF16")
    base, target = absolute_steps(3, size)
    round_trip(target, element, base)
    _, payload = frames.encode(target, element, base, small=True)
    if size == 1e-4:
        assert payload[0] == delta.CLASSES
        steps = delta.steps_of(target, base)
        assert len(payload) < 0.9 * min(len(delta._bytes(steps)), len(delta._pairs(steps)))


@given(st.integers(0, 2**32 - 1), st.floats(1e-6, 1e-2), st.integers(1, 9000))
def test_classes_of_any_frame(seed: int, size: float, count: int) -> None:
    base, target = absolute_steps(seed, size)
    base, target = base[: 2 * count], target[: 2 * count]
    steps = delta.steps_of(target, base)
    payload = classes.encode(steps, base, 10**9)
    if payload is not None:
        made = bytes([delta.CLASSES]) + payload
        assert delta.decode(memoryview(made), base) == target


@given(st.data(), dtypes, st.integers(0, 255))
def test_hostile_payloads(data: st.DataObject, dtype: str, codec: int) -> None:
    """Malformed, or bytes of the right length: never another error, never more."""
    element = Element.of(dtype)
    size = data.draw(st.integers(0, 3000)) // element.width * element.width
    payload = memoryview(data.draw(st.binary(max_size=400)))
    base = memoryview(bytes(size)) if data.draw(st.booleans()) else None
    try:
        out = frames.decode(codec, payload, element, size, base)
    except Malformed:
        return
    assert len(out) == size


@given(st.data(), dtypes)
def test_damaged_payloads(data: st.DataObject, dtype: str) -> None:
    element = Element.of(dtype)
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    base = cut(bf16(rng.standard_normal(3000) * 0.02).tobytes(), element)
    words = np.frombuffer(base, np.uint8).copy()
    words[rng.random(len(words)) < 0.1] ^= 1
    against = base if data.draw(st.booleans()) else None
    codec, payload = frames.encode(words.data, element, against)
    if not payload:
        return
    damaged = bytearray(payload)
    if data.draw(st.booleans()):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
    else:
        del damaged[data.draw(st.integers(0, len(damaged) - 1)) :]
    try:
        out = frames.decode(codec, memoryview(bytes(damaged)), element, len(base), against)
    except Malformed:
        return
    assert len(out) == len(base)
