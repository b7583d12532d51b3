"""kill -9 at random points of many uploads and commits: what was acknowledged is there.

The hub runs two workers over one data folder. Threads upload by LFS and commit, each noting what
the hub acknowledged; all processes are killed at a random moment; the hub must be ready again in
five seconds (on a busy machine: 2.5 clean starts), serve every acknowledged byte, and
`check --bytes` must find nothing.
A failure prints the seed; HEADWATER_TEST_SEED repeats it.
"""

import os
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from effort import FULL
from live import LiveHub
from raw import Raw

pytestmark = [pytest.mark.crash, pytest.mark.timeout(600)]

WRITERS = 100  # at once
UPLOADS_EACH = 4
ROUNDS = 6 if FULL else 2
READY_S_MAX = 5.0
READY_SHARE_MAX = 2.5  # of a clean start in the same run: what a busy machine is held to
LFS_BYTES = 300_000
SEED = int(os.environ.get("HEADWATER_TEST_SEED", "20261124"))


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LiveHub]:
    hub = LiveHub(tmp_path)
    hub.start(workers=2)
    yield hub
    if hub.running:
        hub.stop()


def test_what_was_acknowledged_survives(hub: LiveHub) -> None:
    random_ = random.Random(SEED)
    token = hub.token("writer")
    acknowledged: dict[str, bytes] = {}
    lock = threading.Lock()
    with Raw(hub.url, token) as raw:
        assert raw.create("writer/m").status == 200

    began = time.monotonic()
    hub.restart()
    ready_s_max = max(READY_S_MAX, READY_SHARE_MAX * (time.monotonic() - began))

    def write(number: int, round_: int) -> None:
        mine = random.Random(f"{SEED} {round_} {number}")
        try:
            with Raw(hub.url, token) as raw:
                for at in range(UPLOADS_EACH):
                    path = f"r{round_}/w{number}/f{at}"
                    data = mine.randbytes(mine.choice([10, 5_000, LFS_BYTES]))
                    if len(data) == LFS_BYTES:
                        oid, status = raw.lfs("writer/m", data)
                        if status != 200:
                            continue
                        reply = raw.commit("writer/m", lfs={path: (oid, len(data))}, message=path)
                    else:
                        reply = raw.commit("writer/m", files={path: data}, message=path)
                    if reply.status == 200:
                        with lock:
                            acknowledged[path] = data
        except (httpx.HTTPError, ValueError):
            return  # killed under us: nothing more was promised

    for round_ in range(ROUNDS):
        threads = [threading.Thread(target=write, args=(n, round_)) for n in range(WRITERS)]
        for thread in threads:
            thread.start()
        time.sleep(random_.uniform(0.05, 2.0))
        hub.kill()
        for thread in threads:
            thread.join()
        began = time.monotonic()
        hub.restart()
        assert time.monotonic() - began < ready_s_max, f"seed {SEED}"
        with Raw(hub.url, token) as raw:
            for path, data in acknowledged.items():
                got = raw.get("writer/m", path)
                assert (got.status_code, got.content) == (200, data), f"{path}, seed {SEED}"
        checked = hub.cli("check", "--bytes")
        assert checked.returncode == 0, f"{checked.stdout}{checked.stderr} seed {SEED}"
    print(f"{len(acknowledged)} acknowledged, 0 lost, seed {SEED}")
    assert len(acknowledged) > ROUNDS, "the writers were killed before anything happened"
