"""Discussions over HTTP: shapes that the client reads, rights at every door, nothing leaks."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from headwater.hub.routes import table
from hub.talk_kit import World
from hub.xet_kit import Cas, serve

SCRIPT = "<script>alert('x')</script> & \"more\"\n\nnext"


@pytest.fixture(scope="module")
def cas() -> Iterator[Cas]:
    with serve(table) as running:
        yield running


_numbers = iter(range(1000))


@pytest.fixture
def world(cas: Cas) -> World:
    return World(cas, next(_numbers))


def test_a_talk(world: World) -> None:
    num = world.opened(world.bob)
    said = world.post(world.carol, f"{world.at}/{num}/comment", {"comment": SCRIPT})
    event = said.json["newMessage"]
    assert event["type"] == "comment"
    assert event["author"]["name"] == "carol"
    assert event["data"]["latest"]["raw"] == SCRIPT
    html = event["data"]["latest"]["html"]
    assert html == (
        "<p>&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt; &amp; &quot;more&quot;</p>\n"
        "<p>next</p>"
    )
    title = world.post(world.alice, f"{world.at}/{num}/title", {"title": "Better"})
    assert title.json["newTitle"]["data"] == {"from": "A title", "to": "Better"}
    closed = world.post(
        world.bob, f"{world.at}/{num}/status", {"status": "closed", "comment": "Bye"}
    )
    assert closed.json["newStatus"]["data"] == {"status": "closed"}
    found = world.one(None, num)
    assert [e["type"] for e in found["events"]] == [
        "comment", "comment", "title-change", "comment", "status-change"
    ]  # fmt: skip
    assert (found["title"], found["status"], found["isPullRequest"]) == ("Better", "closed", False)
    assert found["repo"] == {"name": world.full, "type": "model"}
    assert not {"diff", "changes", "filesWithConflicts"} & found.keys()
    listed = world.cas.ask("GET", f"{world.at}?status=closed&author=bob").json
    assert (listed["count"], listed["start"]) == (1, 0)
    assert listed["discussions"] == [{k: v for k, v in found.items() if k != "events"}]
    assert world.cas.ask("GET", f"{world.at}?p=1").json == {
        "count": 1, "start": 50, "discussions": []
    }  # fmt: skip


def test_edits_and_what_is_hidden(world: World) -> None:
    num = world.opened(world.bob)
    id = world.one(None, num)["events"][0]["id"]
    at = f"{world.at}/{num}/comment/{id}"
    edited = world.post(world.bob, f"{at}/edit", {"content": "secret"}).json["updatedComment"]
    assert edited["data"]["edited"] is True
    assert [past["raw"] for past in edited["data"]["history"]] == ["why"]
    assert edited["data"]["latest"]["updatedAt"] >= edited["createdAt"]
    hidden = world.post(world.alice, f"{at}/hide").json["updatedComment"]
    assert hidden["data"]["hidden"] is True
    for token in (world.carol, None):
        seen = world.one(token, num)["events"][0]["data"]
        assert seen["latest"]["raw"] == "This comment has been hidden"
        assert (seen["history"], seen["numEdits"]) == ([], 1)
        raw = world.cas.ask("GET", f"{world.at}/{num}", token=token).body
        assert b"secret" not in raw
        assert b"why" not in raw
    for token in (world.bob, world.reader, world.alice):
        assert world.one(token, num)["events"][0]["data"]["latest"]["raw"] == "secret"


def test_a_pull_request_is_merged(world: World) -> None:
    num = world.opened(world.bob, pullRequest=True)
    found = world.one(None, num)
    assert (found["status"], found["isPullRequest"]) == ("draft", True)
    assert found["changes"] == {"base": "refs/heads/main"}
    assert (found["filesWithConflicts"], found["diff"]) == ([], "")
    assert world.commit(world.bob, "new.txt", "one\n", f"refs/pr/{num}").status == 200
    assert world.post(world.alice, f"{world.at}/{num}/merge").status == 409
    assert world.post(world.bob, f"{world.at}/{num}/status", {"status": "open"}).status == 200
    diff = world.one(None, num)["diff"]
    assert diff.startswith("diff --git a/new.txt b/new.txt\nnew file mode 100644\n")
    assert "diff" not in world.one(None, num, diff=False)
    assert world.post(world.bob, f"{world.at}/{num}/merge").status == 403
    merged = world.post(world.alice, f"{world.at}/{num}/merge", {"comment": "Thanks"})
    assert merged.status == 200
    found = world.one(None, num)
    assert found["status"] == "merged"
    assert found["changes"]["mergeCommitId"] == merged.json["mergeCommitId"]
    assert found["diff"] == diff
    again = world.post(world.alice, f"{world.at}/{num}/merge")
    assert (again.status, again.headers["X-Error-Code"]) == (409, "Conflict")
    raw = world.cas.ask("GET", f"/{world.full}/resolve/main/new.txt")
    assert (raw.status, raw.body) == (200, b"one\n")


def test_a_conflict_lists_its_files(world: World) -> None:
    num = world.proposed(world.bob, "a.txt", "theirs\n")
    assert world.commit(world.alice, "a.txt", "ours\n").status == 200
    first, *_ = world.one(None, num)["events"]
    assert first["data"]["latest"]["raw"] == "in words"
    refused = world.post(world.alice, f"{world.at}/{num}/merge")
    assert (refused.status, refused.headers["X-Error-Code"]) == (409, "MergeConflict")
    assert refused.json["filesWithConflicts"] == ["a.txt"]
    assert "a.txt" in refused.json["error"]
    found = world.one(None, num)
    assert (found["status"], found["filesWithConflicts"]) == ("open", ["a.txt"])


def doors(world: World, num: int, id: str) -> list[tuple[str, str, object]]:
    """Every door of this room, with a body that fits."""
    one = f"{world.at}/{num}"
    return [
        ("GET", world.at, None),
        ("GET", f"{one}?diff=1", None),
        ("GET", f"/api/models/{world.full}/compare/main..main", None),
        ("POST", world.at, {"title": "title", "description": ""}),
        ("POST", world.at, {"title": "title", "pullRequest": True}),
        ("POST", f"{one}/comment", {"comment": "x"}),
        ("POST", f"{one}/title", {"title": "title"}),
        ("POST", f"{one}/status", {"status": "closed"}),
        ("POST", f"{one}/merge", None),
        ("POST", f"{one}/comment/{id}/edit", {"content": "x"}),
        ("POST", f"{one}/comment/{id}/hide", None),
    ]


def heard(world: World, token: str | None, door: tuple[str, str, object]) -> tuple[object, ...]:
    method, path, body = door
    raw = None if body is None else json.dumps(body).encode()
    answer = world.cas.ask(method, path, token=token, body=raw)
    said = {k: v for k, v in answer.json.items() if k != "requestId"}
    headers = {k: v for k, v in answer.headers.items() if k.lower() not in ("x-request-id", "date")}
    return answer.status, said, headers


@pytest.mark.parametrize("who", ["bob", "nobody", "reader"])
def test_private_is_missing(world: World, who: str) -> None:
    """Byte for byte what a repo that never was answers, even to who opened the discussion."""
    num = world.opened(world.bob)
    id = world.one(None, num)["events"][0]["id"]
    token = {"bob": world.bob, "nobody": None, "reader": world.reader}[who]
    catalog = world.cas.hub.catalog
    actor = world.cas.actor(world.alice)
    catalog.repos.set(actor, "model", world.full, private=True)
    private = [heard(world, token, door) for door in doors(world, num, id)]
    assert {answer[0] for answer in private} == {401 if token is None else 404}
    catalog.repos.delete(actor, "model", world.full)
    assert [heard(world, token, door) for door in doors(world, num, id)] == private


def test_without_a_write_token_nothing_is_changed(world: World) -> None:
    num = world.opened(world.bob)
    before = world.one(None, num)
    for token in (None, world.reader):
        for door in doors(world, num, before["events"][0]["id"])[3:]:
            assert heard(world, token, door)[0] in (401, 403), door
    assert world.one(None, num) == before
    assert world.cas.ask("GET", world.at).json["count"] == 1


def test_behind_a_gate_the_talk_is_public_and_the_files_are_not(world: World) -> None:
    num = world.proposed(world.bob, "a.txt", "hidden words\n")
    catalog = world.cas.hub.catalog
    catalog.repos.set(world.cas.actor(world.alice), "model", world.full, gated="manual")
    compare = f"/api/models/{world.full}/compare/main..refs%2Fpr%2F{num}"
    for token, status in ((None, 401), (world.carol, 403), (world.bob, 403), (world.alice, 200)):
        found = world.one(token, num)
        assert ("hidden words" in str(found)) == (token == world.alice)
        assert ("diff" in found) == (token == world.alice)
        for query in ("", "?raw=1"):
            answer = world.cas.ask("GET", compare + query, token=token)
            assert answer.status == status
            assert (b"hidden words" in answer.body) == (token == world.alice)


def test_compare(world: World) -> None:
    num = world.proposed(world.bob, "a.txt", "theirs\n")
    world.commit(world.alice, "b.txt", "ours\n")
    at = f"/api/models/{world.full}/compare"
    two = world.cas.ask("GET", f"{at}/main..refs%2Fpr%2F{num}").json
    assert two["files"] == [
        {"path": "a.txt", "status": "added"}, {"path": "b.txt", "status": "deleted"}
    ]  # fmt: skip
    assert two["complete"] is True
    three = world.cas.ask("GET", f"{at}/main...refs/pr/{num}").json
    assert three["files"] == [{"path": "a.txt", "status": "added"}]
    raw = world.cas.ask("GET", f"{at}/main...refs%2Fpr%2F{num}?raw=1")
    assert raw.body.decode() == three["diff"]
    assert raw.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert raw.headers["X-Content-Type-Options"] == "nosniff"
    assert (three["base"], three["head"]) == (two["base"], two["head"])
    for wrong, status in (("main", 400), ("..main", 400), ("main..", 400), ("main..nowhere", 404)):
        assert world.cas.ask("GET", f"{at}/{wrong}").status == status


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("", {"title": "ab"}),
        ("", {"title": "abc", "description": "x" * 70_000}),
        ("", {"description": "no title"}),
        ("", {"title": ["abc"]}),
        ("", {"title": "abc", "description": "a\0b"}),
        ("", {"title": "abc", "description": "\ud800"}),
        ("/1/comment", {"comment": " "}),
        ("/1/comment", {}),
        ("/1/title", {"title": "\u202egood"}),
        ("/1/status", {"status": "merged"}),
        ("/1/status", {"status": "draft"}),
        ("/1/merge", ["x"]),
        ("/1/merge", None),
        ("/x/comment", {"comment": "x"}),
        ("/-1/comment", {"comment": "x"}),
        ("/1e3/comment", {"comment": "x"}),
    ],
)
def test_bad_requests_are_told_apart(world: World, path: str, body: object) -> None:
    world.opened(world.bob)
    answer = world.post(world.alice, world.at + path, body)
    assert answer.status == 400, answer.body
    assert world.cas.ask("GET", world.at).json["count"] == 1


@pytest.mark.parametrize("num", ["0", "2", "999999999", "99999999999999999999"])
def test_what_is_not_there(world: World, num: str) -> None:
    world.opened(world.bob)
    assert world.cas.ask("GET", f"{world.at}/{num}").status == (400 if len(num) > 9 else 404)
    assert world.cas.ask("GET", f"{world.at}?type=x").status == 400
    assert world.cas.ask("GET", f"{world.at}?p=-1").status == 400
