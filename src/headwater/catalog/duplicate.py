"""Duplicates: a new repo with another's branches, tags and whole history, no byte sent again.

    repo = duplicate.repo(actor, source, rid, private=None)     a copy under another name
    failed = duplicate.files(actor, source, type, name, files)      single large files, for a commit

Whoever copies must be able to read what is copied: the bytes of the source, past its gate. Only
what branches and tags lead to comes along: pull requests and what gc has yet to drop do not. The
copy is as private and as gated as its source unless the caller says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, insert, literal, or_, select

from headwater.catalog import audit, cards, events, repos
from headwater.catalog import schema as s
from headwater.catalog.actors import Actor
from headwater.catalog.clock import now_ms
from headwater.catalog.db import IN_MAX, Db
from headwater.catalog.files import Files
from headwater.catalog.git import GitObjects
from headwater.catalog.models import Repo
from headwater.catalog.repos import MAIN, find
from headwater.catalog.sweep import Sweep
from headwater.errors import Unprocessable
from headwater.names import Digest, RepoId, RepoType, XetHash

# Bounds of one copy: it is one transaction, and all writers of the hub wait for it.
OBJECTS_MAX = 200_000
OBJECT_BYTES_MAX = 1 * 2**30  # of git objects as stored; large files cost a row each
COPIED_REFS = ("refs/heads/", "refs/tags/")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A large file as the caller knows it."""

    oid: Digest
    xet_hash: XetHash


class Duplicate:
    def __init__(
        self, db: Db, git: GitObjects, files: Files, sweep: Sweep, upload_ttl_s: int
    ) -> None:
        self.db = db
        self.git = git
        self._files = files
        self._sweep = sweep
        self._upload_ttl_ms = upload_ttl_s * 1000

    def repo(self, actor: Actor, source: Repo, rid: RepoId, *, private: bool | None = None) -> Repo:
        """The new repo. Conflict when `rid` exists; Unprocessable when the source is too large."""
        with self.db.read() as conn:  # the long walk, while others write; it is remembered
            source = find(conn, actor, source.type, source.full, "bytes")
            repos.may_take(conn, actor, rid)
            _measure(conn, source, self._reached(conn, source))
        with self.db.write() as conn:
            source = find(conn, actor, source.type, source.full, "bytes")
            hidden = source.private if private is None else private
            made, ended = repos.insert_row(
                conn, actor, rid, private=hidden, sdk=source.sdk, gated=source.gated
            )
            _copy(conn, source, made, sorted(self._reached(conn, source)))
            head = select(s.ref.c.commit).where(s.ref.c.repo_id == made.id, s.ref.c.name == MAIN)
            commit = conn.execute(head).scalar_one_or_none()
            if commit is not None:
                tree = self.git.commit(conn, made.id, commit).tree
                cards.refresh(self._files, self.git, conn, made, tree)
            origin = source.prefix + source.full
            audit.record(conn, actor.audit_name, "repo.duplicate", str(rid), source=origin, **ended)
            events.emit(conn, actor, made, "repo", "create")  # not of what: it may be private
            return find(conn, actor, rid.type, rid.full)

    def _reached(self, conn: Connection, source: Repo) -> set[str]:
        return set(self._sweep.reachable(conn, source.id, set(), under=COPIED_REFS))

    def files(
        self, actor: Actor, source: Repo, type: RepoType, full: str, wanted: Sequence[Wanted]
    ) -> list[Digest]:
        """Let the actor link these files of `source` for a while, as if just uploaded, into the
        repo `full` of that type; those that the source does not hold are returned.
        """
        oids = [file.oid for file in wanted]
        with self.db.write() as conn:
            source = find(conn, actor, source.type, source.full, "bytes")
            target = find(conn, actor, type, full, "propose")
            held: dict[str, str] = {}
            for at in range(0, len(oids), IN_MAX):
                query = (
                    select(s.blob.c.oid, s.blob.c.xet_hash)
                    .join(s.repo_blob, s.repo_blob.c.oid == s.blob.c.oid)
                    .where(
                        s.repo_blob.c.repo_id == source.id,
                        s.repo_blob.c.oid.in_([str(oid) for oid in oids[at : at + IN_MAX]]),
                    )
                )
                held.update({row.oid: row.xet_hash for row in conn.execute(query)})
            good = {file.oid for file in wanted if held.get(file.oid) == file.xet_hash}
            if good:
                self._lend(conn, actor, good)
                audit.record(
                    conn,
                    actor.audit_name,
                    "lfs.duplicate",
                    target.prefix + target.full,
                    source=source.prefix + source.full,
                    files=len(good),
                )
        return [file.oid for file in wanted if file.oid not in good]

    def _lend(self, conn: Connection, actor: Actor, oids: Iterable[Digest]) -> None:
        expires = {"expires_ms": now_ms() + self._upload_ttl_ms}
        conn.execute(
            self.db.upsert(s.upload, ["user_id", "oid"], expires),
            [{"user_id": actor.user_id, "oid": oid, **expires} for oid in oids],
        )


