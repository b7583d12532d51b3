"""Make a derivative: `tune.py BASE.safetensors OUT.safetensors` changes one encoder layer.

Each weight matrix of the layer gets seeded noise, 2 % of its own spread: about what a short
fine-tune of that layer moves. Every other tensor keeps its bytes. Runs with the client's Python.
"""

import sys

import numpy as np
from safetensors.numpy import load_file, save_file

LAYER = "encoder.layer.3."
SEED = 20261124
STRENGTH = 0.02


def main(base: str, out: str) -> None:
    tensors = load_file(base)
    noise = np.random.default_rng(SEED)
    changed = [
        name for name in sorted(tensors) if name.startswith(LAYER) and tensors[name].ndim == 2
    ]
    for name in changed:
        tensor = tensors[name]
        step = noise.standard_normal(tensor.shape, dtype=np.float32) * tensor.std() * STRENGTH
        tensors[name] = tensor + step.astype(tensor.dtype)
    save_file(tensors, out, metadata={"format": "pt"})
    moved_bytes = sum(tensors[name].nbytes for name in changed)
    print(
        f"{len(changed)} of {len(tensors)} tensors changed, all in {LAYER}*: "
        f"{moved_bytes / 1e6:.1f} MB of weights"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
