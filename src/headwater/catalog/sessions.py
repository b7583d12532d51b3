"""Sign-ins that were granted: an access token for a month, and what renews it.

    open_session(conn, user_id, client_id)   in the transaction that grants it
    Sessions.renew(refresh, client_id)       new tokens for old

An access token is a token as any other: listed, named `oauth-<client>-<day>`, revoked by its name,
and with it the whole session. A refresh token is good once; used twice, one of the two was not its
owner, and the session ends (RFC 9700, 4.14.2). The access token before goes on for a day, so that
an upload which is on its way comes to its end.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from headwater.catalog import audit
from headwater.catalog import schema as s
from headwater.catalog import schema_social as so
from headwater.catalog.clock import iso, now_ms
from headwater.catalog.db import Db
from headwater.catalog.tokens import digest_of, end_session, make_token, put
from headwater.errors import OAuthError

DAY_MS = 86_400_000
ACCESS_MS = 30 * DAY_MS  # clients renew on the last day
REFRESH_MS = 90 * DAY_MS  # since the last renewal: who is away for longer signs in again
OVERLAP_MS = DAY_MS
CLIENT_CHARS_MAX = 40  # in a token's name
# The client id that huggingface_hub has built in; its users know it by this name.
KNOWN_CLIENTS = {"26be6b09-91c5-47da-9861-d2d2bb7a7e36": "hf"}


@dataclass(frozen=True, slots=True)
class Granted:
    access_token: str
    refresh_token: str
    expires_s: int


class Sessions:
    def __init__(self, db: Db) -> None:
        self.db = db

    def renew(self, refresh_token: str, client_id: str) -> Granted:
        """New tokens; OAuthError (`invalid_grant`) when this one does not hold, or was used."""
        where = so.oauth_refresh.c.digest == digest_of(refresh_token)
        with self.db.read() as conn:  # a guess never takes the writers' turn
            if conn.execute(select(so.oauth_refresh.c.digest).where(where)).first() is None:
                raise OAuthError("this refresh token is not known", "invalid_grant")
        with self.db.write() as conn:
            row = conn.execute(_SESSION.where(where)).one_or_none()
            if row is not None and row.client_id == client_id and row.ended_ms is None:
                if row.used_ms is None and row.expires_ms > now_ms():
                    return _renewed(conn, row)
                if row.used_ms is not None:
                    end_session(conn, row.session_id)
                    audit.record(conn, row.name, "signin.reuse", row.name, client=client_id)
        raise OAuthError(
            "the session is over or its refresh token was used; sign in again", "invalid_grant"
        )


_SESSION = (
    select(
        so.oauth_refresh.c.digest,
        so.oauth_refresh.c.session_id,
        so.oauth_refresh.c.expires_ms,
        so.oauth_refresh.c.used_ms,
        so.oauth_session.c.user_id,
        so.oauth_session.c.client_id,
        so.oauth_session.c.ended_ms,
        s.account.c.name,
    )
    .join(so.oauth_session, so.oauth_session.c.id == so.oauth_refresh.c.session_id)
    .join(s.account, s.account.c.id == so.oauth_session.c.user_id)
)


def open_session(conn: Connection, user_id: int, client_id: str) -> Granted:
    """A session's first tokens."""
    made = insert(so.oauth_session).values(
        user_id=user_id, client_id=client_id, created_ms=now_ms()
    )
    session_id = conn.execute(made.returning(so.oauth_session.c.id)).scalar_one()
    return _grant(conn, user_id, client_id, session_id)


def _renewed(conn: Connection, row: Any) -> Granted:
    at = now_ms()
    conn.execute(
        update(so.oauth_refresh).where(so.oauth_refresh.c.digest == row.digest).values(used_ms=at)
    )
    mine = s.token.c.session_id == row.session_id
    conn.execute(delete(s.token).where(mine, s.token.c.expires_ms < at - OVERLAP_MS))
    conn.execute(
        update(s.token)
        .where(mine, s.token.c.expires_ms > at + OVERLAP_MS)
        .values(expires_ms=at + OVERLAP_MS)
    )
    conn.execute(delete(so.oauth_refresh).where(so.oauth_refresh.c.expires_ms < at))
    return _grant(conn, row.user_id, row.client_id, row.session_id)


def _grant(conn: Connection, user_id: int, client_id: str, session_id: int) -> Granted:
    at = now_ms()
    access, refresh = make_token(), secrets.token_urlsafe(32)
    name = _free_name(conn, user_id, f"oauth-{_short(client_id)}-{iso(at)[:10]}")
    put(conn, access, user_id, name, "write", expires_ms=at + ACCESS_MS, session_id=session_id)
    conn.execute(
        insert(so.oauth_refresh).values(
            digest=digest_of(refresh), session_id=session_id, expires_ms=at + REFRESH_MS
        )
    )
    user = conn.execute(select(s.account.c.name).where(s.account.c.id == user_id)).scalar_one()
    audit.record(conn, user, "token.create", user, token=name, role="write", session=session_id)
    return Granted(access, refresh, ACCESS_MS // 1000)


def _short(client_id: str) -> str:
    known = KNOWN_CLIENTS.get(client_id, client_id)
    return re.sub(r"[^A-Za-z0-9._-]", "-", known)[:CLIENT_CHARS_MAX]


def _free_name(conn: Connection, user_id: int, wanted: str) -> str:
    """`wanted`, or with a number after it: several machines sign in on one day."""
    mine = select(s.token.c.name).where(
        s.token.c.user_id == user_id, s.token.c.name.startswith(wanted, autoescape=True)
    )
    taken = set(conn.execute(mine).scalars())
    number, name = 1, wanted
    while name in taken:
        number += 1
        name = f"{wanted}-{number}"
    return name
