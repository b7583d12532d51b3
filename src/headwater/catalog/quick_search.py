"""Quick search: a few hits of every kind while somebody types.

What it costs is bounded, however many repos there are. For each type of repo it looks at

    the repos of the account that the words before the slash name      by an index, SCAN_MAX rows
    the SCAN_MAX most downloaded repos of the type                     in an index's order

and takes those whose name holds the words. A rare repo beyond both is found by the listing's
`search`, which looks at all of them. Only what the caller may see is
found or counted; a count tells the hits among what was looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, case, func, or_, select, union

from headwater.catalog import collection_list, persons, rights, standing
from headwater.catalog import schema as s
from headwater.catalog import schema_social as so
from headwater.catalog.actors import Actor
from headwater.catalog.collection_list import Collection
from headwater.catalog.db import Db
from headwater.catalog.models import REPO_COLUMNS, Repo
from headwater.catalog.persons import Person
from headwater.errors import BadRequest
from headwater.names import RepoType

SCAN_MAX = 10_000  # rows of one kind that are looked at
LIMIT_MAX = 20  # of each kind
QUERY_CHARS_MAX = 200


@dataclass(frozen=True, slots=True)
class Hits:
    """Of each kind asked for: (how many there are, the first of them)."""

    repos: dict[RepoType, tuple[int, list[Repo]]] = field(default_factory=dict)
    users: tuple[int, list[Person]] = (0, [])
    orgs: tuple[int, list[Person]] = (0, [])
    collections: tuple[int, list[Collection]] = (0, [])


class QuickSearch:
    def __init__(self, db: Db) -> None:
        self.db = db

    def search(
        self,
        actor: Actor,
        text: str,
        *,
        types: Sequence[RepoType],
        people: Sequence[str] = ("user", "org"),
        collections: bool = True,
        limit: int = LIMIT_MAX,
    ) -> Hits:
        """What holds `text` in its name; for an empty text nothing."""
        words = text.strip().lower()
        if len(words) > QUERY_CHARS_MAX or "\0" in words:
            raise BadRequest(f"a search has at most {QUERY_CHARS_MAX} characters, and no NUL")
        if not words:
            return Hits({type: (0, []) for type in types})
        limit = max(1, min(limit, LIMIT_MAX))
        with self.db.read() as conn:
            return Hits(
                {type: _repos(conn, actor, type, words, limit) for type in types},
                _people(conn, actor, "user", words, limit) if "user" in people else (0, []),
                _people(conn, actor, "org", words, limit) if "org" in people else (0, []),
                _collections(conn, actor, words, limit) if collections else (0, []),
            )


def _repos(
    conn: Connection, actor: Actor, type: RepoType, words: str, limit: int
) -> tuple[int, list[Repo]]:
    key = s.repo.c.key
    narrow = select(s.repo.c.id, s.repo.c.type, key)
    popular = narrow.where(s.repo.c.type == type)
    popular = popular.order_by(s.repo.c.downloads.desc(), s.repo.c.id.desc()).limit(SCAN_MAX)
    owner = select(s.account.c.id).where(s.account.c.key == words.partition("/")[0])
    owned = narrow.where(s.repo.c.owner_id == owner.scalar_subquery()).limit(SCAN_MAX)
    named = (
        select(some.c.id).where(some.c.type == type, some.c.key.contains(words, autoescape=True))
        for some in (popular.subquery(), owned.subquery())
    )
    rank = case(
        (key == words, 0),
        (func.lower(s.repo.c.name) == words, 0),
        (key.startswith(words, autoescape=True), 1),
        (func.lower(s.repo.c.name).startswith(words, autoescape=True), 1),
        else_=2,
    )
    found = select(s.repo, func.count().over().label("hits")).where(
        s.repo.c.id.in_(union(*named)), rights.visible(actor)
    )
    found = found.order_by(rank, s.repo.c.downloads.desc(), s.repo.c.id.desc()).limit(limit)
    rows = conn.execute(found).all()
    return _hits(rows), [Repo.of(row[:REPO_COLUMNS]) for row in rows]


def _people(
    conn: Connection, actor: Actor, kind: str, words: str, limit: int
) -> tuple[int, list[Person]]:
    account = s.account.c
    alive = (
        select(s.account)
        .where(account.kind == kind, account.deleted_ms.is_(None))
        .order_by(account.id)
        .limit(SCAN_MAX)
        .subquery()
    )
    found = _ranked(alive, alive.c.key, words, alive.c.key, alive.c.fullname).limit(limit)
    rows = conn.execute(found).all()
    followed = persons.following(conn, actor, [row.id for row in rows])
    people = [
        Person(row.hub_id, row.kind, row.name, row.fullname, row.id in followed) for row in rows
    ]
    return _hits(rows), people


def _collections(
    conn: Connection, actor: Actor, words: str, limit: int
) -> tuple[int, list[Collection]]:
    table = so.collection.c
    recent = (
        select(table.id)
        .where(standing.sees(actor))
        .order_by(table.updated_ms.desc())
        .limit(SCAN_MAX)
        .subquery()
    )
    title = func.lower(table.title)
    found = (
        collection_list.rows()
        .add_columns(func.count().over().label("hits"))
        .where(
            table.id.in_(select(recent.c.id)),
            or_(
                title.contains(words, autoescape=True), table.slug.contains(words, autoescape=True)
            ),
        )
        .order_by(table.updated_ms.desc(), table.id.desc())
        .limit(limit)
    )
    rows = conn.execute(found).all()
    return _hits(rows), [collection_list.made(row, [], None) for row in rows]


def _ranked(
    rows: Any, key: ColumnElement[str], words: str, *texts: ColumnElement[str]
) -> Select[Any]:
    """Rows with `words` in one of the `texts`; those that begin with them first."""
    rank = case((key == words, 0), (key.startswith(words, autoescape=True), 1), else_=2)
    held = or_(*(func.lower(text).contains(words, autoescape=True) for text in texts))
    return select(rows, func.count().over().label("hits")).where(held).order_by(rank, key)


def _hits(rows: Sequence[Any]) -> int:
    return int(rows[0].hits) if rows else 0
