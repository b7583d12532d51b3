"""Repos and refs: made once, found by every name they had, moved, deleted."""

import pytest
from catalog_kit import commit, contents_of, files_of, link, org, person, repo, upload
from sqlalchemy import func, select

from headwater.catalog import refs
from headwater.catalog import schema as s
from headwater.catalog.actors import ANONYMOUS, OPERATOR, Actor
from headwater.catalog.catalog import Catalog
from headwater.catalog.models import Repo
from headwater.catalog.schema_base import metadata
from headwater.errors import (
    BadRequest,
    Conflict,
    EntryNotFound,
    Forbidden,
    InvalidName,
    NotFound,
    RepoNotFound,
    RevisionNotFound,
)
from headwater.formats.git_patterns import DEFAULT_GITATTRIBUTES
from headwater.names import RepoId, RepoPath


def test_a_new_repo_holds_its_attributes(catalog: Catalog, home: Repo) -> None:
    assert contents_of(catalog, home) == {".gitattributes": DEFAULT_GITATTRIBUTES}
    head = catalog.refs.head(home)
    assert head is not None
    (first,) = catalog.history.list(home, head, 10)
    assert (first.title, first.author, first.parents) == ("initial commit", "alice", ())
    assert [(ref.name, ref.commit) for ref in catalog.refs.list(home)] == [
        ("refs/heads/main", head)
    ]


def test_types_have_names_of_their_own(catalog: Catalog, alice: Actor, home: Repo) -> None:
    other = repo(catalog, alice, "alice/M", "dataset")
    assert other.id != home.id
    assert catalog.repos.find(ANONYMOUS, "dataset", "ALICE/m") == other
    with pytest.raises(RepoNotFound):
        catalog.repos.find(ANONYMOUS, "space", "alice/m")


@pytest.mark.parametrize("again", ["alice/m", "Alice/M"])
def test_a_name_is_taken_whatever_its_case(
    catalog: Catalog, alice: Actor, home: Repo, again: str
) -> None:
    with pytest.raises(Conflict) as met:
        repo(catalog, alice, again)
    assert met.value.message == "You already created this model repo"
    assert met.value.extra == {"taken": home.full}


@pytest.mark.parametrize("full", ["a\0b/c", "\0", "", "x", "a/b/c", "' OR 1=1 --", "%", "ünï/çode"])
def test_names_that_are_no_names_are_not_found(catalog: Catalog, full: str) -> None:
    with pytest.raises(RepoNotFound):
        catalog.repos.find(ANONYMOUS, "model", full)


def test_old_names_lead_on(catalog: Catalog, alice: Actor, home: Repo) -> None:
    org(catalog, "lab", alice="admin")
    alice = person(catalog, "alice")
    catalog.repos.move(alice, "model", "alice/m", RepoId("model", "alice", "n"))
    catalog.repos.move(alice, "model", "alice/n", RepoId("model", "LAB", "o"))
    for name in ("alice/m", "alice/n", "lab/o", "Alice/M"):
        found = catalog.repos.find(ANONYMOUS, "model", name)
        assert (found.id, found.full) == (home.id, "lab/o")
    for old in ("alice/m", "alice/n"):  # what changes or deletes must name what it means
        with pytest.raises(RepoNotFound):
            catalog.repos.delete(alice, "model", old)
        with pytest.raises(RepoNotFound):
            catalog.repos.move(alice, "model", old, RepoId("model", "alice", "p"))
    new = repo(catalog, alice, "alice/m")  # an old name may be used again, and then leads there
    assert catalog.repos.find(ANONYMOUS, "model", "alice/m").id == new.id
    assert catalog.repos.find(ANONYMOUS, "model", "alice/n").id == home.id
    catalog.repos.delete(alice, "model", "alice/m")
    with pytest.raises(RepoNotFound):  # an old name that was used again leads back to nothing
        catalog.repos.find(ANONYMOUS, "model", "alice/m")
    catalog.repos.delete(alice, "model", "lab/o")
    with pytest.raises(RepoNotFound):
        catalog.repos.find(ANONYMOUS, "model", "alice/n")


