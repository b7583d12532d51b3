"""Follows: who follows which user or organisation. Following twice is following once."""

from __future__ import annotations

from sqlalchemy import delete, insert, select

from headwater.catalog import audit, persons, standing
from headwater.catalog import schema as s
from headwater.catalog import schema_social as so
from headwater.catalog.actors import Actor
from headwater.catalog.clock import now_ms
from headwater.catalog.db import Db
from headwater.catalog.persons import PAGE_MAX, Kind, PersonPage
from headwater.errors import BadRequest


class Follows:
    def __init__(self, db: Db) -> None:
        self.db = db

    def follow(self, actor: Actor, name: str, kind: Kind) -> None:
        """Follow the account; NotFound for nobody, BadRequest for oneself."""
        self._set(actor, name, kind, True)

    def unfollow(self, actor: Actor, name: str, kind: Kind) -> None:
        """Stop following the account."""
        self._set(actor, name, kind, False)

    def _set(self, actor: Actor, name: str, kind: Kind, wanted: bool) -> None:
        user_id = standing.demand_person(actor, "follow somebody")
        follow = so.follow
        with self.db.write() as conn:
            account = persons.named(conn, name, kind)
            if account.id == user_id:
                raise BadRequest("You cannot follow yourself.")
            mine = (follow.c.account_id == account.id) & (follow.c.user_id == user_id)
            there = conn.execute(select(follow.c.user_id).where(mine)).first() is not None
            if there == wanted:
                return
            if wanted:
                values = {"account_id": account.id, "user_id": user_id, "created_ms": now_ms()}
                conn.execute(insert(follow).values(values))
            else:
                conn.execute(delete(follow).where(mine))
            action = f"{kind}.follow" if wanted else f"{kind}.unfollow"
            audit.record(conn, actor.audit_name, action, account.name)

    def followers(
        self, actor: Actor, name: str, kind: Kind, *, after: int = 0, limit: int = PAGE_MAX
    ) -> PersonPage:
        """Who follows the account."""
        with self.db.read() as conn:
            account = persons.named(conn, name, kind)
            found = (
                select(s.account)
                .join(so.follow, so.follow.c.user_id == s.account.c.id)
                .where(so.follow.c.account_id == account.id)
            )
            return persons.listed(conn, actor, found, so.follow.c.user_id, after, limit)

    def following(
        self, actor: Actor, name: str, *, after: int = 0, limit: int = PAGE_MAX
    ) -> PersonPage:
        """Users and organisations that the user follows."""
        with self.db.read() as conn:
            user = persons.named(conn, name, "user")
            found = (
                select(s.account)
                .join(so.follow, so.follow.c.account_id == s.account.c.id)
                .where(so.follow.c.user_id == user.id)
            )
            return persons.listed(conn, actor, found, so.follow.c.account_id, after, limit)
