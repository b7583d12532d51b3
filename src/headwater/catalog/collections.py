"""Collections: lists of repos that a user or an organisation keeps.

    page     those that a caller may see, filtered, sorted, their first items beside them
    find     one of them, whole
    create, update, delete, add_item, change_item, remove_item

A collection's address is `owner/title-id`; only the id counts, so that an old title goes on
leading there. Private means missing. What follows for its items is in `collection_items`.
"""

from __future__ import annotations

import re
import secrets
import unicodedata
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from headwater.catalog import audit, collection_items, ordering, standing
from headwater.catalog import schema as s
from headwater.catalog import schema_social as so
from headwater.catalog.actors import Actor
from headwater.catalog.clock import now_ms
from headwater.catalog.collection_items import by_slug, missing
from headwater.catalog.collection_list import Ask, Collection, CollectionPage, listed, made, rows
from headwater.catalog.db import Db
from headwater.errors import BadRequest, Conflict, NotFound
from headwater.names import shown

TITLE_CHARS_MAX = 59  # Hugging Face's limits
DESCRIPTION_CHARS_MAX = 150
SLUG_CHARS_MAX = 60
OF_ONE_OWNER_MAX = 500  # more than a reader can overlook; a move may renumber all of them
THEMES = ("orange", "blue", "green", "purple", "pink", "indigo")
_table = so.collection
_WORDS = re.compile(r"[a-z0-9]+")


class Collections:
    def __init__(self, db: Db) -> None:
        self.db = db

    def page(self, actor: Actor, ask: Ask) -> CollectionPage:
        """What the actor may see of what is asked for; BadRequest when it makes no sense."""
        with self.db.read() as conn:
            return listed(conn, actor, ask)

    def find(self, actor: Actor, owner: str, slug: str) -> Collection:
        """The collection of that address with all that the actor may see of it, or NotFound."""
        with self.db.read() as conn:
            return _whole(conn, actor, _find(conn, actor, owner, slug))

    def create(
        self, actor: Actor, owner: str, title: str, *, description: str = "", private: bool = False
    ) -> Collection:
        """A new collection; Conflict, with the `slug`, when the owner has one of this title."""
        _check_texts(title, description)
        if "\0" in owner:  # no name has one, and PostgreSQL would not even compare it
            raise NotFound(f"No user or organisation {shown(owner)} on this hub.")
        with self.db.write() as conn:
            account = conn.execute(
                select(s.account).where(
                    s.account.c.key == owner.lower(),
                    s.account.c.deleted_ms.is_(None),
                )
            ).one_or_none()
            if account is None:
                raise NotFound(f"No user or organisation {shown(owner)} on this hub.")
            standing.demand_keeper(actor, account.id, account.name)
            _refuse_taken(conn, account.id, title)
            mine = _table.c.owner_id == account.id
            there, last = conn.execute(
                select(func.count(), func.coalesce(func.max(_table.c.position), -1)).where(mine)
            ).one()
            if there >= OF_ONE_OWNER_MAX:
                raise BadRequest(f"An account keeps at most {OF_ONE_OWNER_MAX} collections.")
            at = now_ms()
            row_id = conn.execute(
                insert(_table)
                .values(
                    hub_id=secrets.token_hex(12),
                    owner_id=account.id,
                    slug=_slug(title),
                    title=title,
                    description=description,
                    private=private,
                    position=last + 1,
                    created_ms=at,
                    updated_ms=at,
                )
                .returning(_table.c.id)
            ).scalar_one()
            new = made(conn.execute(rows().where(_table.c.id == row_id)).one(), [], None)
            audit.record(conn, actor.audit_name, "collection.create", new.full_slug,
                         private=private)  # fmt: skip
            return _whole(conn, actor, new)

    def update(
        self,
        actor: Actor,
        owner: str,
        slug: str,
        *,
        title: str | None = None,
        description: str | None = None,
        private: bool | None = None,
        theme: str | None = None,
        position: int | None = None,
    ) -> Collection:
        """Change what is not None. A new title is a new slug; the old one goes on leading here."""
        _check_texts(title, description)
        if theme is not None and theme not in THEMES:
            raise BadRequest(f"theme {shown(theme)} is not one of {', '.join(THEMES)}")

        def change(conn: Connection, found: Collection) -> dict[str, Any]:
            if title is not None and title != found.title:
                _refuse_taken(conn, found.owner_id, title)
            wanted = {"title": title, "description": description, "private": private,
                      "theme": theme, "slug": None if title is None else _slug(title)}  # fmt: skip
            new: dict[str, Any] = {
                name: value for name, value in wanted.items() if value is not None
            }
            if new:
                conn.execute(update(_table).where(_table.c.id == found.row_id).values(**new))
            if position is not None:
                _move(conn, actor, found, position)
                new["position"] = position
            return new

        return self._change(actor, owner, slug, "collection.update", change)

    def delete(self, actor: Actor, owner: str, slug: str) -> None:
        with self.db.write() as conn:
            found = _find(conn, actor, owner, slug)
            standing.demand_keeper(actor, found.owner_id, found.owner)
            conn.execute(delete(_table).where(_table.c.id == found.row_id))
            audit.record(conn, actor.audit_name, "collection.delete", found.full_slug)

    def add_item(
        self, actor: Actor, owner: str, slug: str, kind: str, name: str, note: str | None = None
    ) -> Collection:
        """The collection with one item more at its end; Conflict when it holds it already."""

        def change(conn: Connection, found: Collection) -> dict[str, Any]:
            added = collection_items.add(conn, actor, found.row_id, kind, name, note)
            return {"item": added}

        return self._change(actor, owner, slug, "collection.add", change)

    def change_item(
        self,
        actor: Actor,
        owner: str,
        slug: str,
        item: str,
        *,
        note: str | None = None,
        position: int | None = None,
    ) -> Collection:
        """The collection with another note or place for one item; NotFound when it has none."""

        def change(conn: Connection, found: Collection) -> dict[str, Any]:
            collection_items.change(conn, actor, found.row_id, item, note=note, position=position)
            return {"item": item}

        return self._change(actor, owner, slug, "collection.item", change)

    def remove_item(self, actor: Actor, owner: str, slug: str, item: str) -> Collection:
        """The collection without one item; NotFound when it has none."""

        def change(conn: Connection, found: Collection) -> dict[str, Any]:
            collection_items.remove(conn, actor, found.row_id, item)
            return {"item": item}

        return self._change(actor, owner, slug, "collection.remove", change)

    def demand(self, actor: Actor, owner: str, slug: str) -> None:
        """Raise unless the actor may change this collection."""
        with self.db.read() as conn:
            found = _find(conn, actor, owner, slug)
            standing.demand_keeper(actor, found.owner_id, found.owner)

    def _change(
        self,
        actor: Actor,
        owner: str,
        slug: str,
        action: str,
        change: Callable[[Connection, Collection], dict[str, Any]],
    ) -> Collection:
        """Find, decide the right, change, note it: one transaction."""
        with self.db.write() as conn:
            found = _find(conn, actor, owner, slug)
            standing.demand_keeper(actor, found.owner_id, found.owner)
            detail = change(conn, found)
            conn.execute(
                update(_table).where(_table.c.id == found.row_id).values(updated_ms=now_ms())
            )
            audit.record(conn, actor.audit_name, action, found.full_slug, **detail)
            return _whole(conn, actor, _reread(conn, found.row_id))


