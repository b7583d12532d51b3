"""Who is asking, and what the token they hold lets them do.

An `Actor` is made for one request and holds everything that a decision about rights needs, so
that a decision never trusts something read earlier (safety rule T5).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import msgspec

TokenRole = Literal["read", "write", "fineGrained"]
OrgRole = Literal["admin", "write", "contributor", "read"]
TOKEN_ROLES: tuple[TokenRole, ...] = ("read", "write", "fineGrained")
ORG_ROLES: tuple[OrgRole, ...] = ("admin", "write", "contributor", "read")
# What a fine-grained token may be given; the names are Hugging Face's.
PERMISSIONS = frozenset(
    {"repo.access.read", "repo.content.read", "repo.write", "org.read", "canReadGatedRepos"}
)
# On the token's own user: what public gated repos let this person read, the token may read.
READ_GATED = "canReadGatedRepos"
RequestStatus = Literal["pending", "accepted", "rejected"]
REQUEST_STATUSES: tuple[RequestStatus, ...] = ("pending", "accepted", "rejected")


class Scope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of a fine-grained token: these permissions on this account or repo."""

    type: Literal["user", "org", "model", "dataset", "space", "kernel", "bucket"]
    name: str
    permissions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Membership:
    org_id: int
    org_hub_id: str
    name: str
    fullname: str
    role: OrgRole


@dataclass(frozen=True, slots=True)
class Actor:
    """A signed-in user with one token, or ANONYMOUS."""

    user_id: int | None = None
    hub_id: str = ""
    name: str = ""
    fullname: str = ""
    email: str | None = None
    is_admin: bool = False
    token_name: str = ""
    token_role: TokenRole = "read"
    token_created_ms: int = 0
    scopes: tuple[Scope, ...] = ()
    orgs: tuple[Membership, ...] = field(default=())
    # What became of the requests of this person to pass gates, by the repo's row id.
    asked: Mapping[int, RequestStatus] = field(default_factory=dict, hash=False)

    @property
    def is_anonymous(self) -> bool:
        return self.user_id is None

    @property
    def audit_name(self) -> str:
        return self.name or "anonymous"

    @property
    def reads_gated(self) -> bool:
        """Whether a fine-grained token says that it covers public gated repos."""
        return any(
            scope.type == "user" and scope.name.lower() == self.name.lower()
            for scope in self.scopes
            if READ_GATED in scope.permissions
        )

    def role_in(self, account_id: int) -> OrgRole | None:
        """The actor's standing with the account that owns a repo; a user is admin of their own."""
        if self.user_id is None:
            return None
        if account_id == self.user_id:
            return "admin"
        for org in self.orgs:
            if org.org_id == account_id:
                return org.role
        return None


ANONYMOUS = Actor()
# The command line acts with the rights of whoever can read the data folder: the operator.
OPERATOR = Actor(user_id=0, name="operator", is_admin=True, token_role="write")
