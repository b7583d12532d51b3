"""Every job that moves bytes between layouts, on a prepared store, with a fault at its nth call.

    python pack_ops.py kill|fail JOB MOST   one JSON line: points, and what was wrong at which
    python pack_ops.py order ROOT BUG       the jobs one after the other, each acknowledged

All that the store does to a disk goes through these functions of `os`. Faults are made in a fork,
so the modules are imported once for all of them.
"""

import errno
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pack_kit import model, safetensors, tuned
from store_kit import MadeFile, MadeXorb, decoded, digest, get, put, put_file

from headwater.errors import NoSpace, Unavailable
from headwater.store import Store, files, packing, packs
from headwater.store.packed import PackedWriter

CALLS = ("write", "pwrite", "fsync", "rename", "link", "unlink", "mkdir", "utime")
ROOT = model(1, width=24, layers=1, vocabulary=200)
CHILD = tuned(ROOT, 2)
BASE, PLAIN, GONE = safetensors(ROOT), safetensors(CHILD), safetensors(model(5, 24, 1, 200))
CHUNKED = safetensors(tuned(ROOT, 3), {"came": "by Xet"})
VIRTUAL = safetensors(tuned(ROOT, 4), {"came": "by Xet, too"})
FAR, MOVED = safetensors(model(9, 24, 1, 200)), safetensors(tuned(CHILD, 6))
LIVE = {digest(data): data for data in (BASE, PLAIN, CHUNKED, VIRTUAL, FAR, MOVED)}
XORBS = {
    data: MadeXorb.of([data[at : at + 3000] for at in range(0, len(data), 3000)])
    for data in (CHUNKED, VIRTUAL)
}
MADE = {data: MadeFile(((xorb, 0, len(xorb.chunks)),)) for data, xorb in XORBS.items()}


def prepare(root: Path) -> None:
    """Something for each job to do."""
    store = Store.open(root)
    base = put(store, BASE).oid
    for data in (FAR, GONE, MOVED):
        put(store, data)
    store.pack(base)
    store.pack(digest(FAR))
    store.pack(digest(GONE))
    store.pack(digest(MOVED), [digest(FAR)])
    put(store, PLAIN)
    for file in MADE.values():
        put_file(store, file)
    store.pack(digest(VIRTUAL), [base])


def pack(store: Store) -> None:
    store.pack(digest(PLAIN), [digest(BASE)])


def pack_chunked(store: Store) -> None:
    """And its xorb becomes virtual."""
    store.pack(digest(CHUNKED), [digest(BASE)])
    store.release_xorbs([digest(CHUNKED)])


def repack(store: Store) -> None:
    store.repack(digest(MOVED), [digest(BASE)])


def unpack(store: Store) -> None:
    store.unpack(digest(FAR))


def unpack_held(store: Store) -> None:
    """A virtual xorb is read out of it."""
    store.unpack(digest(VIRTUAL))


def fade(store: Store) -> None:
    store.sweep_tmp(1e9)


def sweep(store: Store) -> None:
    store.delete_blob(digest(GONE))
    store.sweep_tensors(time.time() + 10)


def upload_again(store: Store) -> None:
    """Plain what is chunked, chunked what is packed."""
    put(store, CHUNKED)
    put_file(store, MADE[VIRTUAL])
    put(store, BASE)


JOBS: dict[str, Callable[[Store], None]] = {
    job.__name__: job
    for job in (pack, pack_chunked, repack, unpack, unpack_held, fade, sweep, upload_again)
}


def wrong(root: Path, *, done: bool, empty: bool = False) -> list[str]:
    """What is not as it must be: after a job was `done` no blob may
    lie here twice, and of `empty` nothing be in tmp."""
    store, found = Store.open(root), []
    for oid, data in LIVE.items():
        try:
            if get(store, oid) != data:
                found.append(f"{oid} reads wrong")
        except Exception as error:
            found.append(f"{oid}: {error!r}")
    for data, xorb in XORBS.items():
        index = store.xorb(xorb.hash)
        if index is None:
            found.append(f"xorb {xorb.hash} is gone")
        elif decoded(b"".join(store.read_xorb(xorb.hash, 0, index.stored_bytes))) != data:
            found.append(f"xorb {xorb.hash} reads wrong")
    for finding in store.check(data=True):
        if done or "lies here as plain, too" not in finding.problem:
            found.append(str(finding))
    if empty:
        found += [f"left: {path.name}" for path in (root / "tmp").iterdir() if path.is_file()]
    return found


def counted(call: str, nth: int, fault: Callable[[], None]) -> list[int]:
    """From now on `fault` comes before the nth `call`; how many there were so far."""
    real, seen = getattr(os, call), [0]

    def watched(*args: object, **named: object) -> object:
        seen[0] += 1
        if seen[0] == nth:
            fault()
        return real(*args, **named)

    setattr(os, call, watched)
    return seen


