"""Events: what happened, noted in the transaction that made it happen.

    events.emit(conn, actor, repo, "repo", "create")
    events.refs_moved(conn, actor, repo, (ref, old, new), …)

A row here is an outbox: whoever delivers it (webhooks) reads it after the commit, so an event is
neither lost in a crash nor told of something that was rolled back. Actions and scopes are those
of Hugging Face's webhooks, version 3.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from sqlalchemy import Connection, insert

from headwater.catalog import schema as s
from headwater.catalog.actors import Actor
from headwater.catalog.clock import now_ms
from headwater.catalog.models import Repo

Scope = Literal["repo", "repo.content", "repo.config", "discussion", "discussion.comment"]
Action = Literal["create", "update", "delete", "move"]


def emit(
    conn: Connection, actor: Actor, repo: Repo, scope: Scope, action: Action, **payload: object
) -> None:
    """Note it. `payload` is what the moment alone knows (JSON values, no secrets); the repo's
    name and owner, as they are now, are noted beside it."""
    about = {"type": repo.type, "name": repo.full, "id": repo.hub_id, "private": repo.private}
    conn.execute(
        insert(s.event).values(
            at_ms=now_ms(),
            scope=scope,
            action=action,
            repo_id=repo.id,
            owner_id=repo.owner_id,
            actor_id=actor.user_id or None,
            payload=msgspec.json.encode({"repo": about, **payload}, enc_hook=str).decode(),
        )
    )


def refs_moved(
    conn: Connection, actor: Actor, repo: Repo, *moves: tuple[str, str | None, str | None]
) -> None:
    """Note that refs moved: (name, commit before, commit after), None where there was none."""
    updated = [{"ref": ref, "oldSha": old, "newSha": new} for ref, old, new in moves]
    emit(conn, actor, repo, "repo.content", "update", updatedRefs=updated)
