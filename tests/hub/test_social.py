"""Likes, profiles, collections and search over HTTP: shapes, pages, refusals, and no leak.

Alice has secrets. Whatever a stranger, a member of an unrelated organisation or nobody asks,
the answers are those of a hub on which the secrets never were.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi

from headwater.app import _housekeeping, build
from headwater.catalog.trending import LIKE_WORTH
from headwater.hub.routes import table
from headwater.names import RepoId
from headwater.settings import Settings
from hub.xet_kit import Answer, Cas, serve

MARK = "topsecret"


@pytest.fixture(scope="module")
def hub() -> Iterator[Cas]:
    with serve(table) as cas:
        yield cas


class Person:
    def __init__(self, hub: Cas, name: str, role: str = "write") -> None:
        self.hub, self.name, self.token = hub, name, hub.user(name, role)

    def ask(self, method: str, path: str, body: Any = None) -> Answer:
        data = None if body is None else json.dumps(body).encode()
        return self.hub.ask(method, path, token=self.token or None, body=data)

    def repo(self, name: str, type: str = "model", *, private: bool = False) -> str:
        rid = RepoId.parse(type, f"{self.name}/{name}")  # type: ignore[arg-type]
        actor = self.hub.actor(self.token)
        self.hub.hub.catalog.repos.create(actor, rid, private=private)
        return rid.full


class Nobody(Person):
    def __init__(self, hub: Cas) -> None:
        self.hub, self.name, self.token = hub, "", ""


_made = iter(range(10**6))


@pytest.fixture
def alice(hub: Cas) -> Person:
    return Person(hub, f"alice{next(_made)}")


@pytest.fixture
def bob(hub: Cas) -> Person:
    return Person(hub, f"bob{next(_made)}")


def api_of(who: Person) -> Any:
    return HfApi(endpoint=who.hub.url, token=who.token or False)


def plain(answer: Answer) -> tuple[int, Any]:
    """Status and body without what differs from request to request."""
    body = json.loads(answer.body)
    if isinstance(body, dict):
        body.pop("requestId", None)
    return answer.status, body


# Nothing leaks


def secrets_of(alice: Person) -> tuple[str, str]:
    """A private repo that is liked, collected and talked of, and a private collection."""
    repo = alice.repo(f"{MARK}-m", private=True)
    assert alice.ask("POST", f"/api/models/{repo}/like").json == {"liked": True}
    public = alice.ask("POST", "/api/collections", {"title": "Public"}).json["slug"]
    item = {"item": {"id": repo, "type": "model"}, "note": MARK}
    assert alice.ask("POST", f"/api/collections/{public}/items", item).status == 200
    body = {"title": f"{MARK} things", "private": True}
    hidden = alice.ask("POST", "/api/collections", body).json["slug"]
    body = {"item": {"id": hidden, "type": "collection"}}
    assert alice.ask("POST", f"/api/collections/{public}/items", body).status == 200
    return repo, hidden


def test_secrets_are_in_no_answer(hub: Cas, alice: Person, bob: Person) -> None:
    repo, hidden = secrets_of(alice)
    hub.hub.catalog.accounts.create("otherlab", "org")
    hub.hub.catalog.accounts.set_role("otherlab", bob.name, "admin")
    name = alice.name
    paths = [
        f"/api/users/{name}/likes",
        f"/api/users/{name}/overview",
        f"/api/collections?owner={name}",
        f"/api/collections?item=models/{repo}",
        f"/api/collections?item=collections/{hidden}",
        f"/api/quicksearch?q={MARK}",
        f"/api/quicksearch?q={name}",
        f"/api/spaces/semantic-search?q={MARK}",
        "/api/models-tags-by-type",
        f"/api/models?author={name}",
    ]
    for who in (bob, Nobody(hub)):
        for path in paths:
            answer = who.ask("GET", path)
            assert answer.status == 200, path
            text = answer.body.decode().replace(f'"q":"{MARK}"', "")
            assert MARK not in text, path
            for count in re.findall(r'"num(?:Models|Likes)":(\d+)', text):
                assert count == "0", path
            for count in re.findall(r'"(?:models|collections)Count":(\d+)', text):
                assert int(count) == ("Public" in text), path
        for slug in [each["slug"] for each in who.ask("GET", paths[2]).json]:
            assert who.ask("GET", f"/api/collections/{slug}").json["items"] == []
    seen = [alice.ask("GET", path).body.decode() for path in paths[:7]]
    assert all(MARK in text for text in seen if '"user"' not in text), "the owner sees them"


def test_a_secret_sounds_like_nothing(hub: Cas, alice: Person, bob: Person) -> None:
    repo, hidden = secrets_of(alice)
    absent = f"{alice.name}/{'x' * len(MARK)}-m"
    no_slug = f"{alice.name}/{'x' * len(MARK)}-things-" + "0" * 24
    doors = [
        ("POST", "/api/models/{repo}/like", None),
        ("DELETE", "/api/models/{repo}/like", None),
        ("GET", "/api/models/{repo}/likers", None),
        ("GET", "/api/collections/{slug}", None),
        ("PATCH", "/api/collections/{slug}", {"title": "x"}),
        ("DELETE", "/api/collections/{slug}", None),
        ("POST", "/api/collections/{slug}/items", {"item": {"id": "a/b", "type": "model"}}),
        ("PATCH", "/api/collections/{slug}/items/" + "0" * 24, {"position": 0}),
        ("DELETE", "/api/collections/{slug}/items/" + "0" * 24, None),
        ("POST", "/api/collections/{slug}/resource-group", {"resourceGroupId": None}),
    ]
    for who in (bob, Nobody(hub), Person(hub, bob.name, "read")):
        for method, path, body in doors:
            there = who.ask(method, path.format(repo=repo, slug=hidden), body)
            none = who.ask(method, path.format(repo=absent, slug=no_slug), body)
            said = json.dumps(plain(there)).replace(MARK, "x" * len(MARK))
            said = said.replace(hidden[-24:], "0" * 24)
            assert said == json.dumps(plain(none)), (method, path)
            assert there.status in (401, 403, 404)
            codes = [answer.headers["X-Error-Code"] for answer in (there, none)]
            assert codes[0] == codes[1]
    for method, path, body in doors[:6]:
        answer = alice.ask(method, path.format(repo=repo, slug=hidden), body)
        assert answer.status == 200, "the owner's doors open"


# Shapes


def test_an_organisation(hub: Cas, alice: Person, bob: Person) -> None:
    org = f"lab{next(_made)}"
    hub.hub.catalog.accounts.create(org, "org", fullname="The Lab")
    hub.hub.catalog.accounts.set_role(org, alice.name, "admin")
    api = api_of(bob)
    assert bob.ask("POST", f"/api/organizations/{org}/follow").json == {"isFollowing": True}
    found = api.get_organization_overview(org)
    assert (found.name, found.fullname, found.num_users) == (org, "The Lab", 1)
    assert (found.num_models, found.num_followers, found.is_following) == (0, 1, True)
    assert [each.username for each in api.list_organization_followers(org)] == [bob.name]
    assert [each.username for each in api.list_organization_members(org)] == [alice.name]
    outside = bob.ask("GET", f"/api/organizations/{org}/members").json[0]
    inside = alice.ask("GET", f"/api/organizations/{org}/members").json[0]
    assert ("role" in outside, inside["role"]) == (False, "admin")
    me = api_of(bob).get_user_overview(alice.name)
    assert [each.name for each in me.orgs] == [org]
    following = bob.ask("GET", f"/api/users/{bob.name}/following").json
    assert [(each["user"], each["type"]) for each in following] == [(org, "org")]
    body = {"title": "Ours", "namespace": org}
    assert bob.ask("POST", "/api/collections", body).status == 403
    made = alice.ask("POST", "/api/collections", body).json
    assert (made["owner"]["name"], made["owner"]["type"]) == (org, "org")
    for path in ("overview", "members", "followers"):
        assert bob.ask("GET", f"/api/organizations/{alice.name}/{path}").status == 404
        assert bob.ask("GET", f"/api/users/{org}/overview").status == 404


def test_pages_of_people(hub: Cas, alice: Person) -> None:
    repo = alice.repo("m")
    names = [f"page{next(_made)}" for _ in range(5)]
    for name in names:
        assert Person(hub, name).ask("POST", f"/api/models/{repo}/like").status == 200
    found, path = [], f"/api/models/{repo}/likers?limit=2"
    while path:
        answer = alice.ask("GET", path)
        found += [each["user"] for each in answer.json]
        link = re.match(r'<([^>]+)>; rel="next"', answer.headers["Link"] or "")
        path = link[1] if link else ""
    assert found == names
    assert alice.ask("GET", f"/api/models/{repo}").json["likes"] == 5


@pytest.mark.parametrize(
    "cursor", ["x", "e30", "LTE", "OTk5OTk5OTk5OTk5", "WzEsMl0", "bnVsbA", "%00"]
)
def test_cursors_that_are_not_ours(alice: Person, cursor: str) -> None:
    repo = alice.repo(f"m{next(_made)}")
    for path in (f"models/{repo}/likers", f"users/{alice.name}/followers", "collections"):
        answer = alice.ask("GET", f"/api/{path}?cursor={cursor}")
        assert answer.status == 400, (path, answer.body)
    if cursor != "WzEsMl0":  # [1, 2] is one of that list
        assert alice.ask("GET", f"/api/users/{alice.name}/likes?cursor={cursor}").status == 400


def test_a_collection_in_json(alice: Person) -> None:
    alice.repo("m")
    made = alice.ask("POST", "/api/collections", {"title": "T"}).json
    assert made["position"] == 0
    slug = made["slug"]
    body = {"item": {"id": f"{alice.name}/m", "type": "model"}, "note": "<script>&"}
    found = alice.ask("POST", f"/api/collections/{slug}/items", body).json
    (item,) = found["items"]
    assert item["note"] == {"text": "<script>&", "html": "&lt;script&gt;&amp;"}
    assert (item["id"], item["type"], item["position"]) == (f"{alice.name}/m", "model", 0)
    again = alice.ask("POST", "/api/collections", {"title": "T"})
    assert (again.status, again.json["slug"]) == (409, slug)
    assert alice.ask("POST", f"/api/collections/{slug}/items", body).status == 409
    listed = alice.ask("GET", f"/api/collections?owner={alice.name}").json
    assert ["position" in each for each in listed] == [False]
    changed = alice.ask("PATCH", f"/api/collections/{slug}", {"title": "U"}).json
    assert changed["data"]["slug"].startswith(f"{alice.name}/u-")


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "", {"title": "x" * 60}, 400),
        ("POST", "", {"title": "x", "resourceGroupId": "0" * 24}, 422),
        ("POST", "", {"title": 5}, 400),
        ("POST", "", {"title": "x", "namespace": "nob\0dy"}, 404),
        ("POST", "/{slug}/items", {"item": {"id": "2311.1", "type": "paper"}}, 400),
        ("POST", "/{slug}/items", {"item": {"id": "a\0/b", "type": "model"}}, 404),
        ("POST", "/{slug}/items", {"item": {"id": "x", "type": "collection"}}, 400),
        ("POST", "/{slug}/items", {"item": {"id": "x/y"}}, 400),
        ("POST", "/{slug}/resource-group", {"resourceGroupId": "0" * 24}, 422),
        ("PATCH", "/{slug}", {"position": "first"}, 400),
        ("PATCH", "/{slug}", {"theme": "black"}, 400),
        ("PATCH", "/{slug}/items/none", {"position": 0}, 404),
        ("DELETE", "/{slug}/items/%00", None, 400),
        ("GET", "?sort=name", None, 400),
        ("GET", "?item=x/y", None, 400),
        ("GET", "?limit=x", None, 400),
    ],
)  # fmt: skip
def test_what_a_collection_refuses(
    alice: Person, method: str, path: str, body: Any, status: int
) -> None:
    slug = alice.ask("POST", "/api/collections", {"title": "T"}).json["slug"]
    answer = alice.ask(method, "/api/collections" + path.format(slug=slug), body)
    assert answer.status == status, answer.body


@pytest.mark.parametrize("position", [-5, 2**31, 2**62, 2**70])
def test_a_place_beyond_the_ends_is_the_end(alice: Person, position: int) -> None:
    slugs = [alice.ask("POST", "/api/collections", {"title": t}).json["slug"] for t in "ABC"]
    for slug in slugs:
        body = {"item": {"id": slugs[1], "type": "collection"}}
        if slug != slugs[1]:
            assert alice.ask("POST", f"/api/collections/{slug}/items", body).status == 200
    changed = alice.ask("PATCH", f"/api/collections/{slugs[1]}", {"position": position}).json
    assert changed["data"]["position"] == (0 if position < 0 else 2)
    item = alice.ask("GET", f"/api/collections/{slugs[0]}").json["items"][0]["_id"]
    path = f"/api/collections/{slugs[0]}/items/{item}"
    moved = alice.ask("PATCH", path, {"position": position})
    assert (moved.status, moved.json["data"]["items"][0]["position"]) == (200, 0)


# Search


def test_quick_search(alice: Person) -> None:
    word = f"zebra{next(_made)}"
    alice.repo(f"{word}-m")
    alice.repo(f"{word}-d", "dataset")
    alice.ask("POST", "/api/collections", {"title": f"All {word}"})
    found = alice.ask("GET", f"/api/quicksearch?q={word}").json
    assert (found["q"], found["modelsCount"], found["datasetsCount"]) == (word, 1, 1)
    assert found["models"][0]["id"] == f"{alice.name}/{word}-m"
    assert len(found["models"][0]["_id"]) == 24
    assert (found["spaces"], found["spacesCount"], found["usersCount"]) == ([], 0, 0)
    assert [each["title"] for each in found["collections"]] == [f"All {word}"]
    users = alice.ask("GET", f"/api/quicksearch?q={alice.name}&type=user&limit=1").json
    assert list(users) == ["users", "usersCount", "q"]
    assert users["users"][0]["user"] == alice.name
    assert alice.ask("GET", "/api/quicksearch?q=x&type=paper").status == 400
    assert alice.ask("GET", "/api/quicksearch").json["models"] == []
    assert alice.ask("GET", f"/api/quicksearch?q={'x' * 300}").status == 400


def test_tasks_and_tags(alice: Person) -> None:
    tasks = alice.ask("GET", "/api/tasks").json
    assert tasks["text-to-3d"]["label"] == "Text to 3D"
    assert all(task["widgetModels"] == [] for task in tasks.values()), "the client reads them"
    tags = alice.ask("GET", "/api/models-tags-by-type?type=license").json
    assert set(tags) <= {"license"}


def test_listings(alice: Person) -> None:
    repo = alice.repo("k", "kernel")
    assert [each["id"] for each in alice.ask("GET", f"/api/kernels?author={alice.name}").json] == [
        repo
    ]
    model = alice.repo("m")
    path = f"/api/models?author={alice.name}"
    assert [each["id"] for each in alice.ask("GET", path).json] == [model]
    for nothing in (
        "inference=warm",
        "inference_provider=all",
        "apps=vllm",
        "num_parameters=min:1",
    ):
        assert alice.ask("GET", f"{path}&{nothing}").json == []
    for wrong in ("sort=name", "num_parameters=3B", "num_parameters=min:1,min:2",
                  "num_parameters=min:-1", "num_parameters=max:1e9", "limit=no"):  # fmt: skip
        assert alice.ask("GET", f"{path}&{wrong}").status == 400, wrong
    for right in ("min:3B,max:7B", "max:500M", "min:0.5b", "max:999999999999999T"):
        assert alice.ask("GET", f"{path}&num_parameters={right}").json == [], right
    found = alice.ask("GET", f"{path}&expand=trendingScore&sort=trendingScore").json
    assert found[0]["trendingScore"] == 0


def test_housekeeping_brings_the_trending_score_up_to_date(tmp_path: Path) -> None:
    floors = build(Settings(data=tmp_path))
    try:
        catalog = floors.catalog
        catalog.accounts.create("alice")
        alice = catalog.tokens.actor(catalog.tokens.create("alice", "t", "write"))
        catalog.repos.create(alice, RepoId.parse("model", "alice/m"))
        catalog.likes.like(alice, "model", "alice/m")
        assert catalog.repos.find(alice, "model", "alice/m").trending == 0
        _housekeeping(floors)
        assert catalog.repos.find(alice, "model", "alice/m").trending == LIKE_WORTH
    finally:
        floors.close()


def test_a_hub_for_its_users_only() -> None:
    """Without `anonymous_read`, nobody hears a name, a count or a tag."""
    with serve(table, anonymous_read=False) as cas:
        alice, nobody = Person(cas, "alice"), Nobody(cas)
        repo = alice.repo("m")
        for path in (
            "/api/tasks", "/api/models-tags-by-type", "/api/quicksearch?q=a", "/api/collections",
            "/api/users/alice/overview", "/api/users/alice/likes", f"/api/models/{repo}/likers",
            "/api/spaces/semantic-search?q=a", "/api/users/alice/followers",
        ):  # fmt: skip
            assert nobody.ask("GET", path).status == 401, path
            assert alice.ask("GET", path).status == 200, path
