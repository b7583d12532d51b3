"""Two workers, eight clients, one branch: one winner for each parent, the others hear 412."""

import threading
from collections import Counter
from pathlib import Path

import pytest

from live import LiveHub
from raw import Raw

pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]

CLIENTS = 8
ROUNDS = 25


def test_one_winner_per_parent(tmp_path: Path) -> None:
    hub = LiveHub(tmp_path)
    hub.start(workers=2)
    try:
        token = hub.token("racer")
        with Raw(hub.url, token) as raw:
            raw.create("racer/m")
            first = raw.head("racer/m")
        statuses: list[Counter[int]] = [Counter() for _ in range(ROUNDS)]
        heads = [first]
        barrier = threading.Barrier(CLIENTS)
        lock = threading.Lock()

        def race(number: int) -> None:
            with Raw(hub.url, token) as raw:
                for round_ in range(ROUNDS):
                    barrier.wait()
                    parent = heads[round_]
                    files = {f"c{number}.txt": f"{round_}".encode()}
                    reply = raw.commit("racer/m", files, parent=parent, message=f"c{number}")
                    with lock:
                        statuses[round_][reply.status] += 1
                        if reply.status == 200:
                            heads.append(reply.body["commitOid"])
                    barrier.wait()

        threads = [threading.Thread(target=race, args=(n,)) for n in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert statuses == [Counter({200: 1, 412: CLIENTS - 1})] * ROUNDS
        with Raw(hub.url, token) as raw:
            assert raw.head("racer/m") == heads[-1]
            history = []
            url = "/api/models/racer/m/commits/main"
            while url:
                page = raw.http.get(url)
                history += [row["id"] for row in page.json()]
                url = page.links.get("next", {}).get("url", "")
        assert history == heads[::-1], "the history is a line of the winners"
    finally:
        hub.stop()