def test_there_and_back_again(catalog: Catalog, alice: Actor, home: Repo) -> None:
    for _ in range(3):
        catalog.repos.move(alice, "model", "alice/m", RepoId("model", "alice", "n"))
        catalog.repos.move(alice, "model", "alice/n", RepoId("model", "alice", "m"))
    moved = catalog.repos.move(alice, "model", "alice/m", RepoId("model", "alice", "M"))
    assert moved.full == "alice/M"  # only its case
    for name in ("alice/m", "alice/n"):
        assert catalog.repos.find(ANONYMOUS, "model", name).id == home.id


def test_moving_onto_another_is_refused(catalog: Catalog, alice: Actor, home: Repo) -> None:
    repo(catalog, alice, "alice/taken")
    with pytest.raises(Conflict, match="alice/taken already exists"):
        catalog.repos.move(alice, "model", "alice/m", RepoId("model", "alice", "taken"))
    with pytest.raises(BadRequest):
        catalog.repos.move(alice, "model", "alice/m", RepoId("dataset", "alice", "m"))
    assert catalog.repos.find(ANONYMOUS, "model", "alice/m") == home


def test_the_operator_moves_and_proposes_without_an_account(
    catalog: Catalog, alice: Actor, home: Repo
) -> None:
    org(catalog, "lab")
    moved = catalog.repos.move(OPERATOR, "model", "alice/m", RepoId("model", "lab", "m"))
    assert moved.creator_id is None
    assert commit(catalog, OPERATOR, moved, {"a": b"1"}, create_pr=True).pr == 1
    assert catalog.discussions.find(moved, 1).author.name == "operator"
    assert alice.name == "alice"
    assert home.id == moved.id


def test_nothing_of_a_deleted_repo_remains(catalog: Catalog, alice: Actor, home: Repo) -> None:
    link(catalog, alice, home, upload(catalog, alice, b"weights"))
    commit(catalog, alice, home, {"README.md": b"---\nlicense: mit\n---\n"})
    commit(catalog, alice, home, {"a": b"1"}, create_pr=True)
    catalog.repos.move(alice, "model", "alice/m", RepoId("model", "alice", "n"))
    catalog.counting.note(home, "config.json", "x", marked=True)
    catalog.counting.flush()
    catalog.repos.delete(alice, "model", "alice/n")
    # An event outlives its repo on purpose: those who asked to hear of a deletion still do.
    mine = [t for t in metadata.tables.values() if "repo_id" in t.c and t.name != "event"]
    assert len(mine) > 9
    with catalog.db.read() as conn:
        for table in (*mine, s.repo):
            assert conn.execute(select(func.count()).select_from(table)).scalar() == 0, table.name


def test_settings(catalog: Catalog, alice: Actor, home: Repo) -> None:
    assert (home.private, home.gated, home.sdk) == (False, "", None)
    assert catalog.repos.set(alice, "model", "alice/m", private=True).private
    changed = catalog.repos.set(alice, "model", "alice/m", gated="manual")
    assert (changed.private, changed.gated) == (True, "manual")
    with pytest.raises(BadRequest):
        catalog.repos.set(alice, "model", "alice/m", gated="yes")
    made = catalog.repos.create(alice, RepoId("space", "alice", "s"), sdk="gradio")
    assert made.sdk == "gradio"
    for sdk in ("x" * 33, "a\0"):
        with pytest.raises(BadRequest):
            catalog.repos.create(alice, RepoId("space", "alice", "t"), sdk=sdk)


def test_used_bytes_are_those_of_large_files(catalog: Catalog, alice: Actor, home: Repo) -> None:
    assert catalog.repos.used_bytes([home])[home.id] == 0
    oid = upload(catalog, alice, b"12345")
    link(catalog, alice, home, oid, "a.bin")
    link(catalog, alice, home, oid, "b.bin")
    assert catalog.repos.used_bytes([home])[home.id] == 5


# Refs


