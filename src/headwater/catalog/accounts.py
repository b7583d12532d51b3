"""Accounts: users and organisations, who belongs to which, and in what role.

Names are unique without regard to case and to look-alikes, and are never given out twice: a
deleted account leaves a tombstone, so nobody can inherit its name and the trust in it.
"""

from __future__ import annotations

import builtins
import secrets
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, delete, func, insert, select, update

from headwater.catalog import audit, persons
from headwater.catalog import schema as s
from headwater.catalog import schema_social as so
from headwater.catalog.actors import ORG_ROLES, OrgRole
from headwater.catalog.clock import now_ms
from headwater.catalog.db import Db
from headwater.errors import BadRequest, Conflict, InvalidName, NotFound
from headwater.names import check_name, shown

# Digits that pass for letters in most fonts: `qwen` and `qw3n` differ, `qwen0` and `qweno` do not.
_LOOKALIKE = str.maketrans({"0": "o", "1": "l", "i": "l", "_": "-", ".": "-"})
# What the audit trail calls the command line and those who did not sign in: nobody else's names.
AUDIT_NAMES = frozenset({"operator", "anonymous"})
FULLNAME_CHARS_MAX = 200
EMAIL_CHARS_MAX = 320  # RFC 3696, errata 1690


@dataclass(frozen=True, slots=True)
class Account:
    id: int
    hub_id: str
    kind: Literal["user", "org"]
    name: str
    fullname: str
    email: str | None
    is_admin: bool
    repos_private: bool
    created_ms: int


def _skeleton(name: str) -> str:
    """Equal for names that a hurried reader takes for one. Names are ASCII (`check_name`)."""
    return name.lower().translate(_LOOKALIKE)


class Accounts:
    def __init__(self, db: Db) -> None:
        self.db = db

    def count(self) -> int:
        with self.db.read() as conn:
            return conn.execute(select(func.count()).select_from(s.account)).scalar_one()

    def create(
        self,
        name: str,
        kind: Literal["user", "org"] = "user",
        *,
        fullname: str = "",
        email: str | None = None,
        is_admin: bool = False,
        repos_private: bool = False,
        by: str = "operator",
    ) -> Account:
        """A new account; Conflict when the name, or one that looks like it, was ever taken."""
        check_name(name, "account name")
        if name.lower() in AUDIT_NAMES:
            raise InvalidName(f"account name {shown(name)} is reserved; choose another")
        _check_text(fullname, FULLNAME_CHARS_MAX, "full name")
        _check_text(email or "", EMAIL_CHARS_MAX, "e-mail address")
        hub_id = secrets.token_hex(12)
        with self.db.write() as conn:
            taken = conn.execute(
                select(s.account.c.name).where(s.account.c.skeleton == _skeleton(name))
            ).scalar_one_or_none()
            if taken is not None and taken.lower() == name.lower():
                raise Conflict(f"the name {shown(name)} is taken, or was; choose another")
            if taken is not None:
                raise Conflict(f"{shown(name)} looks like {shown(taken)}; choose another name")
            conn.execute(
                insert(s.account).values(
                    hub_id=hub_id,
                    kind=kind,
                    name=name,
                    key=name.lower(),
                    skeleton=_skeleton(name),
                    fullname=fullname or name,
                    email=email,
                    is_admin=is_admin,
                    repos_private=repos_private,
                    created_ms=now_ms(),
                )
            )
            audit.record(conn, by, f"{kind}.create", name, is_admin=is_admin)
            return _find(conn, name)

    def set_repos_private(self, name: str, private: bool, *, by: str = "operator") -> Account:
        """Whether new repos of this account are private when their maker does not say."""
        with self.db.write() as conn:
            found = _find(conn, name)
            conn.execute(
                update(s.account).where(s.account.c.id == found.id).values(repos_private=private)
            )
            audit.record(conn, by, f"{found.kind}.settings", found.name, repos_private=private)
            return _find(conn, name)

    def find(self, name: str) -> Account:
        """The account of that name, or NotFound."""
        with self.db.read() as conn:
            return _find(conn, name)

    def list(self, kind: Literal["user", "org"]) -> list[Account]:
        query = select(s.account).where(s.account.c.kind == kind, s.account.c.deleted_ms.is_(None))
        with self.db.read() as conn:
            return [_account(row) for row in conn.execute(query.order_by(s.account.c.key))]

    def delete(self, name: str, *, by: str = "operator") -> None:
        """Leave a tombstone; drop tokens, memberships, webhooks, likes, follows and
        collections.

        Refused while it owns repos.
        """
        with self.db.write() as conn:
            found = _find(conn, name)
            owned = conn.execute(
                select(func.count()).select_from(s.repo).where(s.repo.c.owner_id == found.id)
            ).scalar_one()
            if owned:
                raise Conflict(f"{name} still owns {owned} repos; delete or move them first")
            conn.execute(delete(s.token).where(s.token.c.user_id == found.id))
            for table in (
                so.access_request,
                so.oauth_session,
                so.device_code,
                so.device_guess,
                so.webhook,
            ):
                conn.execute(delete(table).where(table.c.user_id == found.id))
            conn.execute(
                delete(s.member).where(
                    (s.member.c.user_id == found.id) | (s.member.c.org_id == found.id)
                )
            )
            persons.forget(conn, found.id)
            conn.execute(
                update(s.account)
                .where(s.account.c.id == found.id)
                .values(deleted_ms=now_ms(), email=None)
            )
            audit.record(conn, by, f"{found.kind}.delete", found.name)

    def set_role(self, org: str, user: str, role: OrgRole | None, *, by: str = "operator") -> None:
        """Give `user` a role in `org`, or take them out with None."""
        if role is not None and role not in ORG_ROLES:
            raise BadRequest(f"role {shown(role)} is not one of {', '.join(ORG_ROLES)}")
        with self.db.write() as conn:
            the_org, the_user = _find(conn, org), _find(conn, user)
            if the_org.kind != "org" or the_user.kind != "user":
                raise BadRequest(f"{org} must be an organisation and {user} a user")
            conn.execute(
                delete(s.member).where(
                    s.member.c.org_id == the_org.id, s.member.c.user_id == the_user.id
                )
            )
            if role is not None:
                conn.execute(
                    insert(s.member).values(org_id=the_org.id, user_id=the_user.id, role=role)
                )
            audit.record(conn, by, "org.member", the_org.name, user=the_user.name, role=role)

    def members(self, org: str) -> builtins.list[tuple[str, str]]:
        """(user name, role), by name."""
        with self.db.read() as conn:
            found = _find(conn, org)
            query = (
                select(s.account.c.name, s.member.c.role)
                .join(s.member, s.member.c.user_id == s.account.c.id)
                .where(s.member.c.org_id == found.id)
                .order_by(s.account.c.key)
            )
            return [(row.name, row.role) for row in conn.execute(query)]


def _check_text(text: str, chars_max: int, what: str) -> None:
    if len(text) > chars_max or not text.isprintable():
        raise BadRequest(f"{what} {shown(text)}: at most {chars_max} printable characters")


def _find(conn: Connection, name: str) -> Account:
    row = conn.execute(
        select(s.account).where(
            s.account.c.key == str(name).lower(), s.account.c.deleted_ms.is_(None)
        )
    ).one_or_none()
    if row is None:
        raise NotFound(f"no user or organisation {shown(name)}")
    return _account(row)


def _account(row: object) -> Account:
    return Account(**{field: getattr(row, field) for field in Account.__dataclass_fields__})
