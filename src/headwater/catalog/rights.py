"""Rights: who may do what with a repo. The only place that decides.

    see      its page, its listings            public: anyone
    bytes    the content of its files          + not behind a gate, or let in by its owners
    propose  open a pull request               signed in, and may see
    write    change its refs                   owner, org writers
    manage   settings, move, delete            owner, org writers

Decided anew for each request from the actor's standing of that moment, below the routes, so that
no route can forget it (safety rules T3, T5). A read token never writes; a fine-grained token
does only what its lines say; what is public stays readable with any token.
"""

from __future__ import annotations

from typing import Literal

from sqlalchemy import ColumnElement, and_, or_, select, true

from headwater.catalog import schema as s
from headwater.catalog.actors import READ_GATED, Actor, RequestStatus
from headwater.catalog.models import Repo
from headwater.errors import Forbidden, GatedRepo, HeadwaterError, RepoNotFound
from headwater.names import REPO_TYPES

Verb = Literal["see", "bytes", "propose", "write", "manage"]
_NEEDS = {
    "see": ("repo.access.read", "repo.content.read", "repo.write"),
    "bytes": ("repo.content.read", "repo.write"),
    "propose": ("repo.write",),
    "write": ("repo.write",),
    "manage": ("repo.write",),
}
# Readable even behind a gate: one must be able to read what one is asked to accept.
GATE_FREE = frozenset({"README.md", "LICENSE", "LICENSE.md", "LICENSE.txt"})


class RepoNotFoundAnonymous(RepoNotFound):
    """The same answer for missing and private: an anonymous caller learns only to sign in."""

    status = 401


def not_found(actor: Actor, shown_id: str) -> HeadwaterError:
    """What a caller hears of a repo that is missing, or is not for them: the two never differ."""
    if actor.is_anonymous:
        return RepoNotFoundAnonymous(
            f"Repository {shown_id} not found, or it is private. Sign in with a token to see "
            "private repositories."
        )
    return RepoNotFound(f"Repository {shown_id} not found. Check its name, type and your rights.")


def _token_covers(actor: Actor, repo: Repo, verb: Verb) -> bool:
    """Whether the token, whoever holds it, reaches this far."""
    if actor.token_role != "fineGrained":
        return actor.token_role == "write" or verb in ("see", "bytes")
    if verb == "bytes" and repo.gated and not repo.private and actor.reads_gated:
        return True
    for scope in actor.scopes:
        on_owner = scope.type in ("user", "org") and scope.name.lower() == repo.namespace.lower()
        on_repo = scope.type == repo.type and scope.name.lower() == repo.key
        if (on_owner or on_repo) and any(p in scope.permissions for p in _NEEDS[verb]):
            return True
    return False


def _standing(actor: Actor, repo: Repo, verb: Verb) -> bool:
    """Whether the person, whatever the token, has this right by role."""
    role = "admin" if actor.is_admin else actor.role_in(repo.owner_id)
    if role is None:
        return False
    if verb in ("see", "bytes", "propose"):
        return True
    if role == "contributor":
        return repo.creator_id is not None and repo.creator_id == actor.user_id
    return role in ("admin", "write")


def _let_in(actor: Actor, repo: Repo) -> bool:
    """Whether the owners let this person pass the gate. A private repo is for members only."""
    return not repo.private and actor.asked.get(repo.id) == "accepted"


def allowed(actor: Actor, repo: Repo, verb: Verb) -> bool:
    """Whether `actor` may do `verb` with `repo`, decided from both as they are now."""
    if repo.disabled and verb not in ("see", "manage"):
        return False
    if not repo.private:
        if verb == "see" or (verb == "bytes" and not repo.gated):
            return True
        if verb == "propose":
            return not actor.is_anonymous and _token_covers(actor, repo, verb)
        if verb == "bytes" and _let_in(actor, repo):
            return _token_covers(actor, repo, verb)
    return _standing(actor, repo, verb) and _token_covers(actor, repo, verb)


