"""Packers, uploaders, deleters, sweepers without any grace time and readers, all at once: a blob
that was acknowledged and not deleted is read right, always."""

import os
import random
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from pack_kit import model, safetensors, tuned
from store_kit import MadeFile, MadeXorb, digest, findings, get, put, put_file

from effort import FULL
from headwater.errors import Corrupt, NotFound, Unavailable
from headwater.store import Store

SECONDS = 20.0 if FULL else 3.0
ROOT = model(1, width=64, layers=1, vocabulary=100)
KEPT = [safetensors(ROOT), *(safetensors(tuned(ROOT, seed)) for seed in (2, 3))]
COMES = [safetensors(tuned(ROOT, seed)) for seed in (4, 5)]  # and goes
OIDS = [digest(data) for data in (*KEPT, *COMES)]


def by_xet(data: bytes) -> MadeFile:
    chunks = [data[at : at + 4000] for at in range(0, len(data), 4000)]
    return MadeFile(((MadeXorb.of(chunks), 0, len(chunks)),))


def work(root: Path, seed: int, until_s: float) -> None:
    """Any of the jobs, in any order, until that Unix time. AssertionError for a wrong read."""
    random_, store = random.Random(seed), Store.open(root)
    jobs = {
        "pack": lambda: store.pack(random_.choice(OIDS), random_.sample(OIDS, 2)),
        "repack": lambda: store.repack(random_.choice(OIDS), random_.sample(OIDS, 2)),
        "unpack": lambda: store.unpack(random_.choice(OIDS)),
        "plain": lambda: put(store, random_.choice(KEPT + COMES)),
        "chunked": lambda: put_file(store, by_xet(random_.choice(KEPT[1:] + COMES))),
        "delete": lambda: store.delete_blob(digest(random_.choice(COMES))),
        "sweep": lambda: store.sweep_tensors(time.time() + 10),
        "fade": lambda: store.sweep_tmp(1e9),
    }
    while time.time() < until_s:
        job = random_.choice(sorted(jobs))
        with suppress(NotFound, Unavailable):
            jobs[job]()
        data = random_.choice(KEPT)
        start = random_.randrange(len(data))
        stop = start + 5000
        with suppress(Unavailable):
            try:
                got = get(store, digest(data), start, stop)
            except Corrupt:  # tensors of the layout it began in were swept: it begins again
                got = get(store, digest(data), start, stop)
            assert got == data[start:stop], (seed, job)


@pytest.mark.local_disk
@pytest.mark.timeout(120)
def test_all_at_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for data in KEPT:
        put(store, data)
    until_s = time.time() + SECONDS
    script = "import sys, test_pack_race as t; t.alone(*sys.argv[1:])"
    paths = [str(Path(__file__).parent), *(path for path in sys.path if path)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-c", script, str(store.root), str(until_s)]
    others = [subprocess.Popen([*command, str(seed)], env=env) for seed in (1, 2)]
    failures: list[BaseException] = []

    def here(seed: int) -> None:
        try:
            work(store.root, seed, until_s)
        except BaseException as error:
            failures.append(error)

    monkeypatch.setattr("headwater.store.packs.FADE_S", -1.0)
    threads = [threading.Thread(target=here, args=(seed,)) for seed in (3, 4, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [other.wait(60) for other in others] == [0, 0]
    assert failures == []
    for data in KEPT:
        assert get(Store.open(store.root), digest(data)) == data
    assert [finding for finding in findings(store) if finding.kind != "stray"] == []


def alone(root: str, until_s: str, seed: str) -> None:
    """The same in a process of its own."""
    import headwater.store.packs as packs

    packs.FADE_S = -1.0
    work(Path(root), int(seed), float(until_s))
