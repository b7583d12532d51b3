"""What is in a collection: repos and other collections, in an order, with notes.

A reader sees the items that they may see by themselves, numbered without gaps; the others are
left out and not counted. Every change happens in the write transaction of the collection's room,
which has decided the right to it.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, and_, delete, func, insert, or_, select, update

from headwater.catalog import ordering, repos, rights, standing
from headwater.catalog import schema as s
from headwater.catalog import schema_social as so
from headwater.catalog.actors import Actor
from headwater.catalog.clock import now_ms
from headwater.catalog.db import IN_MAX
from headwater.catalog.models import REPO_COLUMNS, Repo
from headwater.errors import BadRequest, Conflict, NotFound
from headwater.names import REPO_TYPES, shown

ITEMS_MAX = 1000  # of one collection: it is read whole, and a move may renumber all of it
PREVIEW_PLACES = 50  # looked at for the first items of a collection in a list of many
NOTE_CHARS_MAX = 500  # Hugging Face's limit
POSITION_MAX = 10**6  # beyond it every place is the last
KINDS = (*REPO_TYPES, "collection")

_item = so.collection_item
_other = so.collection.alias("other")
_other_owner = s.account.alias("other_owner")


@dataclass(frozen=True, slots=True)
class OtherCollection:
    """A collection that stands in another."""

    hub_id: str
    owner: str
    slug: str
    title: str
    updated_ms: int
    private: bool

    @property
    def full_slug(self) -> str:
        return f"{self.owner}/{self.slug}-{self.hub_id}"


@dataclass(frozen=True, slots=True)
class Item:
    row_id: int
    hub_id: str
    position: int  # among those that the reader sees
    note: str | None
    target: Repo | OtherCollection


def shown_items(
    conn: Connection, actor: Actor, collections: Sequence[int], most: int = ITEMS_MAX
) -> dict[int, list[Item]]:
    """The first `most` items of each collection that `actor` sees, by the collection's row id.

    When not all are asked for, only the first places are looked at: a list costs the same, however
    long its collections are.
    """
    found: dict[int, list[Item]] = {row_id: [] for row_id in collections}
    for at in range(0, len(collections), IN_MAX):
        place = func.row_number().over(
            partition_by=_item.c.collection_id, order_by=(_item.c.position, _item.c.id)
        )
        seen = _seen(actor, collections[at : at + IN_MAX], _item.c.id.label("id"), place.label("n"))
        if most < ITEMS_MAX:
            seen = seen.where(_item.c.position < PREVIEW_PLACES)
        numbered = seen.subquery()
        query = (
            select(
                s.repo,
                _item,
                _other.c.hub_id.label("other_hub_id"),
                _other.c.slug.label("other_slug"),
                _other.c.title.label("other_title"),
                _other.c.updated_ms.label("other_updated_ms"),
                _other.c.private.label("other_private"),
                _other_owner.c.name.label("other_owner"),
            )
            .select_from(
                numbered.join(_item, _item.c.id == numbered.c.id)
                .outerjoin(s.repo, s.repo.c.id == _item.c.repo_id)
                .outerjoin(_other, _other.c.id == _item.c.other_id)
                .outerjoin(_other_owner, _other_owner.c.id == _other.c.owner_id)
            )
            .where(numbered.c.n <= most)
            .order_by(_item.c.collection_id, numbered.c.n)
        )
        for row in conn.execute(query):
            mine = found[row._mapping[_item.c.collection_id]]
            mine.append(_made(row, len(mine)))
    return found


def _made(row: Any, position: int) -> Item:
    named = row._mapping
    target: Repo | OtherCollection
    if named[_item.c.repo_id] is not None:
        target = Repo.of(row[:REPO_COLUMNS])
    else:
        target = OtherCollection(
            row.other_hub_id, row.other_owner, row.other_slug, row.other_title,
            row.other_updated_ms, row.other_private,
        )  # fmt: skip
    return Item(named[_item.c.id], named[_item.c.hub_id], position, named[_item.c.note], target)


def _seen(actor: Actor, collections: Sequence[int], *columns: Any) -> Select[Any]:
    """`columns` of the items of these collections whose targets the actor may see."""
    others = select(so.collection.c.id).where(standing.sees(actor))
    return (
        select(*columns)
        .select_from(_item.outerjoin(s.repo, s.repo.c.id == _item.c.repo_id))
        .where(
            _item.c.collection_id.in_(collections),
            or_(
                and_(_item.c.repo_id.is_not(None), rights.visible(actor)),
                _item.c.other_id.in_(others),
            ),
        )
    )


def add(
    conn: Connection, actor: Actor, collection_id: int, kind: str, name: str, note: str | None
) -> str:
    """Put something at the end; what it is, for the audit trail.

    What a stranger hears of a missing repo when the actor may not see it; Conflict when it is
    there already.
    """
    check_note(note)
    repo_id = other_id = None
    if kind == "paper":
        raise BadRequest("This hub has no papers; a collection holds repositories and collections.")
    if kind not in KINDS:
        raise BadRequest(f"item type {shown(kind)} is not one of {', '.join(KINDS)}")
    if kind == "collection":
        other_id = find_other(conn, actor, name)
        if other_id == collection_id:
            raise BadRequest("A collection cannot hold itself.")
    else:
        repo_id = repos.find(conn, actor, kind, name, "see").id  # type: ignore[arg-type]
    mine = _item.c.collection_id == collection_id
    same = _item.c.repo_id == repo_id if repo_id is not None else _item.c.other_id == other_id
    if conn.execute(select(_item.c.id).where(mine, same)).first():
        raise Conflict(f"{shown(name)} is in this collection already.")
    there, last = conn.execute(
        select(func.count(), func.coalesce(func.max(_item.c.position), -1)).where(mine)
    ).one()
    if there >= ITEMS_MAX:
        raise BadRequest(f"A collection holds at most {ITEMS_MAX} items; begin another.")
    conn.execute(
        insert(_item).values(
            hub_id=secrets.token_hex(12),
            collection_id=collection_id,
            type=kind,
            repo_id=repo_id,
            other_id=other_id,
            note=note or None,
            position=last + 1,
            created_ms=now_ms(),
        )
    )
    return f"{kind} {name}"


def change(
    conn: Connection,
    actor: Actor,
    collection_id: int,
    item: str,
    *,
    note: str | None = None,
    position: int | None = None,
) -> None:
    """Another note (an empty one takes it away), another place among what the actor sees."""
    check_note(note)
    row_id = _find(conn, actor, collection_id, item)
    if note is not None:
        conn.execute(update(_item).where(_item.c.id == row_id).values(note=note or None))
    if position is not None:
        seen = set(conn.execute(_seen(actor, [collection_id], _item.c.id)).scalars())
        order = _order(conn, collection_id)
        to = max(0, min(position, POSITION_MAX))
        now = ordering.moved(list(order), seen, row_id, to)
        ordering.renumber(conn, _item, [(each, order[each]) for each in now])


def remove(conn: Connection, actor: Actor, collection_id: int, item: str) -> None:
    """Take an item out; those behind it move up."""
    row_id = _find(conn, actor, collection_id, item)
    conn.execute(delete(_item).where(_item.c.id == row_id))
    ordering.renumber(conn, _item, list(_order(conn, collection_id).items()))


def _order(conn: Connection, collection_id: int) -> dict[int, int]:
    """Row id -> position so far, in order."""
    query = select(_item.c.id, _item.c.position).where(_item.c.collection_id == collection_id)
    return {
        row.id: row.position for row in conn.execute(query.order_by(_item.c.position, _item.c.id))
    }


def _find(conn: Connection, actor: Actor, collection_id: int, item: str) -> int:
    """The row of an item that the actor sees; else NotFound."""
    row = None
    if "\0" not in item:
        seen = _seen(actor, [collection_id], _item.c.id).where(_item.c.hub_id == item)
        row = conn.execute(seen).one_or_none()
    if row is None:
        raise NotFound(f"No item {shown(item)} in this collection.")
    return int(row.id)


def find_other(conn: Connection, actor: Actor, slug: str) -> int:
    """The row id of the collection that `slug` names, if the actor sees it; else NotFound."""
    owner, slash, rest = slug.partition("/")
    if not slash:
        raise BadRequest(f"{shown(slug)} is not the slug of a collection: namespace/title-id")
    row = conn.execute(select(so.collection.c.id).where(*by_slug(actor, owner, rest))).first()
    if row is None:
        raise missing(slug)
    return int(row.id)


def by_slug(actor: Actor, owner: str, slug: str) -> tuple[Any, ...]:
    """SQL conditions for the collection of this address that the actor sees.

    Only the id at the end counts: the title's part may be an old one.
    """
    if "\0" in owner + slug:  # no slug has one, and PostgreSQL would not even compare it
        raise missing(f"{owner}/{slug}")
    owners = select(s.account.c.id).where(s.account.c.key == owner.lower())
    return (
        so.collection.c.hub_id == slug[-24:].lower(),
        so.collection.c.owner_id.in_(owners),
        standing.sees(actor),
    )


def missing(slug: str) -> NotFound:
    """What is heard of a collection that is missing or private: the two never differ."""
    return NotFound(f"No collection {shown(slug)} here, or it is private.")


def check_note(note: str | None) -> None:
    if note and (len(note) > NOTE_CHARS_MAX or "\0" in note):
        raise BadRequest(f"A note has at most {NOTE_CHARS_MAX} characters, and no NUL.")
