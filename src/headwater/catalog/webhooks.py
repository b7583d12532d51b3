"""Webhooks: who wants to be told of what, and where.

A webhook is its user's own: nobody else sees or changes it, and it hears only of what that user
may see (`deliveries`). What it watches is kept as it was named; nothing here tells whether a name
exists, so that watching is no way to find out.
"""

from __future__ import annotations

import builtins
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, delete, func, insert, select, update

from headwater.catalog import audit
from headwater.catalog import schema as s
from headwater.catalog import schema_social as so
from headwater.catalog.actors import Actor
from headwater.catalog.clock import now_ms
from headwater.catalog.db import Db
from headwater.catalog.sealing import Sealer
from headwater.errors import BadRequest, Corrupt, Forbidden, NotFound
from headwater.names import RepoId, check_name, shown

WEBHOOKS_PER_USER_MAX = 50
WATCHED_MAX = 100  # items of one webhook; who watches more watches accounts
SECRET_CHARS_MAX = 200  # it travels in a header

Domain = Literal["repo", "discussion"]
DOMAINS: tuple[Domain, ...] = ("repo", "discussion")


class Watched(msgspec.Struct, frozen=True):
    """One thing that is watched: an account with all it owns, or one repo."""

    type: Literal["user", "org", "model", "dataset", "space", "kernel", "bucket"]
    name: str


@dataclass(frozen=True, slots=True)
class Webhook:
    id: int
    hub_id: str
    user_id: int
    url: str
    watched: tuple[Watched, ...]
    domains: tuple[Domain, ...]
    secret: str | None  # empty: there is none; None: it no longer opens
    disabled: bool
    disabled_reason: str | None
    base_url: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to make of a webhook; None leaves a part as it is."""

    url: str | None = None
    watched: Sequence[Watched] | None = None
    domains: Sequence[Domain] | None = None
    secret: str | None = None


class Webhooks:
    def __init__(self, db: Db, sealer: Sealer) -> None:
        self.db = db
        self.sealer = sealer

    def list(self, actor: Actor) -> builtins.list[Webhook]:
        """The actor's own, oldest first."""
        demand_standing(actor, write=False)
        query = select(so.webhook).where(so.webhook.c.user_id == actor.user_id)
        with self.db.read() as conn:
            return [self.of(row) for row in conn.execute(query.order_by(so.webhook.c.id))]

    def get(self, actor: Actor, hub_id: str) -> Webhook:
        demand_standing(actor, write=False)
        with self.db.read() as conn:
            return self.of(mine(conn, actor, hub_id))

    def create(self, actor: Actor, wanted: Wanted, base_url: str) -> Webhook:
        """A new webhook; `base_url` is the hub as its owner calls it. The URL has been checked."""
        demand_standing(actor, write=True)
        values = self._values(wanted)
        if not wanted.url or not wanted.watched:
            raise BadRequest("a webhook needs a url, and something to watch")
        hub_id, at = secrets.token_hex(12), now_ms()
        with self.db.write() as conn:
            count = select(func.count()).where(so.webhook.c.user_id == actor.user_id)
            if conn.execute(count).scalar_one() >= WEBHOOKS_PER_USER_MAX:
                raise Forbidden(
                    f"You have {WEBHOOKS_PER_USER_MAX} webhooks, the most there can be. Delete one."
                )
            conn.execute(
                insert(so.webhook).values(
                    {
                        "domains": msgspec.json.encode(DOMAINS).decode(),
                        "secret": "",
                        **values,
                        **self._sealed(wanted, hub_id),
                        "hub_id": hub_id,
                        "user_id": actor.user_id,
                        "base_url": base_url,
                        "after_event": _last_event(conn),
                        "created_ms": at,
                        "updated_ms": at,
                    }
                )
            )
            _note(conn, actor, "create", hub_id, wanted)
            return self.of(mine(conn, actor, hub_id))

    def change(self, actor: Actor, hub_id: str, wanted: Wanted, base_url: str) -> Webhook:
        """Change what `wanted` names. NotFound for another user's, as for none."""
        demand_standing(actor, write=True)
        new = self._values(wanted) | self._sealed(wanted, hub_id) | {"base_url": base_url}
        with self.db.write() as conn:
            found = mine(conn, actor, hub_id)
            conn.execute(
                update(so.webhook)
                .where(so.webhook.c.id == found.id)
                .values(**new, updated_ms=now_ms())
            )
            _note(conn, actor, "update", hub_id, wanted)
            return self.of(mine(conn, actor, hub_id))

    def set_disabled(self, actor: Actor, hub_id: str, disabled: bool) -> Webhook:
        """Switch it off, and what waits is not told any more; or on, with a clean slate."""
        demand_standing(actor, write=True)
        with self.db.write() as conn:
            found = mine(conn, actor, hub_id)
            conn.execute(
                update(so.webhook)
                .where(so.webhook.c.id == found.id)
                .values(
                    disabled=disabled,
                    disabled_reason=None,
                    failures=0,
                    failing_since_ms=None,
                    after_event=_last_event(conn),
                    updated_ms=now_ms(),
                )
            )
            if disabled:
                drop_waiting(conn, found.id)
            word = "disable" if disabled else "enable"
            audit.record(conn, actor.audit_name, f"webhook.{word}", hub_id)
            return self.of(mine(conn, actor, hub_id))

    def delete(self, actor: Actor, hub_id: str) -> None:
        demand_standing(actor, write=True)
        with self.db.write() as conn:
            found = mine(conn, actor, hub_id)
            conn.execute(delete(so.webhook).where(so.webhook.c.id == found.id))
            audit.record(conn, actor.audit_name, "webhook.delete", hub_id)

    def of(self, row: Row[Any]) -> Webhook:
        """From a row of the table, its secret opened."""
        return Webhook(
            row.id,
            row.hub_id,
            row.user_id,
            row.url,
            msgspec.json.decode(row.watched, type=tuple[Watched, ...]),
            msgspec.json.decode(row.domains, type=tuple[Domain, ...]),
            self._opened(row),
            row.disabled,
            row.disabled_reason,
            row.base_url,
        )

    def _opened(self, row: Row[Any]) -> str | None:
        """A secret that does not open (the hub's own was replaced) must not hide the webhook."""
        try:
            return self.sealer.open(row.secret, _place(row.hub_id)) if row.secret else ""
        except Corrupt:
            return None

    def _values(self, wanted: Wanted) -> dict[str, object]:
        values: dict[str, object] = {}
        if wanted.url is not None:
            values["url"] = wanted.url
        if wanted.watched:
            values["watched"] = msgspec.json.encode(_checked(wanted.watched)).decode()
        if wanted.domains is not None:
            if not wanted.domains:
                raise BadRequest("a webhook needs a domain: repo, discussion, or both")
            values["domains"] = msgspec.json.encode(sorted(set(wanted.domains))).decode()
        return values

    def _sealed(self, wanted: Wanted, hub_id: str) -> dict[str, object]:
        secret = wanted.secret
        if secret is None:
            return {}
        if len(secret) > SECRET_CHARS_MAX or not (secret.isascii() and secret.isprintable()):
            raise BadRequest(
                f"a secret is plain ASCII, at most {SECRET_CHARS_MAX} characters: it is a header"
            )
        if secret != secret.strip():
            raise BadRequest("a secret does not begin or end with a space: headers lose it")
        return {"secret": self.sealer.seal(secret, _place(hub_id)) if secret else ""}


