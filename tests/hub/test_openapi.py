"""The document and the table: every row is described, and its description is that of its code.

These tests walk the table, so they hold for rows that are added later.
"""

import inspect
import re
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import schemathesis
from http_kit import ask

from headwater.catalog.catalog import Catalog
from headwater.hub.context import Hub
from headwater.hub.openapi import ADDRESS, document, media_of, statuses
from headwater.hub.routes import table
from headwater.hub.routing import Route
from headwater.hub.signing import Signer
from headwater.settings import Settings
from headwater.store.store import Store

JSON_READ = re.compile(r"\bjson_body\(\s*request,\s*([\w.]+(?:\[[\w.]+\])?)")
OTHER_READ = re.compile(r"\b(form_or_json|decode_json|read_body|ndjson_lines|feed|pieces|blocks)\(")
QUERY_READ = re.compile(r"""(?:query_params\.get(?:list)?|\bask\.get(?:list)?|\basked\.getlist
    |\bflag)\((?:request,\s*)?"([\w\[\]]+)\"""", re.VERBOSE)  # fmt: skip


class Struct(msgspec.Struct):
    word: str


def nothing(request: Any, params: Any) -> Any:
    raise AssertionError("not called")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Route]]:
    root = tmp_path_factory.mktemp("table")
    settings = Settings(data=root)
    catalog = Catalog.open(settings.catalog_url, upload_ttl_s=60, secret=bytes(32))
    yield table(Hub(settings, catalog, Store.open(root / "store"), Signer(bytes(32))))
    catalog.close()


def source(row: Route) -> str:
    """The endpoint, and the methods of its room that it calls or hands to a thread."""
    method = inspect.unwrap(row.endpoint)
    room = getattr(method, "__self__", None)
    seen: dict[str, str] = {method.__name__: inspect.getsource(method)}
    waiting = [method.__name__]
    while room is not None and waiting:
        for name in re.findall(r"\bself\.(\w+)", seen[waiting.pop()]):
            called = getattr(type(room), name, None)
            if inspect.isfunction(called) and name not in seen:
                seen[name] = inspect.getsource(called)
                waiting.append(name)
    return "\n".join(seen.values())


def named(row: Route, text: str) -> Any:
    """What the text of a type stands for in the endpoint's module."""
    return eval(text, vars(sys.modules[row.endpoint.__module__]))


def test_every_row_says_which_body_it_reads(rows: list[Route]) -> None:
    """A row whose code decodes JSON names that very struct; one that reads anything names it."""
    wrong = []
    for row in rows:
        text = source(row)
        where = f"{row.method} {row.template} ({row.endpoint.__qualname__})"
        read = [named(row, found) for found in JSON_READ.findall(text)]
        if read and row.body not in read:
            wrong.append(f"{where}: reads {read[0]}; write body={read[0]} into its row")
        elif not read and row.body is None and (found := OTHER_READ.search(text)):
            wrong.append(f"{where}: calls {found[1]}; write body=… (bytes: as they come)")
        elif row.body not in (None, bytes) and not read and not OTHER_READ.search(text):
            wrong.append(f"{where}: says body={row.body}, and does not read it")
    assert not wrong, "\n".join(wrong)


def test_every_row_says_which_query_it_reads(rows: list[Route]) -> None:
    """Query parameters by their names in the code; helpers like `limit_of` have fixed names."""
    wrong = []
    for row in rows:
        text = source(row)
        read = {*QUERY_READ.findall(text)} | ({"limit"} if "limit_of(" in text else set())
        told = {name.removesuffix("*") for name in row.query}
        if missing := read - told:
            wrong.append(f"{row.method} {row.template}: reads {sorted(missing)}, not in query=")
    assert not wrong, "\n".join(wrong)


def test_the_document_is_whole(rows: list[Route]) -> None:
    made = msgspec.json.decode(msgspec.json.encode(document(rows)))
    schemathesis.openapi.from_dict(made).validate()
    operations = [o for path in made["paths"].values() for o in path.values()]
    twice = [name for name, n in Counter(o["operationId"] for o in operations).items() if n > 1]
    assert not twice, f"one operationId for several: {twice}"
    assert len(operations) >= len(rows)
    for path, methods in made["paths"].items():
        told = set(re.findall(r"\{(\w+)\}", path))
        for operation in methods.values():
            given = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
            assert given == told, path


def test_it_is_served_and_describes_itself(rows: list[Route]) -> None:
    answer = ask(rows, "GET", b"/openapi.json")
    assert answer.status == 200
    assert answer.json["openapi"].startswith("3.1")
    assert answer.json == msgspec.json.decode(msgspec.json.encode(document(rows)))
    assert ADDRESS in answer.json["paths"]


def test_statuses_follow_from_the_row() -> None:
    plain = Route("GET", "/a", nothing, "anyone")
    assert statuses(plain) == ((200,), (400, 401, 404, 405, 414, 431, 503))
    right = Route("GET", "/a", nothing, "see")
    assert set(statuses(right)[1]) - set(statuses(plain)[1]) == {403}
    write = Route("POST", "/a", nothing, "write", body=Struct)
    assert {409, 412, 413, 415, 422, 507} <= set(statuses(write)[1])
    ranged = Route("GET", "/a", nothing, "bytes", answers=(200, 206, 416))
    assert statuses(ranged)[0] == (200, 206)
    assert 416 in statuses(ranged)[1]
    only_error = Route("GET", "/a", nothing, "bytes", answers=(416,))
    assert statuses(only_error)[0] == (200,)
    assert 500 not in {s for row in (plain, right, write, ranged) for s in statuses(row)[1]}


def test_bodies_and_addresses_are_those_of_the_row() -> None:
    made = document(
        [
            Route("POST", "/{prefix}{id}/x/{path*}", nothing, "write", body=Struct),
            Route("PUT", "/api/{T}/raw", nothing, "write", body=bytes, query=("limit", "tag*")),
        ]
    )
    assert set(made["paths"]) == {
        "/{namespace}/{repo}/x/{path}", "/datasets/{namespace}/{repo}/x/{path}",
        "/spaces/{namespace}/{repo}/x/{path}", "/kernels/{namespace}/{repo}/x/{path}",
        "/api/{T}/raw",
    }  # fmt: skip
    post = made["paths"]["/{namespace}/{repo}/x/{path}"]["post"]
    assert post["requestBody"]["content"] == {
        "application/json": {"schema": {"$ref": "#/components/schemas/Struct"}}
    }
    put = made["paths"]["/api/{T}/raw"]["put"]
    assert list(put["requestBody"]["content"]) == ["application/octet-stream"]
    asked = {p["name"]: p["schema"]["type"] for p in put["parameters"] if p["in"] == "query"}
    assert asked == {"limit": "integer", "tag": "array"}
    assert media_of(Route("GET", "/a", nothing, "see")) == ()


def test_a_row_that_hides_its_body_is_named() -> None:
    """The check above can fail: a JSON body without `body=` is found, and said in words."""

    class Room:
        async def make(self, request: Any, params: Any) -> Any:
            return await json_body(request, Struct)  # type: ignore[name-defined]  # noqa: F821

    hidden = Route("POST", "/a", Room().make, "write")
    with pytest.raises(AssertionError, match=r"POST /a .*write body="):
        test_every_row_says_which_body_it_reads([hidden])
