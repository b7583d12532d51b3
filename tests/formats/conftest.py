"""What the format tests share: a reference store made by the real client, and a watch on cost."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import hf_xet
import numpy as np
import pytest

from yardstick import slowness


@dataclass(frozen=True)
class ReferenceStore:
    """Files, and what `hf_xet` made of them on disk: xorbs with footers, one shard."""

    files: dict[str, bytes]
    hashes: dict[str, str]  # file name -> the client's own Xet hash
    xorbs: dict[str, bytes]  # xorb hash -> serialized xorb
    shards: list[bytes]


def bf16_like(count: int, seed: int = 0) -> bytes:
    """`count` bfloat16 values, normally distributed like the weights of a layer."""
    values = np.random.default_rng(seed).normal(0, 0.02, count).astype(np.float32)
    return (values.view(np.uint32) >> 16).astype(np.uint16).tobytes()


@pytest.fixture(scope="session")
def reference_store(tmp_path_factory: pytest.TempPathFactory) -> ReferenceStore:
    root = tmp_path_factory.mktemp("reference")
    files = {
        "weights.bin": bf16_like(3_000_000) + b"odd",
        "noise.bin": np.random.default_rng(1).bytes(1_000_001),
        "lines.txt": b"".join(b"line %d of a text\n" % i for i in range(60_000)),
        "one.bin": b"x",
        "empty.bin": b"",
    }
    for name, data in files.items():
        (root / name).write_bytes(data)
    paths = [str(root / name) for name in files]
    hashes = [info.hash for info in hf_xet.hash_files(paths)]
    with hf_xet.XetSession().new_upload_commit(endpoint=f"local://{root}/cas") as commit:
        for path in paths:
            commit.start_upload_file(path)
    folder = root / "cas" / "xet" / "xorbs"
    xorbs = {
        path.name.removeprefix("default."): path.read_bytes()
        for path in (folder / "xorbs").iterdir()
        if not path.name.endswith(".tagset")
    }
    shards = [path.read_bytes() for path in (folder / "shards").glob("*.mdb")]
    return ReferenceStore(files, dict(zip(files, hashes, strict=True)), xorbs, shards)


@dataclass
class Cost:
    cpu_s: float = 0.0
    peak_bytes: int = 0


@pytest.fixture
def measured():
    """`with measured() as cost:` the CPU seconds (see `yardstick`) and the peak of
    memory that its body took."""

    @contextmanager
    def measure(memory: bool = False) -> Iterator[Cost]:
        cost = Cost()
        if memory:  # off by default: tracing makes everything several times slower
            tracemalloc.start()
        began = time.process_time()
        try:
            yield cost
        finally:
            took = time.process_time() - began
            if memory:
                cost.peak_bytes = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()
            cost.cpu_s = took / slowness()

    return measure


@pytest.fixture
def weights() -> bytes:
    return bf16_like(300_000)
