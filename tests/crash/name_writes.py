"""Run by test_every_name.py, under strace or alone: what changes names, each acknowledged.

    python name_writes.py TEMPLATE FOLDER CALLS,KILLED_AT FIRST STEP END

One child for each n from FIRST to END by STEP: over a copy of TEMPLATE in FOLDER/n it makes
KILLED_AT - n calls that change nothing, then every kind of change. strace kills at call KILLED_AT
of each process, so child n dies at its own nth call. Acknowledgements are bytes of FOLDER/n/acks.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from name_world import FIRST_LARGE, SECOND_LARGE, SECRET, digest, person

from headwater.app import Floors
from headwater.catalog.bucket_batch import Drop, Put
from headwater.catalog.catalog import Catalog
from headwater.catalog.git_push import Command
from headwater.catalog.git_quarantine import Limits
from headwater.cli.gc import collect
from headwater.formats.git_pack import PackFile
from headwater.formats.lfs_pointer import encode_pointer
from headwater.names import RepoId, RepoPath, XetHash
from headwater.settings import Settings
from headwater.store import Store
from packs import history, pack


def unlink_nothing() -> None:
    with suppress(FileNotFoundError):
        os.unlink("nothing of this name")


HARMLESS: dict[str, Callable[[int], object]] = {
    "pwrite64": lambda fd: os.pwrite(fd, b"x", 0),
    "fsync": os.fsync,
    "fdatasync": os.fdatasync,
    "ftruncate": lambda fd: os.ftruncate(fd, 0),
    "unlink": lambda fd: unlink_nothing(),
}


def changes(root: Path) -> list[Callable[[], object]]:
    """Each is one transaction that somebody is told of, but for the last, gc."""
    catalog = Catalog.open(f"sqlite:///{root}/catalog.sqlite", upload_ttl_s=3600, secret=SECRET)
    store = Store.open(root / "store")
    ann = person(catalog)
    where = catalog.repos.find(ann, "model", "ann/m")

    def push() -> None:
        head = str(catalog.refs.head(where))
        files = {b"pushed": b"p" * 5000, b"w.bin": encode_pointer(digest(SECOND_LARGE), 9000)}
        oid, entries = history(files, head)
        with tempfile.TemporaryFile(dir=root) as file:
            file.write(pack(entries))
            file.flush()
            outcome = catalog.git_push.run(
                lambda: ann, where, [Command("refs/heads/main", head, oid)], PackFile(file, 0),
                root / "tmp", Limits(10**6, 10**7), atomic=False,
            )  # fmt: skip
        assert not outcome.refused, outcome

    def batch() -> None:
        xet = XetHash(digest(b"xet" + SECOND_LARGE))
        puts = [Put(RepoPath(f"{n}/x"), xet, 1) for n in range(3)]
        assert catalog.buckets.apply(ann, "ann/b", [*puts, Drop(RepoPath("old"))]) == []

    return [
        push,
        batch,
        lambda: catalog.merging.merge(ann, where, 1, "Thanks"),
        lambda: catalog.lfs_files.delete(ann, where, [digest(FIRST_LARGE)], rewrite=True),
        lambda: catalog.lfs_files.delete(ann, where, [digest(SECOND_LARGE)], rewrite=False),
        lambda: catalog.duplicate.repo(ann, where, RepoId.parse("model", "ann/copy")),
        lambda: catalog.squash.apply(ann, where, "main", "squashed"),
        lambda: collect(Floors(Settings(data=root), store, catalog, SECRET), 0, dry_run=False),
    ]


def child(root: Path, call: str, harmless: int) -> None:
    steps = changes(root)
    acks = os.open(root / "acks", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    spare = os.open(root / "spare", os.O_RDWR | os.O_CREAT)
    for _ in range(harmless):
        HARMLESS[call](spare)
    for step in steps:
        step()
        os.write(acks, b".")


def main() -> None:
    template, folder, call = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    killed_at, first, step, end = map(int, sys.argv[4:8])
    for n in range(first, end, step):
        root = folder / str(n)
        shutil.copytree(template, root)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                child(root, call, killed_at - n)
                status = 0
            finally:
                os._exit(status)
        _, ended = os.waitpid(pid, 0)
        if os.WIFEXITED(ended):  # nobody killed it: there is no nth call
            assert os.WEXITSTATUS(ended) == 0
            return


if __name__ == "__main__":
    main()