def _find(conn: Connection, actor: Actor, owner: str, slug: str) -> Collection:
    row = conn.execute(rows().where(*by_slug(actor, owner, slug))).one_or_none()
    if row is None:
        raise missing(f"{owner}/{slug}")
    return made(row, [], None)


def _reread(conn: Connection, row_id: int) -> Collection:
    return made(conn.execute(rows().where(_table.c.id == row_id)).one(), [], None)


def _whole(conn: Connection, actor: Actor, found: Collection) -> Collection:
    """With the items and the place that the actor sees."""
    row = conn.execute(rows().where(_table.c.id == found.row_id)).one()
    items = collection_items.shown_items(conn, actor, [found.row_id])[found.row_id]
    order = [row_id for row_id, _ in _owned(conn, found.owner_id)]
    seen = _seen_of(conn, actor, found.owner_id)
    place = [row_id for row_id in order if row_id in seen].index(found.row_id)
    return made(row, items, place)


def _owned(conn: Connection, owner_id: int) -> list[tuple[int, int]]:
    """(row id, position) of all of an owner's, in order."""
    query = select(_table.c.id, _table.c.position).where(_table.c.owner_id == owner_id)
    found = conn.execute(query.order_by(_table.c.position, _table.c.id))
    return [(row.id, row.position) for row in found]


def _seen_of(conn: Connection, actor: Actor, owner_id: int) -> set[int]:
    query = select(_table.c.id).where(_table.c.owner_id == owner_id, standing.sees(actor))
    return set(conn.execute(query).scalars())


def _move(conn: Connection, actor: Actor, found: Collection, position: int) -> None:
    before = dict(_owned(conn, found.owner_id))
    to = max(0, min(position, collection_items.POSITION_MAX))
    seen = _seen_of(conn, actor, found.owner_id)
    order = ordering.moved(list(before), seen, found.row_id, to)
    ordering.renumber(conn, _table, [(row_id, before[row_id]) for row_id in order])


def _check_texts(title: str | None, description: str | None) -> None:
    if title is not None and (
        not 0 < len(title.strip()) <= len(title) <= TITLE_CHARS_MAX or not title.isprintable()
    ):
        raise BadRequest(f"A title has 1 to {TITLE_CHARS_MAX} printable characters.")
    if description and (len(description) > DESCRIPTION_CHARS_MAX or "\0" in description):
        raise BadRequest(f"A description has at most {DESCRIPTION_CHARS_MAX} characters, no NUL.")


def _refuse_taken(conn: Connection, owner_id: int, title: str) -> None:
    """Conflict, with the slug that `exists_ok` looks for, when the owner has this title."""
    query = rows().where(_table.c.owner_id == owner_id, _table.c.title == title)
    row = conn.execute(query.limit(1)).first()
    if row is not None:
        slug = made(row, [], None).full_slug
        raise Conflict(f"There is a collection {shown(title)} already.", extra={"slug": slug})


def _slug(title: str) -> str:
    """The title's part of an address: its words in plain letters, maybe cut, maybe none."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    return "-".join(_WORDS.findall(plain))[:SLUG_CHARS_MAX].strip("-") or "collection"
