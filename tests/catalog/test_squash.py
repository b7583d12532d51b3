"""Squashing: the files stay, the history goes, and with it the bytes that only it named."""

import pytest
from catalog_kit import again, commit, commit_lfs, contents_of, digest, files_of, org, person, repo
from real_git import bare_repository
from sqlalchemy import select, update

from headwater.catalog import clock
from headwater.catalog import schema as s
from headwater.catalog.actors import Actor
from headwater.catalog.catalog import Catalog
from headwater.catalog.commits import Plan, PutLfs
from headwater.catalog.models import Repo
from headwater.errors import BadRequest, Forbidden, RepoNotFound, RevisionNotFound
from headwater.names import RepoPath

LATER_MS = 10**15


@pytest.fixture
def home(catalog: Catalog, alice: Actor) -> Repo:
    made = repo(catalog, alice, "alice/m")
    commit(catalog, alice, made, {"a/b": b"one", "c": b"two"})
    commit_lfs(catalog, alice, made, "w.bin", b"old weights")
    commit_lfs(catalog, alice, made, "w.bin", b"new weights")
    return made


def test_one_commit_holds_the_same_tree(catalog: Catalog, alice: Actor, home: Repo) -> None:
    before, tree = contents_of(catalog, home), catalog.refs.resolve(home, "main").tree
    made = catalog.squash.apply(alice, home, "main", "all of it\n\nin one")
    head = catalog.refs.resolve(home, "main")
    assert (head.commit, head.tree) == (made, tree)
    assert contents_of(catalog, home) == before
    (only,) = catalog.history.list(home, made, 9)
    assert only.parents == ()
    assert only.message == "all of it\n\nin one"
    with bare_repository() as git:
        git.take(catalog, home)
        git.point({"refs/heads/main": made})
        git("fsck", "--strict", "--full")
        assert git("rev-list", "--count", "main").strip() == b"1"
    with catalog.db.read() as conn:
        rows = conn.execute(select(s.audit.c.action).order_by(s.audit.c.id)).scalars().all()
        last = conn.execute(select(s.event.c.payload).order_by(s.event.c.id.desc())).scalars()
        assert rows[-1] == "ref.squash"
        assert made in str(last.first())


def test_a_retry_changes_nothing(catalog: Catalog, alice: Actor, home: Repo) -> None:
    made = catalog.squash.apply(alice, home, "main", "m")
    assert catalog.squash.apply(alice, home, "main", "m") == made
    assert catalog.squash.apply(alice, home, "main", "another") != made


def test_bytes_of_the_old_history_are_free_after_gc(
    catalog: Catalog, alice: Actor, home: Repo
) -> None:
    catalog.squash.apply(alice, home, "main", "m")
    assert catalog.sweep.sweep_objects(home.id, clock.now_ms() - 60_000) == 0  # the grace
    assert catalog.blobs.in_repo(home, digest(b"old weights")) == 11
    assert catalog.sweep.sweep_objects(home.id, LATER_MS) > 0
    assert catalog.blobs.in_repo(home, digest(b"old weights")) is None
    assert catalog.blobs.in_repo(home, digest(b"new weights")) == 11
    assert catalog.sweep.dead_blobs(LATER_MS) == [digest(b"old weights")]
    assert set(contents_of(catalog, home)) == {".gitattributes", "a/b", "c", "w.bin"}


def test_what_another_ref_leads_to_stays(catalog: Catalog, alice: Actor, home: Repo) -> None:
    past = catalog.history.list(home, catalog.refs.resolve(home, "main").commit, 9)
    old = next(c for c in past if c.title == "add w.bin" and c is not past[0])
    catalog.refs.create_tag(alice, home, "v1", old.oid, "kept")
    catalog.squash.apply(alice, home, "main", "m")
    catalog.sweep.sweep_objects(home.id, LATER_MS)
    lfs = files_of(catalog, home, "v1")["w.bin"].lfs
    assert lfs is not None
    assert lfs.oid == digest(b"old weights")
    assert catalog.blobs.in_repo(home, lfs.oid) == 11


