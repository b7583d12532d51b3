"""Git objects: what was put comes back, or Corrupt does; never anything else."""

import zlib
from contextlib import suppress

import pytest
from catalog_kit import commit, commit_lfs, contents_of, digest, files_of, person, repo
from dulwich.objects import ObjectID, Tree
from hypothesis import example, given
from hypothesis import strategies as st
from real_git import bare_repository
from sqlalchemy import select, update

from headwater.catalog import commits
from headwater.catalog import schema as s
from headwater.catalog.catalog import Catalog
from headwater.catalog.clock import now_ms
from headwater.catalog.commits import Plan, PutFile
from headwater.catalog.git import (
    MESSAGE_BYTES_MAX,
    MODE_EXEC,
    MODE_FILE,
    MODE_TREE,
    GitObjects,
    NewObject,
    TreeRow,
    checked_message,
    new_blob,
    new_commit,
    new_tree,
    verified,
)
from headwater.catalog.inspection import Problem, inspect
from headwater.catalog.models import Repo
from headwater.errors import BadRequest, Corrupt, HeadwaterError, NotFound, TooLarge
from headwater.names import GitOid, RepoPath
from headwater.store import Store

CONTENT = b"a small file, kept as zlib of its bytes"


@pytest.fixture
def home(catalog: Catalog) -> Repo:
    alice = person(catalog, "alice")
    made = repo(catalog, alice, "alice/m")
    commit(catalog, alice, made, {"f": CONTENT, "folder/g": b"x"})
    return made


def stored(catalog: Catalog, oid: str) -> bytes:
    with catalog.db.read() as conn:
        query = select(s.git_object.c.data).where(s.git_object.c.oid == oid)
        return bytes(conn.execute(query).scalar_one())


def overwrite(catalog: Catalog, oid: str, **values: object) -> None:
    with catalog.db.write() as conn:
        conn.execute(update(s.git_object).where(s.git_object.c.oid == oid).values(**values))


def problems(catalog: Catalog, store: Store, *, data: bool = True) -> list[Problem]:
    return list(inspect(catalog.db, catalog.git, store, data=data))


