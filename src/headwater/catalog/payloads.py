"""What a webhook is told: version 3 of Hugging Face's payload, and who may hear it.

Names are those of the moment of the event, whether the repo is private and where `main` stands
are of the moment of sending. Addresses begin with the hub's public URL or, without one, with the
address under which the webhook's owner called the hub.
"""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Connection, Row, select

from headwater.catalog import rights
from headwater.catalog import schema as s
from headwater.catalog import schema_social as so
from headwater.catalog.actors import Actor
from headwater.catalog.models import Repo
from headwater.catalog.webhooks import Webhook
from headwater.names import RepoType, url_prefix

VERSION = 3
MAIN = "refs/heads/main"


class Told(msgspec.Struct, frozen=True, rename="camel"):
    """An event as a delivery keeps it."""

    scope: str
    action: str
    repo_id: int | None
    owner_id: int
    payload: dict[str, Any]


def may_hear(conn: Connection, actor: Actor, told: Told) -> bool:
    """Whether the actor may see the repo now; of a deleted one, whether they could have."""
    row = _repo(conn, told)
    if row is not None:
        return rights.allowed(actor, Repo.of(row), "see")
    if not told.payload["repo"]["private"]:
        return True
    return actor.is_admin or actor.role_in(told.owner_id) is not None


def _repo(conn: Connection, told: Told) -> Row[Any] | None:
    return conn.execute(select(s.repo).where(s.repo.c.id == told.repo_id)).one_or_none()


def body_of(conn: Connection, told: Told, webhook: Webhook, public_url: str) -> str:
    """The JSON to send."""
    base = public_url.rstrip("/") or webhook.base_url
    body: dict[str, Any] = {
        "event": {"action": told.action, "scope": told.scope},
        "repo": _repo_part(conn, told, base),
        "webhook": {"id": webhook.hub_id, "version": VERSION},
    }
    if "updatedRefs" in told.payload:
        body["updatedRefs"] = told.payload["updatedRefs"]
    if "discussion" in told.payload:
        body |= _talk(conn, told.payload, body["repo"]["url"])
    if told.scope == "repo.config":
        known = {k: v for k, v in told.payload.items() if k in ("private", "gated")}
        body["updatedConfig"] = known
    if moved_from := told.payload.get("movedFrom"):
        body["movedTo"] = {
            "name": told.payload["repo"]["name"],
            "owner": {"id": _owner(conn, told.owner_id)},
        }
        body["repo"]["name"] = moved_from
        body["repo"]["owner"]["id"] = _named(conn, moved_from.partition("/")[0])
    return msgspec.json.encode(body).decode()


def _repo_part(conn: Connection, told: Told, base: str) -> dict[str, Any]:
    about = told.payload["repo"]
    type: RepoType = about["type"]
    name = about["name"]
    now = _repo(conn, told)
    part: dict[str, Any] = {
        "type": type,
        "name": name,
        "id": about["id"],
        "private": about["private"] if now is None else now.private,
        "url": {"web": f"{base}/{url_prefix(type)}{name}", "api": f"{base}/api/{type}s/{name}"},
        "owner": {"id": _owner(conn, told.owner_id)},
    }
    if now is not None:
        part["tags"] = msgspec.json.decode(now.tags)
        head = conn.execute(
            select(s.ref.c.commit).where(s.ref.c.repo_id == now.id, s.ref.c.name == MAIN)
        ).scalar_one_or_none()
        if head is not None:
            part["headSha"] = head
    return part


def _talk(conn: Connection, payload: dict[str, Any], repo_url: dict[str, str]) -> dict[str, Any]:
    """The discussion, and the comment if it is of one, with the addresses that they have. A comment
    that was hidden since is told of without its text."""
    discussion = payload["discussion"]
    url = {kind: f"{base}/discussions/{discussion['num']}" for kind, base in repo_url.items()}
    parts = {"discussion": {**discussion, "url": url}}
    if comment := payload.get("comment"):
        if not _in_sight(conn, comment["id"]):
            comment = {k: v for k, v in comment.items() if k != "content"} | {"hidden": True}
        parts["comment"] = {**comment, "url": {"web": f"{url['web']}#{comment['id']}"}}
    return parts


def hidden_since(conn: Connection, told: Told) -> bool:
    """Whether the comment that this tells of was taken out of sight, or is gone: its text is said
    no more, though an earlier attempt said it."""
    comment = told.payload.get("comment", {})
    return "content" in comment and not _in_sight(conn, comment["id"])


def _in_sight(conn: Connection, comment_id: str) -> bool:
    hidden = select(so.discussion_event.c.hidden).where(so.discussion_event.c.hub_id == comment_id)
    return conn.execute(hidden).scalar() is False


def _owner(conn: Connection, account_id: int) -> str:
    found = conn.execute(
        select(s.account.c.hub_id).where(s.account.c.id == account_id)
    ).scalar_one_or_none()
    return found or ""


def _named(conn: Connection, name: str) -> str:
    found = conn.execute(
        select(s.account.c.hub_id).where(s.account.c.key == name.lower())
    ).scalar_one_or_none()
    return found or ""
