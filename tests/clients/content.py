"""The bytes of the scenarios: made from a seed, so every process can make the same ones again.

Each scenario has a seed of its own; two scenarios share no content, so what the server stores
for one tells nothing about another. Only the standard library: it runs inside the client venvs.
"""

from __future__ import annotations

import base64
import hashlib
import json
import random
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

MB = 1_000_000
BIG = "model.safetensors"
EMPTY = "empty/nothing.txt"
UNICODE = "données/模型/ü.txt"
ODD = "odd/a b+c%20d#e.txt"  # every character that a URL would like to read differently
FOLDER_FILES = 200
SMALL_BINARIES = 10  # LFS files that are far smaller than one Xet chunk run
TENSORS = 4
TENSOR_SIDE = 3_708  # 4 square bf16 tensors: 110 MB
PARAMETERS = TENSORS * TENSOR_SIDE**2

CARD = """---
license: mit
language: [en, fr]
library_name: transformers
pipeline_tag: text-generation
tags: [headwater-test]
---
# {seed}

A model of nothing.
"""


# A PNG of one pixel, whole.
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5E"
    "rkJggg=="
)


def noise(seed: str, size_bytes: int) -> bytes:
    """Bytes that do not compress."""
    return random.Random(seed).randbytes(size_bytes)


def text(seed: str) -> bytes:
    """A few readable lines, not ASCII only."""
    return "".join(f"{seed} line {i}: naïve 模型 ✓\n" for i in range(20)).encode()


@cache
def weights(seed: str) -> bytes:
    """A valid safetensors file of 110 MB whose bf16 values lie around zero, as weights do.

    The high byte of such a number (sign and exponent) takes few values, the low byte is noise.
    """
    header: dict[str, object] = {}
    tensor_bytes = 2 * TENSOR_SIDE**2
    for i in range(TENSORS):
        header[f"layers.{i}.weight"] = {
            "dtype": "BF16",
            "shape": [TENSOR_SIDE, TENSOR_SIDE],
            "data_offsets": [i * tensor_bytes, (i + 1) * tensor_bytes],
        }
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    exponents = bytes(
        (0x80 if i & 1 else 0) | (0x3C - (i & -i).bit_length() // 2) for i in range(256)
    )
    source = random.Random(f"{seed}/weights")
    data = bytearray(TENSORS * tensor_bytes)
    data[0::2] = source.randbytes(len(data) // 2)
    data[1::2] = source.randbytes(len(data) // 2).translate(exponents)
    return len(head).to_bytes(8, "little") + head + bytes(data)


def edited(seed: str) -> bytes:
    """`weights` with 4 KB replaced in the middle and 1,000 bytes inserted at three quarters."""
    old = weights(seed)
    half, late = len(old) // 2, len(old) * 3 // 4
    new = noise(f"{seed}/edit", 5_000)
    return old[:half] + new[:4_000] + old[half + 4_000 : late] + new[4_000:] + old[late:]


@cache
def folder(seed: str) -> dict[str, bytes]:
    """Path to content of 200 files: one big, one empty, nested, with names that need care."""
    files = {
        "README.md": CARD.format(seed=seed).encode(),
        "config.json": json.dumps({"model_type": "llama", "seed": seed}).encode(),
        BIG: weights(seed),
        EMPTY: b"",
        UNICODE: text(f"{seed}/unicode"),
        ODD: text(f"{seed}/odd"),
    }
    for i in range(SMALL_BINARIES):
        files[f"shards/part-{i}.bin"] = noise(f"{seed}/part{i}", 50_000 + i)
    for i in range(FOLDER_FILES - len(files)):
        files[f"nested/{i % 7}/deep/{i % 3}/file-{i}.txt"] = text(f"{seed}/{i}")
    return files


def shared(seed: str) -> dict[str, bytes]:
    """What one client release uploads for the others to read."""
    return {
        "README.md": CARD.format(seed=seed).encode(),
        UNICODE: text(seed),
        "weights.bin": noise(f"{seed}/shared", 12 * MB),
        "small.bin": noise(f"{seed}/small", 3_000),
    }


def written(files: dict[str, bytes], root: Path) -> Path:
    """Write `files` below `root`, which is returned."""
    for path, data in files.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return root


def found(root: Path) -> Iterator[tuple[str, bytes]]:
    """Path and content of every file below `root`, less what the client keeps for itself."""
    for each in sorted(root.rglob("*")):
        path = each.relative_to(root).as_posix()
        if each.is_file() and not path.startswith(".cache/"):
            yield path, each.read_bytes()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def git_blob_id(data: bytes) -> str:
    """Git's name of a file with this content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def lfs_pointer(data: bytes) -> bytes:
    """The small file that stands in git for an LFS file with this content."""
    return (
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256(data)}\nsize {len(data)}\n"
    ).encode()


def disk_bytes(root: Path) -> int:
    """What `du` says of `root`: allocated bytes, each inode once. 0 for a missing folder."""
    inodes: dict[int, int] = {}
    for each in root.rglob("*"):
        try:
            stat = each.lstat()
        except FileNotFoundError:
            continue  # a temporary file of the server, gone again
        inodes[stat.st_ino] = stat.st_blocks * 512
    return sum(inodes.values())


def scratch(work: Path) -> tempfile.TemporaryDirectory[str]:
    """An empty folder below `work` that is removed after use."""
    return tempfile.TemporaryDirectory(dir=work)
