"""Persons: accounts as others see them, one or a page of them.

    named(conn, name, kind)    the account row, or NotFound
    listed(conn, actor, …)     a page, in the order in which the accounts were made

Pages are keyset pages over the account's row id. What a deleted account did is taken back with
`forget`, in the transaction that deletes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Row,
    Select,
    delete,
    literal,
    or_,
    select,
    update,
)

from headwater.catalog import schema as s
from headwater.catalog import schema_social as so
from headwater.catalog.actors import Actor
from headwater.catalog.db import IN_MAX
from headwater.errors import NotFound
from headwater.names import shown

Kind = Literal["user", "org"]
PAGE_MAX = IN_MAX  # rows of one page: who of them the caller follows is one more query


@dataclass(frozen=True, slots=True)
class Person:
    hub_id: str
    kind: Kind
    name: str
    fullname: str
    followed: bool  # by the caller
    role: str | None = None  # in the organisation whose members are listed


@dataclass(frozen=True, slots=True)
class PersonPage:
    rows: tuple[Person, ...]
    after: int | None  # the account row id that the next page follows; None at the end


def named(conn: Connection, name: str, kind: Kind) -> Row[Any]:
    """The row of `account`; NotFound for a name that is unknown, deleted, or of the other kind."""
    row = None
    if "\0" not in name:  # no name has one, and PostgreSQL would not even compare it
        row = conn.execute(
            select(s.account).where(
                s.account.c.key == name.lower(),
                s.account.c.kind == kind,
                s.account.c.deleted_ms.is_(None),
            )
        ).one_or_none()
    if row is None:
        raise NotFound(f"No {'user' if kind == 'user' else 'organisation'} {shown(name)} here.")
    return row


def listed(
    conn: Connection,
    actor: Actor,
    found: Select[Any],
    key: ColumnElement[int],
    after: int,
    limit: int,
) -> PersonPage:
    """A page of `found`, which selects `account` columns and then perhaps a role.

    `key` is the account's id as the table has it that is walked: a page then begins in its index.
    """
    limit = max(1, min(limit, PAGE_MAX))
    rows = conn.execute(
        found.where(key > literal(after, BigInteger), s.account.c.deleted_ms.is_(None))
        .order_by(key)
        .limit(limit + 1)
    ).all()
    page = rows[:limit]
    followed = following(conn, actor, [row.id for row in page])
    people = tuple(
        Person(row.hub_id, row.kind, row.name, row.fullname, row.id in followed,
               row._mapping.get("role"))
        for row in page
    )  # fmt: skip
    return PersonPage(people, page[-1].id if len(rows) > limit else None)


def following(conn: Connection, actor: Actor, accounts: Sequence[int]) -> set[int]:
    """Which of these accounts the caller follows."""
    if not actor.user_id or not accounts:
        return set()
    mine: ColumnElement[bool] = so.follow.c.user_id == actor.user_id
    query = select(so.follow.c.account_id).where(mine, so.follow.c.account_id.in_(accounts))
    return set(conn.execute(query).scalars())


def forget(conn: Connection, account_id: int) -> None:
    """Take back what an account that is being deleted liked, followed and collected."""
    liked = select(so.repo_like.c.repo_id).where(so.repo_like.c.user_id == account_id)
    conn.execute(update(s.repo).where(s.repo.c.id.in_(liked)).values(likes=s.repo.c.likes - 1))
    conn.execute(delete(so.repo_like).where(so.repo_like.c.user_id == account_id))
    conn.execute(
        delete(so.follow).where(
            or_(so.follow.c.user_id == account_id, so.follow.c.account_id == account_id)
        )
    )
    conn.execute(delete(so.collection).where(so.collection.c.owner_id == account_id))
