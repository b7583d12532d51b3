"""What models say they were made from: parents of one, and how many children it has.

    bases.of(actor, repo)        -> Bases(relation, parents): as its card says
    bases.children(actor, repo)  -> {relation: number} of the models whose cards name it

Only what the caller may see is counted or identified: a private child adds nothing, and a parent
that is private here is a name on a card, as one that is not here at all.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select

from headwater.catalog import rights
from headwater.catalog import schema as s
from headwater.catalog.actors import Actor
from headwater.catalog.card_tags import BASES_MAX
from headwater.catalog.db import IN_MAX, Db
from headwater.catalog.models import Repo


@dataclass(frozen=True, slots=True)
class Parent:
    name: str  # as the card spells it
    hub_id: str | None  # of the repo, when it is here and the caller may see it


@dataclass(frozen=True, slots=True)
class Bases:
    relation: str
    parents: tuple[Parent, ...]


class BaseEdges:
    def __init__(self, db: Db) -> None:
        self.db = db

    def of(self, actor: Actor, repo: Repo) -> Bases | None:
        """The parents that the card names; None when it names none."""
        mine = s.base_edge.c.repo_id == repo.id
        with self.db.read() as conn:
            rows = conn.execute(
                select(s.base_edge).where(mine).order_by(s.base_edge.c.base_key).limit(BASES_MAX)
            ).all()
            if not rows:
                return None
            keys = [row.base_key for row in rows]
            here = select(s.repo.c.key, s.repo.c.hub_id).where(
                s.repo.c.type == "model", s.repo.c.key.in_(keys), rights.visible(actor)
            )
            ids = {row.key: row.hub_id for row in conn.execute(here)}
        parents = tuple(Parent(row.base, ids.get(row.base_key)) for row in rows)
        return Bases(rows[0].relation, parents)

    def children(self, actor: Actor, repo: Repo) -> dict[str, int]:
        """How many visible models name this one, or a name it had before, by relation."""
        old = select(s.redirect.c.key).where(
            s.redirect.c.repo_id == repo.id, s.redirect.c.type == repo.type
        )
        with self.db.read() as conn:
            keys = [repo.key, *conn.execute(old.limit(IN_MAX - 1)).scalars()]
            child = (
                select(s.base_edge.c.relation, func.count(func.distinct(s.repo.c.id)))
                .join(s.repo, s.repo.c.id == s.base_edge.c.repo_id)
                .where(s.base_edge.c.base_key.in_(keys), rights.visible(actor))
                .where(s.repo.c.type == "model", s.repo.c.id != repo.id)
                .group_by(s.base_edge.c.relation)
            )
            return {relation: int(number) for relation, number in conn.execute(child)}