def test_revisions(catalog: Catalog, alice: Actor, home: Repo) -> None:
    """Branch before tag before full name before commit."""
    first = catalog.refs.resolve(home, "main").commit
    catalog.refs.create_tag(alice, home, "both", "main", "")
    second = commit(catalog, alice, home, {"a": b"1"}).oid
    catalog.refs.create_branch(alice, home, "both")
    assert catalog.refs.resolve(home, "both").commit == second
    assert catalog.refs.resolve(home, "refs/tags/both").commit == first
    for revision in (first, "refs/heads/main", "main"):
        assert catalog.refs.resolve(home, revision).tree
    assert catalog.refs.resolve(home, first).ref is None
    catalog.refs.create_tag(alice, home, "annotated", first, "words")
    assert catalog.refs.resolve(home, "annotated").commit == first
    tree = catalog.refs.resolve(home, "main").tree
    for unknown in (
        "",
        "nope",
        "0" * 40,
        tree,
        "refs/heads/nope",
        first[:7],
        "a\0b",
        first.upper(),
    ):
        with pytest.raises(RevisionNotFound):
            catalog.refs.resolve(home, unknown)


def test_one_name_whatever_its_accents_are_made_of(
    catalog: Catalog, alice: Actor, home: Repo
) -> None:
    catalog.refs.create_branch(alice, home, "cafe\u0301")
    assert catalog.refs.resolve(home, "caf\u00e9").ref == "refs/heads/caf\u00e9"
    assert catalog.refs.resolve(home, "cafe\u0301").ref == "refs/heads/caf\u00e9"
    with pytest.raises(Conflict):
        catalog.refs.create_branch(alice, home, "caf\u00e9")
    catalog.refs.delete_branch(alice, home, "cafe\u0301")


def test_branches(catalog: Catalog, alice: Actor, home: Repo) -> None:
    first = catalog.refs.resolve(home, "main").commit
    second = commit(catalog, alice, home, {"a": b"1"}).oid
    catalog.refs.create_branch(alice, home, "old", start=first)
    catalog.refs.create_branch(alice, home, "new")
    assert catalog.refs.resolve(home, "old").commit == first
    assert catalog.refs.resolve(home, "new").commit == second
    with pytest.raises(Conflict, match="Reference refs/heads/old already exists"):
        catalog.refs.create_branch(alice, home, "old")
    catalog.refs.create_branch(alice, home, "old", overwrite=True)
    assert catalog.refs.resolve(home, "old").commit == second
    with pytest.raises(Forbidden, match="refs/heads/main"):
        catalog.refs.create_branch(alice, home, "main", start=first, overwrite=True)
    with pytest.raises(Forbidden, match="Cannot delete refs/heads/main"):
        catalog.refs.delete_branch(alice, home, "main")
    with pytest.raises(RevisionNotFound):
        catalog.refs.create_branch(alice, home, "x", start="nope")
    for bad in ("refs/pr/1", "a..b", "", "x.lock", first):
        with pytest.raises(InvalidName, match="Invalid reference for a branch"):
            catalog.refs.create_branch(alice, home, bad)
    catalog.refs.create_branch(alice, home, "empty", empty=True)
    assert files_of(catalog, home, "empty") == {}
    commit(catalog, alice, home, {"f": b"1"}, revision="empty")
    assert set(files_of(catalog, home, "empty")) == {"f"}


def test_tags(catalog: Catalog, alice: Actor, home: Repo) -> None:
    catalog.refs.create_tag(alice, home, "v1", "main", "")
    with pytest.raises(Conflict, match="Tag reference refs/tags/v1 already exists"):
        catalog.refs.create_tag(alice, home, "v1", "main", "again")
    with pytest.raises(RevisionNotFound):
        catalog.refs.create_tag(alice, home, "v2", "nope", "")
    for what in (catalog.refs.delete_branch, catalog.refs.delete_tag):
        with pytest.raises(RevisionNotFound):
            what(alice, home, "v2")
        with pytest.raises(RevisionNotFound):
            what(alice, home, "v\0")
    with pytest.raises(RevisionNotFound):
        catalog.refs.delete_branch(alice, home, "v1")  # a tag is no branch
    with pytest.raises(RevisionNotFound):
        commit(catalog, alice, home, {"a": b"1"}, revision="v1")  # nor committed to
    catalog.refs.delete_tag(alice, home, "v1")


