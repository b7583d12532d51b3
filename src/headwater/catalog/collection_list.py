"""Collections in rows: one as it is handed out, and the list of those that a caller may see.

The list comes in keyset pages, each collection with its first items beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Connection, Select, exists, literal, select, tuple_

from headwater.catalog import collection_items, repos, standing
from headwater.catalog import schema as s
from headwater.catalog import schema_social as so
from headwater.catalog.actors import Actor
from headwater.catalog.collection_items import Item
from headwater.errors import BadRequest, NotFound
from headwater.names import RepoType, shown

PAGE_MAX = 100
LISTED_ITEMS = 4  # of each collection in a list; Hugging Face's number
OWNERS_MAX = ITEMS_ASKED_MAX = 20  # each is one more test of every row
CURSOR_MAX = 2**63 - 1
_table = so.collection
# Nothing gives upvotes yet, so that "upvotes" and "trending" come down to the latest change.
SORTS: dict[str, tuple[Any, ...]] = {
    "lastModified": (_table.c.updated_ms, _table.c.id),
    "upvotes": (_table.c.upvotes, _table.c.updated_ms, _table.c.id),
    "trending": (_table.c.upvotes, _table.c.updated_ms, _table.c.id),
}
_SEGMENTS: dict[str, RepoType] = {
    "models": "model", "datasets": "dataset", "spaces": "space", "kernels": "kernel",
    "buckets": "bucket",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Collection:
    row_id: int
    hub_id: str
    owner_id: int
    owner: str
    owner_kind: str
    owner_fullname: str
    slug: str
    title: str
    description: str
    private: bool
    theme: str
    upvotes: int
    updated_ms: int
    items: tuple[Item, ...] = ()
    position: int | None = None  # among the owner's that the reader sees; None in lists

    @property
    def full_slug(self) -> str:
        return f"{self.owner}/{self.slug}-{self.hub_id}"


@dataclass(frozen=True, slots=True)
class Ask:
    owners: tuple[str, ...] = ()  # of any of these
    items: tuple[str, ...] = ()  # holding any of these: models/x/y, collections/owner/slug
    sort: str = "lastModified"
    limit: int = PAGE_MAX
    cursor: tuple[int, ...] | None = None  # sort values of the last row seen


@dataclass(frozen=True, slots=True)
class CollectionPage:
    rows: tuple[Collection, ...]
    cursor: tuple[int, ...] | None


def rows() -> Select[Any]:
    return select(
        _table,
        s.account.c.name.label("owner"),
        s.account.c.kind.label("owner_kind"),
        s.account.c.fullname.label("owner_fullname"),
    ).join(s.account, s.account.c.id == _table.c.owner_id)


def made(row: Any, items: list[Item], position: int | None) -> Collection:
    return Collection(
        row.id, row.hub_id, row.owner_id, row.owner, row.owner_kind, row.owner_fullname, row.slug,
        row.title, row.description, row.private, row.theme, row.upvotes, row.updated_ms,
        tuple(items), position,
    )  # fmt: skip


def listed(conn: Connection, actor: Actor, ask: Ask) -> CollectionPage:
    """What the actor may see of what is asked for; BadRequest when it makes no sense."""
    _check_ask(ask)
    limit = max(1, min(ask.limit, PAGE_MAX))
    columns = SORTS[ask.sort]
    found = rows().where(standing.sees(actor))
    if ask.owners:
        found = found.where(s.account.c.key.in_([name.lower() for name in ask.owners]))
    if ask.items:
        held = [_holding(conn, actor, item) for item in ask.items]
        within = so.collection_item.c.collection_id == _table.c.id
        known = [condition for condition in held if condition is not None]
        if not known:
            return CollectionPage((), None)
        any_of = known[0]
        for other in known[1:]:
            any_of = any_of | other
        found = found.where(exists().where(within, any_of))
    if ask.cursor is not None:
        last = tuple_(*(literal(value, BigInteger) for value in ask.cursor))
        found = found.where(tuple_(*columns) < last)
    found = found.order_by(*(column.desc() for column in columns)).limit(limit + 1)
    got = conn.execute(found).all()
    page = got[:limit]
    ids = [row.id for row in page]
    items = collection_items.shown_items(conn, actor, ids, LISTED_ITEMS)
    collections = tuple(made(row, items[row.id], None) for row in page)
    cursor = None
    if len(got) > limit:
        cursor = tuple(int(page[-1]._mapping[column]) for column in columns)
    return CollectionPage(collections, cursor)


def _holding(conn: Connection, actor: Actor, item: str) -> Any:
    """SQL for items that are `models/x/y` and so on; None when the actor sees no such thing."""
    word, _, name = item.partition("/")
    try:
        if word == "collections":
            return so.collection_item.c.other_id == collection_items.find_other(conn, actor, name)
        if word in _SEGMENTS:
            repo = repos.find(conn, actor, _SEGMENTS[word], name)
            return so.collection_item.c.repo_id == repo.id
    except NotFound:
        return None
    if word == "papers":
        return None
    words = ", ".join(_SEGMENTS)
    raise BadRequest(f"item {shown(item)}: write models/namespace/name, or one of {words}")


def _check_ask(ask: Ask) -> None:
    if ask.sort not in SORTS:
        raise BadRequest(f"cannot sort by {shown(ask.sort)}; one of {', '.join(SORTS)}")
    if len(ask.owners) > OWNERS_MAX or len(ask.items) > ITEMS_ASKED_MAX:
        raise BadRequest(f"at most {OWNERS_MAX} owners and {ITEMS_ASKED_MAX} items at once")
    if any("\0" in text for text in (*ask.owners, *ask.items)):
        raise BadRequest("an owner or item has no NUL")
    if ask.cursor is not None and (
        len(ask.cursor) != len(SORTS[ask.sort])
        or not all(0 <= value <= CURSOR_MAX for value in ask.cursor)
    ):
        raise BadRequest("not a cursor of this listing; start from the first page")
