"""Routing: the raw bytes of an address to its row, and every failure to one honest reply."""

import logging
from typing import Any
from urllib.parse import quote

import pytest
from http_kit import SETTINGS, ask, scope
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from headwater.errors import BadRequest, Corrupt, HeadwaterError, InvalidPath, NotFound, Unavailable
from headwater.hub.replies import json_reply, request_id
from headwater.hub.routing import MethodNotAllowed, Params, Route, Router, Table
from headwater.hub.templates import Template
from headwater.names import RESERVED_NAMES
from yardstick import usual_s

ID = "/api/{T}/{id}"
WEB = "/{prefix}{id}"
TEMPLATES = [
    "/api/whoami-v2", "/api/{T}", ID, ID + "/refs", ID + "/tree/{rev}", ID + "/tree/{rev}/{path*}",
    ID + "/revision/{rev}", ID + "/branch/{name}", WEB + "/resolve/{rev}/{path*}",
    WEB + ".git/info/lfs/objects/batch", WEB, "/lfs/{token}", "/lfs/{token}/{part}",
]  # fmt: skip


def echo(request: Request, params: Params) -> Response:
    return json_reply(dict(params))


def rows(*more: Route) -> list[Route]:
    return [Route("GET", template, echo, "see") for template in TEMPLATES] + list(more)


TABLE = Table(rows())


def found(raw_path: str | bytes) -> tuple[str, dict[str, Any]]:
    raw = raw_path.encode() if isinstance(raw_path, str) else raw_path
    route, params = TABLE.find("GET", raw)
    return route.template, dict(params)


@pytest.mark.parametrize(
    ("path", "template", "params"),
    [
        ("/api/whoami-v2", "/api/whoami-v2", {}),
        ("/api/spaces", "/api/{T}", {"T": "space"}),
        ("/api/models/ns/m", ID, {"T": "model", "id": "ns/m"}),
        ("/api/models/gpt2", ID, {"T": "model", "id": "gpt2"}),
        ("/api/datasets/gpt2/refs", ID, {"T": "dataset", "id": "gpt2/refs"}),
        ("/api/models/ns/tree/refs", ID + "/refs", {"T": "model", "id": "ns/tree"}),
        ("/api/models/a/b/tree/main", ID + "/tree/{rev}",
         {"T": "model", "id": "a/b", "rev": "main"}),
        ("/api/models/a/b/tree/refs%2Fpr%2F1", ID + "/tree/{rev}",
         {"T": "model", "id": "a/b", "rev": "refs/pr/1"}),
        ("/api/models/a/b/tree/refs%2Fpr%2F1/x%2Fy%20z", ID + "/tree/{rev}/{path*}",
         {"T": "model", "id": "a/b", "rev": "refs/pr/1", "path": "x/y z"}),
        ("/api/models/a/b/tree/main/x/tree/y", ID + "/tree/{rev}/{path*}",
         {"T": "model", "id": "a/b", "rev": "main", "path": "x/tree/y"}),
        ("/api/models/gpt2/tree/main/x", ID + "/tree/{rev}/{path*}",
         {"T": "model", "id": "gpt2", "rev": "main", "path": "x"}),
        ("/a/b/resolve/main/x/y.bin", WEB + "/resolve/{rev}/{path*}",
         {"prefix": "model", "id": "a/b", "rev": "main", "path": "x/y.bin"}),
        ("/datasets/a/b/resolve/main/x", WEB + "/resolve/{rev}/{path*}",
         {"prefix": "dataset", "id": "a/b", "rev": "main", "path": "x"}),
        ("/datasets/a/resolve/main/x", WEB + "/resolve/{rev}/{path*}",
         {"prefix": "dataset", "id": "a", "rev": "main", "path": "x"}),
        ("/a/b/resolve/main/%252e", WEB + "/resolve/{rev}/{path*}",
         {"prefix": "model", "id": "a/b", "rev": "main", "path": "%2e"}),
        ("/spaces/a/b.git/info/lfs/objects/batch", WEB + ".git/info/lfs/objects/batch",
         {"prefix": "space", "id": "a/b"}),
        ("/lfs/t/1", "/lfs/{token}/{part}", {"token": "t", "part": "1"}),
    ],
)  # fmt: skip
def test_where_an_address_leads(path: str, template: str, params: dict[str, str]) -> None:
    assert found(path) == (template, params)