def in_fork(work: Callable[[], list[str]]) -> tuple[int, list[str]]:
    """What `work` found in a process of its own, and how that ended."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        os.set_inheritable(writer, True)
        try:
            found = work()
        except BaseException as error:
            found = [f"{type(error).__name__}: {error}"]
        with os.fdopen(writer, "w") as pipe:
            json.dump(found, pipe)
            pipe.flush()
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    return status, json.loads(text or "[]")


def killed(job: str, root: Path, call: str, nth: int) -> bool:
    """Runs the job; whether it was killed before its nth call."""

    def work() -> list[str]:
        store = Store.open(root)
        counted(call, nth, lambda: os.kill(os.getpid(), signal.SIGKILL))
        JOBS[job](store)
        return []

    status, found = in_fork(work)
    assert not found, found
    return os.WIFSIGNALED(status)


def failed(job: str, root: Path, call: str, nth: int, number: int) -> tuple[bool, list[str]]:
    """Runs the job with one call that fails; whether it met it, and what was raised but
    should not have been."""

    def fail() -> None:
        raise OSError(number, os.strerror(number))

    def work() -> list[str]:
        store = Store.open(root)
        seen = counted(call, nth, fail)
        raised = ["met"]
        expected = NoSpace if number == errno.ENOSPC else Unavailable
        try:
            JOBS[job](store)
        except expected:
            pass
        except BaseException as error:
            raised.append(f"raised {error!r}")
        return raised if seen[0] >= nth else []

    _, found = in_fork(work)
    return bool(found), [text for text in found if text != "met"]


def made_by(job: str, root: Path) -> list[tuple[str, int]]:
    """Every call that the job makes, with its number among its kind."""
    store = Store.open(root)
    seen = {call: counted(call, 0, lambda: None) for call in CALLS}
    JOBS[job](store)
    return [(call, nth) for call in CALLS for nth in range(1, seen[call][0] + 1)]


def chosen(every: list[tuple[str, int]], most: int) -> list[tuple[str, int]]:
    """At most so many of each kind, spread evenly, the first and the last among them."""
    kept = []
    for call in CALLS:
        own = [point for point in every if point[0] == call]
        count = min(most, len(own))
        kept += [own[n * (len(own) - 1) // max(count - 1, 1)] for n in range(count)]
    return kept


def tried(mode: str, job: str, root: Path, call: str, nth: int) -> list[str]:
    """The job with a fault at one call, and then once more without."""
    if mode == "kill":
        found = [] if killed(job, root, call, nth) else ["was not killed"]
    else:
        code = errno.EIO if nth % 2 else errno.ENOSPC
        met, found = failed(job, root, call, nth, code)
        found += [] if met else ["did not fail"]
    found += wrong(root, done=False)
    _, raised = in_fork(lambda: JOBS[job](Store.open(root)) or [])
    found += [f"again: {text}" for text in raised]
    # Of a process that was killed, and of an unlink that failed, the files in tmp are for gc.
    empty = mode == "fail" and call != "unlink"
    return found + [f"again: {text}" for text in wrong(root, done=True, empty=empty)]


def points(mode: str, job: str, most: int) -> tuple[int, list[str]]:
    """The job with a fault at each call in turn: how many there were, and what went wrong."""
    problems = []
    folder = Path(tempfile.mkdtemp())
    prepare(folder / "store")
    shutil.copytree(folder / "store", folder / "counted")
    _, every = in_fork(lambda: made_by(job, folder / "counted"))
    places = chosen([(call, nth) for call, nth in every], most)
    for call, nth in places:
        root = folder / "one"
        shutil.copytree(folder / "store", root)
        problems += [f"{call} {nth}: {text}" for text in tried(mode, job, root, call, nth)]
        shutil.rmtree(root)
    shutil.rmtree(folder)
    return len(places), problems


def in_order(root: Path, bug: str) -> None:
    """The jobs, each acknowledged, for the lint of syscalls."""
    prepare(root)
    os.write(1, b"ack\n")
    BUGS[bug]()
    for job in JOBS.values():
        job(Store.open(root))
        os.write(1, b"ack\n")


def no_folder_fsync() -> None:
    real = os.fsync
    os.fsync = lambda fd: None if os.path.isdir(f"/proc/self/fd/{fd}") else real(fd)


def no_file_fsync() -> None:
    real = os.fsync
    os.fsync = lambda fd: real(fd) if os.path.isdir(f"/proc/self/fd/{fd}") else None


def old_bytes_first() -> None:
    """The plain file goes once the packed one is written, before it is published."""
    close = PackedWriter.close

    def closed(writer: PackedWriter) -> int:
        layout, oid = writer._layout, writer._oid
        publish = layout.shelf.publish

        def late(fd: int, path: str, key: str) -> None:
            sync, files.sync_folder = files.sync_folder, lambda folder: None
            publish(fd, path, key)
            files.sync_folder = sync
            layout.shelf.drop(layout.plain(oid), layout.packed(oid))
            sync(os.path.dirname(os.path.join(layout.root, key)))

        writer.publish = lambda: late(writer._temp.fd, writer._temp.path, layout.packed(oid))
        return close(writer)

    PackedWriter.close = closed


BUGS: dict[str, Callable[[], None]] = {
    "": lambda: None,
    "no folder fsync": no_folder_fsync,
    "no file fsync": no_file_fsync,
    "old bytes first": old_bytes_first,
}


def main() -> None:
    mode, *rest = sys.argv[1:]
    packs.FADE_S = -1.0  # an hour goes by at once
    packing.TENSOR_BYTES_MIN = 1024
    if mode == "order":
        in_order(Path(rest[0]), rest[1])
    else:
        print(json.dumps(points(mode, rest[0], int(rest[1]))))


if __name__ == "__main__":
    main()
