"""Two processes at one bucket: one touches and uploads, the other removes what looks unused."""

import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

from headwater.store.object_shelf import ObjectShelf


def _key(number: int) -> str:
    return f"xorbs/ab/cd/{number}.xorb"


def _publish(shelf: ObjectShelf, folder: str, key: str) -> None:
    path = os.path.join(folder, os.urandom(8).hex())
    Path(path).write_bytes(key.encode())
    with open(path, "rb") as file:
        shelf.publish(file.fileno(), path, key)


def _keep(url: str, folder: str, keys: int, meet: Any, told: Any) -> None:
    """Of every key: touch it; what was not there any more, upload."""
    shelf = ObjectShelf(url)
    for number in range(keys):
        meet.wait()
        time.sleep(number % 5 * 0.001)  # meet at another step each time
        if number % 2:
            _publish(shelf, folder, _key(number))
            told.put((number, True))
        else:
            told.put((number, shelf.touch(_key(number))))


def _remove(url: str, before_s: float, keys: int, meet: Any) -> None:
    shelf = ObjectShelf(url)
    for number in range(keys):
        meet.wait()
        time.sleep(number % 7 * 0.0005)
        shelf.delete([_key(number)], before_s)


def run(url: str, folder: Path, keys: int) -> tuple[list[int], int, int]:
    """(keys that were acknowledged and are gone, how many were removed, how many are there)."""
    shelf = ObjectShelf(url)
    for number in range(keys):
        _publish(shelf, str(folder), _key(number))
    time.sleep(2.5)
    before_s = time.time()
    spawn = multiprocessing.get_context("spawn")
    meet, told = spawn.Barrier(2), spawn.Queue()
    processes = [
        spawn.Process(target=_keep, args=(url, str(folder), keys, meet, told)),
        spawn.Process(target=_remove, args=(url, before_s, keys, meet)),
    ]
    for process in processes:
        process.start()
    said = dict(told.get(timeout=60) for _ in range(keys))
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    there = {key for key, _ in shelf.list("xorbs", lambda _: None)}
    lost = [number for number in range(keys) if said[number] and _key(number) not in there]
    return lost, keys - len(there), len(there)
