"""What crosses rooms: what one takes away, another must not give back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from catalog_kit import (
    again,
    commit,
    commit_lfs,
    digest,
    person,
    repo,
    upload,
)
from sqlalchemy import Connection, func, select, update

from headwater.catalog import blobs, merging
from headwater.catalog import schema as s
from headwater.catalog import schema_social as so
from headwater.catalog.actors import Actor
from headwater.catalog.catalog import Catalog
from headwater.catalog.clock import now_ms
from headwater.catalog.commits import Plan, PutLfs
from headwater.catalog.deliveries import Outcome
from headwater.catalog.webhooks import Wanted, Watched
from headwater.errors import BadRequest, Forbidden, TooLarge
from headwater.names import RepoId, RepoPath

BASE = "http://hub.example"


def hook(catalog: Catalog, actor: Actor, user: str) -> Any:
    wanted = Wanted("https://hooks.example/x", [Watched("user", user)], None, "a secret of bob")
    return catalog.webhooks.create(actor, wanted, BASE)


def count(catalog: Catalog, table: Any) -> int:
    with catalog.db.read() as conn:
        return conn.execute(select(func.count()).select_from(table)).scalar_one()


def test_webhooks_go_with_their_user(catalog: Catalog) -> None:
    """Where a person had their events sent, and the secret, outlive them no more than their
    tokens do. Failed before: both rows stayed, and deliveries went on being written for them."""
    ann, bob = person(catalog, "ann"), person(catalog, "bob")
    hook(catalog, bob, "ann")
    hers = hook(catalog, ann, "ann")
    repo(catalog, ann, "ann/m")
    catalog.outbox.dispatch()
    catalog.accounts.delete("bob")
    assert count(catalog, so.webhook) == 1 == count(catalog, so.webhook_delivery)
    assert catalog.webhooks.list(ann) == [hers]


def test_a_retry_and_a_replay_leave_out_what_was_hidden_since(catalog: Catalog) -> None:
    """The first attempt keeps its body. Failed before: hours later it was sent again, text and
    all; what did not change is still said as it was."""
    ann = person(catalog, "ann")
    mine = hook(catalog, ann, "ann")
    model = repo(catalog, ann, "ann/m")
    num = catalog.discussions.open(ann, model, "a title", "")
    said = catalog.discussions.comment(ann, model, num, "hidden text")
    catalog.outbox.dispatch()
    for _ in range(2):  # the repo, the discussion
        ready = catalog.deliveries.next(mine.id)
        assert ready is not None
        catalog.deliveries.settle(ready, Outcome(True, 200), 3600)
    first = catalog.deliveries.next(mine.id)
    assert first is not None
    assert b"hidden text" in first.body
    catalog.deliveries.settle(first, Outcome(False, 500, "answered 500", now_ms()), 3600)
    same = catalog.deliveries.next(mine.id)
    assert same is not None
    assert same.body == first.body

    catalog.discussions.hide(ann, model, num, said.id)
    retry = catalog.deliveries.next(mine.id)
    assert retry is not None
    told = json.loads(retry.body)["comment"]
    assert (told["id"], told["hidden"], "content" in told) == (said.id, True, False)
    with catalog.db.write() as conn:  # as if all had been delivered before it was hidden
        conn.execute(
            update(so.webhook_delivery).values(
                status="delivered", body=first.body.decode(), due_ms=0
            )
        )
    catalog.deliveries.replay(ann, mine.hub_id, first.hub_id)
    replayed = catalog.deliveries.next(mine.id)
    assert replayed is not None
    assert b"hidden text" not in replayed.body


def test_a_stranger_brings_nothing_back_that_was_deleted_for_good(catalog: Catalog) -> None:
    """Who has the bytes still may not undo it with a pull request. Failed before: the file was
    back on `main`, whose pointer had stayed, for everybody."""
    ann, eve = person(catalog, "ann"), person(catalog, "eve")
    model = repo(catalog, ann, "ann/m")
    oid = digest(b"weights")
    commit_lfs(catalog, ann, model, "w.bin", b"weights")
    catalog.lfs_files.delete(ann, model, [oid], rewrite=False)
    assert catalog.blobs.in_repo(model, oid) is None

    upload(catalog, eve, b"weights")
    change = (PutLfs(RepoPath("mine.bin"), oid, None),)
    with pytest.raises(Forbidden, match="deleted from ann/m for good"):
        catalog.commits.apply(eve, model, Plan("main", change, "back", create_pr=True))
    num = catalog.pull_requests.draft(eve, model, "a title", "")
    for path in ("w.bin", "mine.bin"):  # where its pointer is, and where it is not
        upload(catalog, eve, b"weights")
        change = (PutLfs(RepoPath(path), oid, None),)
        with pytest.raises(Forbidden, match="deleted from ann/m for good"):
            catalog.commits.apply(eve, model, Plan(f"refs/pr/{num}", change, "back"))
    assert catalog.blobs.in_repo(model, oid) is None
    commit_lfs(catalog, eve, model, "other.bin", b"other", f"refs/pr/{num}")  # anything else goes

    commit_lfs(catalog, ann, model, "w.bin", b"weights")  # its owner may
    assert catalog.blobs.in_repo(model, oid) == len(b"weights")


class CountingRows:
    """A connection that counts the rows it gives."""

    def __init__(self, conn: Connection) -> None:
        self.conn = conn
        self.rows = 0

    def execute(self, query: Any) -> Any:
        frozen = self.conn.execute(query).freeze()
        self.rows += len(frozen.data)
        return frozen()


def test_a_popular_file_costs_no_more_than_another(catalog: Catalog) -> None:
    """Every duplicate holds it, and a duplicate costs its maker nothing. Failed before: each
    upload of it read all of its holders, with their cards."""
    ann, bob = person(catalog, "ann"), person(catalog, "bob")
    model = repo(catalog, ann, "ann/m")
    commit_lfs(catalog, ann, model, "w.bin", b"weights")
    for n in range(20):
        catalog.duplicate.repo(ann, model, RepoId.parse("model", f"ann/copy{n}"))
    oid = digest(b"weights")
    for actor in (ann, bob):
        with catalog.db.read() as conn:
            counted = CountingRows(conn)
            assert blobs.held(counted, actor, [oid]) == {oid: len(b"weights")}  # type: ignore[arg-type]
        assert counted.rows < 5


def test_who_holds_what_is_decided_for_each_kind_of_repo(catalog: Catalog) -> None:
    """Public, private, gated, quarantined: the bytes of each, for its owner and for others."""
    ann, bob = person(catalog, "ann"), person(catalog, "bob")
    where = {}
    for name in ("public", "private", "gated", "disabled"):
        where[name] = repo(catalog, ann, f"ann/{name}")
        commit_lfs(catalog, ann, where[name], "w.bin", name.encode())
    catalog.repos.set(ann, "model", "ann/private", private=True)
    catalog.repos.set(ann, "model", "ann/gated", gated="manual")
    with catalog.db.write() as conn:
        conn.execute(
            update(s.repo).where(s.repo.c.id == where["disabled"].id).values(disabled=True)
        )
        conn.execute(s.upload.delete())
    oids = {digest(name.encode()): name for name in where}

    def holds(actor: Actor) -> set[str]:
        return {oids[oid] for oid in catalog.blobs.held(actor, list(oids))}  # type: ignore[index]

    assert holds(ann) == {"public", "private", "gated"}
    assert holds(bob) == {"public"}
    catalog.access.grant(ann, "model", "ann/gated", "bob")
    assert holds(again(catalog, bob)) == {"public", "gated"}


def test_what_cannot_be_merged_is_looked_at_once(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page of a pull request is for anybody. Failed before: a request that changes more than
    is merged was walked through anew at each look."""
    ann = person(catalog, "ann")
    model = repo(catalog, ann, "ann/m")
    made = commit(catalog, ann, model, {f"f{n}": b"x" for n in range(5)}, create_pr=True)
    commit(catalog, ann, model, {"a": b"1"})
    monkeypatch.setattr("headwater.catalog.three_way.PATHS_MAX", 3)
    walks = []
    real = merging.merge_trees

    def counted(*args: Any) -> Any:
        walks.append(1)
        return real(*args)

    monkeypatch.setattr(merging, "merge_trees", counted)
    pr = catalog.discussions.find(model, made.pr or 0)
    assert [catalog.merging.conflicts(model, pr) for _ in range(3)] == [True] * 3
    assert len(walks) == 1
    commit(catalog, ann, model, {"b": b"1"})  # a head moved: looked at anew
    assert catalog.merging.conflicts(model, pr) is True
    assert len(walks) == 2