@pytest.mark.parametrize(
    "path",
    [
        "", "/", "//", "/api", "/api/models/", "/api/models//m", "/api/jobs/a/b", "/x/y/z/w",
        "/api/models/a/b/%74ree/main", "/api/models/a/b/tree/", "/API/models/a/b",
        "/a/b/resolve/main", "/a/b/resolve/main/", "/lfs/t/1/2",
    ],
)  # fmt: skip
def test_what_is_no_address(path: str) -> None:
    with pytest.raises(NotFound):
        found(path)


@pytest.mark.parametrize("word", sorted(RESERVED_NAMES))
def test_reserved_words_are_never_a_namespace(word: str) -> None:
    escaped = "".join(f"%{byte:02x}" for byte in word.encode())
    for spelled in (word, word.upper(), escaped):
        path = f"/{spelled}/name/resolve/main/x"
        try:
            _, params = found(path)
        except NotFound:
            continue
        assert params["prefix"] != "model", path
        assert params["id"] == "name"


@pytest.mark.parametrize(
    "segment", ["%ff", "%c0%af", "%ed%a0%80", "a%00b", "%", "%2", "%zz", "a%", "%f8%88%80%80%80"]
)
def test_what_cannot_be_decoded_is_refused(segment: str) -> None:
    for path in (
        f"/a/b/resolve/main/{segment}",
        f"/api/models/a/b/tree/{segment}",
        f"/x/{segment}",
    ):
        with pytest.raises(InvalidPath):
            found(path)


def test_an_encoded_slash_in_an_id_is_refused() -> None:
    with pytest.raises(InvalidPath):
        found("/api/models/a%2Fb/refs")
    with pytest.raises(InvalidPath):
        found("/a%2Fb/c/resolve/main/x")


names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)


@given(rev=names, path=st.lists(names, min_size=1, max_size=5), whole=st.booleans())
def test_any_name_arrives_as_it_was(rev: str, path: list[str], whole: bool) -> None:
    """Whether the client escapes segment by segment or the path in one."""
    joined = "/".join(path)
    sent = quote(joined, safe="") if whole else "/".join(quote(part, safe="") for part in path)
    template, params = found(f"/api/models/ns/m/tree/{quote(rev, safe='')}/{sent}")
    assert template == ID + "/tree/{rev}/{path*}"
    assert params == {"T": "model", "id": "ns/m", "rev": rev, "path": joined}


@given(st.binary(max_size=300))
def test_any_bytes_get_an_answer(raw: bytes) -> None:
    for path in (raw, b"/" + raw, b"/api/models/" + raw, b"/a/b/resolve/" + raw):
        try:
            found(path)
        except (NotFound, InvalidPath):
            continue


def test_of_two_rows_that_fit_the_first_wins() -> None:
    table = Table([Route("GET", "/x/{a}", echo, ""), Route("GET", "/{b}/y", echo, "")])
    assert table.find("GET", b"/x/y")[0].template == "/x/{a}"
    table = Table([Route("GET", "/{b}/y", echo, ""), Route("GET", "/x/{a}", echo, "")])
    assert table.find("GET", b"/x/y")[0].template == "/{b}/y"


def test_methods() -> None:
    table = Table(
        [
            Route("GET", "/x", echo, "", head=True),
            Route("PUT", "/x", echo, ""),
            Route("GET", "/y", echo, ""),
        ]
    )
    assert table.find("HEAD", b"/x")[0].method == "GET"
    with pytest.raises(MethodNotAllowed) as refused:
        table.find("DELETE", b"/x")
    assert refused.value.headers["Allow"] == "GET, HEAD, PUT"
    with pytest.raises(MethodNotAllowed):
        table.find("HEAD", b"/y")


def test_a_wrong_table_is_a_bug_at_start() -> None:
    for wrong in (
        [Route("GET", "/x", echo, ""), Route("GET", "/x", echo, "")],
        [Route("GET", "/x", echo, "", head=True), Route("HEAD", "/x", echo, "")],
        [Route("GET", "x", echo, "")],
        [Route("GET", "/{a}" * 12, echo, "")],
    ):
        with pytest.raises(ValueError, match=r"rows|slash|segments"):
            Table(wrong)


def test_a_lookup_takes_microseconds() -> None:
    """120 rows; measured 5 to 9 us."""
    more = [Route("GET", f"{ID}/word{n}/{{rev}}", echo, "") for n in range(120)]
    table = Table(rows(*more))
    path = b"/api/models/some-org/some-model/tree/refs%2Fpr%2F1/a%2Fb%2Fc"

    def look_up() -> None:
        for _ in range(200):
            table.find("GET", path)

    assert usual_s(look_up, tries=5) / 200 < 50e-6


