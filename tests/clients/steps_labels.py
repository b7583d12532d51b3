"""Steps about what the hub knows of files: safety, weights, descent, cards."""

from __future__ import annotations

import json
import struct
from typing import Any

from huggingface_hub import CommitOperationAdd
from stepkit import Context, Facts, check, same, same_set, step

SIDE = 64
EVIL = b"\x80\x04\x8c\x05posix\x8c\x06getcwd\x93)R."  # names a function; nobody loads it
TENSORS = {"layer.a": SIDE, "layer.b": SIDE // 2}
CARD = """---
base_model: {base}
base_model_relation: adapter
language: en
---
See https://arxiv.org/abs/2307.09288.
"""
CONFIG = {
    "model_type": "bert",
    "architectures": ["BertForMaskedLM"],
    "auto_map": {"AutoModelForMaskedLM": "modeling.Mine"},
}


def shard(seed: str, names: dict[str, int]) -> bytes:
    """A small safetensors file; the seed keeps it apart from those of other scenarios."""
    head: dict[str, Any] = {"__metadata__": {"seed": seed}}
    at = 0
    for name, side in names.items():
        head[name] = {"dtype": "F32", "shape": [side], "data_offsets": [at, at + 4 * side]}
        at += 4 * side
    text = json.dumps(head).encode()
    return struct.pack("<Q", len(text)) + text + bytes(at)


def uploads(files: dict[str, bytes]) -> list[Any]:
    return [CommitOperationAdd(path, data) for path, data in files.items()]


@step
def labels_of_files(context: Context) -> Facts:
    api, repo = context.api, context.repo("labels")
    api.create_repo(repo)
    weights = shard(context.seed, TENSORS)
    files = {
        "model.safetensors": weights,
        "evil.bin": EVIL + context.seed.encode(),
        "config.json": json.dumps(CONFIG).encode(),
        "tokenizer_config.json": b'{"mask_token": "[MASK]"}',
        "README.md": CARD.format(base=context.repo("parent")).encode(),
    }
    api.create_commit(repo, uploads(files), commit_message="add")
    info = api.model_info(repo, securityStatus=True)
    status = info.security_repo_status
    same(status["scansDone"], True, "scansDone")
    levels = {issue["path"]: issue["level"] for issue in status["filesWithIssues"]}
    same(levels, {"evil.bin": "unsafe", "config.json": "caution"}, "files with issues")
    tree = {e.path: e.security for e in api.list_repo_tree(repo, expand=True)}
    check(tree["model.safetensors"].safe, "the weights are safe")
    check(not tree["evil.bin"].safe, "the pickle is not")
    scan = tree["evil.bin"].pickle_import_scan
    same(scan["highestSafetyLevel"], "dangerous", "highest level")
    named = [(each["module"], each["name"]) for each in scan["imports"]]
    same(named, [("posix", "getcwd")], "what the pickle names")
    same(tree["evil.bin"].av_scan, {"status": "not configured"}, "virus scan")
    (found,) = api.get_paths_info(repo, ["evil.bin"], expand=True)
    same(found.security.status, "unsafe", "status by paths-info")
    return {"issues": len(levels)}


@step
def what_weights_say(context: Context) -> Facts:
    api, repo = context.api, context.repo("labels")
    total = sum(TENSORS.values())
    metadata = api.get_safetensors_metadata(repo)
    same(metadata.parameter_count, {"F32": total}, "parameters by ranges")
    info = api.model_info(repo, expand=["safetensors", "transformersInfo", "mask_token", "tags"])
    same(info.safetensors.total, total, "total of the info reply")
    same(info.transformers_info.auto_model, "AutoModelForMaskedLM", "auto_model")
    same(info.transformers_info.custom_class, "modeling.Mine", "custom_class")
    same(info.mask_token, "[MASK]", "mask_token")
    for tag in ("arxiv:2307.09288", "region:us", "fill-mask", "bert", "custom_code"):
        check(tag in info.tags, f"tag {tag} among {info.tags}")
    sharded = context.repo("shards")
    api.create_repo(sharded)
    parts = {f"model-0000{n}-of-00002.safetensors": {f"t{n}": SIDE} for n in (1, 2)}
    index = {
        "metadata": {"total_size": 8 * SIDE},
        "weight_map": {name: part for part, names in parts.items() for name in names},
    }
    files = {part: shard(context.seed + part, names) for part, names in parts.items()}
    files["model.safetensors.index.json"] = json.dumps(index).encode()
    api.create_commit(sharded, uploads(files), commit_message="add")
    metadata = api.get_safetensors_metadata(sharded)
    same((metadata.sharded, metadata.parameter_count), (True, {"F32": 2 * SIDE}), "shards")
    at_once = getattr(api, "get_sharded_safetensors_metadata", None)
    if at_once is not None:  # older clients ask shard by shard
        found = at_once(sharded)
        same(found.weight_map, metadata.weight_map, "weight map at once")
        same(found.parameter_count, metadata.parameter_count, "parameters at once")
    rows = {m.id: m for m in api.list_models(author=context.user, expand=["safetensors"])}
    same(rows[repo].safetensors.total, total, "total in a listing, looked at before")
    return {"at_once": at_once is not None}


@step
def descent(context: Context) -> Facts:
    api, child, parent = context.api, context.repo("labels"), context.repo("parent")
    api.create_repo(parent)
    info = api.model_info(parent, expand=["childrenModelCount"])
    count = getattr(info, "children_model_count", None) or getattr(info, "childrenModelCount", None)
    same(count, {"adapter": 1}, "children of the parent")
    info = api.model_info(child, expand=["baseModels"])
    bases = getattr(info, "base_models", None) or getattr(info, "baseModels", None)
    same(bases["relation"], "adapter", "relation")
    same([each["id"] for each in bases["models"]], [parent], "parents")
    found = [m.id for m in api.list_models(filter=f"base_model:adapter:{parent}")]
    same(found, [child], "models by their base")
    by_paper = {m.id for m in api.list_models(author=context.user, filter="arxiv:2307.09288")}
    same_set(by_paper, [child], "models by paper")
    return {}