def test_strangers_pull_requests_leave_room_for_branches(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody may open them, and nobody can delete their refs. Failed before: an owner could make
    no branch or tag any more once strangers had filled the repo."""
    monkeypatch.setattr("headwater.catalog.refs.REFS_PER_REPO_MAX", 3)
    ann, eve = person(catalog, "ann"), person(catalog, "eve")
    model = repo(catalog, ann, "ann/m")
    for _ in range(3):
        catalog.pull_requests.draft(eve, model, "a title", "")
    with pytest.raises(BadRequest, match="at most 3"):
        catalog.pull_requests.draft(eve, model, "a title", "")
    catalog.refs.create_branch(ann, model, "dev")
    catalog.refs.create_tag(ann, model, "v1", "main", "")
    with pytest.raises(BadRequest, match="at most 3"):
        catalog.refs.create_tag(ann, model, "v2", "main", "")


def test_a_day_of_attachments_counts_what_came(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A body need not say its size before, and many may come at once. Failed before: all of them
    were kept, whatever they came to."""
    ann = person(catalog, "ann")
    attachments = catalog.attachments
    monkeypatch.setattr("headwater.catalog.attachments.DAILY_BYTES_MAX", 10)
    for _ in range(2):
        attachments.check(ann, 0)  # all ask before any has come
    attachments.add(ann, digest(b"1"), 8, "image/png")
    with pytest.raises(TooLarge):
        attachments.add(ann, digest(b"2"), 8, "image/png")
    monkeypatch.setattr("headwater.catalog.attachments.DAILY_MAX", 1)
    with pytest.raises(TooLarge):
        attachments.add(ann, digest(b"3"), 1, "image/png")
    assert count(catalog, so.attachment) == 1


def test_a_guest_of_a_gate_proposes_no_file_that_they_may_not_read(catalog: Catalog) -> None:
    """A pull request needs no right to the bytes, and a readme is read without: by the hash alone
    no file behind the gate gets under that name."""
    ann, eve = person(catalog, "ann"), person(catalog, "eve")
    model = repo(catalog, ann, "ann/m")
    commit_lfs(catalog, ann, model, "w.bin", b"weights")
    catalog.repos.set(ann, "model", "ann/m", gated="manual")
    change = (PutLfs(RepoPath("README.md"), digest(b"weights"), None),)
    with pytest.raises(BadRequest, match="no upload of yours"):
        catalog.commits.apply(eve, model, Plan("main", change, "steal", create_pr=True))