def test_a_flipped_bit_never_gives_wrong_bytes(
    catalog: Catalog, home: Repo, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Every byte of a stored object in turn: reading raises, or the bytes are right."""
    entry = files_of(catalog, home)["f"]
    good = stored(catalog, entry.oid)
    store = Store.open(tmp_path_factory.mktemp("store"))
    assert problems(catalog, store) == []
    for offset in range(len(good)):
        bad = bytearray(good)
        bad[offset] ^= 1 << offset % 8
        overwrite(catalog, entry.oid, data=bytes(bad))
        heard = ""
        try:
            assert catalog.files.read(home, entry) == CONTENT
        except Corrupt as error:
            heard = error.message
        if heard and offset % 8 == 0:
            (found,) = problems(catalog, store)
            assert found == Problem("alice/m", heard)
            assert entry.oid in heard
    # Well-formed, of the right length, and another file: only the hash can tell.
    overwrite(catalog, entry.oid, data=zlib.compress(CONTENT[::-1]))
    with pytest.raises(Corrupt):
        catalog.files.read(home, entry)
    overwrite(catalog, entry.oid, data=good)
    assert catalog.files.read(home, entry) == CONTENT
    assert problems(catalog, store) == []


@given(st.data())
def test_any_damage_is_noticed(data: st.DataObject) -> None:
    """Cut, lengthened or wholly other data: `verified` gives the very bytes or raises."""
    body = data.draw(st.binary(max_size=200))
    new = new_blob(body)
    good = zlib.compress(body, 1)
    damaged = data.draw(
        st.binary(max_size=60)
        | st.integers(0, len(good)).map(lambda n: good[:n])
        | st.binary(max_size=9).map(lambda more: good + more)
        | st.just(zlib.compress(body + b"\0"))
    )
    with suppress(Corrupt):
        assert verified(new.oid, "blob", len(body), damaged) == body


def test_a_bomb_is_cut_short() -> None:
    """A row whose data unpacks to more than it says is Corrupt, at the cost of what it says."""
    bomb = zlib.compress(b"\0" * 10_000_000)
    with pytest.raises(Corrupt):
        verified(GitOid("0" * 40), "blob", 10, bomb)


@pytest.mark.parametrize("kind", ["tree", "commit"])
def test_rotten_names_are_corrupt_and_found(
    catalog: Catalog, home: Repo, kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Rot in a tree or commit stops the reader and the check, in a process that starts anew."""
    revision = catalog.refs.resolve(home, "main")
    oid = revision.tree if kind == "tree" else revision.commit
    overwrite(catalog, oid, data=b"rot")
    catalog.git = GitObjects(catalog.db)
    catalog.refs.git = catalog.files.git = catalog.git
    with pytest.raises(Corrupt):
        catalog.files.find(home, catalog.refs.resolve(home, "main").tree, RepoPath("f"))
    store = Store.open(tmp_path_factory.mktemp("store"))
    for data in (True, False):
        assert [oid in found.what for found in problems(catalog, store, data=data)] == [True]


def test_an_object_of_another_kind_is_not_found(catalog: Catalog, home: Repo) -> None:
    tree = catalog.refs.resolve(home, "main").tree
    with catalog.db.read() as conn:
        for oid, kind in ((tree, "commit"), (tree, "blob"), ("0" * 40, "tree")):
            with pytest.raises(NotFound):
                catalog.git.read(conn, home.id, oid, kind)


def test_objects_belong_to_their_repo(catalog: Catalog, home: Repo) -> None:
    """An id that another repo holds is nothing here, even staged for a commit."""
    alice = person(catalog, "alice")
    other = repo(catalog, alice, "alice/other")
    oid = files_of(catalog, home)["f"].oid
    with catalog.db.read() as conn, pytest.raises(NotFound):
        catalog.git.read(conn, other.id, oid, "blob")
    for foreign in (oid, catalog.refs.resolve(other, "main").tree, GitOid("0" * 40)):
        plan = Plan("main", (PutFile(RepoPath("f"), foreign),), "x")
        with pytest.raises(BadRequest, match="did not arrive"):
            catalog.commits.apply(alice, other, plan)


def test_a_repo_named_again_does_not_see_what_was(catalog: Catalog, home: Repo) -> None:
    """A deleted repo's objects, ids and cache entries never come back under its name."""
    alice = person(catalog, "alice")
    before = catalog.refs.resolve(home, "main")
    catalog.repos.delete(alice, "model", "alice/m")
    after = repo(catalog, alice, "alice/m")
    assert after.id != home.id
    for revision in (before.commit, "dev"):
        with pytest.raises(NotFound):
            catalog.refs.resolve(after, revision)
    assert set(contents_of(catalog, after)) == {".gitattributes"}


names = st.text(
    st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=6
).filter(lambda name: name not in (".", "..") and name.lower() != ".git")


@given(st.dictionaries(names, st.sampled_from([MODE_FILE, MODE_EXEC, MODE_TREE]), max_size=12))
@example({"a": MODE_TREE, "a-b": MODE_FILE, "a.b": MODE_TREE, "a0": MODE_FILE, "é": MODE_EXEC})
def test_trees_are_ordered_as_git_orders_them(modes: dict[str, int]) -> None:
    """dulwich, another implementation, makes the same bytes of the same rows."""
    oid = GitOid("ab" * 20)
    theirs = Tree()
    for name, mode in modes.items():
        theirs.add(name.encode(), mode, ObjectID(oid.encode()))
    ours = new_tree(TreeRow(name, mode, oid) for name, mode in modes.items())
    assert ours.body == theirs.as_raw_string()
    assert ours.oid == theirs.id.decode()


def test_commits_are_those_git_would_make() -> None:
    """`git commit-tree` with the same facts comes to the same id."""
    with bare_repository() as git:
        tree = GitOid(git("mktree", stdin=b"").decode().strip())
        ours = new_commit(tree, [], "subject\n\nbody é\n", "alice", 1_700_000_000)
        assert (
            git("hash-object", "-t", "commit", "--stdin", "-w", stdin=ours.body).decode().strip()
            == ours.oid
        )
        shown = git("log", "-1", "--format=%an|%ae|%at|%s|%b", ours.oid).decode().strip()
        assert shown == "alice|alice@users.noreply.headwater|1700000000|subject|body é"


def test_messages_that_git_could_not_keep(catalog: Catalog, home: Repo) -> None:
    alice = person(catalog, "alice")
    head = catalog.refs.resolve(home, "main").commit
    for message in ("a\0b", "\ud800", "x" * (MESSAGE_BYTES_MAX + 1)):
        with pytest.raises(BadRequest):
            commit(catalog, alice, home, {"new": b"x"}, message)
        with pytest.raises(BadRequest):
            catalog.refs.create_tag(alice, home, "v1", "main", message)
    assert catalog.refs.resolve(home, "main").commit == head
    assert checked_message("x" * MESSAGE_BYTES_MAX)
    for message in ("", "\u202e right to left", "\x1b[31m", "line\r\nline"):
        made = commit(catalog, alice, home, {"new": message.encode() + b"!"}, message)
        (info,) = catalog.history.list(home, made.oid, 1)
        assert info.message == message


def test_large_objects_are_refused_before_they_are_kept(catalog: Catalog, home: Repo) -> None:
    """What could not be read back must not be written."""

    class Long(bytes):
        def __len__(self) -> int:
            return 2**40

    with catalog.db.write() as conn, pytest.raises(TooLarge):
        catalog.git.put(conn, home.id, [NewObject(GitOid("0" * 40), "blob", Long())])


def test_times_of_a_branch_never_run_backwards(
    catalog: Catalog, home: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = person(catalog, "alice")
    past = now_ms() - 86_400_000
    monkeypatch.setattr(commits, "now_ms", lambda: past)
    made = commit(catalog, alice, home, {"f": b"later, says the branch"})
    later, earlier = catalog.history.list(home, made.oid, 2)
    assert later.at_ms >= earlier.at_ms


def test_attachments_that_are_lost_are_found(
    catalog: Catalog, home: Repo, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """What a comment shows is promised as much as what a repo holds."""
    store = Store.open(tmp_path_factory.mktemp("store"))
    alice = person(catalog, "alice")
    made = catalog.attachments.add(alice, digest(b"picture"), 7, "image/png")
    (missing,) = problems(catalog, store)
    assert missing.where == f"uploads/{made.id}"
    assert "missing from the store" in missing.what
    with store.write_plain() as writer:
        writer.write(b"picture")
        writer.finish()
    assert problems(catalog, store) == []
    assert home.full == "alice/m"


def test_pointers_are_checked_against_what_the_catalog_says(
    catalog: Catalog, home: Repo, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """`check` finds a row that would serve other bytes than its pointer names, and lost blobs."""
    alice = person(catalog, "alice")
    commit_lfs(catalog, alice, home, "w.bin", b"weights")
    store = Store.open(tmp_path_factory.mktemp("store"))
    (missing,) = problems(catalog, store)
    assert "missing from the store" in missing.what
    with store.write_plain(7) as writer:
        writer.write(b"weights")
        writer.finish(digest(b"weights"), 7)
    assert problems(catalog, store) == []
    entry = files_of(catalog, home)["w.bin"]
    overwrite(catalog, entry.oid, lfs_oid="ab" * 32)
    found = " / ".join(problem.what for problem in problems(catalog, store, data=False))
    assert "name different bytes" in found
    assert "not linked" in found
    with catalog.db.write() as conn:
        conn.execute(s.git_object.delete().where(s.git_object.c.oid == entry.oid))
    assert [p.what for p in problems(catalog, store)] == [
        f"git object {entry.oid} is missing; restore it from a backup"
    ]
    with pytest.raises(HeadwaterError):
        files_of(catalog, home)
