"""Duplicates: a whole history under another name, for those who may read it, without upload."""

import pytest
from catalog_kit import (
    again,
    commit,
    commit_lfs,
    contents_of,
    digest,
    files_of,
    link,
    org,
    person,
    repo,
)
from real_git import bare_repository
from sqlalchemy import select, update

from headwater.catalog import duplicate
from headwater.catalog import schema as s
from headwater.catalog.actors import Actor
from headwater.catalog.catalog import Catalog
from headwater.catalog.duplicate import Wanted
from headwater.catalog.models import Repo
from headwater.errors import (
    BadRequest,
    Conflict,
    Forbidden,
    GatedRepo,
    HeadwaterError,
    NotFound,
    RepoNotFound,
    RevisionNotFound,
    Unprocessable,
)
from headwater.names import RepoId, XetHash

LATER_MS = 10**15
CARD = b"---\nlicense: mit\npipeline_tag: text-generation\n---\n# m\n"
XET = XetHash("a" * 64)


@pytest.fixture
def home(catalog: Catalog, alice: Actor) -> Repo:
    made = repo(catalog, alice, "alice/m")
    commit(catalog, alice, made, {"README.md": CARD, "a/b": b"one"})
    commit_lfs(catalog, alice, made, "w.bin", b"old weights")
    catalog.refs.create_tag(alice, made, "v1", "main", "annotated")
    commit_lfs(catalog, alice, made, "w.bin", b"new weights")
    catalog.refs.create_branch(alice, made, "dev/x")
    return made


def to(name: str) -> RepoId:
    return RepoId.parse("model", name)


def refs_of(catalog: Catalog, where: Repo) -> dict[str, str]:
    query = select(s.ref.c.name, s.ref.c.target).where(s.ref.c.repo_id == where.id)
    with catalog.db.read() as conn:
        return {row.name: row.target for row in conn.execute(query)}


def test_all_of_it_is_there(catalog: Catalog, bob: Actor, home: Repo) -> None:
    made = catalog.duplicate.repo(bob, home, to("bob/copy"))
    assert made.full == "bob/copy"
    assert (made.private, made.gated, made.pipeline_tag) == (False, "", "text-generation")
    assert "license:mit" in made.tags
    assert refs_of(catalog, made) == refs_of(catalog, home)
    for name in ("main", "v1", "dev/x"):
        assert contents_of(catalog, made, name) == contents_of(catalog, home, name)
    for data in (b"old weights", b"new weights"):
        assert catalog.blobs.in_repo(made, digest(data)) == len(data)
    with bare_repository() as git:
        git.take(catalog, made)
        git.point(refs_of(catalog, made))
        git("fsck", "--strict", "--full")
    with catalog.db.read() as conn:
        action = conn.execute(select(s.audit.c.action).order_by(s.audit.c.id.desc())).scalars()
        assert action.first() == "repo.duplicate"
        event = conn.execute(select(s.event).order_by(s.event.c.id.desc())).first()
        assert event is not None
        assert (event.scope, event.action, event.repo_id) == ("repo", "create", made.id)
        assert "alice/m" not in event.payload


def test_the_two_are_apart_from_then_on(
    catalog: Catalog, alice: Actor, bob: Actor, home: Repo
) -> None:
    made = catalog.duplicate.repo(bob, home, to("bob/copy"))
    commit(catalog, bob, made, {"a/b": b"two"})
    assert contents_of(catalog, home)["a/b"] == b"one"
    catalog.repos.delete(alice, "model", "alice/m")
    catalog.sweep.sweep_objects(made.id, LATER_MS)
    assert catalog.sweep.dead_blobs(LATER_MS) == []
    assert contents_of(catalog, made, "v1")["README.md"] == CARD
    assert catalog.blobs.held(bob, [digest(b"old weights")])


def test_what_no_branch_or_tag_leads_to_stays_behind(
    catalog: Catalog, alice: Actor, bob: Actor, home: Repo
) -> None:
    """Neither pull requests of others nor what was squashed away and is not swept yet."""
    lost = commit_lfs(catalog, alice, home, "secret.bin", b"secret").oid
    catalog.squash.apply(alice, home, "dev/x", "m")
    commit(catalog, bob, home, {"pr": b"1"}, create_pr=True)
    commit(catalog, alice, home, {"secret.bin": None})
    catalog.squash.apply(alice, home, "main", "m")
    made = catalog.duplicate.repo(bob, home, to("bob/copy"))
    assert not [name for name in refs_of(catalog, made) if name.startswith("refs/pr/")]
    with pytest.raises(RevisionNotFound):
        catalog.refs.resolve(made, lost)
    assert catalog.blobs.in_repo(made, digest(b"secret")) is None
    with catalog.db.read() as conn:
        have = select(s.git_object.c.oid).where(s.git_object.c.repo_id == made.id)
        copied = set(conn.execute(have).scalars())
        assert copied == set(catalog.sweep.reachable(conn, made.id, set()))


def test_what_was_deleted_for_good_stays_deleted(
    catalog: Catalog, alice: Actor, bob: Actor, home: Repo
) -> None:
    catalog.lfs_files.delete(alice, home, [digest(b"new weights")], rewrite=False)
    made = catalog.duplicate.repo(bob, home, to("bob/copy"))
    lfs = files_of(catalog, made)["w.bin"].lfs
    assert lfs is not None
    assert lfs.gone
    assert catalog.blobs.in_repo(made, digest(b"new weights")) is None
    with pytest.raises(BadRequest):
        link(catalog, bob, made, digest(b"new weights"))


