"""Merging a pull request into the branch it wants to change.

    merging.merge(actor, repo, num, comment)   all of it, or Conflict with nothing changed
    merging.conflicts(repo, pr)                the files that a person must decide on, now
    merging.diff(repo, pr)                     what it changes, or changed

The result is computed from a snapshot, while others write; under the write lock it counts only if
neither head has moved since. So a merge of many files holds up nobody, and of two merges at one
moment the second sees the first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, select

from headwater.catalog import audit, cards, events, refs
from headwater.catalog import discussion_rows as rows
from headwater.catalog import schema as s
from headwater.catalog.actors import Actor
from headwater.catalog.clock import now_ms
from headwater.catalog.db import Db
from headwater.catalog.diffs import Diff, Diffs
from headwater.catalog.discussion_rows import Discussion
from headwater.catalog.files import Files
from headwater.catalog.git import GitObjects, new_commit
from headwater.catalog.graph import merge_base
from headwater.catalog.models import Repo
from headwater.catalog.pull_requests import PREFIX
from headwater.catalog.refs import STALE
from headwater.catalog.repos import MAIN, find
from headwater.catalog.three_way import Merged, merge_trees
from headwater.errors import BadRequest, Conflict, RevisionNotFound, Stale, Unprocessable
from headwater.names import GitOid
from headwater.store.cache import Cache

TRIES_MAX = 3  # a branch that moves during each of them is busy: its next visitor will do
CONFLICTS_SHOWN_MAX = 100  # in an error; the page of the pull request lists them all
CACHE_COST = 100_000  # conflicting paths remembered: the page of a pull request is asked for often


class MergeConflict(Conflict):
    """Both sides changed the same files; a person must decide."""

    code = "MergeConflict"


@dataclass(frozen=True, slots=True)
class _Heads:
    """What is merged into what: `base` is the last commit that both have."""

    ours: GitOid
    theirs: GitOid


class Merging:
    def __init__(self, db: Db, git: GitObjects, files: Files, diffs: Diffs) -> None:
        self.db = db
        self.git = git
        self.files = files
        self.diffs = diffs
        self._kept: Cache[tuple[int, str, str], tuple[str, ...] | Literal[True]] = Cache(CACHE_COST)

    def merge(self, actor: Actor, repo: Repo, num: int, comment: str = "") -> GitOid:
        """The merge commit, now the head of the target branch; its message is the title, and
        `comment` if there is one, which is added to the discussion, too.

        MergeConflict lists the files (`filesWithConflicts`). Conflict: merged already, closed, a
        draft, or nothing to merge. Stale: the branch moved each time that it was tried.
        """
        comment = rows.checked_text(comment)
        for _ in range(TRIES_MAX):
            with self.db.read() as conn:
                where = find(conn, actor, repo.type, repo.full, "write")
                pr = _mergeable(conn, where, num)
                heads = _heads(conn, where, pr)
                merged = self._merged(conn, where.id, heads)
            if merged.conflicts:
                shown = merged.conflicts[:CONFLICTS_SHOWN_MAX]
                raise MergeConflict(
                    f"pull request {num} cannot be merged: {len(merged.conflicts)} files conflict "
                    f"with {pr.target_ref}: {', '.join(shown)}. Bring them up to date in "
                    f"{PREFIX}{num}, then merge again.",
                    extra={"filesWithConflicts": list(shown)},
                )
            with self.db.write() as conn:
                where = find(conn, actor, repo.type, repo.full, "write")
                pr = _mergeable(conn, where, num)
                if _heads(conn, where, pr) == heads:
                    return self._move(conn, actor, where, pr, heads, merged, comment)
        raise Stale(STALE)

    def conflicts(self, repo: Repo, pr: Discussion) -> list[str] | bool:
        """The conflicting files of an open pull request; True when that cannot be told, because
        the histories are too long or the branch is gone; none for one that is done."""
        if pr.status == "merged":
            return []
        with self.db.read() as conn:
            try:
                heads = _heads(conn, repo, pr)
                key = (repo.id, heads.ours, heads.theirs)
                known = self._kept.get(key)
                if known is None:
                    known = self._conflicts(conn, repo.id, heads)
                    self._kept.put_new(key, known, 1 + (0 if known is True else len(known)))
            except RevisionNotFound:
                return True
        return True if known is True else list(known)

    def _conflicts(
        self, conn: Connection, repo_id: int, heads: _Heads
    ) -> tuple[str, ...] | Literal[True]:
        """What is remembered of two heads; also that it cannot be told, which costs the most."""
        try:
            return self._merged(conn, repo_id, heads).conflicts
        except NothingToMerge:
            return ()
        except Unprocessable:
            return True

    def diff(self, repo: Repo, pr: Discussion) -> Diff | None:
        """What a pull request changes since it left its branch; what it changed, once merged.
        None when that cannot be told."""
        with self.db.read() as conn:
            try:
                if pr.merge_commit and pr.base_commit:
                    old, new = GitOid(pr.base_commit), GitOid(pr.merge_commit)
                    return self.diffs.of(conn, repo.id, old, new)
                heads = _heads(conn, repo, pr)
                base = merge_base(conn, self.git, repo.id, heads.ours, heads.theirs)
                return self.diffs.of(conn, repo.id, base, heads.theirs)
            except (RevisionNotFound, Unprocessable):
                return None

    def _merged(self, conn: Connection, repo_id: int, heads: _Heads) -> Merged:
        base = merge_base(conn, self.git, repo_id, heads.ours, heads.theirs)
        if base == heads.theirs:
            raise NothingToMerge("this pull request has no commit that its branch has not")
        trees = [
            self.git.commit(conn, repo_id, oid).tree if oid else None
            for oid in (base, heads.ours, heads.theirs)
        ]
        ours, theirs = trees[1], trees[2]
        assert ours is not None
        assert theirs is not None
        return merge_trees(conn, self.git, repo_id, trees[0], ours, theirs)

    def _move(
        self,
        conn: Connection,
        actor: Actor,
        repo: Repo,
        pr: Discussion,
        heads: _Heads,
        merged: Merged,
        comment: str,
    ) -> GitOid:
        """Commit, compare-and-swap, and everything that goes with it."""
        target = pr.target_ref or MAIN
        parents = (heads.ours, heads.theirs)
        latest_ms = max(self.git.commit(conn, repo.id, oid).at_ms for oid in parents)
        at_s = max(now_ms(), latest_ms) // 1000  # a branch's times never run backwards
        title = f"{pr.title} (#{pr.num})"
        message = f"{title}\n\n{comment}" if comment.strip() else title
        commit = new_commit(merged.tree, parents, message, actor.audit_name, at_s)
        self.git.put(conn, repo.id, [*merged.objects, commit])
        refs.swap(conn, repo.id, target, heads.ours, commit.oid)
        if target == MAIN:
            cards.refresh(self.files, self.git, conn, repo, merged.tree)
        if comment.strip():
            rows.say(conn, actor, repo, pr.num, comment)
        rows.change(conn, repo, pr.num, merge_commit=str(commit.oid), base_commit=str(heads.ours))
        rows.change_status(conn, actor, repo, pr.num, "merged")
        subject = repo.prefix + repo.full
        audit.record(
            conn,
            actor.audit_name,
            "discussion.merge",
            subject,
            num=pr.num,
            ref=target,
            commit=commit.oid,
        )
        events.refs_moved(conn, actor, repo, (target, heads.ours, commit.oid))
        return commit.oid


class NothingToMerge(Conflict):
    """Every commit of the pull request is in its branch already."""


def _mergeable(conn: Connection, repo: Repo, num: int) -> Discussion:
    found = rows.get(conn, repo, num)
    if not found.is_pr:
        raise BadRequest(f"{num} is a discussion, not a pull request: there is nothing to merge")
    if found.status == "merged":
        raise Conflict(f"pull request {num} is merged already")
    if found.status != "open":
        raise Conflict(f"pull request {num} is {found.status}: open it first")
    return found


def _heads(conn: Connection, repo: Repo, pr: Discussion) -> _Heads:
    names = (pr.target_ref or MAIN, f"{PREFIX}{pr.num}")
    query = select(s.ref.c.name, s.ref.c.commit).where(
        s.ref.c.repo_id == repo.id, s.ref.c.name.in_(names)
    )
    found = {row.name: GitOid(row.commit) for row in conn.execute(query)}
    for name in names:
        if name not in found:
            raise refs.no_revision(name)
    return _Heads(found[names[0]], found[names[1]])
