"""Attachments: pictures, clips and sounds that people show in their comments.

Bytes lie in the store as any blob's do; a row here names them, keeps them from gc, and says whose
they are. An attachment's id is drawn at random and is what lets one read it: a comment is read in
browsers, which send no token with a picture.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass

from sqlalchemy import Connection, func, insert, select

from headwater.catalog import audit
from headwater.catalog import schema as s
from headwater.catalog import schema_social as so
from headwater.catalog.actors import OPERATOR, Actor
from headwater.catalog.clock import now_ms
from headwater.catalog.db import Db
from headwater.errors import Forbidden, NotFound, TooLarge
from headwater.names import Digest

DAY_MS = 24 * 3600_000
DAILY_MAX = 200  # files of one person a day: comments with pictures, not a file store
DAILY_BYTES_MAX = 2**30
_ID = re.compile(r"[0-9a-f]{24}\Z")


@dataclass(frozen=True, slots=True)
class Attachment:
    id: str
    oid: Digest
    size_bytes: int
    content_type: str


class Attachments:
    def __init__(self, db: Db) -> None:
        self.db = db

    def check(self, actor: Actor, size_bytes: int) -> None:
        """Forbidden for who may not attach; TooLarge when it is too much for one day."""
        if actor == OPERATOR or not actor.user_id:
            raise Forbidden("only a user of the hub can attach files")
        writes = any("repo.write" in scope.permissions for scope in actor.scopes)
        if actor.token_role == "read" or (actor.token_role == "fineGrained" and not writes):
            raise Forbidden("Your token is read-only: attaching a file needs the role 'write'.")
        with self.db.read() as conn:
            _demand_room(conn, actor, size_bytes)

    def add(self, actor: Actor, oid: Digest, size_bytes: int, content_type: str) -> Attachment:
        """Name durable bytes that `actor` has just sent. TooLarge as `check`: their size is known
        only now, and others may have come meanwhile."""
        made = Attachment(secrets.token_hex(12), oid, size_bytes, content_type)
        at = now_ms()
        with self.db.write() as conn:
            _demand_room(conn, actor, size_bytes)
            blob = {"oid": str(oid), "size_bytes": size_bytes, "created_ms": at}
            conn.execute(self.db.upsert(s.blob, ["oid"], {"created_ms": at}), blob)
            conn.execute(
                insert(so.attachment).values(
                    hub_id=made.id,
                    user_id=actor.user_id,
                    oid=str(oid),
                    size_bytes=size_bytes,
                    content_type=content_type,
                    created_ms=at,
                )
            )
            audit.record(conn, actor.audit_name, "attachment.add", made.id, size=size_bytes)
        return made

    def find(self, id: str) -> Attachment:
        """The attachment of that id, or NotFound."""
        table = so.attachment.c
        query = select(table.oid, table.size_bytes, table.content_type).where(table.hub_id == id)
        row = None
        if _ID.match(id):
            with self.db.read() as conn:
                row = conn.execute(query).one_or_none()
        if row is None:
            raise NotFound("no such attachment")
        return Attachment(id, Digest(row.oid), row.size_bytes, row.content_type)


def _demand_room(conn: Connection, actor: Actor, size_bytes: int) -> None:
    table = so.attachment.c
    query = select(func.count(), func.coalesce(func.sum(table.size_bytes), 0)).where(
        table.user_id == actor.user_id, table.created_ms > now_ms() - DAY_MS
    )
    count, sum_bytes = conn.execute(query).one()
    if count >= DAILY_MAX or sum_bytes + size_bytes > DAILY_BYTES_MAX:
        raise TooLarge(
            f"one person attaches at most {DAILY_MAX} files and {DAILY_BYTES_MAX} bytes a day"
        )
