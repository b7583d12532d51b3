"""Push and load with transformers and datasets: runs inside their venv, as their users would.

    python transformers_script.py push|load REPO bert|llama     a tiny model of random weights
    python transformers_script.py push|load REPO dataset        a small table, as Parquet

Both commands print one JSON object of digests: of each tensor, or of each column. What `push`
printed of its local original is what `load` must print of its download. The weights come from
the system's entropy, so `load` cannot make them itself. The libraries are imported late and by
name: each command needs only some, and this file is also read where none is installed.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
from importlib import import_module
from typing import Any

ROWS = 5_000


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def tensors(model: Any) -> dict[str, str]:
    """Name to digest over dtype, shape and raw bytes of every parameter and buffer."""
    torch: Any = import_module("torch")
    found = {}
    for name, tensor in sorted(model.state_dict().items()):
        raw = tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        found[name] = digest(f"{tensor.dtype} {tuple(tensor.shape)} ".encode() + raw)
    return found


def new_model(kind: str) -> Any:
    torch: Any = import_module("torch")
    lib: Any = import_module("transformers")
    torch.seed()
    small = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    small |= {"intermediate_size": 128, "vocab_size": 1_000}
    if kind == "bert":
        return lib.BertModel(lib.BertConfig(**small))
    return lib.LlamaForCausalLM(lib.LlamaConfig(**small)).to(torch.bfloat16)


def push_model(repo: str, kind: str) -> dict[str, str]:
    model = new_model(kind)
    model.push_to_hub(repo)
    return tensors(model)


def load_model(repo: str, kind: str) -> dict[str, str]:
    lib: Any = import_module("transformers")
    assert lib.AutoConfig.from_pretrained(repo).model_type == kind
    loader = lib.AutoModel if kind == "bert" else lib.AutoModelForCausalLM
    return tensors(loader.from_pretrained(repo, dtype="auto"))


def columns(table: Any) -> dict[str, str]:
    """Column name to digest over its values, and the number of rows."""
    found = {name: digest(json.dumps(list(table[name])).encode()) for name in table.column_names}
    return {"rows": str(len(table)), **found}


def push_dataset(repo: str) -> dict[str, str]:
    datasets: Any = import_module("datasets")
    source = random.SystemRandom()
    table = datasets.Dataset.from_dict(
        {
            "text": [f"ligne {i} 模型 {source.random()}" for i in range(ROWS)],
            "label": [source.randrange(10) for _ in range(ROWS)],
        }
    )
    table.push_to_hub(repo)
    return columns(table)


def load_dataset(repo: str) -> dict[str, str]:
    datasets: Any = import_module("datasets")
    return columns(datasets.load_dataset(repo, split="train"))


def main() -> None:
    command, repo, kind = sys.argv[1:]
    if kind == "dataset":
        facts = push_dataset(repo) if command == "push" else load_dataset(repo)
    else:
        facts = push_model(repo, kind) if command == "push" else load_model(repo, kind)
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
