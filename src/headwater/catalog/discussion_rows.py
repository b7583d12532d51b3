"""Rows of discussions, for the rooms that change them: all inside a transaction of the caller's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, func, insert, select, update

from headwater.catalog import discussion_events as log
from headwater.catalog import rights
from headwater.catalog import schema as s
from headwater.catalog import schema_social as so
from headwater.catalog.actors import Actor
from headwater.catalog.clock import now_ms
from headwater.catalog.discussion_events import Details, Event, Person
from headwater.catalog.models import Repo
from headwater.errors import BadRequest, Forbidden, NotFound

NUM_MAX = 2**31 - 1  # what the column holds
TITLE_CHARS_MIN, TITLE_CHARS_MAX = 3, 200  # the client's words to its users
COMMENT_CHARS_MAX = 65_536


@dataclass(frozen=True, slots=True)
class Discussion:
    num: int
    title: str
    description: str
    status: str
    is_pr: bool
    author: Person
    author_id: int | None
    target_ref: str | None
    merge_commit: str | None
    base_commit: str | None
    created_ms: int

    def is_by(self, actor: Actor) -> bool:
        return bool(actor.user_id) and self.author_id == actor.user_id


def checked_title(text: str) -> str:
    """A title without space at its ends; BadRequest when it is too short or too long."""
    text = " ".join(text.split())
    if not TITLE_CHARS_MIN <= len(text) <= TITLE_CHARS_MAX or not text.isprintable():
        raise BadRequest(f"a title has {TITLE_CHARS_MIN} to {TITLE_CHARS_MAX} printable characters")
    return text


def title_of(summary: str) -> str:
    """A title made of a commit's summary, whatever that is."""
    plain = "".join(char if char.isprintable() else " " for char in summary)
    return " ".join(plain.split())[:TITLE_CHARS_MAX].rstrip() or "Pull request"


def checked_text(text: str, what: str = "") -> str:
    """A comment or description that the database can hold; with `what`, an empty one is refused."""
    if "\0" in text:
        raise BadRequest("a text holds a NUL")
    if len(text) > COMMENT_CHARS_MAX:
        raise BadRequest(f"a text has at most {COMMENT_CHARS_MAX} characters")
    if what and not text.strip():
        raise BadRequest(f"{what} cannot be empty")
    return text


def get(conn: Connection, repo: Repo, num: int) -> Discussion:
    """As `Discussions.find`, inside a transaction."""
    wanted = query().where(so.discussion.c.repo_id == repo.id, so.discussion.c.num == num)
    row = conn.execute(wanted).one_or_none() if 0 < num <= NUM_MAX else None
    if row is None:
        raise NotFound(f"no discussion {num} in {repo.full}")
    return discussion(row)


def insert_new(
    conn: Connection,
    actor: Actor,
    repo: Repo,
    title: str,
    description: str,
    *,
    is_pr: bool,
    status: str,
    target_ref: str | None = None,
) -> int:
    """A new row with the next number, and its description as the first comment."""
    last = select(func.coalesce(func.max(so.discussion.c.num), 0)).where(
        so.discussion.c.repo_id == repo.id
    )
    num = int(conn.execute(last).scalar_one()) + 1
    conn.execute(
        insert(so.discussion).values(
            repo_id=repo.id,
            num=num,
            is_pr=is_pr,
            title=title,
            description=description,
            status=status,
            author_id=actor.user_id or None,
            target_ref=target_ref,
            created_ms=now_ms(),
        )
    )
    first = None
    if description.strip():
        first = log.add(conn, actor, repo, num, "comment", description)
    log.tell(conn, actor, repo, "discussion", "create", num, first)
    return num


def say(conn: Connection, actor: Actor, repo: Repo, num: int, text: str) -> Event:
    """A comment, in the transaction of what it comes with."""
    made = log.add(conn, actor, repo, num, "comment", text)
    change(conn, repo, num)
    log.tell(conn, actor, repo, "discussion.comment", "create", num, made)
    return made


def change_status(conn: Connection, actor: Actor, repo: Repo, num: int, status: str) -> Event:
    """Set the status and note that it changed."""
    change(conn, repo, num, status=status)
    made = log.add(conn, actor, repo, num, "status-change", details=Details(status=status))
    log.tell(conn, actor, repo, "discussion", "update", num)
    return made


def change(conn: Connection, repo: Repo, num: int, **values: object) -> None:
    """Set columns of a discussion, and when it last changed."""
    conn.execute(
        update(so.discussion)
        .where(so.discussion.c.repo_id == repo.id, so.discussion.c.num == num)
        .values(updated_ms=now_ms(), **values)
    )


def is_theirs(actor: Actor, repo: Repo, found: Discussion) -> bool:
    """Whether a discussion is the actor's to rule: its author, or a writer of the repo."""
    return found.is_by(actor) or rights.allowed(actor, repo, "write")


def demand_theirs(actor: Actor, repo: Repo, found: Discussion) -> None:
    """Forbidden unless it is theirs to rule."""
    if not is_theirs(actor, repo, found):
        raise Forbidden(f"only the author of {found.num} and the writers of {repo.full} may")


def query() -> Select[Any]:
    return select(
        so.discussion, s.account.c.name, s.account.c.fullname, s.account.c.deleted_ms
    ).outerjoin(s.account, s.account.c.id == so.discussion.c.author_id)


def discussion(row: Any) -> Discussion:
    return Discussion(
        row.num,
        row.title,
        row.description,
        row.status,
        row.is_pr,
        log.person(row.author_id, row.name, row.fullname, row.deleted_ms),
        row.author_id,
        row.target_ref,
        row.merge_commit,
        row.base_commit,
        row.created_ms,
    )
