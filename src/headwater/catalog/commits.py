"""Commits: many changes, one transaction, one winner.

    plan = Plan(ref, changes, message …)
    committed = commits.apply(actor, repo, plan)

Bytes come before names: ordinary files are staged as git objects, large ones are durable in the
store, before `apply` moves the ref. `apply` holds the write lock from the rights check to the
compare-and-swap, so of many commits on one parent one wins and the others hear 412.

A retry whose first answer was lost gets the first answer: the plan's content is remembered as a
key beside the commit it made (safety rule F3; the client itself cannot tell).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec
from sqlalchemy import Connection, func, insert, select, update

from headwater.catalog import audit, blobs, cards, refs, rights
from headwater.catalog import schema as s
from headwater.catalog.actors import Actor
from headwater.catalog.clock import now_ms
from headwater.catalog.db import Db
from headwater.catalog.files import Files
from headwater.catalog.git import MODE_FILE, GitObjects, NewObject, new_blob, new_commit
from headwater.catalog.models import Repo
from headwater.catalog.refs import STALE, Refs, no_revision
from headwater.catalog.repos import MAIN, find
from headwater.catalog.trees import TreeEdit
from headwater.errors import BadRequest, Stale
from headwater.formats.lfs_pointer import encode_pointer
from headwater.names import Digest, GitOid, RepoPath, shown

MESSAGE_BYTES_MAX = 64 * 2**10
RETRY_WINDOW_MS = 3600_000  # clients retry for minutes; an hour later it is a new wish


@dataclass(frozen=True, slots=True)
class PutFile:
    """An ordinary file whose content was staged as git blob `oid`."""

    path: RepoPath
    oid: GitOid


@dataclass(frozen=True, slots=True)
class PutLfs:
    """A large file by SHA-256; the size is checked when given (copies leave it out)."""

    path: RepoPath
    oid: Digest
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class Remove:
    path: RepoPath
    folder: bool


Change = PutFile | PutLfs | Remove


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked: these changes, in this order, on top of a branch."""

    revision: str
    changes: tuple[Change, ...]
    summary: str
    description: str = ""
    parent: str | None = None
    create_pr: bool = False

    @property
    def message(self) -> str:
        return f"{self.summary}\n\n{self.description}" if self.description else self.summary

    def key(self, actor: Actor) -> str:
        """Equal for a retry of the same wish by the same person."""
        what = [
            actor.user_id,
            self.revision,
            self.parent,
            self.create_pr,
            self.message,
            [[type(c).__name__, *msgspec.structs.astuple(_Flat.of(c))] for c in self.changes],
        ]
        return hashlib.sha256(msgspec.msgpack.encode(what)).hexdigest()


class _Flat(msgspec.Struct):
    path: str
    oid: str = ""
    size: int | None = None
    folder: bool = False

    @classmethod
    def of(cls, change: Change) -> _Flat:
        match change:
            case PutFile(path, oid):
                return cls(str(path), str(oid))
            case PutLfs(path, digest, size):
                return cls(str(path), str(digest), size)
            case Remove(path, folder):
                return cls(str(path), folder=folder)


@dataclass(frozen=True, slots=True)
class Committed:
    oid: GitOid
    pr: int | None = None


