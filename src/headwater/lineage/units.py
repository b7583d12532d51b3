"""Which files of a repository are one model.

    units(files) -> (Unit, …)     `files`: (path, SHA-256, bytes) of what lies in large storage

Shards that count themselves (`model-00001-of-00004.safetensors`) are one, any other file of weights
is one by itself. What a trainer leaves beside the weights is none.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from headwater.names import Digest

ENDINGS = (".safetensors", ".gguf", ".bin", ".pt", ".pth", ".ckpt", ".onnx")
UNITS_MAX = 64  # of one repository, the largest: a shelf of quantizations has some thirty
SHARDS_MAX = 1_000
_DOMAIN = "headwater model"
_SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})(\.\w+)")
# By a trainer: Transformers' and DeepSpeed's names for what is not weights.
_NO_MODEL = re.compile(
    r"(optimizer|scheduler|training_args|rng_state|trainer_state|scaler|.*optim_states).*", re.I
)


@dataclass(frozen=True, slots=True)
class UnitFile:
    path: str
    oid: Digest
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Unit:
    """One model. `path`: of its file, or of its first shard."""

    path: str
    files: tuple[UnitFile, ...]  # in the order of their paths

    @property
    def key(self) -> str:
        """What stands for these bytes, wherever they lie: 64 hex digits. No file's own hash, or a
        file could be made whose hash is the key of shards that its maker knows the hashes of."""
        text = "\n".join([_DOMAIN, *(file.oid for file in self.files)])
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)


def units(files: Iterable[UnitFile]) -> tuple[Unit, ...]:
    """Models among the files, the largest first."""
    groups: dict[tuple[str, ...], list[UnitFile]] = {}
    for file in files:
        folder, _, name = file.path.rpartition("/")
        if not name.lower().endswith(ENDINGS) or _NO_MODEL.fullmatch(name):
            continue
        shard = _SHARD.fullmatch(name)
        whole = (folder, shard[1], shard[3], shard[4]) if shard else (file.path,)
        groups.setdefault(whole, []).append(file)
    found = []
    for group in groups.values():
        group.sort(key=lambda file: file.path)
        if len(group) <= SHARDS_MAX:
            found.append(Unit(group[0].path, tuple(group)))
    return tuple(sorted(found, key=lambda unit: (-unit.size_bytes, unit.path))[:UNITS_MAX])