def demand(actor: Actor, repo: Repo, verb: Verb) -> None:
    """Raise what the caller should hear unless `verb` is allowed.

    RepoNotFound when they may not even see it; Unauthorized, GatedRepo or Forbidden otherwise.
    """
    if allowed(actor, repo, verb):
        return
    if not allowed(actor, repo, "see"):
        raise not_found(actor, repo.full)
    if repo.disabled and verb != "manage":
        raise Forbidden("Access to this resource is disabled.")
    may = _standing(actor, repo, verb) or (verb == "propose" and not actor.is_anonymous)
    if verb == "bytes" and not (may or _let_in(actor, repo)):
        raise gated(repo, actor.asked.get(repo.id), is_anonymous=actor.is_anonymous)
    if actor.is_anonymous:
        raise RepoNotFoundAnonymous(f"Sign in with a write token to change {repo.full}.")
    if verb == "bytes":
        also = "" if repo.private else f", or '{READ_GATED}' on you"
        raise Forbidden(
            f"Your token is too narrow for {repo.full}: it needs '{_NEEDS[verb][0]}'{also}."
        )
    if may:
        raise Forbidden(
            f"Your token is too narrow for {repo.full}: it needs the role 'write' or "
            f"'{_NEEDS[verb][0]}'."
        )
    raise Forbidden(f"You have no right to {verb} {repo.full}. Ask one of its owners.")


def demand_file(actor: Actor, repo: Repo, path: str) -> None:
    """As `demand` with "bytes", but a public repo's gate lets the GATE_FREE files through. The
    gate alone does: not a quarantine, nor a token that covers no content of a private repo."""
    gate_only = bool(repo.gated) and not repo.private and not repo.disabled
    demand(actor, repo, "see" if gate_only and path in GATE_FREE else "bytes")


def gated(repo: Repo, status: RequestStatus | None, *, is_anonymous: bool) -> GatedRepo:
    """What a caller hears who sees the repo and may not read it, by what became of their request;
    the words are Hugging Face's."""
    if status == "pending":
        return GatedRepo(
            f"Your request to access {repo.type} {repo.full} is awaiting a review from the repo "
            "authors."
        )
    if status == "rejected":
        return GatedRepo(
            f"Your request to access {repo.type} {repo.full} has been rejected by the repo's "
            "authors."
        )
    page = f"/{repo.prefix}{repo.full}/ask-access"
    error = GatedRepo(
        f"Access to {repo.type} {repo.full} is restricted and you are not in the authorized "
        f"list. Visit {page} to ask for access.",
        page=page,
    )
    if is_anonymous:
        error.status = 401
    return error


def demand_namespace(actor: Actor, owner_id: int, namespace: str) -> None:
    """Raise unless the actor may create repos in this namespace."""
    role = "admin" if actor.is_admin else actor.role_in(owner_id)
    if actor.is_anonymous:
        raise RepoNotFoundAnonymous("Sign in with a write token to create a repository.")
    if role not in ("admin", "write", "contributor"):
        raise Forbidden(f"You don't have the rights to create a repository under {namespace}.")
    if actor.token_role == "read":
        raise Forbidden("Your token is read-only: creating a repository needs the role 'write'.")
    if actor.token_role == "fineGrained" and not any(
        scope.type in ("user", "org")
        and scope.name.lower() == namespace.lower()
        and "repo.write" in scope.permissions
        for scope in actor.scopes
    ):
        raise Forbidden(f"Your token needs the permission 'repo.write' on {namespace}.")


def open_to_all() -> ColumnElement[bool]:
    """SQL for `allowed(actor, repo, "bytes")` of anybody, with whatever token."""
    return and_(s.repo.c.private.is_(False), s.repo.c.gated == "", s.repo.c.disabled.is_(False))


def visible(actor: Actor) -> ColumnElement[bool]:
    """SQL for `allowed(actor, repo, "see")`: the repos of a listing."""
    public = s.repo.c.private.is_(False)
    if actor.is_anonymous:
        return public
    mine: ColumnElement[bool] = true()
    if not actor.is_admin:
        mine = s.repo.c.owner_id.in_([actor.user_id, *(org.org_id for org in actor.orgs)])
    if actor.token_role != "fineGrained":
        return true() if actor.is_admin else or_(public, mine)
    scopes = [x for x in actor.scopes if set(x.permissions) & set(_NEEDS["see"])]
    owners = [x.name.lower() for x in scopes if x.type in ("user", "org")]
    covered = [
        s.repo.c.owner_id.in_(select(s.account.c.id).where(s.account.c.key.in_(owners))),
        *(
            and_(s.repo.c.type == x.type, s.repo.c.key == x.name.lower())
            for x in scopes
            if x.type in REPO_TYPES
        ),
    ]
    return or_(public, and_(mine, or_(*covered)))