def test_visibility_follows_the_source(catalog: Catalog, alice: Actor, home: Repo) -> None:
    catalog.repos.set(alice, "model", "alice/m", private=True, gated="manual")
    assert catalog.duplicate.repo(alice, home, to("alice/c1")).private
    made = catalog.duplicate.repo(alice, home, to("alice/c2"), private=False)
    assert not made.private
    assert made.gated == "manual"


def test_who_may_not_read_cannot_copy(
    catalog: Catalog, alice: Actor, bob: Actor, home: Repo
) -> None:
    catalog.repos.set(alice, "model", "alice/m", gated="auto")
    with pytest.raises(GatedRepo):
        catalog.duplicate.repo(bob, home, to("bob/copy"))
    catalog.repos.set(alice, "model", "alice/m", private=True)
    with pytest.raises(RepoNotFound):
        catalog.duplicate.repo(bob, home, to("bob/copy"))
    with pytest.raises(NotFound):
        catalog.repos.find(bob, "model", "bob/copy")


def test_the_new_name_must_be_free_and_ones_own(
    catalog: Catalog, alice: Actor, bob: Actor, home: Repo
) -> None:
    repo(catalog, bob, "bob/there", private=True)
    with pytest.raises(Conflict) as taken:
        catalog.duplicate.repo(bob, home, to("bob/There"))
    assert taken.value.extra["taken"] == "bob/there"
    with pytest.raises(Forbidden):
        catalog.duplicate.repo(bob, home, to("alice/copy"))
    with pytest.raises(Forbidden):
        catalog.duplicate.repo(person(catalog, "bob", "read"), home, to("bob/copy"))
    org(catalog, "lab", bob="contributor")
    assert catalog.duplicate.repo(again(catalog, bob), home, to("lab/copy")).namespace == "lab"


def test_a_source_that_is_too_large_is_refused(
    catalog: Catalog, bob: Actor, home: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OBJECTS_MAX", "OBJECT_BYTES_MAX"):
        with monkeypatch.context() as patched:
            patched.setattr(duplicate, name, 5)
            with pytest.raises(Unprocessable):
                catalog.duplicate.repo(bob, home, to("bob/copy"))
    with pytest.raises(NotFound):
        catalog.repos.find(bob, "model", "bob/copy")


# Single files


@pytest.fixture
def xet_home(catalog: Catalog, alice: Actor, home: Repo) -> Repo:
    """`home`, its newest file having come by Xet."""
    with catalog.db.write() as conn:
        conn.execute(
            update(s.blob).where(s.blob.c.oid == digest(b"new weights")).values(xet_hash=XET)
        )
    return home


def wanted(data: bytes = b"new weights", xet: XetHash = XET) -> list[Wanted]:
    return [Wanted(digest(data), xet)]


def test_files_may_be_linked_elsewhere(catalog: Catalog, bob: Actor, xet_home: Repo) -> None:
    target = repo(catalog, bob, "bob/t", private=True)
    assert catalog.duplicate.files(bob, xet_home, "model", "bob/t", wanted()) == []
    catalog.repos.delete(person(catalog, "alice"), "model", xet_home.full)
    assert catalog.sweep.dead_blobs(LATER_MS) == [digest(b"old weights")]  # lent, so it waits
    link(catalog, bob, target, digest(b"new weights"))
    assert catalog.blobs.in_repo(target, digest(b"new weights")) == 11


def test_foreign_files_are_missing_files(catalog: Catalog, alice: Actor, bob: Actor) -> None:
    source, target = repo(catalog, bob, "bob/s"), repo(catalog, bob, "bob/t")
    hidden = repo(catalog, alice, "alice/hidden", private=True)
    commit_lfs(catalog, alice, hidden, "w.bin", b"new weights")
    with catalog.db.write() as conn:
        conn.execute(update(s.blob).values(xet_hash=XET))
    for asked in (wanted(), wanted(b"never was")):
        failed = catalog.duplicate.files(bob, source, "model", "bob/t", asked)
        assert failed == [asked[0].oid]
    with pytest.raises(BadRequest):
        link(catalog, bob, target, digest(b"new weights"))
    with pytest.raises(RepoNotFound):
        catalog.duplicate.files(bob, hidden, "model", "bob/t", wanted())


def test_both_names_must_fit(catalog: Catalog, bob: Actor, xet_home: Repo) -> None:
    repo(catalog, bob, "bob/t")
    other = XetHash("b" * 64)
    assert catalog.duplicate.files(bob, xet_home, "model", "bob/t", wanted(xet=other))
    assert catalog.duplicate.files(bob, xet_home, "model", "bob/t", wanted(b"old weights"))


def test_the_target_must_be_open_to_the_caller(
    catalog: Catalog, alice: Actor, bob: Actor, xet_home: Repo
) -> None:
    repo(catalog, alice, "alice/hidden", private=True)
    repo(catalog, alice, "alice/open")
    said: list[tuple[type, str]] = []
    for name in ("alice/hidden", "alice/nothing"):
        with pytest.raises(HeadwaterError) as heard:
            catalog.duplicate.files(bob, xet_home, "model", name, wanted())
        said.append((type(heard.value), heard.value.message.replace(name, "x")))
    assert said[0] == said[1]
    assert catalog.duplicate.files(bob, xet_home, "model", "alice/open", wanted()) == []
    reader = person(catalog, "bob", "read")
    with pytest.raises(Forbidden):
        catalog.duplicate.files(reader, xet_home, "model", "alice/open", wanted())
