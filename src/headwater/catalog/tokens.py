"""Tokens: made once, shown once, kept as a hash.

    hf_ + 30 random letters and digits + 6 of checksum

The prefix is the one that clients expect (llama.cpp drops tokens under 37 characters or with
others than letters and digits); the checksum lets a leak scanner tell a real token from a
random string. SHA-256 is enough at rest: what it hides has 178 bits of chance in it.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
import zlib
from dataclasses import dataclass

import msgspec
from sqlalchemy import ColumnElement, Connection, bindparam, delete, func, insert, select, update

from headwater.catalog import audit
from headwater.catalog import schema as s
from headwater.catalog import schema_social as so
from headwater.catalog.actors import (
    PERMISSIONS,
    READ_GATED,
    TOKEN_ROLES,
    Actor,
    Membership,
    Scope,
    TokenRole,
)
from headwater.catalog.clock import now_ms
from headwater.catalog.db import Db
from headwater.errors import BadRequest, Conflict, NotFound, Unauthorized
from headwater.names import shown

_ALPHABET = string.ascii_letters + string.digits
_RANDOM_CHARS = 30
NAME_CHARS_MAX = 100  # the column's width
_SHAPE = re.compile(r"hf_[A-Za-z0-9]{36}\Z")
# The client compares this text: with any other it reports a missing repo, not a bad token.
BAD_TOKEN = "Invalid credentials in Authorization header"


@dataclass(frozen=True, slots=True)
class Token:
    name: str
    role: TokenRole
    scopes: tuple[Scope, ...]
    created_ms: int
    expires_ms: int | None
    revoked_ms: int | None


def _checksum(body: str) -> str:
    number, digits = zlib.crc32(body.encode()), ""
    while number:
        number, rest = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[rest] + digits
    return digits.rjust(6, _ALPHABET[0])


def make_token() -> str:
    body = "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_CHARS))
    return f"hf_{body}{_checksum(body)}"


def looks_real(text: str) -> bool:
    """Whether `text` has the shape and checksum of a token of ours."""
    return bool(_SHAPE.match(text)) and _checksum(text[3:33]) == text[33:]


def digest_of(text: str) -> str:
    """What is kept of a secret that has chance enough in it."""
    return hashlib.sha256(text.encode()).hexdigest()


_TOKEN = select(
    s.token.c.user_id,
    s.token.c.name,
    s.token.c.role,
    s.token.c.scopes,
    s.token.c.created_ms,
    s.token.c.expires_ms,
    s.token.c.revoked_ms,
)


class Tokens:
    def __init__(self, db: Db) -> None:
        self.db = db

    def create(
        self,
        user: str,
        name: str,
        role: TokenRole = "read",
        *,
        scopes: tuple[Scope, ...] = (),
        expires_ms: int | None = None,
        by: str = "operator",
    ) -> str:
        """A new token of `user`, returned this once. Conflict when the name is in use."""
        if not 0 < len(name) <= NAME_CHARS_MAX or not name.isprintable():
            raise BadRequest(f"a token name has 1 to {NAME_CHARS_MAX} printable characters")
        if role not in TOKEN_ROLES:
            raise BadRequest(f"token role {shown(role)} is not one of {', '.join(TOKEN_ROLES)}")
        if (role == "fineGrained") != bool(scopes):
            raise BadRequest("scopes belong to fineGrained tokens, and those need at least one")
        for scope in scopes:
            if ("/" in scope.name) == (scope.type in ("user", "org")):
                raise BadRequest(f"a scope on a {scope.type} cannot name {shown(scope.name)}")
            own = scope.type == "user" and scope.name.lower() == user.lower()
            if READ_GATED in scope.permissions and not own:
                raise BadRequest(f"{READ_GATED} is a permission on the token's own user only")
            if unknown := set(scope.permissions) - PERMISSIONS:
                raise BadRequest(
                    f"unknown permission {shown(sorted(unknown)[0])}; "
                    f"known: {', '.join(sorted(PERMISSIONS))}"
                )
        text = make_token()
        with self.db.write() as conn:
            user_id = _user_id(conn, user)
            same = (s.token.c.user_id == user_id) & (s.token.c.name == name)
            # A revoked token gives its name free; the audit trail remembers it.
            conn.execute(delete(s.token).where(same, s.token.c.revoked_ms.is_not(None)))
            if conn.execute(select(s.token.c.id).where(same)).first():
                raise Conflict(
                    f"{user} has a token named {shown(name)}; revoke it or choose another"
                )
            put(conn, text, user_id, name, role, scopes=scopes, expires_ms=expires_ms)
            audit.record(conn, by, "token.create", user, token=name, role=role)
        return text

    def list(self, user: str) -> list[Token]:
        with self.db.read() as conn:
            query = select(s.token).where(s.token.c.user_id == _user_id(conn, user))
            return [
                Token(
                    row.name,
                    row.role,
                    _scopes(row.scopes),
                    row.created_ms,
                    row.expires_ms,
                    row.revoked_ms,
                )
                for row in conn.execute(query.order_by(s.token.c.id))
            ]

    def revoke(self, user: str, name: str, *, by: str = "operator") -> None:
        """From the next request on, the token opens nothing. Of a token that a browser sign-in
        made, the whole sign-in ends: what it was renewed by, and what it was renewed to."""
        with self.db.write() as conn:
            row = conn.execute(
                select(s.token.c.id, s.token.c.session_id).where(
                    s.token.c.user_id == _user_id(conn, user), s.token.c.name == name
                )
            ).one_or_none()
            if row is None:
                raise NotFound(f"{user} has no token named {shown(name)}")
            end(conn, s.token.c.id == row.id)
            if row.session_id is not None:
                end_session(conn, row.session_id)
            audit.record(conn, by, "token.revoke", user, token=name)

    def actor(self, text: str) -> Actor:
        """Who holds this token. Unauthorized, with the words the client looks for, if nobody."""
        if not looks_real(text):
            raise Unauthorized(BAD_TOKEN)
        return self._holder(s.token.c.digest == digest_of(text))

    def actor_named(self, user_id: int, name: str, created_ms: int) -> Actor:
        """As `actor`, for a signed address or token made by the hub for the holder of this one: it
        ends when the token does."""
        return self._holder(
            (s.token.c.user_id == user_id)
            & (s.token.c.name == name)
            & (s.token.c.created_ms == created_ms)
        )

    def _holder(self, which: ColumnElement[bool]) -> Actor:
        with self.db.read() as conn:
            row = conn.execute(_TOKEN.where(which)).one_or_none()
            if (
                row is None
                or row.revoked_ms is not None
                or (row.expires_ms is not None and row.expires_ms <= now_ms())
            ):
                raise Unauthorized(BAD_TOKEN)
            scopes = () if row.scopes == "[]" else _scopes(row.scopes)
            return _actor(conn, row.user_id, row.name, row.role, row.created_ms, scopes)

    def actor_of(self, user_id: int, role: TokenRole) -> Actor:
        """The user behind a signed address that the hub itself made, with the rights of today."""
        with self.db.read() as conn:
            return _actor(conn, user_id, "signed", role, 0, ())


def put(
    conn: Connection,
    text: str,
    user_id: int,
    name: str,
    role: TokenRole,
    *,
    scopes: tuple[Scope, ...] = (),
    expires_ms: int | None = None,
    session_id: int | None = None,
) -> None:
    """Keep a token that was just made, as its hash."""
    conn.execute(
        insert(s.token).values(
            user_id=user_id,
            digest=digest_of(text),
            name=name,
            role=role,
            scopes=msgspec.json.encode(scopes).decode(),
            created_ms=now_ms(),
            expires_ms=expires_ms,
            session_id=session_id,
        )
    )


def end(conn: Connection, which: ColumnElement[bool]) -> None:
    """Revoke these tokens; those that are revoked keep their time."""
    at = func.coalesce(s.token.c.revoked_ms, now_ms())
    conn.execute(update(s.token).where(which).values(revoked_ms=at))


def end_session(conn: Connection, session_id: int) -> None:
    """Revoke every token of a sign-in, and what would renew them."""
    end(conn, s.token.c.session_id == session_id)
    conn.execute(
        update(so.oauth_session)
        .where(so.oauth_session.c.id == session_id)
        .values(ended_ms=func.coalesce(so.oauth_session.c.ended_ms, now_ms()))
    )


def standing(conn: Connection, user_id: int, role: TokenRole) -> Actor | None:
    """As `Tokens.actor_of`, inside a transaction; None when there is no such user any more."""
    try:
        return _actor(conn, user_id, "signed", role, 0, ())
    except Unauthorized:
        return None


def _scopes(text: str) -> tuple[Scope, ...]:
    return msgspec.json.decode(text, type=tuple[Scope, ...])


def _user_id(conn: Connection, user: str) -> int:
    found = conn.execute(
        select(s.account.c.id).where(
            s.account.c.key == user.lower(),
            s.account.c.kind == "user",
            s.account.c.deleted_ms.is_(None),
        )
    ).scalar_one_or_none()
    if found is None:
        raise NotFound(f"no user {shown(user)}")
    return int(found)


_ORG = s.account.alias("org")
# Bounded where rows are made (catalog/access.py).
_ASKED = select(so.access_request.c.repo_id, so.access_request.c.status).where(
    so.access_request.c.user_id == bindparam("user_id")
)
# The user with each of their organisations: one row more for each, one in any case.
_STANDING = (
    select(
        s.account.c.id,
        s.account.c.hub_id,
        s.account.c.name,
        s.account.c.fullname,
        s.account.c.email,
        s.account.c.is_admin,
        _ORG.c.id,
        _ORG.c.hub_id,
        _ORG.c.name,
        _ORG.c.fullname,
        s.member.c.role,
    )
    .outerjoin_from(s.account, s.member, s.member.c.user_id == s.account.c.id)
    .outerjoin(_ORG, _ORG.c.id == s.member.c.org_id)
    .where(s.account.c.id == bindparam("user_id"), s.account.c.deleted_ms.is_(None))
    .order_by(_ORG.c.key)
)
_USER_COLUMNS = 6


def _actor(
    conn: Connection,
    user_id: int,
    token_name: str,
    role: TokenRole,
    token_created_ms: int,
    scopes: tuple[Scope, ...],
) -> Actor:
    rows = conn.execute(_STANDING, {"user_id": user_id}).all()
    if not rows:
        raise Unauthorized(BAD_TOKEN)
    orgs = [Membership(*row[_USER_COLUMNS:]) for row in rows if row[_USER_COLUMNS] is not None]
    user = rows[0]
    return Actor(
        user_id=user[0],
        hub_id=user[1],
        name=user[2],
        fullname=user[3],
        email=user[4],
        is_admin=user[5],
        token_name=token_name,
        token_role=role,
        token_created_ms=token_created_ms,
        scopes=scopes,
        orgs=tuple(orgs),
        asked={row[0]: row[1] for row in conn.execute(_ASKED, {"user_id": user_id})},
    )
