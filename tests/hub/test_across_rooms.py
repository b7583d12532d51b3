"""What crosses rooms, over HTTP: a door that one room shuts and another could leave open."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from sqlalchemy import update

from headwater.catalog import schema as s
from headwater.catalog.actors import OPERATOR, Scope
from headwater.catalog.commits import Plan, PutFile
from headwater.hub.routes import table
from headwater.names import RepoPath
from hub.xet_kit import Cas, serve


@pytest.fixture
def hub() -> Iterator[Cas]:
    with serve(table) as cas:
        yield cas


def fill(hub: Cas, full: str, *paths: str, private: bool = False) -> None:
    """A repo with these ordinary files."""
    made = hub.repo(full, private=private)
    commits = hub.hub.catalog.commits
    oids = commits.stage(made, [path.encode() for path in paths])
    changes = tuple(PutFile(RepoPath(p), oid) for p, oid in zip(paths, oids, strict=True))
    commits.apply(OPERATOR, made, Plan("main", changes, "add"))


def test_quarantine_holds_for_the_files_that_a_gate_lets_through(hub: Cas) -> None:
    """A readme may be a large file as any other. Failed before: 200 with the bytes."""
    ann = hub.user("ann")
    fill(hub, "ann/m", "README.md", "LICENSE", "w.bin")
    with hub.hub.catalog.db.write() as conn:
        conn.execute(update(s.repo).where(s.repo.c.key == "ann/m").values(disabled=True))
    for token in (None, ann):
        for door in ("resolve", "raw"):
            for path in ("README.md", "LICENSE", "w.bin"):
                answer = hub.ask("GET", f"/ann/m/{door}/main/{path}", token=token)
                assert (answer.status, path.encode() in answer.body) == (403, False), path
        cached = hub.ask("GET", "/api/resolve-cache/models/ann/m/main/README.md", token=token)
        assert cached.status == 403


@pytest.mark.parametrize("gate", ["", "manual"])
def test_a_token_for_names_alone_reads_no_private_file(hub: Cas, gate: str) -> None:
    """`repo.access.read` is not `repo.content.read`, gate or none. Failed before: 200."""
    hub.user("ann")
    fill(hub, "ann/m", "README.md", private=True)
    hub.hub.catalog.repos.set(OPERATOR, "model", "ann/m", gated=gate)
    create = hub.hub.catalog.tokens.create
    names, content = (
        create("ann", right, "fineGrained", scopes=(Scope("model", "ann/m", (right,)),))
        for right in ("repo.access.read", "repo.content.read")
    )
    at = "/ann/m/resolve/main/README.md"
    assert hub.ask("GET", "/api/models/ann/m", token=names).status == 200
    assert hub.ask("GET", at, token=names).status == 403
    assert hub.ask("GET", at, token=content).status == 200


def test_a_listing_with_files_has_a_bound(hub: Cas, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page ends early, and all are found by following it. Failed before: one reply with the
    files of a thousand repos, fifty thousand each."""
    monkeypatch.setattr("headwater.hub.tree.LISTED_SIBLINGS_MAX", 10)
    hub.user("ann")
    for n in range(5):
        fill(hub, f"ann/m{n}", *(f"f{i}" for i in range(5)))
    found: list[str] = []
    pages = 0
    url = f"{hub.url}/api/models?full=true&author=ann"
    while url:
        answer = hub.ask("GET", url)
        rows = json.loads(answer.body)
        assert sum(len(row["siblings"]) for row in rows) <= 10 + 6
        assert all(len(row["siblings"]) == 6 for row in rows)
        found += [row["id"] for row in rows]
        pages += 1
        link = answer.headers.get("Link", "")
        url = link.partition(">")[0].lstrip("<")
    assert sorted(found) == [f"ann/m{n}" for n in range(5)]
    assert pages == 3
