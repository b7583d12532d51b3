"""Repos: create, find, list settings, move, delete. Refs and files have rooms of their own."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from headwater.catalog import audit, events, old_names, rights
from headwater.catalog import schema as s
from headwater.catalog import schema_social as so
from headwater.catalog.actors import Actor
from headwater.catalog.clock import now_ms
from headwater.catalog.db import IN_MAX, Db
from headwater.catalog.git import MODE_FILE, GitObjects, TreeRow, new_blob, new_commit, new_tree
from headwater.catalog.models import Repo
from headwater.catalog.rights import Verb
from headwater.errors import BadRequest, Conflict, NotFound
from headwater.formats.git_patterns import DEFAULT_GITATTRIBUTES
from headwater.names import RepoId, RepoType, shown

MAIN = "refs/heads/main"
GATES = ("", "auto", "manual")
SDK_CHARS_MAX = 32  # the column's width


class Repos:
    def __init__(self, db: Db, git: GitObjects) -> None:
        self.db = db
        self.git = git

    def find(self, actor: Actor, type: RepoType, full: str, verb: Verb = "see") -> Repo:
        """The repo of that name, old names included; what `rights.demand` raises if not."""
        with self.db.read() as conn:
            return find(conn, actor, type, full, verb)

    def by_id(self, actor: Actor, repo_id: int, verb: Verb = "see") -> Repo:
        """The repo by its row id, for tokens that name it so."""
        with self.db.read() as conn:
            row = conn.execute(select(s.repo).where(s.repo.c.id == repo_id)).one_or_none()
            if row is None:
                raise rights.not_found(actor, "of this token")
            repo = Repo.of(row)
            rights.demand(actor, repo, verb)
            return repo

    def create(
        self, actor: Actor, rid: RepoId, *, private: bool | None = None, sdk: str | None = None
    ) -> Repo:
        """A new repo whose first commit holds `.gitattributes`; `private` None means as its
        namespace has it. Conflict when it exists, or its name is another's (`old_names`)."""
        if sdk is not None and (len(sdk) > SDK_CHARS_MAX or not sdk.isprintable()):
            raise BadRequest(f"sdk {shown(sdk)}: at most {SDK_CHARS_MAX} printable characters")
        with self.db.write() as conn:
            repo, ended = insert_row(conn, actor, rid, private=private, sdk=sdk)
            if rid.type != "bucket":
                self._first_commit(conn, repo.id, actor, repo.created_ms)
            made = {"private": repo.private, **ended}
            audit.record(conn, actor.audit_name, "repo.create", str(rid), **made)
            events.emit(conn, actor, repo, "repo", "create")
            return repo

    def _first_commit(self, conn: Connection, repo_id: int, actor: Actor, at_ms: int) -> None:
        blob = new_blob(DEFAULT_GITATTRIBUTES)
        tree = new_tree([TreeRow(".gitattributes", MODE_FILE, blob.oid)])
        commit = new_commit(tree.oid, [], "initial commit", actor.audit_name, at_ms // 1000)
        self.git.put(conn, repo_id, [blob, tree, commit])
        conn.execute(
            insert(s.ref).values(
                repo_id=repo_id, name=MAIN, target=commit.oid, commit=commit.oid, updated_ms=at_ms
            )
        )

    def delete(self, actor: Actor, type: RepoType, full: str) -> None:
        """Remove the repo and its history. Bytes no other repo holds go with the next gc."""
        with self.db.write() as conn:
            repo = find(conn, actor, type, full, "manage", moved=False)
            led = select(s.redirect.c.key).where(s.redirect.c.repo_id == repo.id)
            led_here = list(conn.execute(led.limit(IN_MAX)).scalars())  # gone with the repo
            old_names.bury(self.db, conn, repo)
            conn.execute(delete(s.repo).where(s.repo.c.id == repo.id))
            audit.record(conn, actor.audit_name, "repo.delete", repo.prefix + repo.full)
            events.emit(conn, actor, repo, "repo", "delete", oldNames=led_here)

    def move(self, actor: Actor, type: RepoType, source: str, to: RepoId) -> Repo:
        """Give the repo a new name, maybe a new owner. The old name goes on leading here.

        Rights follow the owner from this moment: nothing granted under the old one remains, and
        whoever asked the old owner has to ask the new one.
        """
        if to.type != type:
            raise BadRequest(f"a {type} cannot become a {to.type}")
        with self.db.write() as conn:
            repo = find(conn, actor, type, source, "manage", moved=False)
            owner = _namespace(conn, actor, to)
            dropped: dict[str, object] = {}
            if to.key != repo.key:
                taken = conn.execute(
                    select(s.repo.c.id).where(s.repo.c.type == type, s.repo.c.key == to.key)
                ).first()
                if taken:
                    raise Conflict(f"A {type} repository called {to.full} already exists")
                dropped = old_names.take(conn, actor, to, owner.id, unless=repo.id)
                conn.execute(insert(s.redirect).values(type=type, key=repo.key, repo_id=repo.id))
            conn.execute(
                update(s.repo)
                .where(s.repo.c.id == repo.id)
                .values(
                    owner_id=owner.id,
                    namespace=owner.name,
                    name=to.name,
                    key=to.key,
                    creator_id=(
                        repo.creator_id if owner.id == repo.owner_id else actor.user_id or None
                    ),
                    updated_ms=now_ms(),
                )
            )
            if owner.id != repo.owner_id:
                conn.execute(
                    delete(so.access_request).where(so.access_request.c.repo_id == repo.id)
                )
            audit.record(
                conn, actor.audit_name, "repo.move", repo.prefix + repo.full, to=to.full, **dropped
            )
            moved = _reread(conn, repo.id)
            events.emit(conn, actor, moved, "repo", "move", movedFrom=repo.full)
            return moved

    def set(
        self,
        actor: Actor,
        type: RepoType,
        full: str,
        *,
        private: bool | None = None,
        gated: str | None = None,
    ) -> Repo:
        """Change visibility or the gate; None leaves a setting as it is."""
        if gated is not None and gated not in GATES:
            raise BadRequest("gated must be 'auto', 'manual' or false")
        with self.db.write() as conn:
            repo = find(conn, actor, type, full, "manage")
            new = {
                "private": repo.private if private is None else private,
                "gated": repo.gated if gated is None else gated,
            }
            conn.execute(update(s.repo).where(s.repo.c.id == repo.id).values(**new))
            audit.record(conn, actor.audit_name, "repo.settings", repo.prefix + repo.full, **new)
            changed = _reread(conn, repo.id)
            events.emit(conn, actor, changed, "repo.config", "update", **new)
            return changed

    def used_bytes(self, repos: Sequence[Repo]) -> dict[int, int]:
        """What the large files of each repo come to, over its whole history, by repo row id."""
        used = {repo.id: 0 for repo in repos}
        ids = list(used)
        mine = s.repo_blob.c.repo_id
        query = select(mine, func.sum(s.repo_blob.c.size_bytes)).group_by(mine)
        with self.db.read() as conn:
            for at in range(0, len(ids), IN_MAX):
                rows = conn.execute(query.where(mine.in_(ids[at : at + IN_MAX])))
                used.update((repo_id, int(size)) for repo_id, size in rows)
        return used


def find(
    conn: Connection,
    actor: Actor,
    type: RepoType,
    full: str,
    verb: Verb = "see",
    *,
    moved: bool = True,
) -> Repo:
    """As `Repos.find`, inside a transaction; `moved=False` refuses old names."""
    if "\0" in full:  # no name has one, and PostgreSQL would not even compare it
        raise rights.not_found(actor, full)
    key = full.lower()
    row = conn.execute(
        select(s.repo).where(s.repo.c.type == type, s.repo.c.key == key)
    ).one_or_none()
    if row is None and moved:
        row = conn.execute(
            select(s.repo)
            .join(s.redirect, s.redirect.c.repo_id == s.repo.c.id)
            .where(s.redirect.c.type == type, s.redirect.c.key == key)
        ).one_or_none()
    if row is None:
        raise rights.not_found(actor, full)
    repo = Repo.of(row)
    if not rights.allowed(actor, repo, "see"):
        raise rights.not_found(actor, full)  # the name as asked: a redirect tells nothing
    rights.demand(actor, repo, verb)
    return repo


def may_take(conn: Connection, actor: Actor, rid: RepoId) -> Any:
    """The account that `rid` will belong to; Conflict when there is such a repo, else what
    `rights.demand_namespace` raises."""
    owner = _namespace(conn, actor, rid)
    _refuse_taken(conn, rid)
    return owner


def insert_row(
    conn: Connection,
    actor: Actor,
    rid: RepoId,
    *,
    private: bool | None,
    sdk: str | None = None,
    gated: str = "",
) -> tuple[Repo, dict[str, object]]:
    """A repo with nothing in it, if the actor may make one of that name, and what ended by that
    (`old_names.take`), for the audit row. `private` None: as its namespace has it."""
    owner = may_take(conn, actor, rid)
    ended = old_names.take(conn, actor, rid, owner.id)
    at = now_ms()
    repo_id = conn.execute(
        insert(s.repo)
        .values(
            hub_id=secrets.token_hex(12),
            type=rid.type,
            owner_id=owner.id,
            namespace=owner.name,
            name=rid.name,
            key=rid.key,
            creator_id=actor.user_id or None,
            private=bool(owner.repos_private) if private is None else private,
            gated=gated,
            created_ms=at,
            updated_ms=at,
            sdk=sdk,
        )
        .returning(s.repo.c.id)
    ).scalar_one()
    return _reread(conn, repo_id), ended


def _reread(conn: Connection, repo_id: int) -> Repo:
    return Repo.of(conn.execute(select(s.repo).where(s.repo.c.id == repo_id)).one())


def _namespace(conn: Connection, actor: Actor, rid: RepoId) -> Any:
    """The account that `rid` would belong to, when the actor may create repos there."""
    owner = conn.execute(
        select(s.account.c.id, s.account.c.name, s.account.c.repos_private).where(
            s.account.c.key == rid.namespace.lower(), s.account.c.deleted_ms.is_(None)
        )
    ).one_or_none()
    if owner is None:
        if actor.is_anonymous:
            raise rights.not_found(actor, rid.full)
        raise NotFound(f"No user or organisation {shown(rid.namespace)} on this hub.")
    rights.demand_namespace(actor, owner.id, owner.name)
    return owner


def _refuse_taken(conn: Connection, rid: RepoId) -> None:
    taken = conn.execute(
        select(s.repo.c.namespace, s.repo.c.name).where(
            s.repo.c.type == rid.type, s.repo.c.key == rid.key
        )
    ).one_or_none()
    if taken:
        raise Conflict(
            "You already created this model repo"
            if rid.type == "model"
            else f"You already created this {rid.type} repo",
            extra={"taken": f"{taken.namespace}/{taken.name}"},
        )
