"""The contract as a document: OpenAPI 3.1, made of the route table and of nothing else.

    contract(rows) -> Route      GET /openapi.json, which describes these rows and itself
    document(rows) -> dict       the document

What a row answers follows from the row, by the rules of `statuses`; what does not follow stands in
its `answers`. So a row is described the moment it is in the table, and tests/hub/test_openapi.py
holds it to its description.

OpenAPI knows neither empty variables nor slashes in one: `{id}` is written `{namespace}/{repo}`,
`{prefix}` as one address for each type, and `{path*}` is one segment, its slashes escaped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from headwater.hub.replies import JSON, RETRY_STATUSES, json_reply
from headwater.hub.routing import Params, Route
from headwater.hub.templates import TYPE_WORDS

ADDRESS = "/openapi.json"
OPENAPI = "3.1.0"
BYTES = "application/octet-stream"
REF = "#/components/schemas/{name}"
WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
# Of every row: a malformed address or query, a token that does not hold, nothing there, a method
# that is not served, too much before the body, too busy. Never 500.
ALWAYS = (400, 401, 404, 405, 414, 431, 503)
OF_RIGHTS = (403,)  # somebody may, and this is not them
OF_BODIES = (413, 415, 422)
OF_WRITES = (409, 412, 507)
PHRASES = {
    200: "Done.", 201: "Made.", 202: "Taken.", 204: "Done; there is nothing to say.",
    206: "The part that Range asked for.", 400: "The request is malformed.",
    401: "No identity, or one that does not hold.", 403: "Known, and not allowed.",
    404: "Not here, or not for you.", 405: "Not with this method.", 409: "It is here already.",
    412: "It moved on since you looked.", 413: "Over a stated limit.",
    414: "The address is too long.",
    415: "The body is compressed, or of a kind that is not taken.",
    416: "The range begins past the end.", 422: "Well-formed, and cannot be done.",
    429: "Too many requests.", 431: "The head is too large.", 503: "Busy; try again.",
    507: "The disk is full.",
}  # fmt: skip
_VARIABLE = re.compile(r"\{(\w+)(\*?)\}")
_NUMBERS = {"limit": 1, "p": 0}  # query parameters that are numbers, and the least of each


def contract(rows: Sequence[Route]) -> Route:
    """The row that serves the document of `rows` and of itself."""

    @cache
    def made() -> dict[str, Any]:
        return document([*rows, row])

    def serve(request: Request, params: Params) -> Response:
        return json_reply(made())

    row = Route("GET", ADDRESS, serve, "anyone")
    return row


def document(rows: Iterable[Route]) -> dict[str, Any]:
    """All of it. Of two rows for one address and method the first counts, as when routing."""
    rows = list(rows)
    bodies = list(
        {id(row.body): row.body for row in rows if row.body not in (None, bytes)}.values()
    )
    schemas, components = msgspec.json.schema_components(bodies, ref_template=REF)
    schema_of = dict(zip(map(id, bodies), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for row in rows:
        for address, type_word in _addresses(row.template):
            for method in (row.method, *(["HEAD"] if row.head else [])):
                operation = _operation(row, method, type_word, schema_of.get(id(row.body)))
                operation["parameters"] = [*_variables(address), *_query(row)]
                paths.setdefault(address, {}).setdefault(method.lower(), operation)
    return {
        "openapi": OPENAPI,
        "info": {
            "title": "Headwater",
            "version": "1",
            "description": "The Hugging Face protocol, self-hosted. See docs/protocol.md.",
        },
        "security": [{}, {"bearer": []}, {"basic": []}],
        "paths": paths,
        "components": {
            "schemas": {**components, "Error": _ERROR},
            "headers": _HEADERS,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "basic": {"type": "http", "scheme": "basic"},
            },
        },
    }


def statuses(row: Route) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(successes, failures) that this row may answer, ascending."""
    answers = set(row.answers) or {200}
    failures = {*ALWAYS, *(status for status in answers if status >= 400)}
    if row.right != "anyone":
        failures |= {*OF_RIGHTS}
    if row.body is not None:
        failures |= {*OF_BODIES}
    if row.method in WRITES:
        failures |= {*OF_WRITES}
    good = sorted(status for status in answers if status < 400) or [200]
    return tuple(good), tuple(sorted(failures))