def _last_event(conn: Connection) -> int:
    """Events have rising ids, and are written one transaction at a time, as this is."""
    return int(conn.execute(select(func.max(s.event.c.id))).scalar_one() or 0)


def _place(hub_id: str) -> str:
    return f"webhook {hub_id}"


def _checked(watched: Sequence[Watched]) -> list[Watched]:
    if len(watched) > WATCHED_MAX:
        raise BadRequest(f"a webhook watches at most {WATCHED_MAX} things; watch an account")
    kept = {}
    for item in watched:
        if item.type in ("user", "org"):
            name = check_name(item.name, item.type)
        else:
            name = RepoId.parse(item.type, item.name).full  # type: ignore[arg-type]
        kept[item.type, name.lower()] = Watched(item.type, name)
    return list(kept.values())


def demand_standing(actor: Actor, *, write: bool) -> None:
    """A webhook hears what its user may see: a token that sees less must not make or read one."""
    if actor.token_role == "fineGrained" or (write and actor.token_role == "read"):
        need = "write" if write else "read or write"
        raise Forbidden(f"Webhooks need a token of the role {need}.")


def mine(conn: Connection, actor: Actor, hub_id: str) -> Row[Any]:
    """The actor's webhook of that id; NotFound for another user's, as for none."""
    named: ColumnElement[bool] = so.webhook.c.hub_id == hub_id
    row = conn.execute(
        select(so.webhook).where(named, so.webhook.c.user_id == actor.user_id)
    ).one_or_none()
    if row is None:
        raise NotFound(f"You have no webhook {shown(hub_id)}.")
    return row


def backlog(conn: Connection, webhook_id: int) -> tuple[int, int]:
    """(how many deliveries wait, when the last of them is due): a new one is due no sooner, for it
    has to wait for them in any case, and what is not due costs no look."""
    d = so.webhook_delivery.c
    query = select(func.count(), func.max(d.due_ms)).where(
        d.webhook_id == webhook_id, d.status == "pending"
    )
    count, due_ms = conn.execute(query).one()
    return count, max(now_ms(), due_ms or 0)


def drop_waiting(conn: Connection, webhook_id: int) -> None:
    """What waits will not be told: the webhook is off."""
    d = so.webhook_delivery.c
    conn.execute(
        update(so.webhook_delivery)
        .where(d.webhook_id == webhook_id, d.status == "pending")
        .values(status="failed", error="the webhook was switched off", updated_ms=now_ms())
    )


def _note(conn: Connection, actor: Actor, word: str, hub_id: str, wanted: Wanted) -> None:
    """The trail names the receiver's host; a whole URL may hold a key."""
    host = urlsplit(wanted.url).hostname if wanted.url else None
    audit.record(conn, actor.audit_name, f"webhook.{word}", hub_id, host=host)
