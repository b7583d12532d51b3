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

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from headwater.catalog import audit, blobs, cards, events, pull_requests, refs, rights
from headwater.catalog import schema as s
from headwater.catalog.actors import Actor
from headwater.catalog.clock import now_ms
from headwater.catalog.db import Db
from headwater.catalog.db_errors import ConnectionLost
from headwater.catalog.files import Files
from headwater.catalog.git import (
    MODE_FILE,
    GitObjects,
    NewObject,
    checked_message,
    new_blob,
    new_commit,
)
from headwater.catalog.models import Repo
from headwater.catalog.plans import Change, Plan, PutFile, PutLfs, Remove
from headwater.catalog.refs import STALE, Refs, no_revision
from headwater.catalog.repos import MAIN, find
from headwater.catalog.trees import TreeEdit
from headwater.errors import BadRequest, Forbidden, Stale
from headwater.formats.lfs_pointer import encode_pointer
from headwater.names import Digest, GitOid, shown

__all__ = ["Change", "Commits", "Committed", "Plan", "PutFile", "PutLfs", "Remove"]

RETRY_WINDOW_MS = 3600_000  # clients retry for minutes; an hour later it is a new wish
RETRY_STEPS_MAX = 1_000  # commits between a first try and its retry; beyond, the retry is Stale
PARENT_CHARS_MIN = 5  # the client takes five digits of a commit id for enough


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
        checked_message(plan.message)
        try:
            return self._apply(actor, repo, plan)
        except ConnectionLost:
            # Perhaps it was done and only the answer is lost; the plan's key tells (rule F13).
            return self._apply(actor, repo, plan)

    def _apply(self, actor: Actor, repo: Repo, plan: Plan) -> Committed:
        with self.db.write() as conn:
            repo = find(
                conn, actor, repo.type, repo.full, pull_requests.verb(conn, actor, repo, plan)
            )
            ref, head = self._head(conn, repo, plan)
            key = plan.key(actor)
            if (earlier := self._earlier(conn, repo, head, key, plan)) is not None:
                return earlier
            if plan.parent is not None and not _names(plan.parent, head):
                raise Stale(STALE)
            return self._commit(conn, actor, repo, ref, head, key, plan)

    def _head(self, conn: Connection, repo: Repo, plan: Plan) -> tuple[str, GitOid]:
        name, commit = self.refs.lookup(conn, repo.id, plan.revision)
        if name is None or not name.startswith(("refs/heads/", "refs/pr/")):
            raise no_revision(plan.revision)
        if plan.create_pr and not name.startswith("refs/heads/"):
            raise no_revision(plan.revision)
        return name, GitOid(commit)

    def _earlier(
        self, conn: Connection, repo: Repo, head: GitOid, key: str, plan: Plan
    ) -> Committed | None:
        """The commit that this very plan made before, if this is its retry.

        Without a parent nothing tells a retry from a new wish (v1, v2, v1 are three commits), and
        nothing has to: sent again, the same files change nothing and make no commit, and a file
        that is gone already is not found.
        """
        query = (
            select(s.commit_key.c.commit, s.commit_key.c.parent, s.commit_key.c.pr)
            .where(
                s.commit_key.c.repo_id == repo.id,
                s.commit_key.c.key == key,
                s.commit_key.c.created_ms > now_ms() - RETRY_WINDOW_MS,
            )
            .order_by(s.commit_key.c.created_ms.desc())
        )
        for row in conn.execute(query):
            if plan.create_pr:
                return Committed(GitOid(row.commit), row.pr)
            if (
                plan.parent
                and _names(plan.parent, row.parent)
                and self._contains(conn, repo, head, row.commit, row.parent)
            ):
                return Committed(GitOid(row.commit))
        return None

    def _contains(
        self, conn: Connection, repo: Repo, head: GitOid, commit: str, parent: str
    ) -> bool:
        """Whether a branch still holds `commit`: it may have been deleted and made anew."""
        at: GitOid | None = head
        for _ in range(RETRY_STEPS_MAX):
            if at is None or at == parent:
                return False
            if at == commit:
                return True
            parents = self.git.commit(conn, repo.id, at).parents
            at = parents[0] if parents else None
        return False

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
        self._demand_staged(conn, repo, plan.changes)
        pointers, linked = self._edit(conn, actor, repo, edit, plan.changes)
        root, trees = edit.write()
        if root == before.tree and not plan.create_pr:
            self._restore(conn, actor, repo, linked)
            return Committed(head)  # nothing would change: no empty commits
        at_s = max(now_ms(), before.at_ms) // 1000  # a branch's times never run backwards
        commit = new_commit(root, [head], plan.message, actor.audit_name, at_s)
        self.git.put(conn, repo.id, [*pointers, *trees, commit])
        blobs.link(self.db, conn, actor, repo.id, linked)
        number = None
        if plan.create_pr:
            number = pull_requests.opened(conn, actor, repo, ref, plan, commit.oid)
            ref = f"refs/pr/{number}"
        else:
            pull_requests.committed(conn, actor, repo, ref, plan.summary, commit.oid)
            refs.swap(conn, repo.id, ref, head, commit.oid)
        if ref == MAIN:
            cards.refresh(self.files, self.git, conn, repo, root)
        conn.execute(
            self.db.insert_new(s.commit_key),
            {
                "repo_id": repo.id,
                "key": key,
                "commit": commit.oid,
                "parent": head,
                "pr": number,
                "created_ms": now_ms(),
            },
        )
        subject = repo.prefix + repo.full
        audit.record(conn, actor.audit_name, "repo.commit", subject, ref=ref, commit=commit.oid)
        was = None if plan.create_pr else head
        events.refs_moved(conn, actor, repo, (ref, was, commit.oid))
        return Committed(commit.oid, number)

    def _restore(
        self, conn: Connection, actor: Actor, repo: Repo, linked: Sequence[tuple[Digest, int]]
    ) -> None:
        """A file whose content was deleted for good is brought back where its pointer still is."""
        if back := blobs.restore(self.db, conn, actor, repo.id, linked):
            audit.record(
                conn, actor.audit_name, "lfs.restore", repo.prefix + repo.full, oids=sorted(back)
            )

    def _demand_staged(self, conn: Connection, repo: Repo, changes: Sequence[Change]) -> None:
        """Refuse ordinary files whose bytes are not (or no longer) in this repo."""
        wanted = {change.oid: change.path for change in changes if isinstance(change, PutFile)}
        if missing := set(wanted) - self.git.blobs_among(conn, repo.id, wanted):
            path = wanted[missing.pop()]
            raise BadRequest(f"{shown(path)}: its content did not arrive. Send the commit again.")

    def _edit(
        self,
        conn: Connection,
        actor: Actor,
        repo: Repo,
        edit: TreeEdit,
        changes: Sequence[Change],
    ) -> tuple[list[NewObject], list[tuple[Digest, int]]]:
        """Make the changes in the tree; (pointers to insert, blobs that the repo will hold)."""
        wanted = [c.oid for c in changes if isinstance(c, PutLfs)]
        mine = blobs.held(conn, actor, wanted) if wanted else {}
        if not rights.allowed(actor, repo, "write"):  # it would be back on every branch
            _demand_none_withdrawn(conn, repo, wanted)
        pointers: list[NewObject] = []
        linked: list[tuple[Digest, int]] = []
        for change in changes:
            match change:
                case PutFile(path, oid):
                    edit.put(path, MODE_FILE, oid)
                case Remove(path, folder):
                    edit.remove(path, folder)
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


def _demand_none_withdrawn(conn: Connection, repo: Repo, oids: Sequence[Digest]) -> None:
    if gone := blobs.withdrawn(conn, repo.id, oids):
        raise Forbidden(
            f"The file with the SHA-256 {gone[0]} was deleted from {repo.full} for good. Only who "
            "may write to it can bring it back."
        )


def _names(digits: str, commit: str) -> bool:
    """Whether a client means `commit` by these digits."""
    return len(digits) >= PARENT_CHARS_MIN and commit.startswith(digits.lower())