def test_refs_have_a_limit(
    catalog: Catalog, alice: Actor, home: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Branches and tags together, and pull requests apart."""
    monkeypatch.setattr(refs, "REFS_PER_REPO_MAX", 2)
    catalog.refs.create_branch(alice, home, "a")
    for n in range(2):
        commit(catalog, alice, home, {"a": b"%d" % n}, create_pr=True)
    for make in (
        lambda: catalog.refs.create_branch(alice, home, "b"),
        lambda: catalog.refs.create_tag(alice, home, "b", "main", ""),
        lambda: commit(catalog, alice, home, {"b": b"1"}, create_pr=True),
    ):
        with pytest.raises(BadRequest, match="at most 2 refs"):
            make()
    catalog.refs.create_branch(alice, home, "a", overwrite=True)
    assert catalog.discussions.page(home, 0)[0] == 2


# Files


def test_listings_of_folders(catalog: Catalog, alice: Actor, home: Repo) -> None:
    commit(catalog, alice, home, {"a/b/c": b"1", "a/d": b"22", "e": b"", "a-": b"x", "a0": b"x"})
    tree = catalog.refs.resolve(home, "main").tree

    def listed(folder: str | None = None, **more: object) -> list[str]:
        where = RepoPath(folder) if folder else None
        return [e.path for e in catalog.files.list(home, tree, where, **more)]  # type: ignore[arg-type]

    assert listed() == [".gitattributes", "a-", "a", "a0", "e"]
    assert listed(recursive=True) == [".gitattributes", "a-", "a", "a/b", "a/b/c", "a/d", "a0", "e"]
    assert listed("a") == ["a/b", "a/d"]
    assert listed("a", recursive=True) == ["a/b", "a/b/c", "a/d"]
    assert listed("a/d") == ["a/d"]
    assert listed("a/d", after="a/d") == []
    assert listed("a", after="a/b") == ["a/d"]
    assert listed(recursive=True, after="a/b", limit=2) == ["a/b/c", "a/d"]
    assert listed(recursive=True, after="a/c") == ["a/d", "a0", "e"]  # of a path that is gone
    assert listed(recursive=True, after="a/b/zz") == ["a/d", "a0", "e"]
    assert listed(after="zzz") == []
    for missing in ("b", "a/x", "a/d/e"):
        with pytest.raises(EntryNotFound):
            listed(missing)
        with pytest.raises(EntryNotFound):
            catalog.files.find(home, tree, RepoPath(missing))
    wanted = ["e", "nope", "a/", "a", "../x", "", "a/d", "\ud800", "e"]
    assert [e.path for e in catalog.files.paths(home, tree, wanted)] == ["e", "a", "a/d"]


def test_etags_and_sizes(catalog: Catalog, alice: Actor, home: Repo) -> None:
    oid = upload(catalog, alice, b"weights")
    link(catalog, alice, home, oid)
    commit(catalog, alice, home, {"text": b"hello\n"})
    found = files_of(catalog, home)
    assert (found["w.bin"].etag, found["w.bin"].size_bytes) == (oid, 7)
    assert found["text"].etag == "ce013625030ba8dba906f756967f9e9ca394464a"  # git's, of hello
    assert found["text"].size_bytes == 6


def test_discussions(catalog: Catalog, alice: Actor, home: Repo) -> None:
    bob = person(catalog, "bob")
    for number in range(3):
        commit(catalog, bob, home, {f"{number}": b"1"}, f"title {number}", create_pr=True)
    count, newest = catalog.discussions.page(home, 0)
    assert (count, [d.num for d in newest]) == (3, [3, 2, 1])
    one = catalog.discussions.find(home, 1)
    assert (one.title, one.status, one.is_pr, one.author.name) == ("title 0", "open", True, "bob")
    assert one.target_ref == "refs/heads/main"
    assert catalog.discussions.page(home, 1) == (3, [])
    assert catalog.discussions.page(home, -1)[1] == newest
    assert catalog.discussions.page(home, 10**30) == (3, [])
    for missing in (0, -1, 4, 2**31, 2**70):
        with pytest.raises(NotFound):
            catalog.discussions.find(home, missing)
    assert alice.name == "alice"
