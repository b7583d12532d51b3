"""What the tests run in other processes: started anew, so each has connections of its own."""

import multiprocessing
import sqlite3
import traceback
from collections.abc import Callable, Sequence
from contextlib import closing
from multiprocessing.synchronize import Barrier
from typing import Any

from catalog_kit import commit, open_catalog, person

from headwater.catalog.db import use_wal
from headwater.errors import Stale

WAIT_S = 60


def in_processes(target: Callable[..., Any], count: int, *args: object) -> list[Any]:
    """`target(number, barrier, *args)` in `count` processes at once; what each returned."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(count), context.Queue()
    processes = [
        context.Process(target=_call, args=(results, target, number, barrier, args))
        for number in range(count)
    ]
    for process in processes:
        process.start()
    answers = dict(results.get(timeout=2 * WAIT_S) for _ in processes)
    for process in processes:
        process.join(WAIT_S)
        process.close()
    results.close()
    results.join_thread()
    for answer in answers.values():
        if isinstance(answer, BaseException):
            raise answer
    return [answers[number] for number in range(count)]


def _call(
    results: Any, target: Callable[..., Any], number: int, barrier: Barrier, args: Sequence[Any]
) -> None:
    try:
        answer = target(number, barrier, *args)
    except BaseException:
        barrier.abort()
        answer = RuntimeError(traceback.format_exc())
    results.put((number, answer))


def race_for_parents(number: int, barrier: Barrier, url: str, rounds: int) -> list[tuple[str, str]]:
    """In each round all commit onto the same parent; (parent, own commit or "") of each round."""
    catalog = open_catalog(url)
    actor = person(catalog, f"user{number}")
    repo = catalog.repos.find(actor, "model", "lab/m")
    answers = []
    for turn in range(rounds):
        parent = catalog.refs.resolve(repo, "main").commit
        barrier.wait(WAIT_S)
        data = f"{number} {turn}".encode()
        try:
            made = commit(catalog, actor, repo, {"f": data}, f"{number}", parent=parent).oid
        except Stale:
            made = ""  # type: ignore[assignment]
        answers.append((str(parent), str(made)))
        barrier.wait(WAIT_S)
    catalog.close()
    return answers


def append(number: int, barrier: Barrier, url: str, rounds: int) -> list[str]:
    """Commits without a parent, as fast as it goes; the commits made."""
    catalog = open_catalog(url)
    actor = person(catalog, f"user{number}")
    repo = catalog.repos.find(actor, "model", "lab/m")
    barrier.wait(WAIT_S)
    files = [{f"{number}/{turn}": b"x"} for turn in range(rounds)]
    made = [str(commit(catalog, actor, repo, some, "append").oid) for some in files]
    catalog.close()
    return made


def start(number: int, barrier: Barrier, url: str) -> int:
    """Open a catalog that does not exist yet, all at the same moment; how many accounts it has."""
    barrier.wait(WAIT_S)
    catalog = open_catalog(url)
    found = catalog.accounts.count()
    catalog.close()
    return found


def new_files(number: int, barrier: Barrier, folder: str, rounds: int) -> int:
    """Puts new SQLite files into WAL mode, all processes the same one at once; how many."""
    for turn in range(rounds):
        barrier.wait(WAIT_S)
        with closing(sqlite3.connect(f"{folder}/{turn}")) as conn:
            use_wal(conn)
    return rounds
