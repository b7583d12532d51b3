"""Standing: what a person may do in their own name, and with the collections of an account.

    demand_person   like, follow: a signed-in user with a token that writes
    demand_keeper   change the collections of an account: its user, its organisation's writers
    sees            SQL for the collections that a caller may see

The rights to repos are in `rights`; what follows from those (which items of a collection show)
is asked there. A collection that is private looks exactly like one that is missing.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, or_, select, true

from headwater.catalog import schema as s
from headwater.catalog import schema_social as so
from headwater.catalog.actors import Actor
from headwater.errors import Forbidden, Unauthorized

_SEEING = frozenset({"repo.access.read", "repo.content.read", "repo.write"})


def demand_person(actor: Actor, doing: str) -> int:
    """The account row of whoever acts; Unauthorized or Forbidden unless they may, in their own
    name. `doing` completes "Sign in with a write token to …"."""
    if not actor.user_id:  # nobody, or the operator, who is no account
        raise Unauthorized(f"Sign in with a write token to {doing}.")
    if not _token_writes(actor, actor.name):
        raise Forbidden(f"Your token is too narrow to {doing}: it needs the role 'write'.")
    return actor.user_id


def demand_keeper(actor: Actor, owner_id: int, owner: str) -> None:
    """Raise unless the actor may make and change collections of this account."""
    if actor.is_anonymous:
        raise Unauthorized("Sign in with a write token to change a collection.")
    role = "admin" if actor.is_admin else actor.role_in(owner_id)
    if role not in ("admin", "write"):
        raise Forbidden(f"You have no right to change the collections of {owner}.")
    if not _token_writes(actor, owner):
        raise Forbidden(f"Your token is too narrow: it needs 'repo.write' on {owner}.")


def _token_writes(actor: Actor, account: str) -> bool:
    if actor.token_role != "fineGrained":
        return actor.token_role == "write"
    return any(
        scope.type in ("user", "org")
        and scope.name.lower() == account.lower()
        and "repo.write" in scope.permissions
        for scope in actor.scopes
    )


def sees(actor: Actor) -> ColumnElement[bool]:
    """SQL for the rows of `collection` that the caller may see."""
    public = so.collection.c.private.is_(False)
    if actor.is_anonymous:
        return public
    mine: ColumnElement[bool] = true()
    if not actor.is_admin:
        mine = so.collection.c.owner_id.in_([actor.user_id, *(org.org_id for org in actor.orgs)])
    if actor.token_role == "fineGrained":
        names = [
            scope.name.lower()
            for scope in actor.scopes
            if scope.type in ("user", "org") and _SEEING & set(scope.permissions)
        ]
        covered = select(s.account.c.id).where(s.account.c.key.in_(names))
        mine = mine & so.collection.c.owner_id.in_(covered)
    return or_(public, mine)
