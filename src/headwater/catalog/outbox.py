"""The outbox: events become deliveries, each once for each webhook that listens.

    dispatch()   -> how many events were taken; any process may call it at any time
    forget()     drops events and deliveries that are old

Taking an event and writing its deliveries are one transaction, of which there is one at a time.
Whether the webhook's user may see the repo is asked later, when the delivery is about to go.
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, delete, select, update

from headwater.catalog import schema as s
from headwater.catalog import schema_social as so
from headwater.catalog.clock import now_ms
from headwater.catalog.db import Db
from headwater.catalog.webhooks import Watched, backlog

BATCH_EVENTS = 200  # in one transaction: others wait for it
WAITING_MAX = 10_000  # deliveries of one webhook; one that is so far behind hears of no more
EVENT_KEPT_S = 7 * 24 * 3600
DELIVERY_KEPT_S = 30 * 24 * 3600
FORGET_ROWS = 5000  # in one transaction

Key = tuple[str, str]  # ("account" or a repo type, lower-cased name)


class Outbox:
    def __init__(self, db: Db) -> None:
        self.db = db

    def dispatch(self) -> int:
        """Write the deliveries of the oldest events that wait. At most BATCH_EVENTS a call."""
        waiting = s.event.c.done_ms.is_(None)
        with self.db.read() as conn:  # what most calls find: nothing, without taking the lock
            if conn.execute(select(s.event.c.id).where(waiting).limit(1)).first() is None:
                return 0
        with self.db.write() as conn:
            rows = conn.execute(
                select(s.event).where(waiting).order_by(s.event.c.id).limit(BATCH_EVENTS)
            ).all()
            if not rows:
                return 0
            self._deliveries(conn, rows)
            conn.execute(
                update(s.event)
                .where(s.event.c.id.in_([row.id for row in rows]))
                .values(done_ms=now_ms())
            )
            return len(rows)

    def _deliveries(self, conn: Connection, events: Sequence[Row[Any]]) -> None:
        listeners = _listeners(conn)
        if not listeners:
            return
        old_names = _old_names(conn, {row.repo_id for row in events if row.repo_id is not None})
        room: dict[int, int] = {}
        due: dict[int, int] = {}
        at, made = now_ms(), []
        for row in events:
            payload = msgspec.json.decode(row.payload)
            domain = "discussion" if row.scope.startswith("discussion") else "repo"
            keys = _keys(payload) | old_names[row.repo_id]
            hooks = {
                hook
                for key in keys
                for hook, after in listeners.get((domain, key), ())
                if after < row.id  # what happened before it was switched on is not told
            }
            for hook in sorted(hooks):
                if hook not in room:
                    waiting, due[hook] = backlog(conn, hook)
                    room[hook] = WAITING_MAX - waiting
                if room[hook] <= 0:
                    continue
                room[hook] -= 1
                made.append(
                    {
                        "hub_id": secrets.token_hex(12),
                        "webhook_id": hook,
                        "event_id": row.id,
                        "event": _told(row, payload),
                        "status": "pending",
                        "due_ms": due[hook],
                        "created_ms": at,
                        "updated_ms": at,
                    }
                )
        if made:
            conn.execute(self.db.insert_new(so.webhook_delivery), made)

    def forget(self) -> None:
        """Drop what is old: events already taken, deliveries already settled."""
        at = now_ms()
        e, d = s.event.c, so.webhook_delivery.c
        old_events = select(e.id).where(e.done_ms < at - EVENT_KEPT_S * 1000).limit(FORGET_ROWS)
        old = (d.updated_ms < at - DELIVERY_KEPT_S * 1000) & (d.status != "pending")
        with self.db.write() as conn:
            conn.execute(delete(s.event).where(e.id.in_(old_events.scalar_subquery())))
            settled = select(d.id).where(old).limit(FORGET_ROWS)
            conn.execute(delete(so.webhook_delivery).where(d.id.in_(settled.scalar_subquery())))


def _listeners(conn: Connection) -> dict[tuple[str, Key], list[tuple[int, int]]]:
    """Webhooks, each with the last event before it was on, by (domain, what they watch)."""
    found: dict[tuple[str, Key], list[tuple[int, int]]] = defaultdict(list)
    w = so.webhook.c
    query = select(w.id, w.watched, w.domains, w.after_event).where(w.disabled.is_(False))
    for row in conn.execute(query):
        for domain in msgspec.json.decode(row.domains, type=list[str]):
            for item in msgspec.json.decode(row.watched, type=list[Watched]):
                kind = "account" if item.type in ("user", "org") else item.type
                found[domain, (kind, item.name.lower())].append((row.id, row.after_event))
    return found


def _keys(payload: dict[str, Any]) -> set[Key]:
    """The repo and its owner, under the name before a move as well; of a deleted repo its old
    names, which are nowhere else any more."""
    names = [payload["repo"]["name"], payload.get("movedFrom")]
    keys = set()
    for name in filter(None, names):
        keys.add((payload["repo"]["type"], name.lower()))
        keys.add(("account", name.lower().partition("/")[0]))
    keys |= {(payload["repo"]["type"], name) for name in payload.get("oldNames", ())}
    return keys


def _old_names(conn: Connection, repo_ids: Iterable[int]) -> dict[int, set[Key]]:
    """Names under which moved repos may still be watched. At most BATCH_EVENTS repos."""
    found: dict[int, set[Key]] = defaultdict(set)
    r = s.redirect.c
    for row in conn.execute(select(r.repo_id, r.type, r.key).where(r.repo_id.in_(list(repo_ids)))):
        found[row.repo_id].add((row.type, row.key))
    return found


def _told(row: Row[Any], payload: dict[str, Any]) -> str:
    kept = {
        "scope": row.scope,
        "action": row.action,
        "repoId": row.repo_id,
        "ownerId": row.owner_id,
        "payload": payload,
    }
    return msgspec.json.encode(kept).decode()
