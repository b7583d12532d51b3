"""Profiles: a user or an organisation at a glance, and who belongs to the latter.

Every figure counts what the reader may see, and nothing else: a private repo, a like of one, a
discussion in one leaves no trace in a stranger's numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select

from headwater.catalog import persons, rights
from headwater.catalog import schema as s
from headwater.catalog import schema_social as so
from headwater.catalog.actors import Actor
from headwater.catalog.db import Db
from headwater.catalog.persons import PAGE_MAX, Person, PersonPage

ORGS_SHOWN_MAX = 200  # of one user; the list is part of a page that is read whole


@dataclass(frozen=True, slots=True)
class Profile:
    person: Person
    created_ms: int
    repos: Mapping[str, int]  # type -> number
    followers: int
    following: int = 0
    likes: int = 0
    discussions: int = 0
    members: int = 0
    orgs: tuple[Person, ...] = ()


class Profiles:
    def __init__(self, db: Db) -> None:
        self.db = db

    def user(self, actor: Actor, name: str) -> Profile:
        """The user, or NotFound."""
        with self.db.read() as conn:
            row = persons.named(conn, name, "user")
            liked = so.repo_like.join(s.repo, s.repo.c.id == so.repo_like.c.repo_id)
            talk = so.discussion.join(s.repo, s.repo.c.id == so.discussion.c.repo_id)
            seen = rights.visible(actor)
            return Profile(
                person=_person(conn, actor, row),
                created_ms=row.created_ms,
                repos=_repos(conn, actor, row.id),
                followers=_count(conn, so.follow, so.follow.c.account_id == row.id),
                following=_count(conn, so.follow, so.follow.c.user_id == row.id),
                likes=_count(conn, liked, so.repo_like.c.user_id == row.id, seen),
                discussions=_count(conn, talk, so.discussion.c.author_id == row.id, seen),
                orgs=_orgs(conn, actor, row.id),
            )

    def org(self, actor: Actor, name: str) -> Profile:
        """The organisation, or NotFound."""
        with self.db.read() as conn:
            row = persons.named(conn, name, "org")
            return Profile(
                person=_person(conn, actor, row),
                created_ms=row.created_ms,
                repos=_repos(conn, actor, row.id),
                followers=_count(conn, so.follow, so.follow.c.account_id == row.id),
                members=_count(conn, s.member, s.member.c.org_id == row.id),
            )

    def members(
        self, actor: Actor, org: str, *, after: int = 0, limit: int = PAGE_MAX
    ) -> PersonPage:
        """Who belongs to the organisation; in what role, members and admins alone are told."""
        with self.db.read() as conn:
            row = persons.named(conn, org, "org")
            inside = actor.is_admin or actor.role_in(row.id) is not None
            columns = [s.account, s.member.c.role] if inside else [s.account]
            found = (
                select(*columns)
                .join(s.member, s.member.c.user_id == s.account.c.id)
                .where(s.member.c.org_id == row.id)
            )
            return persons.listed(conn, actor, found, s.member.c.user_id, after, limit)


def _person(conn: Connection, actor: Actor, row: Any) -> Person:
    followed = bool(persons.following(conn, actor, [row.id]))
    return Person(row.hub_id, row.kind, row.name, row.fullname, followed)


def _repos(conn: Connection, actor: Actor, owner_id: int) -> dict[str, int]:
    query = (
        select(s.repo.c.type, func.count().label("number"))
        .where(s.repo.c.owner_id == owner_id, rights.visible(actor))
        .group_by(s.repo.c.type)
    )
    return {row.type: row.number for row in conn.execute(query)}


def _count(conn: Connection, table: Any, *conditions: Any) -> int:
    query = select(func.count()).select_from(table).where(*conditions)
    return conn.execute(query).scalar_one()


def _orgs(conn: Connection, actor: Actor, user_id: int) -> tuple[Person, ...]:
    found = (
        select(s.account)
        .join(s.member, s.member.c.org_id == s.account.c.id)
        .where(s.member.c.user_id == user_id)
    )
    return persons.listed(conn, actor, found, s.member.c.org_id, 0, ORGS_SHOWN_MAX).rows
