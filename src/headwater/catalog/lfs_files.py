"""Large files of a repo over its whole history: which there are, and taking them out for good.

    files.page(repo, after, limit)                    newest first, each with a path if one is found
    files.delete(actor, repo, oids, rewrite=True)     out of every branch, tag and pull request
    files.delete(actor, repo, oids, rewrite=False)    the history stays; the content is gone

Either way the repo lets go of the bytes at once: they can no longer be read or linked through
it. The space comes back with gc, when no other repo holds them. `withdrawn` notes what was taken
out, so that a pointer which still names it reads as a file that is gone, not as damage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, and_, delete, or_, select, update

from headwater.catalog import audit, cards, events
from headwater.catalog import schema as s
from headwater.catalog import schema_social as so
from headwater.catalog.actors import Actor
from headwater.catalog.clock import now_ms
from headwater.catalog.db import IN_MAX, Db
from headwater.catalog.files import Files
from headwater.catalog.git import GitObjects
from headwater.catalog.lfs_names import names_of
from headwater.catalog.models import Repo
from headwater.catalog.refs import STALE
from headwater.catalog.repos import MAIN, find
from headwater.catalog.rewrite import Rewrite
from headwater.errors import Stale
from headwater.names import Digest, GitOid


@dataclass(frozen=True, slots=True)
class LfsFile:
    oid: Digest
    size_bytes: int
    pushed_ms: int
    path: str | None  # one of those it has or had
    ref: str | None  # that led to this path


@dataclass(frozen=True, slots=True)
class Deleted:
    files: int  # that the repo let go of, or that were taken out of its history
    commits: int  # that were written anew


@dataclass(frozen=True, slots=True)
class _Move:
    ref: str
    old_target: GitOid
    old: GitOid
    target: GitOid
    commit: GitOid


class LfsFiles:
    def __init__(self, db: Db, git: GitObjects, files: Files) -> None:
        self.db = db
        self.git = git
        self.files = files

    def page(self, repo: Repo, after: tuple[int, str] | None, limit: int) -> list[LfsFile]:
        """Those behind `after` (time and digest of the last one seen), newest first."""
        held = s.repo_blob.c
        query = select(held.oid, held.size_bytes, held.created_ms).where(held.repo_id == repo.id)
        if after is not None:
            at, oid = after
            query = query.where(
                or_(held.created_ms < at, and_(held.created_ms == at, held.oid < oid))
            )
        query = query.order_by(held.created_ms.desc(), held.oid.desc()).limit(limit)
        with self.db.read() as conn:
            rows = conn.execute(query).all()
            pointers = _pointers(conn, repo.id, [row.oid for row in rows])
            named = names_of(conn, self.git, repo.id, pointers)
        return [
            LfsFile(
                Digest(row.oid),
                row.size_bytes,
                row.created_ms,
                *named.get(row.oid, (None, None)),
            )
            for row in rows
        ]

    def delete(self, actor: Actor, repo: Repo, oids: Sequence[Digest], *, rewrite: bool) -> Deleted:
        """Take these files out of the repo for good; those it does not have are passed over.

        Unprocessable when the history is too long to be rewritten; nothing is changed then.
        """
        with self.db.read() as conn:  # the long walk, while others write
            repo = find(conn, actor, repo.type, repo.full, "write")
            pointers = _pointers(conn, repo.id, oids)
            plan = Rewrite(self.git, repo.id, frozenset(pointers))
            if rewrite and pointers:
                _moves(conn, repo.id, plan)
        with self.db.write() as conn:
            repo = find(conn, actor, repo.type, repo.full, "write")
            pointers = _pointers(conn, repo.id, oids)
            if plan.drop != pointers.keys():  # committed meanwhile under another pointer's text
                plan = Rewrite(self.git, repo.id, frozenset(pointers))
            moves = _moves(conn, repo.id, plan) if rewrite and pointers else []
            gone = set(self._withdraw(conn, repo.id, oids))
            gone |= set(pointers.values()) if moves else set()
            if not gone:
                return Deleted(0, 0)
            changed = {old: new for old, new in plan.commits.items() if old != new}
            if moves:
                self._apply(conn, actor, repo, plan, moves)
                _follow(conn, repo.id, changed)
            audit.record(
                conn,
                actor.audit_name,
                "lfs.delete",
                repo.prefix + repo.full,
                oids=sorted(gone),
                refs=len(moves),
                commits=len(changed),
            )
            return Deleted(len(gone), len(changed))

    def _apply(
        self, conn: Connection, actor: Actor, repo: Repo, plan: Rewrite, moves: Sequence[_Move]
    ) -> None:
        """Insert what the rewriting made, then lead the refs to it."""
        self.git.put(conn, repo.id, plan.objects)
        at_ms = now_ms()
        for move in moves:
            done = conn.execute(
                update(s.ref)
                .where(
                    s.ref.c.repo_id == repo.id,
                    s.ref.c.name == move.ref,
                    s.ref.c.target == move.old_target,
                )
                .values(target=move.target, commit=move.commit, updated_ms=at_ms)
            )
            if done.rowcount != 1:
                raise Stale(STALE)
            if move.ref == MAIN:
                tree = self.git.commit(conn, repo.id, move.commit).tree
                cards.refresh(self.files, self.git, conn, repo, tree)
        events.refs_moved(conn, actor, repo, *((m.ref, m.old, m.commit) for m in moves))

    def _withdraw(self, conn: Connection, repo_id: int, oids: Sequence[Digest]) -> list[str]:
        """Unlink the bytes and note it; those of `oids` that the repo held."""
        mine = s.repo_blob.c.repo_id == repo_id
        held: list[str] = []
        for at in range(0, len(oids), IN_MAX):
            some = s.repo_blob.c.oid.in_([str(oid) for oid in oids[at : at + IN_MAX]])
            held += conn.execute(select(s.repo_blob.c.oid).where(mine, some)).scalars()
            conn.execute(delete(s.repo_blob).where(mine, some))
        if held:
            at_ms = now_ms()
            rows = [{"repo_id": repo_id, "oid": oid, "deleted_ms": at_ms} for oid in held]
            conn.execute(self.db.insert_new(s.withdrawn), rows)
        return held


def _pointers(conn: Connection, repo_id: int, oids: Sequence[str]) -> dict[GitOid, str]:
    """Git ids of the pointers that name these bytes, with the SHA-256 of each."""
    found: dict[GitOid, str] = {}
    for at in range(0, len(oids), IN_MAX):
        query = select(s.git_object.c.oid, s.git_object.c.lfs_oid).where(
            s.git_object.c.repo_id == repo_id,
            s.git_object.c.lfs_oid.in_([str(oid) for oid in oids[at : at + IN_MAX]]),
        )
        found.update({GitOid(row.oid): row.lfs_oid for row in conn.execute(query)})
    return found


def _moves(conn: Connection, repo_id: int, plan: Rewrite) -> list[_Move]:
    """What a rewriting does to the refs of the repo, those left out that it does not touch."""
    query = select(s.ref.c.name, s.ref.c.target, s.ref.c.commit).where(s.ref.c.repo_id == repo_id)
    moves = []
    for row in conn.execute(query.order_by(s.ref.c.name)).all():
        old_target, old = GitOid(row.target), GitOid(row.commit)
        target, commit = plan.follow(conn, old_target, old)
        if target != old_target:
            moves.append(_Move(row.name, old_target, old, target, commit))
    return moves


def _follow(conn: Connection, repo_id: int, changed: Mapping[str, GitOid]) -> None:
    """Merged pull requests go on naming the commits that they became."""
    of = so.discussion.c
    merges = select(of.num, of.merge_commit, of.base_commit).where(
        of.repo_id == repo_id, of.merge_commit.is_not(None)
    )
    for row in conn.execute(merges).all():
        new = {
            "merge_commit": changed.get(row.merge_commit, row.merge_commit),
            "base_commit": changed.get(row.base_commit, row.base_commit),
        }
        conn.execute(
            update(so.discussion).where(of.repo_id == repo_id, of.num == row.num).values(**new)
        )
