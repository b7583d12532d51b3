"""Predictions: the same bytes in frames as at once, for any bits; and hostile text refused."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from predictions_kit import candidate, in_frames

from effort import examples
from headwater.codec.predict import Candidate, Prediction, TensorKind, from_json, needs, predict
from headwater.errors import Malformed

HALF, TWO = (0.5).hex(), (2.0).hex()
FLOATS = ["BF16", "F16", "F32", "F64", "F8_E4M3"]
QUANTS = ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"]
ROWS, COLUMNS, RANK = 6, 64, 3
SHAPE = (ROWS, COLUMNS)
HEADS = st.sampled_from([1, 3])


def linear(c: list[str], steps: str, base: str, over: str = TWO) -> Prediction:
    return Prediction("linear", {"c": c, "over": over, "steps": steps, "base": base})


@st.composite
def cases(draw: st.DrawFn) -> tuple[Prediction, TensorKind, list[TensorKind]]:
    """A prediction of each op with kinds that fit it."""
    dtype, source, other = (draw(st.sampled_from(FLOATS)) for _ in range(3))
    target, parent = TensorKind(dtype, SHAPE), TensorKind(source, SHAPE)
    match draw(st.sampled_from("linear lora cast prune quant scaled transpose rows".split())):
        case "linear":
            base = draw(st.sampled_from(["none", "last", "first"]))
            steps = draw(st.sampled_from(["f32", "f64", "fused", "each", "added", "stack"]))
            numbers = st.floats(-8, 8, allow_subnormal=False).map(float.hex)
            c = draw(st.lists(numbers, min_size=1, max_size=3))
            kinds = [parent, TensorKind(other, SHAPE)] * 2
            over = draw(st.sampled_from([TWO, (1.0).hex()]))
            return linear(c, steps, base, over), target, kinds[: len(c) + (base != "none")]
        case "lora":
            steps = draw(st.sampled_from(["f32", "delta", "each", "fused"]))
            a, b = TensorKind(other, (RANK, COLUMNS)), TensorKind(source, (ROWS, RANK))
            return Prediction("lora", {"scale": TWO, "steps": steps}), target, [parent, a, b]
        case "cast":
            return Prediction("cast", {"heads": draw(HEADS)}), target, [parent]
        case "prune":
            params = {"below": HALF, "signed": draw(st.booleans())}
            return Prediction("prune", params), target, [target]
        case "quant":
            quant = draw(st.sampled_from(QUANTS))
            fused = quant != "Q8_0" and draw(st.booleans())
            return (
                Prediction("quant", {"fused": fused, "heads": draw(HEADS)}),
                TensorKind(quant, SHAPE),
                [parent],
            )
        case "scaled":
            params = {
                "scale": draw(st.sampled_from(["own", "given"])),
                "form": draw(st.sampled_from(["divide", "inverse", "multiply"])),
                "steps": draw(st.sampled_from(["f32", "each"])),
            }
            kinds = [parent] + [
                TensorKind(other, draw(st.sampled_from([(ROWS, 1), (1,), (1, 1)])))
            ] * (params["scale"] == "given")
            eight = draw(st.sampled_from(["I8", "F8_E4M3"]))
            return Prediction("scaled", params), TensorKind(eight, SHAPE), kinds
        case "transpose":
            return Prediction("transpose", {}), target, [TensorKind(source, SHAPE[::-1])]
        case _:
            any_ = draw(st.sampled_from(FLOATS + QUANTS + ["I8"]))
            rows = draw(st.sampled_from([1, 3, 9]))
            kinds = [TensorKind(any_, (rows, COLUMNS))]
            return Prediction("rows", {}), TensorKind(any_, SHAPE), kinds


def filled(kind: TensorKind, seed: int, wild: bool) -> Candidate:
    """Random bits, NaN and infinity among them; or numbers of a usual size."""
    random = np.random.default_rng(seed)
    data = np.frombuffer(random.bytes(kind.raw_bytes), np.uint8)
    if not wild and kind.dtype in ("F32", "F64", "F16"):
        data = random.normal(0, 1, kind.shape).astype(f"f{kind.format.block_bytes}").view(np.uint8)
    if wild and kind.raw_bytes > 64:  # zeros of both signs, side by side
        data = data.copy()
        data[8:40] = 0
        data[40:48] = 128
    return candidate("", kind.dtype, data, kind.shape)


@settings(max_examples=examples(400), deadline=None)
@given(case=cases(), seed=st.integers(0, 2**32), wild=st.booleans(), frame=st.integers(1, 13))
def test_frames_are_parts_of_the_whole_whatever_the_bits(
    case: tuple[Prediction, TensorKind, list[TensorKind]], seed: int, wild: bool, frame: int
) -> None:
    """A warning would fail here too: they are errors in this suite."""
    prediction, target, kinds = case
    parents = [filled(kind, seed + n, wild) for n, kind in enumerate(kinds)]
    at_once = in_frames(prediction, target, parents, target.elements)
    assert len(at_once) == target.raw_bytes
    assert in_frames(prediction, target, parents, 32 * frame) == at_once
    if target.format.block == 1:
        assert in_frames(prediction, target, parents, 7 * frame) == at_once
    assert from_json(prediction.to_json()) == prediction


@given(case=cases(), data=st.data())
def test_ranges_that_are_no_ranges_are_refused(
    case: tuple[Prediction, TensorKind, list[TensorKind]], data: st.DataObject
) -> None:
    prediction, target, kinds = case
    width = target.format.block_bytes
    blocks = target.raw_bytes // width
    first = data.draw(st.integers(0, blocks)) * width
    assert all(a == b for a, b in needs(prediction, target, kinds, first, first))
    for start, stop in [(first + width, first), (-width, 0), (0, target.raw_bytes + width)]:
        with pytest.raises(Malformed):
            needs(prediction, target, kinds, start, stop)
    if width > 1:
        with pytest.raises(Malformed):
            needs(prediction, target, kinds, 0, 1)
    with pytest.raises(Malformed):
        predict(prediction, target, kinds, 0, width, [memoryview(bytes(11))] * len(kinds))
    with pytest.raises(Malformed):
        needs(prediction, target, kinds[1:], 0, 0)
    with pytest.raises(Malformed):
        needs(prediction, TensorKind("I64", target.shape), kinds, 0, 0)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
)


@given(case=cases(), data=st.data())
def test_a_changed_text_is_a_prediction_or_malformed(
    case: tuple[Prediction, TensorKind, list[TensorKind]], data: st.DataObject
) -> None:
    """One field at a time becomes anything at all; what is taken can be written and used."""
    fields: dict[str, Any] = json.loads(case[0].to_json())
    key = data.draw(st.sampled_from([*fields, "more"]))
    fields[key] = data.draw(JSON)
    try:
        taken = from_json(json.dumps(fields))
    except Malformed:
        return
    assert from_json(taken.to_json()) == taken
    assert key != "more"


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "null", "{}", "{", '{"op":"copy"}', '{"op":["cast"]}', '{"op":"cast","x":1}',
        '{"op":"cast","heads":true}', '{"op":"cast","heads":0}', '{"op":"cast","heads":9999}',
        '{"op":"cast","op":"cast"}', '{"op":"quant","fused":1,"heads":1}',
        '{"op":"quant","fused":NaN,"heads":1}',
        '{"op":"prune","below":"-0x1.0000000000000p+0","signed":true}',
        '{"op":"prune","below":"-0x0.0p+0","signed":true}',
        '{"op":"prune","below":"0x1p+0","signed":true}',
        '{"op":"prune","below":"nan","signed":true}', '{"op":"prune","below":"inf","signed":true}',
        '{"op":"prune","below":"0x1.0000000000000p+1023","signed":true}',
        '{"op":"prune","below":1.0,"signed":true}',
        '{"op":"linear","c":[],"over":"0x1.0000000000000p+0","steps":"f32","over":"0x1.0000000000000p+0","base":"none"}',
        '{"op":"linear","c":"0x0.0p+0","steps":"f32","over":"0x1.0000000000000p+0","base":"none"}',
        '{"op":"linear","c":["0x0.0p+0"],"steps":["f32"],"over":"0x1.0000000000000p+0","base":"none"}',
        '{"op":"linear","c":["0x0.0p+0"],"steps":"f32","base":false,"over":"0x1.0000000000000p+0"}',
        '{"op":"linear","c":["0x0.0p+0","0x0.0p+0","0x0.0p+0","0x0.0p+0","0x0.0p+0"],'
        '"steps":"f32","over":"0x1.0000000000000p+0","base":"none"}',
        '{"op":"linear","c":["0x0.0p+0"],"steps":"f32","over":"0x0.0p+0","base":"none"}',
        "[" * 5000, '{"op":' + "[" * 3000, '{"op":"cast"' + " " * 5000 + "}", b"\xff\xfe",
        '{"op":' + "9" * 4000 + "}",
    ],
)  # fmt: skip
def test_hostile_text_is_malformed(text: str | bytes) -> None:
    with pytest.raises(Malformed):
        from_json(text)


@pytest.mark.parametrize(
    ("op", "params", "target", "kinds"),
    [
        ("cast", {"heads": 1}, ("F32", (2, 3)), [("BF16", (3, 2))]),
        ("cast", {"heads": 1}, ("I8", (2, 3)), [("BF16", (2, 3))]),
        ("cast", {"heads": 1}, ("F32", (2**30, 2**30)), [("BF16", (2**30, 2**30))]),
        ("cast", {"heads": 1}, ("F32", (-1, -2)), [("BF16", (-1, -2))]),
        ("quant", {"fused": True, "heads": 1}, ("Q8_0", (2, 32)), [("BF16", (2, 32))]),
        ("quant", {"fused": False, "heads": 1}, ("Q8_0", (2, 48)), [("BF16", (2, 48))]),
        ("cast", {"heads": 3}, ("F32", (9, 4)), [("BF16", (9, 4))]),
        ("cast", {"heads": 2}, ("F32", (4,)), [("BF16", (4,))]),
        ("rows", {}, ("F32", (2, 3)), [("F32", (2, 3))]),
        ("transpose", {}, ("F32", (2**13, 2**13)), [("BF16", (2**13, 2**13))]),
        ("lora", {"scale": TWO, "steps": "f32"}, ("F32", (4, 4)),
         [("F32", (4, 4)), ("F32", (2, 4)), ("F32", (4, 3))]),
        ("none", {}, ("F32", (2, 3)), [("F32", (2, 3))]),
    ],
)  # fmt: skip
def test_kinds_that_do_not_fit_are_refused(op: str, params: Any, target: Any, kinds: Any) -> None:
    with pytest.raises(Malformed):
        needs(Prediction(op, params), TensorKind(*target), [TensorKind(*k) for k in kinds], 0, 0)


def test_a_large_tensor_is_the_same_in_tiles() -> None:
    """Frames longer than what is worked on at a time, which the small cases never reach."""
    shape = (40, 4096)
    family = [filled(TensorKind("BF16", shape), seed, True) for seed in (1, 2)]
    target = TensorKind("BF16", shape)
    for prediction in (linear([HALF, TWO], "each", "none"), linear([HALF], "f32", "last")):
        at_once = in_frames(prediction, target, family, target.elements)
        assert in_frames(prediction, target, family, 4128) == at_once
    quant = Prediction("quant", {"fused": False, "heads": 1})
    target = TensorKind("Q5_1", shape)
    at_once = in_frames(quant, target, family[:1], target.elements)
    assert in_frames(quant, target, family[:1], 4128) == at_once


def test_known_bits() -> None:
    """By hand: ties to even, overflow, and the one NaN of each type."""
    values = np.array([1 + 2**-8, 1 + 3 * 2**-8, 3.4e38, np.nan, -0.0, 2.0**-133 * 1.5], np.float32)
    one = candidate("", "F32", values)

    def as_(dtype: str) -> list[int]:
        data = in_frames(Prediction("cast", {"heads": 1}), TensorKind(dtype, (6,)), [one], 6)
        return np.frombuffer(data, f"u{len(data) // 6}").tolist()

    assert as_("BF16") == [0x3F80, 0x3F82, 0x7F80, 0x7FC0, 0x8000, 2]
    assert as_("F16") == [0x3C04, 0x3C0C, 0x7C00, 0x7E00, 0x8000, 0]
    assert as_("F8_E4M3") == [0x38, 0x38, 0x7E, 0x7F, 0x80, 0]
