"""Deliveries: what waits for one webhook, in order, and what became of it.

    due()                 the webhooks for which something is due, with what names the attempt
    next(webhook_id)      the oldest that waits, when it is due, ready to be sent; else None
    settle(...)           what the attempt came to
    page(...), replay     for the webhook's owner

The oldest goes first and the others wait for it, so that a receiver hears of events in their
order. Rights are looked up when a delivery is about to go: what the user may not see by then is
dropped without a trace that they could read.
"""

from __future__ import annotations

import builtins
import secrets
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from sqlalchemy import Connection, Row, delete, func, insert, select, update

from headwater.catalog import audit
from headwater.catalog import schema_social as so
from headwater.catalog.actors import Actor
from headwater.catalog.clock import now_ms
from headwater.catalog.db import Db
from headwater.catalog.payloads import Told, body_of, hidden_since, may_hear
from headwater.catalog.tokens import standing
from headwater.catalog.webhooks import (
    Webhook,
    Webhooks,
    backlog,
    demand_standing,
    drop_waiting,
    mine,
)
from headwater.errors import Forbidden, NotFound
from headwater.names import shown

DUE_MAX = 200  # webhooks looked at in one go
REASON_CHARS_MAX = 300
REPLAYS_WAITING_MAX = 100  # nobody makes the hub knock at a door without end

State = Literal["pending", "delivered", "failed"]


@dataclass(frozen=True, slots=True)
class Ready:
    """One delivery with all that sending it takes."""

    id: int
    hub_id: str
    webhook: Webhook
    body: bytes
    attempts: int  # made so far


