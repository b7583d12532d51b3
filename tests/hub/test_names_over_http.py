"""Creating and moving over HTTP: what a taken, moved or deleted name answers."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from headwater.hub.routes import table
from hub.xet_kit import Answer, Cas, serve


@pytest.fixture
def cas() -> Iterator[Cas]:
    with serve(table) as served:
        for name in ("ann", "dave"):
            served.user(name)
        accounts = served.hub.catalog.accounts
        accounts.create("lab", "org")
        accounts.set_role("lab", "ann", "admin")
        accounts.set_role("lab", "dave", "write")
        yield served


def call(cas: Cas, method: str, path: str, token: str, **body: object) -> Answer:
    return cas.ask(method, path, token=token, body=json.dumps(body).encode())


def create(cas: Cas, token: str, full: str, **more: object) -> Answer:
    organization, name = full.split("/")
    return call(cas, "POST", "/api/repos/create", token, name=name, organization=organization,
                **more)  # fmt: skip


def test_the_old_name_goes_on_and_is_not_given_away(cas: Cas) -> None:
    ann, dave = cas.user("ann"), cas.user("dave")
    create(cas, ann, "lab/m", private=True)
    moved = call(cas, "POST", "/api/repos/move", ann, fromRepo="lab/m", toRepo="ann/n",
                 type="model")  # fmt: skip
    assert moved.json["url"] == f"{cas.url}/ann/n"
    assert cas.ask("GET", "/api/models/lab/m", token=ann).json["id"] == "ann/n"
    # dave hears of the old name in his own organisation, and nothing of where it leads
    refused = create(cas, dave, "lab/m")
    assert (refused.status, refused.headers["X-Error-Code"]) == (409, "Conflict")
    assert refused.json["url"] == f"{cas.url}/lab/m"  # `exist_ok` reads it
    assert b"ann/n" not in refused.body
    assert cas.ask("GET", "/api/models/lab/m", token=dave).status == 404
    assert create(cas, ann, "lab/m").status == 200


def test_visibility_as_clients_spell_it(cas: Cas) -> None:
    ann = cas.user("ann")
    cas.hub.catalog.accounts.set_repos_private("lab", True)
    spelled = [
        ({}, True), ({"visibility": "public"}, False), ({"private": False}, False),
        ({"visibility": None, "private": None}, True),
    ]  # fmt: skip
    for number, (more, private) in enumerate(spelled):
        assert create(cas, ann, f"lab/v{number}", **more).status == 200
        info = cas.ask("GET", f"/api/models/lab/v{number}", token=ann).json
        assert info["private"] is private, more


def test_protected_is_refused_with_what_to_do(cas: Cas) -> None:
    """It would show what the caller meant to hide, or hide what they meant to show."""
    ann = cas.user("ann")
    refused = create(cas, ann, "ann/s", type="space", sdk="static", visibility="protected")
    assert refused.status == 400
    assert "choose the visibility 'private'" in refused.json["error"]
    create(cas, ann, "ann/s", type="space", sdk="static")
    assert call(
        cas, "PUT", "/api/spaces/ann/s/settings", ann, visibility="protected"
    ).status == 400  # fmt: skip
    assert cas.ask("GET", "/api/spaces/ann/s").json["private"] is False
