"""Small families of weights for the tests of packing: real formats, tensors that count."""

import json
import struct
from collections.abc import Mapping

import numpy as np

WIDTHS = {"BF16": 2, "F16": 2, "F32": 4, "I8": 1, "U8": 1, "F64": 8}

Arrays = Mapping[str, tuple[str, tuple[int, ...], bytes]]  # name -> dtype, shape, bytes


def bf16(values: np.ndarray) -> np.ndarray:
    """Rounded towards zero: any BF16 will do."""
    return (values.astype(np.float32).view(np.uint32) >> 16).astype("<u2")


def safetensors(arrays: Arrays, metadata: Mapping[str, str] | None = None) -> bytes:
    """The bytes of a safetensors file."""
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    at = 0
    for name, (dtype, shape, data) in arrays.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(data for _, _, data in arrays.values())


def model(seed: int, width: int = 96, layers: int = 2, vocabulary: int = 300) -> dict:
    """Gaussian weights in BF16, as a freshly made model has them."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for name, shape in (
        ("embed.weight", (vocabulary, width)),
        *((f"layers.{n}.{part}.weight", (width, width)) for n in range(layers) for part in "qkv"),
        *((f"layers.{n}.norm.weight", (width,)) for n in range(layers)),
    ):
        arrays[name] = ("BF16", shape, bf16(rng.standard_normal(shape) * 0.02).tobytes())
    return arrays


def tuned(arrays: Arrays, seed: int, share: float = 0.3, reach: int = 2) -> dict:
    """Some of the weights moved by a few steps, as a fine-tune leaves them."""
    rng = np.random.default_rng(seed)
    made = {}
    for name, (dtype, shape, data) in arrays.items():
        words = np.frombuffer(data, "<u2").copy()
        moved = rng.random(len(words)) < share
        words[moved] += rng.integers(-reach, reach + 1, int(moved.sum())).astype(np.uint16)
        made[name] = (dtype, shape, words.tobytes())
    return made


def grown(arrays: Arrays, rows: int, seed: int) -> dict:
    """The same with rows added to the vocabulary."""
    rng = np.random.default_rng(seed)
    dtype, (vocabulary, width), data = arrays["embed.weight"]
    more = bf16(rng.standard_normal((rows, width)) * 0.02).tobytes()
    return {**arrays, "embed.weight": (dtype, (vocabulary + rows, width), data + more)}
