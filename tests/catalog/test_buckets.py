"""Buckets: a dict of paths that keeps what it was given, listed by prefix; it tells no secrets."""

import pytest
from catalog_kit import UPLOAD_TTL_S, commit_lfs, digest, person, repo
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from effort import examples
from headwater.catalog import schema as s
from headwater.catalog.actors import ANONYMOUS, Actor
from headwater.catalog.bucket_batch import Drop, Put
from headwater.catalog.buckets import BucketFile, BucketFolder, behind
from headwater.catalog.catalog import Catalog
from headwater.catalog.clock import now_ms
from headwater.catalog.inspection import inspect
from headwater.catalog.models import Repo
from headwater.errors import EntryNotFound, Forbidden, RepoNotFound
from headwater.names import RepoPath, XetHash
from headwater.store import Store

PARTS = st.sampled_from(["a", "a.b", "a0", "b", "é", "z\U0001f600", "logs", "logs_old"])
PATHS = st.lists(PARTS, min_size=1, max_size=3).map("/".join)


@pytest.fixture
def home(catalog: Catalog, alice: Actor) -> Repo:
    return repo(catalog, alice, "alice/b", "bucket")


def sent(catalog: Catalog, actor: Actor, data: bytes) -> XetHash:
    """As after an upload over Xet; any 32 bytes will do for the file hash."""
    xet_hash = XetHash(digest(b"xet" + data))
    catalog.blobs.uploaded(actor, digest(data), len(data), xet_hash=xet_hash)
    return xet_hash


def put(catalog: Catalog, actor: Actor, where: Repo, *paths: str) -> None:
    changes = [Put(RepoPath(path), sent(catalog, actor, path.encode()), 1) for path in paths]
    assert catalog.buckets.apply(actor, where.full, changes) == []


def listed(catalog: Catalog, where: Repo, prefix: str, *, recursive: bool, limit: int) -> list[str]:
    """Every page of a listing, folders with their slash."""
    found: list[str] = []
    after = None
    while True:
        page = catalog.buckets.tree(where, prefix, recursive=recursive, after=after, limit=limit)
        found += [e.path + ("/" if isinstance(e, BucketFolder) else "") for e in page]
        if len(page) < limit:
            return found
        after = behind(page[-1])


