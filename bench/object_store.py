"""How fast do blobs go into a bucket and come out, against the bare library in the same run?

    python bench/object_store.py [--mib 128] [--rounds 3] [--url s3://bucket/prefix]

Without --url it starts Ceph's radosgw on loopback over memory (tests/store/rgw.py); with it, the
bucket must exist and the environment must say how to reach it (docs/operations.md).

Put: the bare library sends a local file, in parts of the same size; the store sends it too, but
first writes it (with its checksums, hashed) to the local tmp folder, and afterwards reads its end
back. Get: the bare library fetches the object in one request; the store reads it in pieces of
1 MiB, each verified. Medians, and the ratios of store to library; requests of one small blob in
milliseconds.
"""

import argparse
import hashlib
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "tests" / "store")]

from rgw import ceph

from headwater.names import Digest
from headwater.store import Store
from headwater.store.bucket import open_bucket
from headwater.store.object_shelf import PART_BYTES_MIN, UPLOAD_BYTES_MAX

MIB = 2**20


def seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def put(store: Store, data: bytes) -> Digest:
    with store.write_plain(len(data)) as writer:
        for at in range(0, len(data), MIB):
            writer.write(data[at : at + MIB])
        return writer.finish().oid


Taken = dict[str, list[float]]  # seconds of each round, by what was done


def one_round(store: Store, url: str, data: bytes, file: Path, taken: Taken) -> None:
    library = open_bucket(url)
    file.write_bytes(data)
    oid = Digest(hashlib.sha256(data).hexdigest())
    concurrency = UPLOAD_BYTES_MAX // PART_BYTES_MIN
    taken["library put"].append(
        seconds(
            lambda: library.put(
                "bare", file, chunk_size=PART_BYTES_MIN, max_concurrency=concurrency
            )
        )
    )
    taken["store put"].append(seconds(lambda: put(store, data)))
    taken["library get"].append(seconds(lambda: library.get("bare").bytes()))
    taken["store get"].append(seconds(lambda: [None for _ in store.read(oid)]))
    assert b"".join(store.read(oid)) == data
    small = os.urandom(1000)
    taken["small put"].append(seconds(lambda: put(store, small)))
    small_oid = Digest(hashlib.sha256(small).hexdigest())
    taken["small get"].append(seconds(lambda: b"".join(store.read(small_oid))))
    taken["small delete"].append(seconds(lambda: store.delete_blob(small_oid)))
    store.delete_blob(oid)
    library.delete("bare")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--mib", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--url", default="")
    given = parser.parse_args()
    names = ("library put", "store put", "library get", "store get")
    taken: Taken = {name: [] for name in (*names, "small put", "small get", "small delete")}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = given.url
        if not url:
            server = stack.enter_context(ceph())
            os.environ.update(server.env)
            url = f"s3://{server.bucket()}/bench"
        store = Store.open(folder / "store", url)
        for _ in range(given.rounds):
            one_round(store, url, os.urandom(given.mib * MIB), folder / "file", taken)
    load = " ".join(f"{figure:.1f}" for figure in os.getloadavg())
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {load}, {given.mib} MiB")
    medians = {name: statistics.median(times) for name, times in taken.items()}
    for name in names:
        print(f"{name:12} {given.mib / medians[name]:8.0f} MiB/s")
    for verb in ("put", "get"):
        print(f"{verb} ratio    {medians[f'library {verb}'] / medians[f'store {verb}']:8.2f}")
    for name in ("small put", "small get", "small delete"):
        print(f"{name:12} {medians[name] * 1000:8.1f} ms")


if __name__ == "__main__":
    main()