@dataclass(frozen=True, slots=True)
class Delivery:
    """As its owner sees it."""

    hub_id: str
    status: State
    action: str
    scope: str
    repo: str
    attempts: int
    reply_status: int | None
    error: str | None
    due_ms: int
    created_ms: int
    updated_ms: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an attempt came to. `again_ms`: when to try again; None when it is settled."""

    delivered: bool
    reply_status: int | None = None
    error: str | None = None
    again_ms: int | None = None


class Deliveries:
    def __init__(self, db: Db, webhooks: Webhooks) -> None:
        self.db = db
        self.webhooks = webhooks

    def due(self) -> list[tuple[int, int, int]]:
        """(webhook, its oldest delivery that waits, attempts made) where something is due."""
        d = so.webhook_delivery.c
        at = now_ms()
        oldest = (
            select(d.webhook_id, func.min(d.id).label("id"))
            .where(d.status == "pending", d.due_ms <= at)
            .group_by(d.webhook_id)
            .order_by(func.min(d.due_ms))
            .limit(DUE_MAX)
            .subquery()
        )
        query = select(d.webhook_id, d.id, d.attempts).join(oldest, d.id == oldest.c.id)
        with self.db.read() as conn:
            return [(row[0], row[1], row[2]) for row in conn.execute(query)]

    def next(self, webhook_id: int, public_url: str = "") -> Ready | None:
        """The oldest that waits, if it is due and the webhook is on and its user may see it."""
        while True:
            with self.db.read() as conn:
                found = _oldest(conn, webhook_id)
                if found is None or found.due_ms > now_ms():
                    return None
                hook = conn.execute(
                    select(so.webhook).where(so.webhook.c.id == webhook_id)
                ).one_or_none()
                if hook is None or hook.disabled:
                    return None
                webhook = self.webhooks.of(hook)
                told = msgspec.json.decode(found.event, type=Told)
                actor = standing(conn, webhook.user_id, "read")
                if actor is not None and may_hear(conn, actor, told):
                    body = None if hidden_since(conn, told) else found.body
                    body = body or body_of(conn, told, webhook, public_url)
                    return Ready(found.id, found.hub_id, webhook, body.encode(), found.attempts)
            with self.db.write() as conn:
                conn.execute(
                    delete(so.webhook_delivery).where(so.webhook_delivery.c.id == found.id)
                )

    def settle(self, ready: Ready, outcome: Outcome, give_up_s: int) -> None:
        """Note it. A webhook that has failed for `give_up_s` is switched off, and says why."""
        at = now_ms()
        status: State = "delivered" if outcome.delivered else "failed"
        with self.db.write() as conn:
            conn.execute(
                update(so.webhook_delivery)
                .where(
                    so.webhook_delivery.c.id == ready.id, so.webhook_delivery.c.status == "pending"
                )
                .values(
                    status=status if outcome.again_ms is None else "pending",
                    attempts=so.webhook_delivery.c.attempts + 1,
                    reply_status=outcome.reply_status,
                    error=outcome.error and outcome.error[:REASON_CHARS_MAX],
                    due_ms=outcome.again_ms or at,
                    body=ready.body.decode(),
                    updated_ms=at,
                )
            )
            if outcome.again_ms is not None:
                _hold_back(conn, ready, outcome.again_ms)
            w = so.webhook.c
            row = conn.execute(select(so.webhook).where(w.id == ready.webhook.id)).one_or_none()
            if row is None:
                return  # deleted while it was being told
            since = None if outcome.delivered else row.failing_since_ms or at
            failed = not outcome.delivered and outcome.again_ms is None
            failures = 0 if outcome.delivered else row.failures + failed
            failed_s = 0 if since is None else (at - since) // 1000
            off = since is not None and failed_s >= give_up_s and not row.disabled
            new: dict[str, Any] = {"failing_since_ms": since, "failures": failures}
            if off:
                new["disabled"] = True
                new["disabled_reason"] = (
                    f"switched off after {failed_s} seconds without success; last: {outcome.error}"
                )[:REASON_CHARS_MAX]
            conn.execute(update(so.webhook).where(w.id == row.id).values(**new))
            if off:
                drop_waiting(conn, row.id)
                audit.record(conn, "operator", "webhook.disable", row.hub_id, failures=failures)

    def page(self, actor: Actor, hub_id: str, limit: int) -> builtins.list[Delivery]:
        """The newest deliveries of the actor's webhook that they may see at this moment."""
        demand_standing(actor, write=False)
        d = so.webhook_delivery.c
        with self.db.read() as conn:
            found = mine(conn, actor, hub_id)
            rows = conn.execute(
                select(so.webhook_delivery)
                .where(d.webhook_id == found.id)
                .order_by(d.id.desc())
                .limit(limit)
            )
            told = [(row, msgspec.json.decode(row.event, type=Told)) for row in rows]
            return [_shown(row, one) for row, one in told if may_hear(conn, actor, one)]

    def replay(self, actor: Actor, hub_id: str, delivery: str) -> Delivery:
        """The same body once more, as a delivery of its own."""
        demand_standing(actor, write=True)
        d, at = so.webhook_delivery.c, now_ms()
        with self.db.write() as conn:
            hook = mine(conn, actor, hub_id)
            if hook.disabled:
                raise Forbidden("The webhook is switched off. Switch it on first.")
            old = conn.execute(
                select(so.webhook_delivery).where(d.webhook_id == hook.id, d.hub_id == delivery)
            ).one_or_none()
            told = None if old is None else msgspec.json.decode(old.event, type=Told)
            if old is None or told is None or not may_hear(conn, actor, told):
                raise NotFound(f"The webhook has no delivery {shown(delivery)}.")
            waiting, due_ms = backlog(conn, hook.id)
            if waiting >= REPLAYS_WAITING_MAX:
                raise Forbidden(f"{waiting} deliveries wait already. Replay when they are told.")
            new_id = secrets.token_hex(12)
            conn.execute(
                insert(so.webhook_delivery).values(
                    hub_id=new_id,
                    webhook_id=hook.id,
                    event=old.event,
                    body=old.body,
                    status="pending",
                    due_ms=due_ms,
                    created_ms=at,
                    updated_ms=at,
                )
            )
            audit.record(conn, actor.audit_name, "webhook.replay", hub_id, delivery=delivery)
            made = conn.execute(select(so.webhook_delivery).where(d.hub_id == new_id)).one()
            return _shown(made, told)


def _hold_back(conn: Connection, ready: Ready, until_ms: int) -> None:
    """Those behind wait as long: they would have to in any case."""
    d = so.webhook_delivery.c
    conn.execute(
        update(so.webhook_delivery)
        .where(d.webhook_id == ready.webhook.id, d.status == "pending", d.due_ms < until_ms)
        .values(due_ms=until_ms)
    )


def _oldest(conn: Connection, webhook_id: int) -> Row[Any] | None:
    d = so.webhook_delivery.c
    return conn.execute(
        select(so.webhook_delivery)
        .where(d.webhook_id == webhook_id, d.status == "pending")
        .order_by(d.id)
        .limit(1)
    ).one_or_none()


def _shown(row: Row[Any], told: Told) -> Delivery:
    return Delivery(
        row.hub_id,
        row.status,
        told.action,
        told.scope,
        told.payload["repo"]["name"],
        row.attempts,
        row.reply_status,
        row.error,
        row.due_ms,
        row.created_ms,
        row.updated_ms,
    )