def test_pull_requests_can_be_squashed_by_their_author(
    catalog: Catalog, alice: Actor, home: Repo
) -> None:
    bob, eve = person(catalog, "bob"), person(catalog, "eve")
    number = commit(catalog, bob, home, {"new": b"1"}, create_pr=True).pr
    ref = f"refs/pr/{number}"
    before = contents_of(catalog, home, ref)
    with pytest.raises(Forbidden):
        catalog.squash.apply(eve, home, ref, "m")
    made = catalog.squash.apply(bob, home, ref, "m")
    assert catalog.history.list(home, made, 9)[0].parents == ()
    assert contents_of(catalog, home, ref) == before
    with pytest.raises(Forbidden):
        catalog.squash.apply(bob, home, "main", "m")


def test_only_branches_are_squashed(catalog: Catalog, alice: Actor, home: Repo) -> None:
    catalog.refs.create_tag(alice, home, "v1", "main", "")
    head = catalog.refs.resolve(home, "main").commit
    for name in ("v1", "refs/tags/v1"):
        with pytest.raises(BadRequest, match="Invalid reference for a branch"):
            catalog.squash.apply(alice, home, name, "m")
    for name in ("nowhere", "refs/pr/7", head, "a\0b"):
        with pytest.raises(RevisionNotFound):
            catalog.squash.apply(alice, home, name, "m")
    with pytest.raises(BadRequest):
        catalog.squash.apply(alice, home, "main", "x" * 100_000)
    assert catalog.refs.resolve(home, "main").commit == head


def test_rights(catalog: Catalog, alice: Actor) -> None:
    rita = person(catalog, "rita")
    org(catalog, "lab", alice="admin", rita="read")
    lab = repo(catalog, again(catalog, alice), "lab/m", private=True)
    with pytest.raises(Forbidden):
        catalog.squash.apply(again(catalog, rita), lab, "main", "m")
    with pytest.raises(RepoNotFound):
        catalog.squash.apply(person(catalog, "eve"), lab, "main", "m")
    with pytest.raises(Forbidden):
        catalog.squash.apply(person(catalog, "alice", "read"), lab, "main", "m")


def test_a_commit_on_the_squashed_head_goes_on(catalog: Catalog, alice: Actor, home: Repo) -> None:
    made = catalog.squash.apply(alice, home, "main", "m")
    catalog.sweep.sweep_objects(home.id, LATER_MS)
    plan = Plan(
        "main", (PutLfs(RepoPath("v.bin"), digest(b"new weights"), None),), "x", parent=made
    )
    catalog.commits.apply(alice, home, plan)
    assert len(catalog.history.list(home, catalog.refs.resolve(home, "main").commit, 9)) == 2


def test_no_ref_leads_to_what_was_swept_in_part(catalog: Catalog, alice: Actor, home: Repo) -> None:
    """A commit that is still here, and remembered, but whose older folders gc took already."""
    old = commit(catalog, alice, home, {"new": b"1"}).oid
    commit(catalog, alice, home, {"a/b": None})
    assert contents_of(catalog, home, old)["a/b"] == b"one"  # all of it is remembered now
    catalog.squash.apply(alice, home, "main", "m")
    catalog.refs.create_branch(alice, home, "rescued", start=old)  # nothing is swept yet
    catalog.refs.delete_branch(alice, home, "rescued")
    with catalog.db.write() as conn:
        ours = s.git_object.c.oid != old
        conn.execute(update(s.git_object).where(ours).values(created_ms=0))
    assert catalog.sweep.sweep_objects(home.id, clock.now_ms() - 60_000) > 0
    for make in (
        lambda: catalog.refs.create_branch(alice, home, "b", start=old),
        lambda: catalog.refs.create_tag(alice, home, "t", old, ""),
    ):
        with pytest.raises(RevisionNotFound):
            make()
    catalog.sweep.sweep_objects(home.id, LATER_MS)
    with pytest.raises(RevisionNotFound):
        catalog.refs.resolve(home, old)
