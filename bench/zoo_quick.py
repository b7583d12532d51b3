"""A zoo of a few hundred kilobytes, made of random numbers in a moment: for tests of the bench.

It has the shape of the real one (names, dtypes, layers, steps as small as an optimizer's, a merge,
a pruned member, more rows), so that every path of every peer is walked. Its figures mean nothing.
"""

import json
from pathlib import Path

import numpy as np
from zoo import Member, Zoo

SEED = 5
WIDTH = 96
LAYERS = 2
STEP = 2e-4  # of a fine-tune, for each weight
CODES = {"bf16": "BF16", "f4": "F32", "i1": "I8"}

Model = dict[str, np.ndarray]


def bf16(values: np.ndarray) -> np.ndarray:
    """To the nearest, ties to even; as its 16 bits."""
    bits = values.astype("<f4").view("<u4")
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def write(path: Path, model: Model) -> None:
    """Two-byte unsigned arrays are BF16."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, data in model.items():
        dtype = "BF16" if data.dtype == "<u2" else CODES[data.dtype.str[1:]]
        header[name] = {
            "dtype": dtype,
            "shape": list(data.shape),
            "data_offsets": [at, at + data.nbytes],
        }
        at += data.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    body = b"".join(data.tobytes() for data in model.values())
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)


def build(cache: Path) -> Zoo:
    """Made anew at each call."""
    rng = np.random.default_rng(SEED)
    shapes = {"embed.weight": (300, WIDTH)}
    for layer in range(LAYERS):
        shapes |= {f"{layer}.attention.weight": (WIDTH, WIDTH), f"{layer}.norm.weight": (WIDTH,)}
    root: Model = {n: rng.normal(0, 0.03, s).astype("<f4") for n, s in shapes.items()}

    def stepped(model: Model, size: float) -> Model:
        return {n: w + size * rng.normal(size=w.shape).astype("<f4") for n, w in model.items()}

    tuned, other = stepped(root, STEP), stepped(root, 2 * STEP)
    longer = dict(tuned, **{"embed.weight": np.vstack([tuned["embed.weight"], [[0.5] * WIDTH]])})
    made = {
        "base": root,
        "tuned": tuned,
        "other": other,
        "merge": {n: (tuned[n] + other[n]) / 2 for n in root},
        "longer": longer,
        "pruned": {n: np.where(np.abs(w) < 0.02, 0, w) for n, w in root.items()},
    }
    for name, model in made.items():
        write(cache / name / "model.safetensors", {n: bf16(w) for n, w in model.items()})
    write(cache / "fp32" / "model.safetensors", root)
    whole = {n: np.clip(np.round(w * 1000), -128, 127).astype("i1") for n, w in tuned.items()}
    write(cache / "int8" / "model.safetensors", whole)

    def member(name: str, *bases: str) -> Member:
        return Member(name, cache / name / "model.safetensors", bases)

    return Zoo(
        member("fp32"),
        (member("base"), member("tuned", "base")),
        (
            member("base"),
            member("tuned", "base"),
            member("other", "base"),
            member("merge", "base", "tuned", "other"),
            member("longer", "tuned"),
            member("pruned", "base"),
        ),
        (member("int8", "tuned"),),
        "tuned",
    )