def media_of(row: Route) -> tuple[str, ...]:
    """The kinds of body that the row takes; empty when it takes none."""
    if row.body is None:
        return ()
    return row.media or ((BYTES,) if row.body is bytes else (JSON,))


def _addresses(template: str) -> Iterator[tuple[str, str]]:
    """(path of the document, word for the type) for each that this template stands for."""
    for prefix in TYPE_WORDS if "{prefix}" in template else ("",):
        text = template.replace("{prefix}", f"{prefix}/" if prefix not in ("", "models") else "")
        text = text.replace("{id}", "{namespace}/{repo}")
        yield _VARIABLE.sub(r"{\1}", text), prefix


def _operation(row: Route, method: str, type_word: str, schema: Any) -> dict[str, Any]:
    good, bad = statuses(row)
    name = re.sub(r"\W+", "-", f"{method}{row.template}").strip("-").lower()
    operation: dict[str, Any] = {
        "operationId": f"{name}-{type_word}" if type_word else name,
        "description": f"Right: {row.right}.",
        "responses": {str(status): {"description": PHRASES.get(status, "-")} for status in good}
        | {str(status): _failure(status) for status in bad},
    }
    if row.body is not None:
        # Raw bytes are the whole of a body, so an empty one is a body, too.
        content = {} if row.body is bytes else {"schema": schema}
        operation["requestBody"] = {
            "required": row.body is not bytes,
            "content": dict.fromkeys(media_of(row), content),
        }
    if row.right == "anyone":
        operation["security"] = [{}, {"bearer": []}, {"basic": []}]
    return operation


def _failure(status: int) -> dict[str, Any]:
    headers = ["X-Error-Code", "X-Error-Message", "X-Request-Id"]
    if status in RETRY_STATUSES:
        headers.append("Retry-After")
    return {
        "description": PHRASES.get(status, "-"),
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in headers},
        "content": {JSON: {"schema": {"$ref": REF.format(name="Error")}}},
    }


def _variables(address: str) -> list[dict[str, Any]]:
    found = []
    for name, _ in _VARIABLE.findall(address):
        schema: dict[str, Any] = {"type": "string", "minLength": 1}
        if name == "T":
            schema = {"type": "string", "enum": list(TYPE_WORDS)}
        found.append({"name": name, "in": "path", "required": True, "schema": schema})
    return found


def _query(row: Route) -> list[dict[str, Any]]:
    found = []
    for name in row.query:
        bare = name.removesuffix("*")
        schema: dict[str, Any] = {"type": "string"}
        if bare in _NUMBERS:
            schema = {"type": "integer", "minimum": _NUMBERS[bare]}
        if name.endswith("*"):
            schema = {"type": "array", "items": schema}
        found.append({"name": bare, "in": "query", "required": False, "schema": schema})
    return found


_HEADERS: dict[str, Any] = {
    "X-Error-Code": {"required": True, "schema": {"type": "string", "pattern": "^[A-Za-z]+$"}},
    "X-Error-Message": {"required": True, "schema": {"type": "string", "maxLength": 300}},
    "X-Request-Id": {"required": True, "schema": {"type": "string", "minLength": 1}},
    "Retry-After": {"required": True, "schema": {"type": "string", "pattern": "^[0-9]+$"}},
}
_ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["error", "errorCode", "requestId"],
    "properties": {
        "error": {"type": "string"},
        "errorCode": {"type": "string"},
        "requestId": {"type": "string"},
    },
}
