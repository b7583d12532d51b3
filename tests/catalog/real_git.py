"""Real git as the judge: what it makes of our objects, and what it would have made itself."""

import hashlib
import os
import subprocess
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import select

from headwater.catalog import schema as s
from headwater.catalog.catalog import Catalog
from headwater.catalog.models import Repo

_QUIET = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "PATH": os.environ["PATH"],
    "LC_ALL": "C",
}


class Git:
    """A bare repository in a folder of its own."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self("init", "--bare", "--quiet", "--initial-branch=main")

    def run(self, *args: str) -> tuple[bytes, bool]:
        """(what git said, whether it was content), for commands that may fail."""
        done = subprocess.run(["git", "-C", self.folder, *args], capture_output=True, env=_QUIET)
        return done.stdout, done.returncode == 0

    def __call__(self, *args: str, stdin: bytes = b"") -> bytes:
        done = subprocess.run(
            ["git", "-C", self.folder, *args], input=stdin, capture_output=True, env=_QUIET
        )
        assert done.returncode == 0, f"git {args}: {done.stdout.decode()} {done.stderr.decode()}"
        return done.stdout

    def take(self, catalog: Catalog, repo: Repo) -> None:
        """All of a repo's objects, loose, under the ids that we gave them."""
        query = select(s.git_object).where(s.git_object.c.repo_id == repo.id)
        with catalog.db.read() as conn:
            for row in conn.execute(query):
                whole = f"{row.kind} {row.size_bytes}\0".encode() + zlib.decompress(row.data)
                path = Path(self.folder, "objects", row.oid[:2], row.oid[2:])
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(zlib.compress(whole, 1))

    def point(self, refs: Mapping[str, str]) -> None:
        """Set refs, all or none."""
        lines = "".join(f"create {name} {oid}\n" for name, oid in refs.items())
        self("update-ref", "--stdin", stdin=lines.encode())

    def tree_of(self, files: Mapping[str, bytes]) -> str:
        """The id git itself gives to a tree of these files."""
        index = {"GIT_INDEX_FILE": os.path.join(self.folder, "judge-index")}
        Path(index["GIT_INDEX_FILE"]).unlink(missing_ok=True)
        lines = b"".join(
            b"100644 blob %s\t%s\0" % (self.blob(data), path.encode())
            for path, data in files.items()
        )
        subprocess.run(
            ["git", "-C", self.folder, "update-index", "-z", "--index-info"],
            input=lines, check=True, env=_QUIET | index,
        )  # fmt: skip
        done = subprocess.run(
            ["git", "-C", self.folder, "write-tree", "--missing-ok"],
            check=True, capture_output=True, env=_QUIET | index,
        )  # fmt: skip
        return done.stdout.decode().strip()

    @staticmethod
    def blob(data: bytes) -> bytes:
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest().encode()

    def listed(self, tree: str) -> dict[str, str]:
        """`git ls-tree -r`: path -> blob id."""
        found = {}
        for line in self("ls-tree", "-r", "-z", tree).decode().split("\0")[:-1]:
            facts, path = line.split("\t")
            found[path] = facts.split()[2]
        return found


@contextmanager
def bare_repository() -> Iterator[Git]:
    with tempfile.TemporaryDirectory() as folder:
        yield Git(folder)
