"""Hostile files through the whole job (safety rules B11 to B18): a label each, and nobody waits."""

from __future__ import annotations

import io
import json
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from work.lineage_world import LineageWorld

HERE = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(HERE / "lineage"), str(HERE / "attacks")]

import pickles  # noqa: E402  (found through the folder)
from kin_kit import base, trained  # noqa: E402
from lineage_kit import to_gguf  # noqa: E402

ROOT = base()
WHOLE = save(ROOT)
LAYER = "model.layers.{}.mlp.up_proj.weight"


def header(table: object, data: bytes = b"", said: int | None = None) -> bytes:
    text = table if isinstance(table, bytes) else json.dumps(table).encode()
    return struct.pack("<Q", len(text) if said is None else said) + text + data


def tensor(start: int, end: int, shape: list[int], dtype: str = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def safetensors_cases() -> dict[str, bytes]:
    """B11 to B14."""
    one = tensor(0, 16, [2, 2])
    many = {LAYER.format(n): tensor(0, 0, [0, 64]) for n in range(100_000)}
    return {
        "empty": b"", "seven": bytes(7), "length-alone": struct.pack("<Q", 0),
        "length-2-63": header(b"", said=2**63), "length-past-end": header({}, said=10**6),
        "length-huge": header({}, said=200 * 2**20), "no-json": header(b"\xff" * 40),
        "overlap": header({"a": one, "b": tensor(8, 24, [2, 2])}, bytes(24)),
        "hole": header({"a": one, "b": tensor(20, 36, [2, 2])}, bytes(36)),
        "trailing": header({"a": one}, bytes(99)), "past-end": header({"a": one}, bytes(4)),
        "reversed": header({"a": tensor(16, 0, [2, 2])}, bytes(16)),
        "negative": header({"a": tensor(-16, 0, [2, 2])}, bytes(16)),
        "overflow": header({"a": tensor(0, 16, [2**62, 2**62])}, bytes(16)),
        "wrong-shape": header({"a": tensor(0, 16, [3, 2])}, bytes(16)),
        "deep": header(b"[" * 100_000), "twice": header(
            b'{"a":' + json.dumps(one).encode() + b',"a":' + json.dumps(one).encode() + b"}",
            bytes(16),
        ),
        "no-rows": header(many), "names": header({"x" * 60_000: one, "../a": one}, bytes(16)),
        "layer-2-31": header({LAYER.format(2**31): one}, bytes(16)),
        "layer-digits": header({LAYER.format("9" * 5000): one}, bytes(16)),
        "subbyte": header({"a": tensor(0, 16, [2, 16], "F4")}, bytes(16)),
        "odd-type": header({"a": tensor(0, 16, [2, 2], "F1")}, bytes(16)),
    }  # fmt: skip


def gguf_cases(folder: Path) -> dict[str, bytes]:
    """B16: a sound file, and what may be wrong with each number of its head."""
    sound = to_gguf(folder / "sound.gguf", ROOT, "Q8_0").read_bytes()
    cases = {"sound": sound, "version-0": sound[:4] + bytes(4) + sound[8:]}
    for at, name in ((8, "tensors"), (16, "pairs"), (24, "key"), (60, "inside"), (200, "later")):
        for value in (2**31, 2**63, 2**64 - 1):
            cases[f"{name}-{value}"] = sound[:at] + struct.pack("<Q", value) + sound[at + 8 :]
    cases |= {f"cut-{at}": sound[:at] for at in (4, 23, 60, 500, 3000, len(sound) - 1)}
    return cases


def pickled_cases() -> dict[str, bytes]:
    """B14, B17, B18."""
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", bytes(50 * 2**20))
    crowd = io.BytesIO()
    with zipfile.ZipFile(crowd, "w") as file:
        for number in range(20_000):
            file.writestr(f"archive/data/{number}", b"")
    return {
        **pickles.hostile(), **pickles.polyglots(), "bomb": bomb.getvalue(),
        "crowd": crowd.getvalue(), "slip": pickles.zipped({"../../data.pkl": b"\x80\x02."}),
    }  # fmt: skip


def numbers() -> dict[str, bytes]:
    """Files of the right names and shapes whose numbers are none: they are compared with others."""
    cases = {}
    for name, value in (("nan", np.nan), ("inf", np.inf), ("huge", 3e38), ("tiny", 1e-45),
                        ("zero", 0.0)):  # fmt: skip
        cases[name] = save({n: np.full_like(v, value) for n, v in ROOT.items()})
        half = {
            n: np.where(np.arange(v.size).reshape(v.shape) % 2, v, value) for n, v in ROOT.items()
        }
        cases[f"half-{name}"] = save({n: v.astype(np.float32) for n, v in half.items()})
    return cases


def test_each_gets_a_label_and_sound_models_are_compared(tmp_path: Path) -> None:
    """Nothing is raised, nothing of it becomes a relative, and the worker serves the next one."""
    world = LineageWorld(tmp_path / "hub")
    groups = [
        ("safetensors", safetensors_cases()), ("gguf", gguf_cases(tmp_path)),
        ("bin", pickled_cases()), ("safetensors", numbers()),
    ]  # fmt: skip
    try:
        world.publish("lab/base", {"model.safetensors": WHOLE})
        names = []
        for number, (ending, cases) in enumerate(groups):
            files = [(f"{at:03}.{ending}", data) for at, data in enumerate(cases.values())]
            for start in range(0, len(files), 40):  # some are one file, and others no file at all
                names.append(f"eve/bad-{number}-{start}")
                world.publish(names[-1], dict(files[start : start + 40]))
        world.publish("ann/child", {"model.safetensors": save(trained(ROOT, 5))})
        world.look()
        states = set()
        for name in names:
            found = world.lineage(name)
            assert found["models"], name
            for model in found["models"]:
                assert model["state"] in ("compared", "no layers", "failed"), model
                assert (model["state"] == "failed") == bool(model["reason"]), model
                states.add(model["state"])
        assert states >= {"compared", "no layers"}
        assert world.parents("ann/child") == [("lab/base", "tuned")]
        bad = [one for name in names[:-1] for one in world.parents(name)]
        assert set(bad) <= {("lab/base", "quantized")}, "the one sound file among them"
    finally:
        world.close()