def _measure(conn: Connection, source: Repo, oids: set[str]) -> None:
    """Unprocessable when the copy would keep everybody waiting for too long."""
    size_bytes = 0
    parts = sorted(oids)
    for at in range(0, len(parts), IN_MAX):
        query = select(func.coalesce(func.sum(s.git_object.c.size_bytes), 0)).where(
            s.git_object.c.repo_id == source.id, s.git_object.c.oid.in_(parts[at : at + IN_MAX])
        )
        size_bytes += int(conn.execute(query).scalar_one())
    if len(oids) > OBJECTS_MAX or size_bytes > OBJECT_BYTES_MAX:
        raise Unprocessable(
            f"this repo has {len(oids)} git objects of {size_bytes} bytes; at most {OBJECTS_MAX} "
            f"of {OBJECT_BYTES_MAX} bytes are copied at once. Squash it first, or upload a copy."
        )


def _copy(conn: Connection, source: Repo, made: Repo, oids: Sequence[str]) -> None:
    """Objects, refs, and the links to large files; what is withdrawn stays so in the copy."""
    at_ms = now_ms()
    git = s.git_object.c
    kept = ("oid", "kind", "size_bytes", "data", "lfs_oid", "lfs_bytes")
    for at in range(0, len(oids), IN_MAX):
        rows = select(literal(made.id), *(git[name] for name in kept), literal(at_ms)).where(
            git.repo_id == source.id, git.oid.in_(oids[at : at + IN_MAX])
        )
        columns = ["repo_id", *kept, "created_ms"]
        conn.execute(insert(s.git_object).from_select(columns, rows))
    ref = s.ref.c
    refs = select(literal(made.id), ref.name, ref.target, ref.commit, literal(at_ms)).where(
        ref.repo_id == source.id, or_(*(ref.name.startswith(under) for under in COPIED_REFS))
    )
    conn.execute(
        insert(s.ref).from_select(["repo_id", "name", "target", "commit", "updated_ms"], refs)
    )
    named = select(git.lfs_oid).where(git.repo_id == made.id, git.lfs_oid.is_not(None))
    held = s.repo_blob.c
    links = select(literal(made.id), held.oid, held.size_bytes, literal(at_ms)).where(
        held.repo_id == source.id, held.oid.in_(named)
    )
    conn.execute(
        insert(s.repo_blob).from_select(["repo_id", "oid", "size_bytes", "created_ms"], links)
    )
    gone = s.withdrawn.c
    notes = select(literal(made.id), gone.oid, gone.deleted_ms).where(
        gone.repo_id == source.id, gone.oid.in_(named)
    )
    conn.execute(insert(s.withdrawn).from_select(["repo_id", "oid", "deleted_ms"], notes))
