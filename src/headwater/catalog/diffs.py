"""Diffs of two commits, as `git diff --full-index --no-renames` prints them.

    diffs.between(repo, old, new)     what changed from one commit to another
    diffs.since_parted(repo, a, b)    what `b` changed since it left the history of `a`

An LFS file is its pointer. What is too large is named in a line that begins with
`# diff too large`, and printed as a binary file: `git apply` refuses such a patch rather than
make an empty file of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain

from sqlalchemy import Connection, select

from headwater.catalog import schema as s
from headwater.catalog.db import Db
from headwater.catalog.git import MODE_COMMIT, GitObjects, TreeRow
from headwater.catalog.graph import merge_base
from headwater.catalog.models import Repo
from headwater.catalog.tree_changes import TreeChange, tree_changes
from headwater.formats.text_diff import Effort, hunks, is_binary, lines_of
from headwater.names import GitOid
from headwater.store.cache import Cache

FILES_MAX = 300  # a page of more is read by nobody
FILE_BYTES_MAX = 2**20
FILE_LINES_MAX = 20_000  # of either side: what a search through them costs
DIFF_BYTES_MAX = 3 * 2**20
READ_BYTES_MAX = 32 * 2**20  # of all files looked into: about two seconds
STEPS_MAX = 4_000_000  # of all searches together: about two seconds
CACHE_BYTES = 16 * 2**20  # a page is asked for again and again, and a diff never changes
_NOWHERE = "0" * 40


@dataclass(frozen=True, slots=True)
class Diff:
    """`files`: (path, added | deleted | modified) of those named in the text."""

    text: bytes
    files: tuple[tuple[str, str], ...]
    complete: bool


@dataclass(slots=True)
class _Spent:
    """What one diff has cost so far."""

    effort: Effort
    read_bytes: int = 0


class Diffs:
    def __init__(self, db: Db, git: GitObjects) -> None:
        self.db = db
        self.git = git
        self._kept: Cache[tuple[int, str, str], Diff] = Cache(CACHE_BYTES)

    def between(self, repo: Repo, old: GitOid, new: GitOid) -> Diff:
        """What changed from `old` to `new`, two commits of this repo."""
        with self.db.read() as conn:
            return self.of(conn, repo.id, old, new)

    def since_parted(self, repo: Repo, a: GitOid, b: GitOid) -> Diff:
        """What `b` changed since its history and that of `a` parted; all of it if they never
        were one."""
        with self.db.read() as conn:
            return self.of(conn, repo.id, merge_base(conn, self.git, repo.id, a, b), b)

    def of(self, conn: Connection, repo_id: int, old: GitOid | None, new: GitOid) -> Diff:
        key = (repo_id, old or "", new)
        diff = self._kept.get(key)
        if diff is None:
            diff = self._made(conn, repo_id, old, new)
            self._kept.put_new(key, diff, len(diff.text) + 200 * (1 + len(diff.files)))
        return diff

    def _made(self, conn: Connection, repo_id: int, old: GitOid | None, new: GitOid) -> Diff:
        trees = [self.git.commit(conn, repo_id, oid).tree if oid else None for oid in (old, new)]
        out: list[bytes] = []
        files: list[tuple[str, str]] = []
        size_bytes = 0
        complete = True
        spent = _Spent(Effort(STEPS_MAX))
        found = tree_changes(conn, self.git, repo_id, trees[0], trees[1])
        for change in chain.from_iterable(map(_parts, found)):
            if len(files) == FILES_MAX or size_bytes > DIFF_BYTES_MAX:
                why = f"more differs than the {len(files)} files above"
                out.append(_not_shown(change, why))
                complete = False
                break
            text, whole = self._file(conn, repo_id, change, spent)
            complete &= whole
            out.append(text)
            size_bytes += len(text)
            files.append((change.path, _kind(change)))
        return Diff(b"".join(out), tuple(files), complete)

    def _file(
        self, conn: Connection, repo_id: int, change: TreeChange, spent: _Spent
    ) -> tuple[bytes, bool]:
        """(one file's part of the diff, whether all of it)."""
        head = b"".join(_head(change))
        names = _names(change)
        if change.old and change.new and change.old.oid == change.new.oid:
            return head, True  # another mode, the same content
        sides = [self._side(conn, repo_id, row, spent) for row in (change.old, change.new)]
        if any(side is None for side in sides):
            why = f"the file has over {FILE_BYTES_MAX} bytes, or those before it had many"
            return _not_shown(change, why), False
        old, new = (side or b"" for side in sides)
        if is_binary(old) or is_binary(new):
            return head + b"Binary files %s and %s differ\n" % names, True
        lines = lines_of(old), lines_of(new)
        if max(map(len, lines)) > FILE_LINES_MAX:
            return _not_shown(change, f"the file has over {FILE_LINES_MAX} lines"), False
        body = b"".join(hunks(*lines, spent.effort))
        if not body:
            return head, True
        # Behind a name with a space stands a tab: else its end could not be told.
        tabs = [b"\t" if b" " in name else b"" for name in names]
        return head + b"--- %s%s\n+++ %s%s\n" % (names[0], tabs[0], names[1], tabs[1]) + body, True

    def _side(
        self, conn: Connection, repo_id: int, row: TreeRow | None, spent: _Spent
    ) -> bytes | None:
        """The bytes of one side, nothing where there is no file; None when they are too many."""
        if row is None:
            return b""
        if row.mode == MODE_COMMIT:
            return f"Subproject commit {row.oid}\n".encode()
        query = select(s.git_object.c.size_bytes).where(
            s.git_object.c.repo_id == repo_id, s.git_object.c.oid == row.oid
        )
        size_bytes = conn.execute(query).scalar_one_or_none() or 0
        if size_bytes > FILE_BYTES_MAX or spent.read_bytes + size_bytes > READ_BYTES_MAX:
            return None
        spent.read_bytes += size_bytes
        return self.git.read(conn, repo_id, row.oid, "blob")


def _parts(change: TreeChange) -> tuple[TreeChange, ...]:
    """A file that became a link or a submodule is, for git, one removed and one added."""
    if change.old is None or change.new is None or _format(change.old) == _format(change.new):
        return (change,)
    return replace(change, new=None), replace(change, old=None)


def _format(row: TreeRow) -> int:
    return row.mode & 0o170000


def _kind(change: TreeChange) -> str:
    if change.old is None:
        return "added"
    return "deleted" if change.new is None else "modified"


def _head(change: TreeChange) -> Iterator[bytes]:
    old, new = change.old, change.new
    yield b"diff --git %s %s\n" % (_quoted("a/" + change.path), _quoted("b/" + change.path))
    if old is None and new is not None:
        yield b"new file mode %06o\n" % new.mode
    elif new is None and old is not None:
        yield b"deleted file mode %06o\n" % old.mode
    elif old and new and old.mode != new.mode:
        yield b"old mode %06o\nnew mode %06o\n" % (old.mode, new.mode)
    oids = tuple((row.oid if row else _NOWHERE).encode() for row in (old, new))
    if oids[0] != oids[1]:
        same = old and new and old.mode == new.mode
        yield b"index %s..%s" % oids + (b" %06o\n" % old.mode if same and old else b"\n")


def _not_shown(change: TreeChange, why: str) -> bytes:
    differ = b"Binary files %s and %s differ\n" % _names(change)
    return f"# diff too large: {why}\n".encode() + b"".join(_head(change)) + differ


def _names(change: TreeChange) -> tuple[bytes, bytes]:
    old = _quoted("a/" + change.path) if change.old else b"/dev/null"
    return old, _quoted("b/" + change.path) if change.new else b"/dev/null"


def _quoted(path: str) -> bytes:
    """As git quotes paths: in quotes, with octal escapes, when a byte is out of the ordinary."""
    raw = path.encode()
    if all(32 <= byte < 127 and byte not in b'"\\' for byte in raw):
        return raw
    text = "".join(
        f"\\{chr(byte)}" if byte in b'"\\' else chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}"
        for byte in raw
    )
    return f'"{text}"'.encode()
