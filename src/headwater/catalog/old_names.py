"""Names that were in use before: who may take them again (safety rule T20).

    take(conn, actor, rid, owner_id)   before a repo gets the name: Conflict, or it is free now
    bury(db, conn, repo)               before a repo is deleted: its names get a tombstone

A name is trusted by scripts and caches long after its repo is gone, so it is given out again only
to those who had it. A tombstone remembers the account that did; within an organisation, a
contributor gets back what they themselves had made, everything else needs its writers. A redirect
leads to a living repo: whoever may manage that one may end it by taking the name, nobody else.
"""

from __future__ import annotations

from sqlalchemy import Connection, delete, select

from headwater.catalog import rights
from headwater.catalog import schema as s
from headwater.catalog.actors import Actor
from headwater.catalog.clock import now_ms
from headwater.catalog.db import Db
from headwater.catalog.models import Repo
from headwater.errors import Conflict
from headwater.names import RepoId


def take(
    conn: Connection, actor: Actor, rid: RepoId, owner_id: int, *, unless: int | None = None
) -> dict[str, object]:
    """Free the name `rid` for a repo of account `owner_id`; Conflict when it is not the actor's to
    take. A redirect to the repo with row id `unless` ends without question: it goes home. What
    ended is returned, for the audit row."""
    at = (s.redirect.c.type == rid.type) & (s.redirect.c.key == rid.key)
    row = conn.execute(
        select(s.repo).join(s.redirect, s.redirect.c.repo_id == s.repo.c.id).where(at)
    ).one_or_none()
    if row is not None:
        target = Repo.of(row)
        if target.id != unless and not rights.allowed(actor, target, "manage"):
            raise Conflict(
                f"The name {rid.full} belongs to a repository that moved and still leads there. "
                "Choose another name, or ask the owners of that repository to free it."
            )
        conn.execute(delete(s.redirect).where(at))
        if target.id != unless:
            return {"no_longer_leads_to": target.prefix + target.full}
        return {}
    grave = (s.tombstone.c.type == rid.type) & (s.tombstone.c.key == rid.key)
    buried = conn.execute(select(s.tombstone).where(grave)).one_or_none()
    if buried is not None:
        if not _may_reuse(actor, owner_id, buried.owner_id, buried.creator_id):
            raise Conflict(
                f"The name {rid.full} was used before. Only its former owner, in an organisation "
                "one of its writers, may use it again."
            )
        conn.execute(delete(s.tombstone).where(grave))
    return {}


def _may_reuse(actor: Actor, owner_id: int, former_id: int, creator_id: int | None) -> bool:
    if actor.is_admin:
        return True
    if owner_id != former_id:
        return False
    made_it = creator_id is not None and creator_id == actor.user_id
    return made_it or actor.role_in(owner_id) in ("admin", "write")


def bury(db: Db, conn: Connection, repo: Repo) -> None:
    """Leave tombstones for the repo's name and for the old names that lead to it."""
    found = select(s.redirect.c.key).where(s.redirect.c.repo_id == repo.id)
    keys = conn.execute(found).scalars().all()
    graves: list[dict[str, object]] = [
        {"key": repo.key, "owner_id": repo.owner_id, "creator_id": repo.creator_id}
    ]
    for key in keys:
        namespace = key.partition("/")[0]
        owner = select(s.account.c.id).where(s.account.c.key == namespace)
        owner_id = conn.execute(owner).scalar_one_or_none()
        if owner_id is not None:
            graves.append({"key": key, "owner_id": owner_id, "creator_id": None})
    at = now_ms()
    for grave in graves:
        values = {**grave, "type": repo.type, "deleted_ms": at}
        update = {name: values[name] for name in ("owner_id", "creator_id", "deleted_ms")}
        conn.execute(db.upsert(s.tombstone, ["type", "key"], update), values)
