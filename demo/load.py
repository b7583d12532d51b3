"""Load downloaded weights without any model code: `load.py BASE.safetensors TUNED.safetensors`.

Prints a tensor of the base, and which tensors of the derivative differ from it. Runs with the
client's Python.
"""

import sys

import numpy as np
from safetensors.numpy import load_file

SHOWN = "embeddings.word_embeddings.weight"


def main(base: str, tuned: str) -> None:
    before, after = load_file(base), load_file(tuned)
    tensor = before[SHOWN]
    numbers = sum(tensor.size for tensor in before.values())
    print(f"{len(before)} tensors, {numbers / 1e6:.1f} million numbers")
    print(f"{SHOWN}: {tensor.dtype} {tensor.shape}, norm {np.linalg.norm(tensor):.4f}")
    moved = [name for name in before if not np.array_equal(before[name], after[name])]
    layers = sorted({".".join(name.split(".")[:3]) for name in moved})
    print(f"minilm-tuned differs in {len(moved)} tensors, all of {', '.join(layers)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