@settings(
    max_examples=examples(40),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_a_listing_is_what_a_dict_would_say(catalog: Catalog, data: st.DataObject) -> None:
    """Any paths, any prefix, any page size: the files with that prefix, or their folders, by path
    in the order of UTF-8."""
    actor = person(catalog, "alice")
    where = repo(catalog, actor, f"alice/b{now_ms()}-{data.draw(st.uuids())}", "bucket")
    paths: set[str] = set()
    for path in data.draw(st.lists(PATHS, max_size=25, unique=True)):
        change = Put(RepoPath(path), sent(catalog, actor, path.encode()), 1)
        if not catalog.buckets.apply(actor, where.full, [change]):
            paths.add(path)
    assert not any(other.startswith(f"{path}/") for path in paths for other in paths)
    prefix = data.draw(st.one_of(st.just(""), PATHS, PATHS.map(lambda path: f"{path}/"), PARTS))
    limit = data.draw(st.integers(1, 7))
    inside = sorted((p for p in paths if p.startswith(prefix)), key=str.encode)
    assert listed(catalog, where, prefix, recursive=True, limit=limit) == inside

    level = prefix if prefix.endswith("/") or not prefix else f"{prefix}/"
    wanted: list[str] = []
    for path in inside:
        start = len(level) if path.startswith(level) else len(prefix)
        slash = path.find("/", start)
        wanted.append(path if slash < 0 else path[: slash + 1])
    assert listed(catalog, where, prefix, recursive=False, limit=limit) == list(
        dict.fromkeys(wanted)
    )


def test_put_overwrite_drop(catalog: Catalog, alice: Actor, home: Repo) -> None:
    put(catalog, alice, home, "a/x", "y")
    first = catalog.buckets.find(home, RepoPath("y"))
    newer = sent(catalog, alice, b"newer")
    change = Put(RepoPath("y"), newer, 7, "text/plain")
    assert catalog.buckets.apply(alice, home.full, [change]) == []
    second = catalog.buckets.find(home, RepoPath("y"))
    assert second == BucketFile(
        RepoPath("y"), digest(b"newer"), 5, newer, "text/plain", 7, second.uploaded_ms
    )
    assert first.oid != second.oid
    assert catalog.buckets.totals([home]) == {home.id: (2, 3 + 5)}
    failed = catalog.buckets.apply(alice, home.full, [Drop(RepoPath("y")), Drop(RepoPath("no"))])
    assert [path for path, _ in failed] == ["no"]
    with pytest.raises(EntryNotFound):
        catalog.buckets.find(home, RepoPath("y"))


def test_a_removal_sent_again_is_done(catalog: Catalog, alice: Actor, home: Repo) -> None:
    """Clients send a batch again when its answer was lost."""
    put(catalog, alice, home, "y")
    drop = [Drop(RepoPath("y"))]
    assert catalog.buckets.apply(alice, home.full, drop) == []
    assert catalog.buckets.apply(alice, home.full, drop) == []
    with catalog.db.write() as conn:
        conn.execute(update(s.bucket_change).values(at_ms=1))
    assert catalog.buckets.apply(alice, home.full, drop) != []


def test_a_file_is_no_folder(catalog: Catalog, alice: Actor, home: Repo) -> None:
    put(catalog, alice, home, "a/x")
    made = sent(catalog, alice, b"1")
    changes = [Put(RepoPath(path), made, 1) for path in ("a", "a/x/deeper", "b", "b/c")]
    failed = catalog.buckets.apply(alice, home.full, changes)
    assert [path for path, _ in failed] == ["a", "a/x/deeper", "b/c"]


def test_what_another_uploaded_is_unknown(catalog: Catalog, alice: Actor, home: Repo) -> None:
    """Foreign and random hashes get one answer (rule T1), alone and as a copy."""
    bob = person(catalog, "bob")
    secret = repo(catalog, bob, "bob/secret", "bucket", private=True)
    put(catalog, bob, secret, "w")
    open_one = repo(catalog, bob, "bob/open", "bucket")
    foreign, unknown = XetHash(digest(b"xetw")), XetHash("0" * 63 + "1")
    for source in (None, ("bucket", "bob/open")):
        answers = {
            catalog.buckets.apply(
                alice,
                home.full,
                [Put(RepoPath("w"), xet_hash, 1, None, source)],  # type: ignore[arg-type]
            )[0]
            for xet_hash in (foreign, unknown)
        }
        assert len(answers) == 1
    hidden = {
        catalog.buckets.apply(
            alice, home.full, [Put(RepoPath("w"), foreign, 1, None, ("bucket", name))]
        )[0][1].replace(name, "")
        for name in ("bob/secret", "bob/nothing")
    }
    assert len(hidden) == 1
    put(catalog, bob, open_one, "w")
    copy = Put(RepoPath("w"), foreign, 1, None, ("bucket", "bob/open"))
    assert catalog.buckets.apply(alice, home.full, [copy]) == []


def test_copies_from_a_repo(catalog: Catalog, alice: Actor, home: Repo) -> None:
    model = repo(catalog, alice, "alice/m")
    xet_hash = sent(catalog, alice, b"weights")
    commit_lfs(catalog, alice, model, "w.bin", b"weights")
    copy = Put(RepoPath("w"), xet_hash, 1, None, ("model", "alice/m"))
    assert catalog.buckets.apply(alice, home.full, [copy]) == []
    assert catalog.buckets.find(home, RepoPath("w")).oid == digest(b"weights")


def test_who_may(catalog: Catalog, alice: Actor, home: Repo) -> None:
    bob = person(catalog, "bob")
    with pytest.raises(Forbidden):
        catalog.buckets.apply(bob, home.full, [Drop(RepoPath("x"))])
    catalog.repos.set(alice, "bucket", home.full, private=True)
    for stranger in (bob, ANONYMOUS):
        with pytest.raises(RepoNotFound):
            catalog.buckets.apply(stranger, home.full, [Drop(RepoPath("x"))])


def test_gc_keeps_what_a_bucket_holds(catalog: Catalog, alice: Actor, home: Repo) -> None:
    """Links of bucket files stay, those of overwritten and removed ones go."""
    put(catalog, alice, home, "stays", "goes")
    assert catalog.buckets.apply(alice, home.full, [Drop(RepoPath("goes"))]) == []
    later = now_ms() + UPLOAD_TTL_S * 1000 + 1
    catalog.sweep.sweep_objects(home.id, later)
    assert catalog.blobs.in_repo(home, digest(b"stays")) == 5
    assert catalog.blobs.in_repo(home, digest(b"goes")) is None
    assert digest(b"stays") not in catalog.sweep.dead_blobs(later)
    assert digest(b"goes") in catalog.sweep.dead_blobs(later)


def test_check_sees_a_lost_link(
    catalog: Catalog, alice: Actor, home: Repo, tmp_path_factory: pytest.TempPathFactory
) -> None:
    put(catalog, alice, home, "x")
    with catalog.db.write() as conn:
        conn.execute(s.repo_blob.delete())
    store = Store.open(tmp_path_factory.mktemp("store"))
    found = [p.what for p in inspect(catalog.db, catalog.git, store, data=False)]
    assert any("not linked to the bucket" in what for what in found)


def test_those_who_follow_hear_all_of_it(catalog: Catalog, alice: Actor, home: Repo) -> None:
    start = catalog.buckets.last_change(home)
    put(catalog, alice, home, "x")
    put(catalog, alice, home, "x", "y")  # x is what it was: no news
    newer = Put(RepoPath("x"), sent(catalog, alice, b"x"), 2)
    assert catalog.buckets.apply(alice, home.full, [newer]) == []
    catalog.buckets.apply(alice, home.full, [Drop(RepoPath("x"))])
    found = catalog.buckets.changes(home, start)
    assert found is not None
    assert [(c.op, c.path) for c in found] == [
        ("add", "x"), ("add", "y"), ("update", "x"), ("delete", "x"),
    ]  # fmt: skip
    assert catalog.buckets.changes(home, found[2].id) == found[3:]
    assert catalog.buckets.change_before(home, found[0].at_ms) == 0
    assert catalog.buckets.change_before(home, 1) is None
    with catalog.db.write() as conn:
        conn.execute(update(s.bucket_change).values(at_ms=1))
    put(catalog, alice, home, "z")
    assert catalog.buckets.changes(home, found[0].id) is None, "forgotten: list it anew"
