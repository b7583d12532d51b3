"""What a pushed ref would lead to, looked at before it may: all there, and by this hub's rules.

    verifier.tip(oid, branch=…) -> the commit it comes to, or BadRequest saying which path breaks
                                   which rule

All there: every commit, tree and blob is in the push or in this repo, each of the kind that it is
named as; where the push ends, a ref of the repo goes on. The rules are those of commits by the API:
names that every file system can hold, no two that one of them takes for the same, no symbolic
links or submodules, large files by LFS, and LFS pointers only to bytes that the pusher has shown
to hold (`blobs`). A blob that reads as a canonical pointer is taken as one wherever it lies: so
does git-lfs.

Each tree is looked at once, however many paths lead to it; what depends on the path (its length,
the number of files) is added up from below, so that trees of trees of trees cost nothing either.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, select

from headwater.catalog import blobs
from headwater.catalog import schema as s
from headwater.catalog.actors import Actor
from headwater.catalog.db import Db
from headwater.catalog.git import GitObjects, new_tree
from headwater.catalog.git_graph import kinds
from headwater.catalog.git_quarantine import Facts, Limits, Outside, Quarantine
from headwater.catalog.git_tips import Tips
from headwater.catalog.models import Repo
from headwater.errors import BadRequest, NotFound
from headwater.formats.git_object import (
    FOLDER,
    GITLINK,
    SYMLINK,
    read_commit,
    read_tree,
)
from headwater.names import PATH_BYTES_MAX, PATH_DEPTH_MAX, Digest, RepoPath, shown

FILES_MAX = 1_000_000  # in one commit
LOOKED_UP_TOGETHER = 500
EMPTY_TREE = new_tree([])


@dataclass(slots=True)
class _Sum:
    """What a tree comes to, all below it counted."""

    depth: int = 1
    longest_bytes: int = 0
    files: int = 0

    def add(self, name_bytes: int, below: _Sum) -> None:
        self.depth = max(self.depth, below.depth + 1)
        self.longest_bytes = max(self.longest_bytes, name_bytes + 1 + below.longest_bytes)
        self.files += below.files


@dataclass(slots=True)
class _Frame:
    oid: str
    path: str  # "" or ends in a slash
    is_new: bool
    folders: list[tuple[str, str]]  # (name, id) still to be added
    sum: _Sum
    reached: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Pointer:
    blob: str
    path: str
    oid: Digest
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Brought:
    """What came along with a history, in place of what its pusher holds: nothing else may be
    linked. A pointer to what is `gone` is kept as one; a git blob of `texts` is no pointer."""

    files: Mapping[Digest, int]  # sizes in bytes
    gone: frozenset[Digest] = frozenset()
    texts: frozenset[str] = frozenset()


class Verifier:
    """For one push: what was found good for one ref is good for the next."""

    def __init__(
        self,
        db: Db,
        git: GitObjects,
        actor: Actor,
        repo: Repo,
        new: Quarantine,
        limits: Limits,
        brought: Brought | None = None,
    ) -> None:
        self.db = db
        self.git = git
        self.actor = actor
        self.repo = repo
        self.new = new
        self.blob_bytes_max = limits.blob_bytes_max
        self.brought = brought
        self.sums: dict[str, _Sum] = {}  # of trees found good
        self.tips = Tips(db, git, repo, new)
        self.outside: list[tuple[str, str, str]] = []  # (id, kind, path) to look up in the repo
        self.pointers: list[_Pointer] = []

    def tip(self, oid: str, *, branch: bool) -> str:
        """Look at everything that `oid` leads to; the commit that it comes to."""
        self.outside, self.pointers = [], []
        with self.db.read() as conn:
            commit, tags = self.tips.peel(conn, oid, branch)
            fresh, edge = self.tips.history(conn, commit)
            self.tips.demand_reachable(conn, edge)
            for old in edge:
                self._trees(conn, str(self.git.commit(conn, self.repo.id, old).tree), known=True)
            for new in fresh:
                self._trees(conn, read_commit(self.new.body(new)).tree, known=False)
            self._look_up(conn)
            self._prove(conn)
        self.new.reach([*fresh, *tags])
        self.new.lean_on((tag, "tag") for tag in tags if self.new.kind(tag) is None)
        self.tips.good |= fresh
        self.tips.edges |= edge
        return commit

    # Trees

    def _trees(self, conn: Connection, root: str, *, known: bool) -> None:
        """Look at a tree and all below it; `known` ones are good and only added up."""
        if root in self.sums:
            return
        frames = [self._enter(conn, root, "", known)]
        while frames:
            frame = frames[-1]
            if not frame.folders:
                self._leave(frames.pop(), known)
                continue
            name, oid = frame.folders[-1]
            below = self.sums.get(oid)
            if below is not None:
                frame.sum.add(len(name.encode()), below)
                frame.folders.pop()
            elif len(frames) >= PATH_DEPTH_MAX:
                raise BadRequest(f"{shown(frame.path)}: over {PATH_DEPTH_MAX} folders deep")
            else:
                frames.append(self._enter(conn, oid, f"{frame.path}{name}/", known))

    def _leave(self, frame: _Frame, known: bool) -> None:
        total = frame.sum
        if not known:
            if len(frame.path.encode()) + total.longest_bytes > PATH_BYTES_MAX:
                raise BadRequest(f"a path below {shown(frame.path)} is over {PATH_BYTES_MAX} bytes")
            if total.depth > PATH_DEPTH_MAX:
                raise BadRequest(f"{shown(frame.path)}: over {PATH_DEPTH_MAX} folders deep")
            if total.files > FILES_MAX:
                raise BadRequest(f"over {FILES_MAX} files in one commit")
        self.sums[frame.oid] = total
        if frame.is_new:
            self.new.reach([frame.oid, *frame.reached])

    def _enter(self, conn: Connection, oid: str, path: str, known: bool) -> _Frame:
        """One tree: its files looked at, its folders listed."""
        if oid == EMPTY_TREE.oid and self.new.kind(oid) is None:
            self.new.add(oid, "tree", b"")  # git has it without keeping it, and may not send it
        kind = None if known else self.new.kind(oid)
        if kind == "tree":
            return self._enter_new(conn, oid, path)
        if kind is not None:
            raise BadRequest(f"{shown(path)} is named as a folder and is a {kind}")
        frame = _Frame(oid, path, False, [], _Sum())
        try:
            rows = self.git.tree(conn, self.repo.id, oid)
        except NotFound:
            raise BadRequest(
                f"missing necessary objects: the folder {shown(path or '/')} did not come"
            ) from None
        for row in rows:
            if row.is_tree:
                frame.folders.append((row.name, str(row.oid)))
            else:
                self._count(frame, row.name)
                if not known:
                    self._lean_on(conn, str(row.oid), "blob", path + row.name)
        if not known:
            self._lean_on(conn, oid, "tree", path or "/")
        return frame

    def _enter_new(self, conn: Connection, oid: str, path: str) -> _Frame:
        frame = _Frame(oid, path, True, [], _Sum())
        folded: dict[str, str] = {}
        files: list[tuple[str, str]] = []
        for mode, raw, target in read_tree(self.new.body(oid)):
            checked = self._name(raw, path)
            name = str(checked)
            if mode == SYMLINK:
                raise BadRequest(
                    f"{shown(path + name)} is a symbolic link; links are not kept here: "
                    "commit the file itself"
                )
            if mode == GITLINK:
                raise BadRequest(
                    f"{shown(path + name)} is a submodule; submodules are not kept here: "
                    "commit its files"
                )
            twin = folded.setdefault(checked.folded(), name)
            if twin != name:
                raise BadRequest(
                    f"{shown(path + name)} and {shown(twin)} differ only in letter case or "
                    "accents: many file systems cannot hold both. Rename one"
                )
            if mode == FOLDER:
                frame.folders.append((name, target))
            else:
                self._count(frame, name)
                files.append((name, target))
        for at in range(0, len(files), LOOKED_UP_TOGETHER):
            part = files[at : at + LOOKED_UP_TOGETHER]
            facts = self.new.facts([target for _, target in part])
            for name, target in part:
                self._file(conn, frame, path + name, target, facts.get(target))
        return frame

    def _count(self, frame: _Frame, name: str) -> None:
        frame.sum.files += 1
        frame.sum.longest_bytes = max(frame.sum.longest_bytes, len(name.encode()))

    def _name(self, raw: bytes, path: str) -> RepoPath:
        """The name of a file or folder, if every file system can hold it."""
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            where = shown(path + raw.decode("utf-8", "replace"))
            raise BadRequest(f"{where}: the name is not UTF-8") from None
        if unicodedata.normalize("NFC", text) != text:
            raise BadRequest(
                f"{shown(path + text)}: the name is not in Unicode form NFC; on macOS set "
                "core.precomposeUnicode"
            )
        try:
            return RepoPath(text)
        except BadRequest as error:
            raise BadRequest(f"{shown(path + text)}: {error.message}") from None

    # Files

    def _file(
        self, conn: Connection, frame: _Frame, path: str, oid: str, facts: Facts | None
    ) -> None:
        if facts is None:
            self._lean_on(conn, oid, "blob", path)
            return
        if facts.kind != "blob":
            raise BadRequest(f"{shown(path)} is named as a file and is a {facts.kind}")
        if facts.size_bytes > self.blob_bytes_max:
            raise BadRequest(
                f"{shown(path)} has {facts.size_bytes} bytes; files over {self.blob_bytes_max} "
                "bytes go by git-lfs: see `git lfs migrate import`"
            )
        frame.reached.append(oid)
        if facts.lfs is not None:
            self.pointers.append(_Pointer(oid, path, *facts.lfs))
            if len(self.pointers) >= LOOKED_UP_TOGETHER:
                self._prove(conn)

    def _lean_on(self, conn: Connection, oid: str, kind: str, path: str) -> None:
        self.outside.append((oid, kind, path))
        if len(self.outside) >= LOOKED_UP_TOGETHER:
            self._look_up(conn)

    def _look_up(self, conn: Connection) -> None:
        """Refuse what is neither in the push nor in the repo."""
        looked, self.outside = self.outside, []
        found = kinds(conn, self.repo.id, [oid for oid, _, _ in looked])
        for oid, kind, path in looked:
            if found.get(oid) != kind:
                raise BadRequest(
                    f"missing necessary objects: {shown(path)} ({kind} {oid}) did not come"
                )
        self.new.lean_on((oid, kind) for oid, kind, _ in looked)

    def _prove(self, conn: Connection) -> None:
        """Refuse pointers to bytes that the pusher has not shown to hold."""
        looked, self.pointers = self.pointers, []
        wanted: Sequence[Digest] = list({pointer.oid for pointer in looked})
        mine = self._held(conn, wanted) if wanted else {}
        here = kinds(conn, self.repo.id, [pointer.blob for pointer in looked])
        proven = []
        for pointer in looked:
            size_bytes = mine.get(pointer.oid)
            if size_bytes == pointer.size_bytes:
                proven.append(pointer.blob)
            elif pointer.blob in here:
                continue  # this very text is a file here already, and stays what it is
            elif self.brought is not None and pointer.blob in self.brought.texts:
                continue  # a text, and nothing is ever read through it
            elif self.brought is not None and pointer.oid in self.brought.gone:
                proven.append(pointer.blob)
            elif size_bytes is not None:
                raise BadRequest(
                    f"file {shown(pointer.path)}: its pointer says {pointer.size_bytes} bytes, "
                    f"its LFS object {pointer.oid} has {size_bytes}"
                )
            else:
                raise BadRequest(
                    f"file {shown(pointer.path)}: its LFS object {pointer.oid} was not uploaded; "
                    "run `git lfs push --all`"
                )
        self.new.prove(proven)

    def _held(self, conn: Connection, wanted: Sequence[Digest]) -> Mapping[str, int]:
        """Large files that may be linked, and their sizes."""
        if self.brought is not None:
            here = self.brought.files
            return {oid: here[oid] for oid in wanted if oid in here}
        return blobs.held(conn, self.actor, wanted)


def outside_of(db: Db, git: GitObjects, repo: Repo, body_bytes_max: int) -> Outside:
    """Reads a base for a difference from the repo: (kind, body), None when it is not there."""

    def read(oid: str) -> tuple[str, bytes] | None:
        query = select(s.git_object.c.kind).where(
            s.git_object.c.repo_id == repo.id,
            s.git_object.c.oid == oid,
            s.git_object.c.size_bytes <= body_bytes_max,
        )
        with db.read() as conn:
            kind = conn.execute(query).scalar_one_or_none()
            return (kind, git.read(conn, repo.id, oid, kind)) if kind else None

    return read
