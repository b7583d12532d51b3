"""gc's questions: what is dead goes after its grace, what lives never does. Rule F16."""

from functools import partial

import pytest
from catalog_kit import (
    commit,
    commit_lfs,
    contents_of,
    digest,
    files_of,
    link,
    person,
    repo,
    upload,
)
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from sqlalchemy import delete, select, update

from effort import examples
from headwater.catalog import clock
from headwater.catalog import schema as s
from headwater.catalog import schema_social as so
from headwater.catalog.actors import Actor
from headwater.catalog.catalog import Catalog
from headwater.catalog.commits import Plan, PutLfs
from headwater.catalog.git import GitObjects
from headwater.catalog.models import Repo
from headwater.errors import BadRequest, Conflict, HeadwaterError, NotFound
from headwater.names import Digest, RepoPath, XetHash

LATER_MS = 10**15


def gone() -> bool:
    """The caller's part: bytes are deleted while the catalog holds its lock."""
    return True


def objects(catalog: Catalog, where: Repo) -> set[str]:
    with catalog.db.read() as conn:
        query = select(s.git_object.c.oid).where(s.git_object.c.repo_id == where.id)
        return set(conn.execute(query).scalars())


def reachable(catalog: Catalog, where: Repo) -> set[str]:
    with catalog.db.read() as conn:
        return set(catalog.sweep.reachable(conn, where.id, set()))


def let_uploads_expire(catalog: Catalog) -> None:
    with catalog.db.write() as conn:
        conn.execute(update(s.upload).values(expires_ms=0))


def test_what_no_ref_reaches_goes(catalog: Catalog, alice: Actor, home: Repo) -> None:
    commit(catalog, alice, home, {"a/b": b"kept", "c": b"old"})
    commit(catalog, alice, home, {"c": b"new"})  # old stays: it is history
    catalog.refs.create_branch(alice, home, "dev")
    commit(catalog, alice, home, {"d": b"only on dev"}, revision="dev")
    catalog.refs.create_tag(alice, home, "v1", "dev", "a tag of its own")
    catalog.commits.stage(home, [b"never committed"])
    before = contents_of(catalog, home)
    assert catalog.sweep.sweep_objects(home.id, clock.now_ms() - 60_000) == 0  # all are young
    assert catalog.sweep.sweep_objects(home.id, LATER_MS) == 1
    catalog.refs.delete_branch(alice, home, "dev")
    assert catalog.sweep.sweep_objects(home.id, LATER_MS) == 0  # the tag holds it
    catalog.refs.delete_tag(alice, home, "v1")
    assert catalog.sweep.sweep_objects(home.id, LATER_MS) == 4  # tag, commit, tree, blob
    assert objects(catalog, home) == reachable(catalog, home)
    assert contents_of(catalog, home) == before
    head = catalog.refs.resolve(home, "main").commit
    old = catalog.history.list(home, head, 9)[1].oid
    assert contents_of(catalog, home, old)["c"] == b"old"


def test_objects_used_again_are_young_again(catalog: Catalog, alice: Actor, home: Repo) -> None:
    """Staged anew, an old orphan has its full grace: its commit may be on its way."""
    catalog.commits.stage(home, [b"orphan"])
    with catalog.db.write() as conn:
        conn.execute(update(s.git_object).values(created_ms=0))
    staged = catalog.commits.stage(home, [b"orphan"])
    assert catalog.sweep.sweep_objects(home.id, clock.now_ms() - 60_000) == 0
    commit(catalog, alice, home, {"f": b"orphan"})
    assert catalog.sweep.sweep_objects(home.id, LATER_MS) == 0
    assert files_of(catalog, home)["f"].oid == staged[0]


