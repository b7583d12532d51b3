"""What happened in a discussion, in order: comments, and changes of its title, status, commits.

    add(conn, …)                  a new event; refused when the discussion has grown too long
    list(conn, repo_id, num)      all of them, oldest first
    tell(conn, …)                 the outbox hears of a discussion, and of a comment in it

A comment keeps what it said before each edit. The whole of a discussion is one reply, so its
length is bounded here, where it grows.
"""

from __future__ import annotations

import builtins
import hashlib
import secrets
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from sqlalchemy import Connection, func, insert, select

from headwater.catalog import events
from headwater.catalog import schema as s
from headwater.catalog import schema_social as so
from headwater.catalog.actors import Actor
from headwater.catalog.clock import now_ms
from headwater.catalog.models import Repo
from headwater.errors import Conflict, NotFound

Kind = Literal["comment", "status-change", "title-change", "commit"]
EVENTS_MAX = 2_000  # of one discussion: the longest public ones have some hundred
CHARS_MAX = 4 * 2**20  # of all its comments with their histories
NOBODY = "deleted"  # whose account is gone


class TooLong(Conflict):
    """The discussion has as many events, or as much text, as one may have."""


class Past(msgspec.Struct, frozen=True):
    """What a comment said until it was edited."""

    raw: str
    at_ms: int


class Details(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an event's kind needs beside its text."""

    status: str = ""
    old: str = ""
    new: str = ""
    subject: str = ""
    oid: str = ""
    history: tuple[Past, ...] = ()


@dataclass(frozen=True, slots=True)
class Person:
    name: str
    fullname: str


@dataclass(frozen=True, slots=True)
class Event:
    """`content` is a comment's text as it is now, `edited_ms` when it was last changed."""

    id: str
    kind: str
    author: Person
    author_id: int | None
    content: str
    details: Details
    hidden: bool
    edited_ms: int | None
    created_ms: int


def add(
    conn: Connection,
    actor: Actor,
    repo: Repo,
    num: int,
    kind: Kind,
    content: str = "",
    details: Details | None = None,
) -> Event:
    """Append an event of this moment. Conflict when the discussion is full, unless it is merged:
    that happens once, and a long talk must not stand in its way."""
    if details is None or details.status != "merged":
        make_room(conn, repo, num, 1, len(content))
    id = secrets.token_hex(12)
    conn.execute(
        insert(so.discussion_event).values(
            hub_id=id,
            repo_id=repo.id,
            num=num,
            kind=kind,
            author_id=actor.user_id or None,
            content=content,
            data=encoded(details or Details()),
            created_ms=now_ms(),
        )
    )
    return one(conn, repo, num, id)


def make_room(conn: Connection, repo: Repo, num: int, count: int, chars: int) -> None:
    """Conflict when `count` more events with `chars` more text would be too many."""
    if not has_room(conn, repo, num, count, chars):
        raise TooLong(f"discussion {num} of {repo.full} is full; open another one")


def has_room(conn: Connection, repo: Repo, num: int, count: int, chars: int) -> bool:
    table = so.discussion_event.c
    size = func.coalesce(func.sum(func.length(table.content) + func.length(table.data)), 0)
    query = select(func.count(), size).where(table.repo_id == repo.id, table.num == num)
    have, have_chars = conn.execute(query).one()
    return bool(have + count <= EVENTS_MAX and have_chars + chars <= CHARS_MAX)


def encoded(details: Details) -> str:
    return msgspec.json.encode(details, enc_hook=str).decode()  # GitOid


def list(conn: Connection, repo_id: int, num: int) -> builtins.list[Event]:
    table = so.discussion_event.c
    query = _query().where(table.repo_id == repo_id, table.num == num).order_by(table.id)
    return [_event(row) for row in conn.execute(query)]


def one(conn: Connection, repo: Repo, num: int, id: str) -> Event:
    """The event of that id in that discussion, or NotFound."""
    table = so.discussion_event.c
    query = _query().where(table.repo_id == repo.id, table.num == num, table.hub_id == id)
    row = None if "\0" in id else conn.execute(query).one_or_none()
    if row is None:
        raise NotFound(f"no such comment in discussion {num} of {repo.full}")
    return _event(row)


def _query() -> Any:
    return select(
        so.discussion_event, s.account.c.name, s.account.c.fullname, s.account.c.deleted_ms
    ).outerjoin(s.account, s.account.c.id == so.discussion_event.c.author_id)


def _event(row: Any) -> Event:
    return Event(
        row.hub_id,
        row.kind,
        person(row.author_id, row.name, row.fullname, row.deleted_ms),
        row.author_id,
        row.content,
        msgspec.json.decode(row.data, type=Details),
        row.hidden,
        row.edited_ms,
        row.created_ms,
    )


def person(
    account_id: int | None, name: str | None, fullname: str | None, deleted_ms: int | None
) -> Person:
    """Who wrote it: an account, the operator (who has none), or somebody whose account is gone."""
    if account_id is None:
        return Person("operator", "operator")
    if name is None or deleted_ms is not None:
        return Person(NOBODY, NOBODY)
    return Person(name, fullname or name)


def hub_id(repo: Repo, num: int) -> str:
    """A discussion's 24 digits in webhooks: of its repo and number, since it has none stored."""
    return hashlib.sha256(f"{repo.hub_id}/{num}".encode()).hexdigest()[:24]


def tell(
    conn: Connection,
    actor: Actor,
    repo: Repo,
    scope: Literal["discussion", "discussion.comment"],
    action: Literal["create", "update"],
    num: int,
    comment: Event | None = None,
) -> None:
    """Put into the outbox that a discussion, or a comment in it, is new or another now.

    A hidden comment's text is left out. Addresses are for whoever delivers to add.
    """
    row = conn.execute(
        select(so.discussion, s.account.c.hub_id)
        .outerjoin(s.account, s.account.c.id == so.discussion.c.author_id)
        .where(so.discussion.c.repo_id == repo.id, so.discussion.c.num == num)
    ).one()
    payload: dict[str, Any] = {
        "discussion": {
            "id": hub_id(repo, num),
            "num": num,
            "title": row.title,
            "status": row.status,
            "isPullRequest": row.is_pr,
            "author": {"id": row.hub_id or ""},
        }
    }
    if row.is_pr:
        payload["discussion"]["changes"] = {
            "base": row.target_ref,
            **({"mergeCommitId": row.merge_commit} if row.merge_commit else {}),
        }
    if comment is not None:
        author = select(s.account.c.hub_id).where(s.account.c.id == comment.author_id)
        payload["comment"] = {
            "id": comment.id,
            "author": {"id": conn.execute(author).scalar_one_or_none() or ""},
            "hidden": comment.hidden,
            **({} if comment.hidden else {"content": comment.content}),
        }
    events.emit(conn, actor, repo, scope, action, **payload)
