"""The gate's two sides: asking for access, and answering those who asked.

    GET, POST /{prefix}{id}/ask-access                     what is asked, and the answer
    POST /api/{T}/{id}/user-access-request[/cancel]        the same for programs
    GET  /api/{T}/{id}/user-access-request/{status}        for owners: who asked
    POST …/handle, …/grant                                 their answer
    GET  /{prefix}{id}/user-access-report                  all of it as CSV

There are no cookies: whoever asks is named by the Authorization header, which no foreign page can
make a browser send.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from headwater.catalog import access as requests
from headwater.catalog.actors import REQUEST_STATUSES, Actor, RequestStatus
from headwater.catalog.clock import iso
from headwater.catalog.models import Repo
from headwater.errors import BadRequest, NotFound
from headwater.formats.gate_form import read_form
from headwater.hub.bodies import FORM_OR_JSON, form_or_json, json_body, one_each
from headwater.hub.context import Hub
from headwater.hub.csv_file import csv_file
from headwater.hub.gate_page import form_html, form_json
from headwater.hub.pages import decode_cursor, encode_cursor, limit_of
from headwater.hub.replies import base_url, json_reply, next_link
from headwater.hub.routing import Route
from headwater.hub.templates import Params
from headwater.hub.threads import run
from headwater.hub.where import repo_of, type_of
from headwater.hub.wire import Wire

ANSWERS_BYTES_MAX = 32 * 2**10  # of one form; a page of requests holds a thousand in memory
PAGE_ROWS = 100
REPORT_ROWS_MAX = 2_000  # of one report; a Link header leads to the next
REPORT_COLUMNS_MAX = 200  # of answers; a form has up to 50, and cards change over the years


class Answers(Wire, frozen=True, kw_only=True):
    fields: dict[str, str | bool] = msgspec.field(default_factory=dict)


class Handle(Wire, frozen=True, kw_only=True):
    status: Literal["pending", "accepted", "rejected"]
    user: str | None = None
    request_id: str | None = None
    rejection_reason: str | None = None


class Grant(Wire, frozen=True, kw_only=True):
    user: str


class AccessRoutes:
    def __init__(self, hub: Hub) -> None:
        self.hub = hub

    def routes(self) -> list[Route]:
        page, api = "/{prefix}{id}", "/api/{T}/{id}/user-access-request"
        return [
            Route("GET", page + "/ask-access", self.form, "see"),
            Route(
                "POST",
                page + "/ask-access",
                self.ask_by_form,
                "see, signed in",
                body=bytes,
                media=FORM_OR_JSON,
                answers=(303,),
            ),
            Route(
                "GET",
                page + "/user-access-report",
                self.report,
                "manage",
                query=("limit", "cursor"),
            ),
            Route("POST", api, self.ask, "see, signed in", body=Answers),
            Route("POST", api + "/cancel", self.cancel, "see, signed in"),
            Route("POST", api + "/handle", self.handle, "manage", body=Handle),
            Route("POST", api + "/grant", self.grant, "manage", body=Grant),
            Route("GET", api + "/{status}", self.listed, "manage", query=("limit", "cursor")),
        ]

    def form(self, request: Request, params: Params) -> Response:
        """What the owners ask, and how the caller stands."""
        actor = self.hub.actor(request)
        repo = repo_of(self.hub, actor, params)
        form = read_form(msgspec.json.decode(repo.card))
        url = f"{base_url(request)}/{repo.prefix}{repo.full}/ask-access"
        if "text/html" in request.headers.get("accept", ""):
            return form_html(repo, form, url)
        access = self.hub.catalog.may_read_bytes(actor, repo)
        return json_reply(
            {
                "id": repo.full,
                "type": repo.type,
                "gated": repo.gated or False,
                "access": access,
                "status": actor.asked.get(repo.id),
                **form_json(form),
                "ask": url,
            },
            headers={"Cache-Control": "no-store"},
        )

    async def ask_by_form(self, request: Request, params: Params) -> Response:
        sent = await form_or_json(request, ANSWERS_BYTES_MAX)
        return await run(self._ask, request, params, one_each(sent))

    async def ask(self, request: Request, params: Params) -> Response:
        body = await json_body(request, Answers, ANSWERS_BYTES_MAX)
        return await run(self._ask, request, params, body.fields)

    def _ask(self, request: Request, params: Params, answers: Mapping[str, object]) -> Response:
        actor = self._signed_in(request)
        asked = self.hub.catalog.access.ask(actor, type_of(params), params["id"], answers)
        wants_page = "T" not in params and "application/json" not in request.headers.get(
            "accept", ""
        )
        if wants_page:  # as a browser's form does
            repo = repo_of(self.hub, actor, params)
            url = f"{base_url(request)}/{repo.prefix}{repo.full}"
            return Response(status_code=303, headers={"Location": url})
        return json_reply({"requestId": asked.hub_id, "status": asked.status})

    def cancel(self, request: Request, params: Params) -> Response:
        actor = self._signed_in(request)
        self.hub.catalog.access.withdraw(actor, type_of(params), params["id"])
        return json_reply({})

    async def handle(self, request: Request, params: Params) -> Response:
        body = await json_body(request, Handle)
        return await run(self._handle, request, params, body)

    def _handle(self, request: Request, params: Params, body: Handle) -> Response:
        self.hub.catalog.access.decide(
            self.hub.actor(request),
            type_of(params),
            params["id"],
            user=body.user,
            request_id=body.request_id,
            status=body.status,
            reason=body.rejection_reason or "",
        )
        return json_reply({})

    async def grant(self, request: Request, params: Params) -> Response:
        body = await json_body(request, Grant)
        return await run(self._grant, request, params, body)

    def _grant(self, request: Request, params: Params, body: Grant) -> Response:
        actor = self.hub.actor(request)
        self.hub.catalog.access.grant(actor, type_of(params), params["id"], body.user)
        return json_reply({})

    def listed(self, request: Request, params: Params) -> Response:
        status = params["status"]
        if status not in REQUEST_STATUSES:
            raise NotFound("No such address on this hub. Check the spelling.")
        _, rows, headers = self._page(request, params, status, PAGE_ROWS)
        return json_reply([_row(row, base_url(request)) for row in rows], headers=headers)

    def report(self, request: Request, params: Params) -> Response:
        """Every request with its answers: a column for each field that was ever asked here."""
        repo, rows, headers = self._page(request, params, None, REPORT_ROWS_MAX)
        asked = list(dict.fromkeys(name for row in rows for name in row.fields))
        names, others = asked[:REPORT_COLUMNS_MAX], set(asked[REPORT_COLUMNS_MAX:])
        head = ["user", "fullname", "email", "time", "status", "reason", *names]
        lines = [_line(row, names, others) for row in rows]
        if others:
            head.append("other answers")
        file = f"user-access-report-{repo.namespace}-{repo.name}.csv"
        return csv_file([head, *lines], file, headers)

    def _page(
        self, request: Request, params: Params, status: RequestStatus | None, default: int
    ) -> tuple[Repo, list[requests.Request], dict[str, str]]:
        limit = default if status is None else limit_of(request, default)
        cursor = request.query_params.get("cursor")
        after = decode_cursor(cursor, int) if cursor else 0
        if not 0 <= after < 2**31:
            raise BadRequest("this cursor is not one of ours; start from the first page")
        repo, rows = self.hub.catalog.access.page(
            self.hub.actor(request),
            type_of(params),
            params["id"],
            status,
            after=after,
            limit=limit,
        )
        headers = {"Cache-Control": "no-store"}
        if len(rows) > limit:
            headers["Link"] = next_link(request, encode_cursor(rows[limit - 1].id))
        return repo, rows[:limit], headers

    def _signed_in(self, request: Request) -> Actor:
        return self.hub.signed_in(request, "Sign in with a write token to ask for access.")


def _row(row: requests.Request, base: str) -> dict[str, Any]:
    user = {
        "_id": row.user_hub_id,
        "user": row.user,
        "fullname": row.fullname,
        "type": "user",
        "avatarUrl": f"{base}/avatars/{row.user}.svg",
    }
    if row.email:
        user["email"] = row.email
    shown: dict[str, Any] = {
        "requestId": row.hub_id,
        "status": row.status,
        "timestamp": iso(row.created_ms),
        "user": user,
    }
    if row.fields:
        shown["fields"] = row.fields
    if row.reason:
        shown["rejectionReason"] = row.reason
    return shown


def _line(row: requests.Request, names: list[str], others: set[str]) -> list[str]:
    """One request; with `others`, a last cell that holds those answers as JSON."""
    line = [row.user, row.fullname, row.email or "", iso(row.created_ms), row.status, row.reason]
    line += [_cell(row.fields.get(name)) for name in names]
    if others:
        rest = {name: value for name, value in row.fields.items() if name in others}
        line.append(msgspec.json.encode(rest).decode())
    return line


def _cell(value: object) -> str:
    return "" if value is None else "yes" if value is True else str(value)
