"""Who may pass a gate: asking, and the owners' answer.

    ask, withdraw          by the user            page, decide, grant     by those who manage

A request is one row for each user and repo: pending, accepted or rejected. `auto` gates accept at
once. Whether a row opens anything is decided in `rights`, from the actor of each request, so an
answer that is taken back holds no longer than until the next request (safety rule T5). A rejected
user hears so and cannot ask again; only an owner takes that back. Rows are kept while the gate is
open, go with the repo, and are dropped when it moves to another owner (`repos.move`).
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Connection, delete, func, insert, select, update

from headwater.catalog import audit, persons, rights
from headwater.catalog import schema as s
from headwater.catalog import schema_social as so
from headwater.catalog.actors import REQUEST_STATUSES, Actor, RequestStatus
from headwater.catalog.clock import now_ms
from headwater.catalog.db import Db
from headwater.catalog.models import Repo
from headwater.catalog.repos import find
from headwater.errors import BadRequest, Conflict, Forbidden, NotFound
from headwater.formats.gate_form import read_form
from headwater.names import RepoType, shown

# An actor carries what became of all its requests, so their number has a limit. Two of them: what
# others grant unasked must not use up what one may ask for.
ASKED_MAX = 2_000
GRANTED_MAX = 10_000
REASON_CHARS_MAX = 1_000
_NO_REQUEST = "No access request found matching your criteria"


@dataclass(frozen=True, slots=True)
class Request:
    id: int
    hub_id: str
    status: RequestStatus
    user: str
    fullname: str
    email: str | None  # only of those who asked: they agreed to be known
    user_hub_id: str
    fields: dict[str, Any]
    reason: str
    created_ms: int


class Access:
    def __init__(self, db: Db) -> None:
        self.db = db

    def ask(
        self, actor: Actor, type: RepoType, full: str, answers: Mapping[str, object]
    ) -> Request:
        """Ask for access; asking again changes nothing. BadRequest when the answers do not fit the
        card's form, for members, and for repos that are not gated."""
        with self.db.write() as conn:
            repo = find(conn, actor, type, full)
            _demand_writer(actor, "Asking for access")
            _demand_gate(repo)
            old = _of_user(conn, repo, actor.user_id)
            if old is not None and old.status == "rejected":
                raise rights.gated(repo, "rejected", is_anonymous=False)
            if old is not None and (old.status == "accepted" or repo.gated != "auto"):
                return _request(old)
            if old is None and rights.allowed(actor, repo, "bytes"):
                raise BadRequest(f"You have access to {repo.full} already, as one of its owners.")
            status = "accepted" if repo.gated == "auto" else "pending"
            if old is None:
                _demand_room(conn, actor.user_id, asked=True)
                fields = read_form(msgspec.json.decode(repo.card)).check(answers)
                _insert(conn, repo, actor.user_id, status, fields, asked=True)
            else:
                _set(conn, old.id, status)
            audit.record(
                conn, actor.audit_name, "access.ask", repo.prefix + repo.full, status=status
            )
            return _request(_of_user(conn, repo, actor.user_id))

    def withdraw(self, actor: Actor, type: RepoType, full: str) -> None:
        """Take one's own request, or access, back. A rejection stays."""
        with self.db.write() as conn:
            repo = find(conn, actor, type, full)
            _demand_writer(actor, "Taking a request back")
            old = _of_user(conn, repo, actor.user_id)
            if old is None:
                raise NotFound(_NO_REQUEST)
            if old.status == "rejected":
                raise rights.gated(repo, "rejected", is_anonymous=False)
            conn.execute(delete(so.access_request).where(so.access_request.c.id == old.id))
            audit.record(conn, actor.audit_name, "access.withdraw", repo.prefix + repo.full)

    def page(
        self,
        actor: Actor,
        type: RepoType,
        full: str,
        status: RequestStatus | None,
        *,
        after: int = 0,
        limit: int,
    ) -> tuple[Repo, list[Request]]:
        """Requests in the order in which they were made, `limit` and one more, from row id
        `after`; None means of every status."""
        with self.db.read() as conn:
            repo = _managed(conn, actor, type, full)
            query = _ROWS.where(
                so.access_request.c.repo_id == repo.id, so.access_request.c.id > after
            )
            if status is not None:
                query = query.where(so.access_request.c.status == status)
            query = query.order_by(so.access_request.c.id).limit(limit + 1)
            return repo, [_request(row) for row in conn.execute(query)]

    def decide(
        self,
        actor: Actor,
        type: RepoType,
        full: str,
        *,
        user: str | None = None,
        request_id: str | None = None,
        status: RequestStatus,
        reason: str = "",
    ) -> None:
        """Accept, reject, or put back to pending. NotFound when there is no such request, or it
        is in that list already."""
        if (user is None) == (request_id is None):
            raise BadRequest("Say who: one of user and requestId.")
        if status not in REQUEST_STATUSES:
            raise BadRequest(f"status is one of {', '.join(REQUEST_STATUSES)}")
        if len(reason) > REASON_CHARS_MAX or (reason and status != "rejected"):
            raise BadRequest(
                f"rejectionReason goes with a rejection and has up to {REASON_CHARS_MAX} characters"
            )
        with self.db.write() as conn:
            repo = _managed(conn, actor, type, full)
            wanted = so.access_request.c.hub_id == request_id
            if user is not None:
                wanted = so.access_request.c.user_id == persons.named(conn, user, "user").id
            row = conn.execute(
                _ROWS.where(
                    so.access_request.c.repo_id == repo.id,
                    wanted,
                    so.access_request.c.status != status,
                )
            ).one_or_none()
            if row is None:
                raise NotFound(_NO_REQUEST)
            _set(conn, row.id, status, by=actor.user_id, reason=reason)
            audit.record(
                conn,
                actor.audit_name,
                f"access.{status}",
                repo.prefix + repo.full,
                user=row.name,
                was=row.status,
            )

    def grant(self, actor: Actor, type: RepoType, full: str, user: str) -> None:
        """Let somebody in who need not have asked. BadRequest when they have access."""
        with self.db.write() as conn:
            repo = _managed(conn, actor, type, full)
            user_id = persons.named(conn, user, "user").id
            old = _of_user(conn, repo, user_id)
            if _is_member(conn, repo, user_id) or (old is not None and old.status == "accepted"):
                raise BadRequest(f"{shown(user)} has access to {repo.full} already.")
            if old is None:
                _demand_room(conn, user_id, asked=False)
                _insert(conn, repo, user_id, "accepted", {}, asked=False, by=actor.user_id)
            else:
                _set(conn, old.id, "accepted", by=actor.user_id)
            audit.record(
                conn, actor.audit_name, "access.grant", repo.prefix + repo.full, user=user.lower()
            )