class Commits:
    def __init__(self, db: Db, git: GitObjects, refs: Refs, files: Files) -> None:
        self.db = db
        self.git = git
        self.refs = refs
        self.files = files

    def stage(self, repo: Repo, contents: Sequence[bytes]) -> list[GitOid]:
        """Keep ordinary files' bytes ahead of their commit. Unused ones are gc's to drop."""
        objects = [new_blob(content) for content in contents]
        if objects:
            with self.db.write() as conn:
                self.git.put(conn, repo.id, objects)
        return [new.oid for new in objects]

    def apply(self, actor: Actor, repo: Repo, plan: Plan) -> Committed:
        """Make the commit and move the ref, or raise with nothing changed.

        RevisionNotFound: no such branch. Stale: `plan.parent` is no longer its head.
        BadRequest: a change that cannot be made. EntryNotFound: removing what is not there.
        """
        if len(plan.message.encode()) > MESSAGE_BYTES_MAX:
            raise BadRequest(f"a commit message has at most {MESSAGE_BYTES_MAX} bytes")
        with self.db.write() as conn:
            repo = find(conn, actor, repo.type, repo.full, _verb(conn, actor, repo, plan))
            if not self.db.is_sqlite:  # SQLite's write lock already is one for the whole database
                conn.execute(select(s.repo.c.id).where(s.repo.c.id == repo.id).with_for_update())
            ref, head = self._head(conn, repo, plan.revision, plan)
            key = plan.key(actor)
            if (earlier := self._earlier(conn, repo, ref, head, key, plan)) is not None:
                return earlier
            if plan.parent is not None and plan.parent != head:
                raise Stale(STALE)
            return self._commit(conn, actor, repo, ref, head, key, plan)

    def _head(
        self, conn: Connection, repo: Repo, revision: str, plan: Plan
    ) -> tuple[str, GitOid]:
        name, commit = self.refs.lookup(conn, repo.id, revision)
        if name is None or not name.startswith(("refs/heads/", "refs/pr/")):
            raise no_revision(revision)
        if plan.create_pr and not name.startswith("refs/heads/"):
            raise no_revision(revision)
        return name, GitOid(commit)

    def _earlier(
        self, conn: Connection, repo: Repo, ref: str, head: GitOid, key: str, plan: Plan
    ) -> Committed | None:
        """The commit that this very plan made before, if this is its retry."""
        query = (
            select(s.commit_key.c.commit, s.commit_key.c.parent)
            .where(
                s.commit_key.c.repo_id == repo.id,
                s.commit_key.c.key == key,
                s.commit_key.c.created_ms > now_ms() - RETRY_WINDOW_MS,
            )
            .order_by(s.commit_key.c.created_ms.desc())
        )
        for row in conn.execute(query):
            if plan.create_pr:
                name = conn.execute(
                    select(s.ref.c.name).where(
                        s.ref.c.repo_id == repo.id,
                        s.ref.c.commit == row.commit,
                        s.ref.c.name.like("refs/pr/%"),
                    )
                ).scalar()
                if name:
                    return Committed(GitOid(row.commit), int(name.rsplit("/", 1)[1]))
            elif row.commit == head or (plan.parent and row.parent == plan.parent):
                return Committed(GitOid(row.commit))
        return None

    def _commit(
        self,
        conn: Connection,
        actor: Actor,
        repo: Repo,
        ref: str,
        head: GitOid,
        key: str,
        plan: Plan,
    ) -> Committed:
        before = self.git.commit(conn, repo.id, head)
        edit = TreeEdit(lambda oid: self.git.tree(conn, repo.id, oid), before.tree)
        pointers, linked = self._apply_changes(conn, actor, edit, plan.changes)
        root, trees = edit.write()
        if root == before.tree and not plan.create_pr:
            return Committed(head)  # nothing would change: no empty commits
        at_s = max(now_ms(), before.at_ms) // 1000  # a branch's times never run backwards
        commit = new_commit(root, [head], plan.message, actor.audit_name, at_s)
        self.git.put(conn, repo.id, [*pointers, *trees, commit])
        blobs.link(self.db, conn, repo.id, linked)
        conn.execute(
            self.db.insert_new(s.commit_key),
            {
                "repo_id": repo.id,
                "key": key,
                "commit": commit.oid,
                "parent": head,
                "created_ms": now_ms(),
            },
        )
        number = None
        if plan.create_pr:
            number = _open_pr(conn, actor, repo, ref, plan)
            refs.create(conn, repo.id, f"refs/pr/{number}", commit.oid)
        else:
            refs.swap(conn, repo.id, ref, head, commit.oid)
        if ref == MAIN and not plan.create_pr:
            cards.refresh(self.files, self.git, conn, repo, root)
            conn.execute(
                update(s.repo).where(s.repo.c.id == repo.id).values(updated_ms=now_ms())
            )
        audit.record(
            conn, actor.audit_name, "repo.commit", repo.prefix + repo.full,
            ref=f"refs/pr/{number}" if number else ref, commit=commit.oid,
        )  # fmt: skip
        return Committed(commit.oid, number)

    def _apply_changes(
        self, conn: Connection, actor: Actor, edit: TreeEdit, changes: Iterable[Change]
    ) -> tuple[list[NewObject], list[tuple[Digest, int]]]:
        changes = tuple(changes)
        wanted = [c.oid for c in changes if isinstance(c, PutLfs)]
        mine = blobs.held(conn, actor, wanted) if wanted else {}
        pointers: list[NewObject] = []
        linked: list[tuple[Digest, int]] = []
        for change in changes:
            match change:
                case PutFile(path, oid):
                    edit.put(path, MODE_FILE, oid)
                case Remove(path, folder):
                    edit.remove_folder(path) if folder else edit.remove_file(path)
                case PutLfs(path, digest, size):
                    if digest not in mine:
                        raise BadRequest(
                            f"{shown(path)}: no upload of yours has the SHA-256 {digest}. "
                            "Upload the file, then commit again."
                        )
                    if size is not None and size != mine[digest]:
                        raise BadRequest(
                            f"{shown(path)}: {size} bytes were declared, {mine[digest]} were "
                            "uploaded under that SHA-256"
                        )
                    linked.append((digest, mine[digest]))
                    pointer = new_blob(encode_pointer(digest, mine[digest]), linked[-1])
                    pointers.append(pointer)
                    edit.put(path, MODE_FILE, pointer.oid)
        return pointers, linked


def _verb(conn: Connection, actor: Actor, repo: Repo, plan: Plan) -> rights.Verb:
    """A pull request needs less than a push; its author may add to it."""
    if plan.create_pr:
        return "propose"
    if plan.revision.startswith("refs/pr/") and actor.user_id is not None:
        author = conn.execute(
            select(s.discussion.c.author_id).where(
                s.discussion.c.repo_id == repo.id,
                s.discussion.c.num == _number(plan.revision),
                s.discussion.c.status.in_(("open", "draft")),
            )
        ).scalar_one_or_none()
        if author is not None and author == actor.user_id:
            return "propose"
    return "write"


def _number(ref: str) -> int:
    text = ref.removeprefix("refs/pr/")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1


def _open_pr(conn: Connection, actor: Actor, repo: Repo, ref: str, plan: Plan) -> int:
    last = select(func.coalesce(func.max(s.discussion.c.num), 0)).where(
        s.discussion.c.repo_id == repo.id
    )
    number = int(conn.execute(last).scalar_one()) + 1
    conn.execute(
        insert(s.discussion).values(
            repo_id=repo.id,
            num=number,
            is_pr=True,
            title=plan.summary,
            description=plan.description,
            status="open",
            author_id=actor.user_id,
            target_ref=ref,
            created_ms=now_ms(),
        )
    )
    return number
