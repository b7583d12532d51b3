"""The audit trail: one row for every state change, written in the transaction that makes it."""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection, insert

from headwater.catalog import schema as s
from headwater.catalog.clock import now_ms


def record(conn: Connection, actor: str, action: str, subject: str, **detail: object) -> None:
    """Note that `actor` did `action` to `subject`. `detail` must hold no secret."""
    conn.execute(
        insert(s.audit).values(
            at_ms=now_ms(),
            actor=actor,
            action=action,
            subject=subject,
            detail=msgspec.json.encode(detail, enc_hook=str).decode(),  # Digest, GitOid
        )
    )