_ROWS = select(
    so.access_request.c.id,
    so.access_request.c.hub_id,
    so.access_request.c.status,
    so.access_request.c.asked,
    so.access_request.c.fields,
    so.access_request.c.reason,
    so.access_request.c.created_ms,
    s.account.c.name,
    s.account.c.fullname,
    s.account.c.email,
    s.account.c.hub_id.label("user_hub_id"),
).join(s.account, s.account.c.id == so.access_request.c.user_id)


def _request(row: Any) -> Request:
    return Request(
        id=row.id,
        hub_id=row.hub_id,
        status=row.status,
        user=row.name,
        fullname=row.fullname,
        email=row.email if row.asked else None,
        user_hub_id=row.user_hub_id,
        fields=msgspec.json.decode(row.fields),
        reason=row.reason,
        created_ms=row.created_ms,
    )


def _of_user(conn: Connection, repo: Repo, user_id: int | None) -> Any:
    return conn.execute(
        _ROWS.where(so.access_request.c.repo_id == repo.id, so.access_request.c.user_id == user_id)
    ).one_or_none()


def _managed(conn: Connection, actor: Actor, type: RepoType, full: str) -> Repo:
    repo = find(conn, actor, type, full, "manage")
    _demand_gate(repo)
    return repo


def _demand_gate(repo: Repo) -> None:
    if not repo.gated:
        raise BadRequest(f"{repo.type} {repo.full} is not gated.")


def _demand_writer(actor: Actor, what: str) -> None:
    """An agreement in somebody's name: a token that only reads cannot give it."""
    if actor.user_id is None or actor.token_role != "write":
        raise Forbidden(f"{what} needs a token with the role 'write'.")


def _demand_room(conn: Connection, user_id: int | None, *, asked: bool) -> None:
    count = conn.execute(
        select(func.count())
        .select_from(so.access_request)
        .where(so.access_request.c.user_id == user_id, so.access_request.c.asked.is_(asked))
    ).scalar_one()
    if count >= (ASKED_MAX if asked else GRANTED_MAX):
        raise Conflict("This user has too many requests and grants; take some back first.")


def _is_member(conn: Connection, repo: Repo, user_id: int) -> bool:
    if repo.owner_id == user_id:
        return True
    member = (s.member.c.org_id == repo.owner_id) & (s.member.c.user_id == user_id)
    return conn.execute(select(s.member.c.role).where(member)).first() is not None


def _insert(
    conn: Connection,
    repo: Repo,
    user_id: int | None,
    status: str,
    fields: Mapping[str, object],
    *,
    asked: bool,
    by: int | None = None,
) -> None:
    at = now_ms()
    conn.execute(
        insert(so.access_request).values(
            hub_id=secrets.token_hex(12),
            repo_id=repo.id,
            user_id=user_id,
            status=status,
            asked=asked,
            fields=msgspec.json.encode(fields).decode(),
            decided_by=by or None,
            decided_ms=at if status == "accepted" else None,
            created_ms=at,
        )
    )


def _set(
    conn: Connection, row_id: int, status: str, *, by: int | None = None, reason: str = ""
) -> None:
    conn.execute(
        update(so.access_request)
        .where(so.access_request.c.id == row_id)
        .values(status=status, reason=reason, decided_by=by or None, decided_ms=now_ms())
    )