def test_a_ref_made_during_the_walk_is_seen(
    catalog: Catalog, alice: Actor, home: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The long walk is outside the lock; what it missed is walked again inside."""
    catalog.refs.create_branch(alice, home, "dev")
    old = commit(catalog, alice, home, {"d": b"x"}, revision="dev").oid
    catalog.refs.delete_branch(alice, home, "dev")
    real = catalog.db.write

    def write() -> object:
        monkeypatch.undo()
        catalog.refs.create_branch(alice, home, "rescued", start=old)
        return real()

    monkeypatch.setattr(catalog.db, "write", write)
    assert catalog.sweep.sweep_objects(home.id, LATER_MS) == 0
    assert contents_of(catalog, home, "rescued")["d"] == b"x"


def test_a_history_with_a_gap_is_left_alone(catalog: Catalog, alice: Actor, home: Repo) -> None:
    """What cannot be walked to its end is not swept: the gap may hide what is alive."""
    commit(catalog, alice, home, {"a/b": b"x"})
    tree = next(
        e.oid
        for e in catalog.files.list(home, catalog.refs.resolve(home, "main").tree)
        if e.path == "a"
    )
    catalog.commits.stage(home, [b"orphan"])
    with catalog.db.write() as conn:
        conn.execute(s.git_object.delete().where(s.git_object.c.oid == tree))
    catalog.sweep.git = GitObjects(catalog.db)
    before = objects(catalog, home)
    with pytest.raises(NotFound):
        catalog.sweep.sweep_objects(home.id, LATER_MS)
    assert objects(catalog, home) == before


def test_blobs_go_with_the_last_that_holds_them(catalog: Catalog, alice: Actor, home: Repo) -> None:
    oid = digest(b"weights")
    commit_lfs(catalog, alice, home, "w.bin", b"weights")
    other = repo(catalog, alice, "alice/other")
    link(catalog, alice, other, oid)
    upload(catalog, alice, b"abandoned")
    assert catalog.sweep.dead_blobs(LATER_MS) == []  # held, or its upload still waits
    let_uploads_expire(catalog)
    assert catalog.sweep.dead_blobs(LATER_MS) == [digest(b"abandoned")]
    assert catalog.sweep.dead_blobs(clock.now_ms() - 60_000) == []
    catalog.repos.delete(alice, "model", "alice/m")
    assert catalog.sweep.dead_blobs(LATER_MS) == [digest(b"abandoned")]
    catalog.repos.delete(alice, "model", "alice/other")
    assert catalog.sweep.dead_blobs(LATER_MS) == sorted([oid, digest(b"abandoned")])
    removed: list[str] = []
    assert catalog.sweep.forget_blob(oid, LATER_MS, lambda: not removed.append("x"))  # type: ignore[func-returns-value]
    assert not catalog.sweep.forget_blob(oid, LATER_MS, lambda: not removed.append("x"))  # type: ignore[func-returns-value]
    assert removed == ["x"]
    assert catalog.sweep.is_stray(oid)


def test_what_a_comment_shows_stays(catalog: Catalog, alice: Actor) -> None:
    """No repo holds a picture, and no upload waits with it: the attachment alone does."""
    picture = digest(b"picture")
    catalog.attachments.add(alice, picture, 7, "image/png")
    let_uploads_expire(catalog)
    assert catalog.sweep.dead_blobs(LATER_MS) == []
    assert not catalog.sweep.forget_blob(picture, LATER_MS, gone)
    assert not catalog.sweep.forget_stray(picture, gone)
    catalog.accounts.delete("alice")
    with catalog.db.write() as conn:  # its owner's row is gone for good, some day
        conn.execute(delete(so.attachment))
    assert catalog.sweep.forget_blob(picture, LATER_MS, gone)


def test_large_files_of_a_dropped_branch_go(catalog: Catalog, alice: Actor, home: Repo) -> None:
    """When no pointer of a repo names a blob any more, the repo lets go of it."""
    commit_lfs(catalog, alice, home, "kept.bin", b"kept")
    catalog.refs.create_branch(alice, home, "dev")
    commit_lfs(catalog, alice, home, "w.bin", b"only on dev", revision="dev")
    catalog.refs.delete_branch(alice, home, "dev")
    let_uploads_expire(catalog)
    catalog.sweep.sweep_objects(home.id, clock.now_ms() - 60_000)
    assert catalog.sweep.dead_blobs(LATER_MS) == []
    catalog.sweep.sweep_objects(home.id, LATER_MS)
    assert catalog.sweep.dead_blobs(LATER_MS) == [digest(b"only on dev")]
    assert catalog.blobs.in_repo(home, digest(b"kept")) == 4
    assert catalog.blobs.in_repo(home, digest(b"only on dev")) is None


@pytest.mark.parametrize("rescue", ["upload", "commit"])
def test_whoever_comes_between_wins(
    catalog: Catalog, alice: Actor, home: Repo, rescue: str
) -> None:
    """An upload or commit between the question and the deletion keeps the bytes."""
    oid = upload(catalog, alice, b"weights")
    let_uploads_expire(catalog)
    assert catalog.sweep.dead_blobs(LATER_MS) == [oid]
    upload(catalog, alice, b"weights")
    if rescue == "commit":
        link(catalog, alice, home, oid)
        let_uploads_expire(catalog)
    assert not catalog.sweep.forget_blob(oid, LATER_MS, gone)
    assert catalog.blobs.held(alice, [oid])


def test_after_the_deletion_there_is_nothing_to_link(
    catalog: Catalog, alice: Actor, home: Repo
) -> None:
    oid = upload(catalog, alice, b"weights")
    let_uploads_expire(catalog)
    assert catalog.sweep.forget_blob(oid, LATER_MS, gone)
    with pytest.raises(BadRequest):
        link(catalog, alice, home, oid)
    upload(catalog, alice, b"weights")
    link(catalog, alice, home, oid)


def test_xorbs_go_when_no_blob_is_made_of_them(catalog: Catalog, alice: Actor) -> None:
    xorb, chunk = XetHash("1" * 64), b"c" * 32
    oid = digest(b"weights")
    catalog.blobs.uploaded(alice, oid, 7, xorbs=[xorb], eligible=[(chunk, xorb)])
    assert not catalog.sweep.is_unused(xorb)
    assert not catalog.sweep.forget_xorb(xorb, gone)
    let_uploads_expire(catalog)
    assert catalog.sweep.forget_blob(oid, LATER_MS, gone)
    assert catalog.sweep.is_unused(xorb)
    assert not catalog.sweep.forget_xorb(xorb, lambda: False)  # the store says: used just now
    assert catalog.sweep.forget_xorb(xorb, gone)
    with catalog.db.read() as conn:
        assert conn.execute(s.dedup.select()).all() == []


def test_strays_are_bytes_without_a_row(catalog: Catalog, alice: Actor) -> None:
    known = upload(catalog, alice, b"known")
    assert catalog.sweep.is_stray(digest(b"stray"))
    assert not catalog.sweep.is_stray(known)
    assert catalog.sweep.forget_stray(digest(b"stray"), gone)
    assert not catalog.sweep.forget_stray(known, gone)


class Gc(RuleBasedStateMachine):
    """Uploads, commits, deletions and gc without grace, in any order; `held` is what must stay."""

    catalog: Catalog
    number = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).number += 1
        self.alice = person(self.catalog, "alice")
        self.repo = repo(self.catalog, self.alice, f"alice/m{self.number}")
        self.branches: dict[str, dict[str, bytes]] = {"main": {}}
        self.dead: list[Digest] = []
        self.bytes: set[str] = set()  # the store

    blobs = st.sampled_from([b"one", b"two", b"three"])

    @rule(data=blobs)
    def upload(self, data: bytes) -> None:
        self.bytes.add(digest(data))
        upload(self.catalog, self.alice, data)

    @rule(data=blobs, path=st.sampled_from(["x", "y"]), branch=st.sampled_from(["main", "dev"]))
    def link(self, data: bytes, path: str, branch: str) -> None:
        plan = Plan(branch, (PutLfs(RepoPath(path), digest(data), None),), "x")
        try:
            self.catalog.commits.apply(self.alice, self.repo, plan)
        except HeadwaterError:
            return
        assert digest(data) in self.bytes, "linked bytes that are gone"
        self.branches[branch][path] = data

    @rule()
    def branch(self) -> None:
        try:
            self.catalog.refs.create_branch(self.alice, self.repo, "dev")
        except Conflict:
            return
        self.branches["dev"] = dict(self.branches["main"])

    @rule()
    def drop_branch(self) -> None:
        if self.branches.pop("dev", None) is not None:
            self.catalog.refs.delete_branch(self.alice, self.repo, "dev")

    @rule()
    def expire(self) -> None:
        let_uploads_expire(self.catalog)

    @rule()
    def sweep(self) -> None:
        self.catalog.sweep.sweep_objects(self.repo.id, LATER_MS)

    @rule()
    def condemn(self) -> None:
        self.dead = self.catalog.sweep.dead_blobs(LATER_MS)

    @rule()
    def delete(self) -> None:
        for oid in self.dead:
            self.catalog.sweep.forget_blob(oid, LATER_MS, partial(self.remove, oid))

    def remove(self, oid: Digest) -> bool:
        self.bytes.discard(oid)
        return True

    def teardown(self) -> None:
        for branch, files in self.branches.items():
            entries = files_of(self.catalog, self.repo, branch)
            for path, data in files.items():
                lfs = entries[path].lfs
                assert lfs is not None
                assert lfs.oid == digest(data)
                assert lfs.oid in self.bytes
        # The next example begins with an empty store.
        self.catalog.repos.delete(self.alice, "model", self.repo.full)
        let_uploads_expire(self.catalog)
        for oid in self.catalog.sweep.dead_blobs(LATER_MS):
            self.catalog.sweep.forget_blob(oid, LATER_MS, gone)


def test_gc_in_any_order(catalog: Catalog) -> None:
    machine = type("Machine", (Gc,), {"catalog": catalog})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples(25), stateful_step_count=20, deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip
