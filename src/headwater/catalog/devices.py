"""Sign-in through a browser: a terminal waits, its owner approves (OAuth device flow, RFC 8628).

    begin(client_id, caller)      -> the code to poll with, and the short one to type
    decide(token, code, approve)  the person, on the hub's own page, with an access token of theirs
    poll(code, client_id)         -> the session's first tokens, once; or OAuthError

The short code has 34 bits, is good for fifteen minutes and once, and only somebody with a token can
try one: after some misses that person waits. Both codes are kept as hashes. The approving token
must write and have no end: what it approves can be renewed without end, and a token must not make
another that outlasts it. A sign-in that waits gives nobody anything: the audit trail begins with
the word of its owner.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from headwater.catalog import audit
from headwater.catalog import schema as s
from headwater.catalog import schema_social as so
from headwater.catalog.clock import now_ms
from headwater.catalog.db import Db
from headwater.catalog.sessions import Granted, open_session
from headwater.catalog.tokens import BAD_TOKEN, digest_of, looks_real
from headwater.errors import Forbidden, NotFound, OAuthError, TooMany, Unauthorized
from headwater.names import shown

CODE_TTL_S = 900
INTERVAL_S = 5  # what the client is told
INTERVAL_MS_MIN = 4_000  # what it is held to: clocks and networks are not that exact
MISSES_MAX = 10  # wrong codes of one person, then they wait: 10 tries in 20^8 find nothing
MISSES_WINDOW_MS = 900_000
WAITING_MAX = 10_000  # codes that wait at once, of everybody
WAITING_OF_CALLER_MAX = 100  # of one network: a big office, not a flood
KEPT_MS = 3_600_000  # an expired code is still called expired for an hour
ALPHABET = "BCDFGHJKLMNPQRSTVWXZ"  # no vowels: no words; no digits: nothing to mistake
CODE_CHARS = 8
_CLIENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}\Z")


@dataclass(frozen=True, slots=True)
class Begun:
    device_code: str
    user_code: str  # XXXX-XXXX
    expires_s: int
    interval_s: int


class Devices:
    def __init__(self, db: Db, secret: bytes) -> None:
        self.db = db
        self._key = hashlib.sha256(b"device user code" + secret).digest()

    def begin(self, client_id: str, caller: str) -> Begun:
        """A sign-in that waits. `caller` stands for the network it comes from. TooMany when too
        many wait already."""
        if not _CLIENT.match(client_id):
            raise OAuthError("client_id is missing or malformed", "invalid_request")
        device_code = secrets.token_urlsafe(32)
        typed = "".join(secrets.choice(ALPHABET) for _ in range(CODE_CHARS))
        at = now_ms()
        with self.db.read() as conn:  # a flood never takes the writers' turn
            _demand_room(conn, caller, at)
        with self.db.write() as conn:
            _demand_room(conn, caller, at)
            conn.execute(delete(so.device_code).where(so.device_code.c.expires_ms < at - KEPT_MS))
            conn.execute(
                insert(so.device_code).values(
                    digest=digest_of(device_code),
                    user_code=self._typed(typed),
                    client_id=client_id,
                    caller=caller,
                    status="pending",
                    created_ms=at,
                    expires_ms=at + CODE_TTL_S * 1000,
                )
            )
        return Begun(device_code, f"{typed[:4]}-{typed[4:]}", CODE_TTL_S, INTERVAL_S)

    def decide(self, token: str, user_code: str, *, approve: bool) -> str:
        """Approve or deny the sign-in that `user_code` stands for; the name of its client.

        Unauthorized for a token that does not hold, Forbidden for one that may not approve,
        NotFound for a code that waits for nobody, TooMany after too many of those.
        """
        with self.db.read() as conn:  # a stranger never takes the writers' turn
            _demand_patience(conn, _approver(conn, token).user_id)
        with self.db.write() as conn:
            holder = _approver(conn, token)
            _demand_patience(conn, holder.user_id)
            waiting = self._waiting(conn, user_code)
            if waiting is None:
                self._missed(conn, holder.user_id)  # kept: nothing is raised in here
            else:
                _decided(conn, waiting, holder, approve)
        if waiting is None:
            raise NotFound("No sign-in waits for this code. It may have expired; start again.")
        return str(waiting.client_id)

    def poll(self, device_code: str, client_id: str) -> Granted:
        """The tokens, once they are granted; OAuthError with the word of RFC 8628 until then."""
        where = so.device_code.c.digest == digest_of(device_code)
        with self.db.read() as conn:  # a guess never takes the writers' turn
            if conn.execute(select(so.device_code.c.digest).where(where)).first() is None:
                raise OAuthError("this device code is not known", "invalid_grant")
        with self.db.write() as conn:
            row = conn.execute(select(so.device_code).where(where)).one_or_none()
            word = _word(row, client_id)
            if row is not None and word == "":
                conn.execute(update(so.device_code).where(where).values(status="used"))
                if _still_approved(conn, row):
                    return open_session(conn, row.user_id, row.client_id)
                word = "access_denied"
            elif word in ("authorization_pending", "slow_down"):
                conn.execute(update(so.device_code).where(where).values(polled_ms=now_ms()))
        raise OAuthError(_SAID.get(word, "this device code is not known, or was used"), word)

    def _typed(self, code: str) -> str:
        """What is kept of a short code: a keyed hash, since all of them could be tried."""
        return hmac.digest(self._key, code.encode(), "sha256").hex()

    def _waiting(self, conn: Connection, typed: str) -> Any:
        code = "".join(char for char in typed.upper() if char in ALPHABET)
        if len(code) != CODE_CHARS:
            return None
        kept = self._typed(code)
        row = conn.execute(
            select(so.device_code).where(
                so.device_code.c.user_code == kept,
                so.device_code.c.status == "pending",
                so.device_code.c.expires_ms > now_ms(),
            )
        ).one_or_none()
        return row if row is not None and hmac.compare_digest(row.user_code, kept) else None

    def _missed(self, conn: Connection, user_id: int) -> None:
        at, g = now_ms(), so.device_guess
        old = conn.execute(select(g).where(g.c.user_id == user_id)).one_or_none()
        fresh = old is None or old.since_ms < at - MISSES_WINDOW_MS
        values = {
            "misses": 1 if fresh or old is None else old.misses + 1,
            "since_ms": at if fresh or old is None else old.since_ms,
        }
        conn.execute(self.db.upsert(g, ["user_id"], values), {"user_id": user_id, **values})


_SAID = {
    "authorization_pending": "the sign-in was not approved yet",
    "slow_down": f"ask every {INTERVAL_S} seconds",
    "expired_token": "the sign-in was not approved in time; start again",
    "access_denied": "the sign-in was denied",
}


def _word(row: Any, client_id: str) -> str:
    """Why this code gives no tokens; nothing when it does."""
    if row is None or row.client_id != client_id or row.status == "used":
        return "invalid_grant"
    if row.status == "denied":
        return "access_denied"
    if row.expires_ms <= now_ms():
        return "expired_token"
    if row.status == "granted":
        return ""
    early = row.polled_ms is not None and now_ms() - row.polled_ms < INTERVAL_MS_MIN
    return "slow_down" if early else "authorization_pending"


def _demand_room(conn: Connection, caller: str, at_ms: int) -> None:
    waiting = (so.device_code.c.status == "pending") & (so.device_code.c.expires_ms > at_ms)
    count = select(func.count()).select_from(so.device_code)
    everybody = conn.execute(count.where(waiting)).scalar_one()
    mine = conn.execute(count.where(waiting, so.device_code.c.caller == caller)).scalar_one()
    if everybody >= WAITING_MAX or mine >= WAITING_OF_CALLER_MAX:
        raise TooMany("Too many sign-ins wait for approval. Try again in some minutes.")


def _approver(conn: Connection, token: str) -> Any:
    """The token's row, if it may approve."""
    row = None
    if looks_real(token):
        row = conn.execute(
            select(s.token, s.account.c.name.label("user"))
            .join(s.account, s.account.c.id == s.token.c.user_id)
            .where(
                s.token.c.digest == digest_of(token),
                s.token.c.revoked_ms.is_(None),
                s.account.c.deleted_ms.is_(None),
            )
        ).one_or_none()
    if row is None or (row.expires_ms is not None and row.expires_ms <= now_ms()):
        raise Unauthorized(BAD_TOKEN)
    if row.role != "write" or row.expires_ms is not None:
        raise Forbidden(
            f"The token {shown(row.name)} cannot approve a sign-in: it takes one with the role "
            "'write' and without an end."
        )
    return row