def test_a_hostile_address_does_not_backtrack() -> None:
    template = Template(WEB + "/resolve/{rev}/{path*}")
    for hostile in (b"/" + b"a" * 8000, b"/a/b/resolve/" * 600, b"/" * 8000):
        assert usual_s(lambda path=hostile: template.match(path)) < 0.05


# The router as an application


def failing(error: BaseException) -> Route:
    def endpoint(request: Request, params: Params) -> Response:
        raise error

    return Route("GET", "/fail", endpoint, "see")


def test_sync_and_async_endpoints() -> None:
    async def later(request: Request, params: Params) -> Response:
        return json_reply({"id": request_id(request), **params})

    routes = [Route("GET", "/later/{x}", later, "see"), *rows()]
    assert ask(routes, "GET", b"/api/models/a/b?x=1").json == {"T": "model", "id": "a/b"}
    answer = ask(routes, "GET", b"/later/%C3%A9", {"X-Request-Id": "mine-1"})
    assert answer.json == {"id": "mine-1", "x": "é"}
    assert answer.headers["x-request-id"] == "mine-1"


@pytest.mark.parametrize("bad", ["", "a b", "x" * 65, "a_b", "é", "a;b"])
def test_a_strange_request_id_is_replaced(bad: str) -> None:
    answer = ask(rows(), "GET", b"/api/spaces", {"X-Request-Id": bad})
    assert answer.headers["x-request-id"] != bad
    assert len(answer.headers["x-request-id"]) == 32


def test_a_known_failure_is_a_reply() -> None:
    answer = ask([failing(BadRequest("No. Do it so.", extra={"url": "u"}))], "GET", b"/fail")
    assert answer.status == 400
    assert answer.headers["x-error-code"] == "BadRequest"
    assert answer.json == {
        "error": "No. Do it so.", "errorCode": "BadRequest", "url": "u",
        "requestId": answer.headers["x-request-id"],
    }  # fmt: skip


def test_a_bug_says_nothing_but_its_id(caplog: pytest.LogCaptureFixture) -> None:
    answer = ask([failing(ValueError("secret /path SELECT"))], "GET", b"/fail")
    assert answer.status == 500
    assert answer.headers["x-error-code"] == "InternalError"
    assert b"secret" not in answer.body
    assert answer.headers["x-request-id"] in caplog.text
    assert "secret /path" in caplog.text, "the log has all of it"


def test_server_side_failures_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    assert ask([failing(Corrupt("blob 5 is damaged"))], "GET", b"/fail").status == 500
    assert "blob 5 is damaged" in caplog.text
    assert ask([failing(Unavailable("busy"))], "GET", b"/fail").headers["retry-after"] == "2"


def test_nothing_is_sent_to_one_who_left(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with pytest.raises(IndexError):  # nothing was sent
        ask([failing(ClientDisconnect())], "GET", b"/fail")
    assert not caplog.records


def test_unknown_and_not_allowed() -> None:
    answer = ask(rows(), "GET", b"/x/y/z/w")
    assert (answer.status, answer.headers["x-error-code"]) == (404, "NotFound")
    answer = ask(rows(), "POST", b"/api/whoami-v2")
    assert (answer.status, answer.headers["allow"]) == (405, "GET")
    assert ask(rows(), "GET", b"/" + b"a" * 9000).status == 400


def test_a_mounted_hub_strips_its_prefix() -> None:
    for raw in (b"/hub/api/spaces", b"/api/spaces"):
        assert ask(rows(), "GET", raw, root_path="/hub").json == {"T": "space"}
    assert ask(rows(), "GET", b"/hubx/api/spaces", root_path="/hub").status == 404


def test_only_http() -> None:
    with pytest.raises(NotImplementedError):
        Router([], SETTINGS)(scope() | {"type": "websocket"}, None, None).send(None)  # type: ignore[arg-type]


def test_every_error_class_is_a_reply() -> None:
    def all_of(kind: type[HeadwaterError]) -> list[type[HeadwaterError]]:
        return [kind, *(deep for sub in kind.__subclasses__() for deep in all_of(sub))]

    for kind in all_of(HeadwaterError):
        more: dict[str, Any] = {"size_bytes": 5} if kind.__name__ == "RangeNotSatisfiable" else {}
        answer = ask([failing(kind("what. do", **more))], "GET", b"/fail")
        assert answer.status == kind.status
        assert answer.headers["x-error-code"] == kind.code