def _demand_patience(conn: Connection, user_id: int) -> None:
    g = so.device_guess
    row = conn.execute(select(g).where(g.c.user_id == user_id)).one_or_none()
    if row and row.misses >= MISSES_MAX and row.since_ms > now_ms() - MISSES_WINDOW_MS:
        raise TooMany("Too many wrong codes. Wait a quarter of an hour.")


def _decided(conn: Connection, waiting: Any, holder: Any, approve: bool) -> None:
    conn.execute(
        update(so.device_code)
        .where(so.device_code.c.digest == waiting.digest)
        .values(
            status="granted" if approve else "denied", user_id=holder.user_id, token_id=holder.id
        )
    )
    conn.execute(delete(so.device_guess).where(so.device_guess.c.user_id == holder.user_id))
    audit.record(
        conn,
        holder.user,
        "signin.approve" if approve else "signin.deny",
        holder.user,
        client=waiting.client_id,
        by_token=holder.name,
    )


def _still_approved(conn: Connection, row: Any) -> bool:
    """Whether the token that approved holds to this moment, and so does its user."""
    found = (
        select(s.token.c.id)
        .join(s.account, s.account.c.id == s.token.c.user_id)
        .where(
            s.token.c.id == row.token_id,
            s.token.c.revoked_ms.is_(None),
            s.account.c.deleted_ms.is_(None),
        )
    )
    return conn.execute(found).first() is not None
