"""Large files out of a repo for good: the history without them is git's, and the bytes go."""

import json
import threading
from collections.abc import Callable

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
from real_git import bare_repository
from sqlalchemy import insert, select, update

from headwater.catalog import rewrite
from headwater.catalog import schema as s
from headwater.catalog import schema_social as so
from headwater.catalog.actors import Actor
from headwater.catalog.catalog import Catalog
from headwater.catalog.git import NewObject, object_id
from headwater.catalog.lfs_files import LfsFile
from headwater.catalog.models import Repo
from headwater.errors import BadRequest, Forbidden, RepoNotFound, Unprocessable
from headwater.formats.lfs_pointer import encode_pointer
from headwater.names import GitOid

LATER_MS = 10**15
BAD, GOOD = b"secret weights", b"good weights"


@pytest.fixture
def home(catalog: Catalog, alice: Actor) -> Repo:
    """A history with the bad file in the middle, a branch, tags of both kinds, a pull request."""
    made = repo(catalog, alice, "alice/m")
    commit(catalog, alice, made, {"README.md": b"# hi"}, "before")
    catalog.refs.create_tag(alice, made, "clean", "main", "says before")
    commit_lfs(catalog, alice, made, "deep/er/bad.bin", BAD)
    catalog.refs.create_tag(alice, made, "v1", "main", "annotated")
    catalog.refs.create_tag(alice, made, "light", "main", "")
    commit_lfs(catalog, alice, made, "good.bin", GOOD)
    catalog.refs.create_branch(alice, made, "dev")
    link(catalog, alice, made, digest(BAD), "again.bin")
    commit(catalog, alice, made, {"deep/er/bad.bin": None}, "too late")
    commit(catalog, alice, made, {"pr": b"1"}, create_pr=True)
    return made


def refs_of(catalog: Catalog, where: Repo) -> dict[str, str]:
    query = select(s.ref.c.name, s.ref.c.target).where(s.ref.c.repo_id == where.id)
    with catalog.db.read() as conn:
        return {row.name: row.target for row in conn.execute(query)}


def page(catalog: Catalog, where: Repo) -> list[LfsFile]:
    """All of the listing, by pages of one."""
    found: list[LfsFile] = []
    while True:
        after = (found[-1].pushed_ms, found[-1].oid) if found else None
        rows = catalog.lfs_files.page(where, after, 1)
        if not rows:
            return found
        found += rows


def actions(catalog: Catalog) -> list[str]:
    with catalog.db.read() as conn:
        return list(conn.execute(select(s.audit.c.action).order_by(s.audit.c.id)).scalars())


def test_every_file_is_listed_with_a_name(catalog: Catalog, alice: Actor, home: Repo) -> None:
    commit(catalog, alice, home, {"good.bin": None}, "only in the history now")
    found = {file.oid: file for file in page(catalog, home)}
    assert set(found) == {digest(BAD), digest(GOOD)}
    assert found[digest(BAD)].path == "again.bin"
    assert found[digest(BAD)].ref == "refs/heads/main"
    assert found[digest(GOOD)].path == "good.bin"
    assert found[digest(GOOD)].ref == "refs/heads/dev"
    assert found[digest(GOOD)].size_bytes == len(GOOD)
    whole = catalog.lfs_files.page(home, None, 9)
    assert whole == page(catalog, home)
    assert [f.pushed_ms for f in whole] == sorted((f.pushed_ms for f in whole), reverse=True)


def test_a_file_that_only_history_holds_is_named(catalog: Catalog, alice: Actor) -> None:
    where = repo(catalog, alice, "alice/n")
    commit_lfs(catalog, alice, where, "old/w.bin", b"old")
    commit(catalog, alice, where, {"old/w.bin": None}, "gone")
    (only,) = page(catalog, where)
    assert (only.path, only.ref) == ("old/w.bin", "refs/heads/main")


def test_rewriting_takes_it_out_of_every_ref(catalog: Catalog, alice: Actor, home: Repo) -> None:
    before = refs_of(catalog, home)
    messages = [
        c.message for c in catalog.history.list(home, GitOid(before["refs/heads/main"]), 99)
    ]
    done = catalog.lfs_files.delete(alice, home, [digest(BAD)], rewrite=True)
    assert done.files == 1
    after = refs_of(catalog, home)
    assert after["refs/tags/clean"] == before["refs/tags/clean"]  # untouched: the same id
    assert {name for name in after if after[name] != before[name]} == set(after) - {
        "refs/tags/clean"
    }
    for name in after:
        assert not {"deep/er/bad.bin", "again.bin"} & set(contents_of(catalog, home, name))
    assert set(contents_of(catalog, home)) == {".gitattributes", "README.md", "good.bin"}
    main = catalog.refs.resolve(home, "main").commit
    history = catalog.history.list(home, main, 99)
    assert [c.message for c in history] == messages
    assert catalog.blobs.in_repo(home, digest(BAD)) is None
    assert catalog.blobs.in_repo(home, digest(GOOD)) == len(GOOD)
    catalog.sweep.sweep_objects(home.id, LATER_MS)
    with bare_repository() as git:
        git.take(catalog, home)
        git.point(after)
        git("fsck", "--strict", "--full")
        assert git("tag", "-l", "--format=%(contents:subject)", "v1").strip() == b"annotated"
        assert git("cat-file", "-t", after["refs/tags/v1"]).strip() == b"tag"
        assert b"bad.bin" not in git("log", "--all", "--name-only", "--format=")
        assert git("rev-parse", "v1^{commit}") == git("rev-parse", "light")
    with catalog.db.read() as conn:
        assert conn.execute(select(s.withdrawn)).all() == []  # nothing names it any more
    assert catalog.sweep.dead_blobs(LATER_MS) == [digest(BAD)]


def test_rewriting_tells_and_records(catalog: Catalog, alice: Actor, home: Repo) -> None:
    before = refs_of(catalog, home)
    catalog.lfs_files.delete(alice, home, [digest(BAD)], rewrite=True)
    with catalog.db.read() as conn:
        payload = conn.execute(select(s.event.c.payload).order_by(s.event.c.id.desc())).scalars()
        told = {u["ref"]: u for u in json.loads(str(payload.first()))["updatedRefs"]}
    assert set(told) == set(before) - {"refs/tags/clean"}
    assert told["refs/heads/main"]["oldSha"] == before["refs/heads/main"]
    assert told["refs/heads/main"]["newSha"] == refs_of(catalog, home)["refs/heads/main"]
    assert actions(catalog)[-1] == "lfs.delete"
    count = len(actions(catalog))
    assert catalog.lfs_files.delete(alice, home, [digest(BAD)], rewrite=True).files == 0
    assert len(actions(catalog)) == count  # nothing happened, nothing is recorded


def test_without_rewriting_the_content_is_gone(catalog: Catalog, alice: Actor, home: Repo) -> None:
    before = refs_of(catalog, home)
    done = catalog.lfs_files.delete(alice, home, [digest(BAD), digest(b"?")], rewrite=False)
    assert (done.files, done.commits) == (1, 0)
    assert refs_of(catalog, home) == before
    files = files_of(catalog, home)
    bad, good = files["again.bin"].lfs, files["good.bin"].lfs
    assert bad is not None
    assert good is not None
    assert (bad.gone, good.gone) == (True, False)
    assert catalog.blobs.in_repo(home, digest(BAD)) is None
    with pytest.raises(BadRequest):
        link(catalog, alice, home, digest(BAD), "more.bin")
    assert [f.oid for f in page(catalog, home)] == [digest(GOOD)]
    catalog.sweep.sweep_objects(home.id, LATER_MS)
    assert files_of(catalog, home)["again.bin"] == files["again.bin"]
    assert catalog.sweep.dead_blobs(LATER_MS) == [digest(BAD)]
    later = catalog.lfs_files.delete(alice, home, [digest(BAD)], rewrite=True)  # after all
    assert later.files == 1
    assert "again.bin" not in contents_of(catalog, home)


def test_the_same_bytes_come_back(catalog: Catalog, alice: Actor, home: Repo) -> None:
    catalog.lfs_files.delete(alice, home, [digest(BAD)], rewrite=False)
    upload(catalog, alice, BAD)
    link(catalog, alice, home, digest(BAD), "back.bin")
    for path in ("back.bin", "again.bin"):
        lfs = files_of(catalog, home)[path].lfs
        assert lfs is not None
        assert not lfs.gone


def test_other_repos_keep_theirs(catalog: Catalog, alice: Actor, home: Repo) -> None:
    other = repo(catalog, alice, "alice/other")
    link(catalog, alice, other, digest(BAD))
    catalog.lfs_files.delete(alice, home, [digest(BAD)], rewrite=True)
    assert catalog.blobs.in_repo(other, digest(BAD)) == len(BAD)
    catalog.sweep.sweep_objects(other.id, LATER_MS)
    catalog.sweep.sweep_objects(home.id, LATER_MS)
    assert catalog.sweep.dead_blobs(LATER_MS) == []


def test_a_pointer_that_is_text_is_no_file(catalog: Catalog, alice: Actor, home: Repo) -> None:
    """The text of a foreign pointer, committed as an ordinary file, is neither followed nor cut."""
    text = encode_pointer(digest(b"elsewhere"), 9)
    commit(catalog, alice, home, {"text": text})
    assert catalog.lfs_files.delete(alice, home, [digest(b"elsewhere")], rewrite=True).files == 0
    assert contents_of(catalog, home)["text"] == text


def test_merges_and_signatures(catalog: Catalog, alice: Actor, home: Repo) -> None:
    """Commits that git made: two parents, a signature, an unknown header."""
    dev, main = (catalog.refs.resolve(home, r) for r in ("dev", "main"))
    body = (
        f"tree {dev.tree}\nparent {main.commit}\nparent {dev.commit}\n"
        "author A Ü <a@x> 1700000000 +0130\ncommitter B <b@x> 1700000001 -0800\n"
        "gpgsig -----BEGIN PGP SIGNATURE-----\n \n s1gn3d\n -----END PGP SIGNATURE-----\n"
        "encoding ISO-8859-1\n\nmerge\n\nbody\n"
    ).encode()
    merge = NewObject(object_id("commit", body), "commit", body)
    tag_body = (
        f"object {merge.oid}\ntype commit\ntag s\ntagger A <a@x> 1700000000 +0000\n\nsigned\n"
        "-----BEGIN PGP SIGNATURE-----\ns1gn3d\n-----END PGP SIGNATURE-----\n"
    ).encode()
    tag = NewObject(object_id("tag", tag_body), "tag", tag_body)
    outer_body = f"object {tag.oid}\ntype tag\ntag o\ntagger A <a@x> 17 +0000\n\nouter\n".encode()
    outer = NewObject(object_id("tag", outer_body), "tag", outer_body)
    with catalog.db.write() as conn:
        catalog.git.put(conn, home.id, [merge, tag, outer])
        refs = {"refs/heads/merged": merge, "refs/tags/o": outer}  # which alone leads to `tag`
        for name, target in ((name, new.oid) for name, new in refs.items()):
            conn.execute(
                insert(s.ref).values(
                    repo_id=home.id, name=name, target=target, commit=merge.oid, updated_ms=0
                )
            )
        conn.execute(update(so.discussion).values(merge_commit=merge.oid, base_commit=main.commit))
    catalog.lfs_files.delete(alice, home, [digest(BAD)], rewrite=True)
    after = refs_of(catalog, home)
    catalog.sweep.sweep_objects(home.id, LATER_MS)
    with bare_repository() as git:
        git.take(catalog, home)
        git.point(after)
        git("fsck", "--strict", "--full")
        raw = git("cat-file", "commit", "merged").decode("utf-8")
        parents = git("rev-parse", "main", "dev").decode().split()
        assert raw.splitlines()[1:3] == [f"parent {parent}" for parent in parents]
        assert "gpgsig" not in raw
        assert "s1gn3d" not in raw
        assert raw.endswith(
            "author A Ü <a@x> 1700000000 +0130\ncommitter B <b@x> 1700000001 -0800\n"
            "encoding ISO-8859-1\n\nmerge\n\nbody\n"
        )
        inner = git("cat-file", "tag", "o").decode().partition("\n")[0].removeprefix("object ")
        signed = git("cat-file", "tag", inner).decode()
        assert signed.endswith("\n\nsigned\n")
        assert git("rev-parse", "o^{commit}") == git("rev-parse", "merged")
    with catalog.db.read() as conn:
        row = conn.execute(select(so.discussion)).one()
    assert row.merge_commit == after["refs/heads/merged"]
    assert row.base_commit == after["refs/heads/main"]


def test_a_commit_that_comes_between_is_rewritten_too(
    catalog: Catalog, alice: Actor, home: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The long walk is outside the lock; what was committed meanwhile is looked at inside."""
    real = catalog.db.write

    def write() -> object:
        monkeypatch.undo()
        link(catalog, alice, home, digest(BAD), "between.bin")
        commit(catalog, alice, home, {"also": b"new"})
        return real()

    monkeypatch.setattr(catalog.db, "write", write)
    catalog.lfs_files.delete(alice, home, [digest(BAD)], rewrite=True)
    assert set(contents_of(catalog, home)) == {".gitattributes", "README.md", "good.bin", "also"}


def test_a_history_that_is_too_long_is_refused_whole(
    catalog: Catalog, alice: Actor, home: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = refs_of(catalog, home)
    for name in ("COMMITS_MAX", "ROWS_MAX", "NEW_BYTES_MAX"):
        with monkeypatch.context() as patched:
            patched.setattr(rewrite, name, 3)
            with pytest.raises(Unprocessable, match="too long"):
                catalog.lfs_files.delete(alice, home, [digest(BAD)], rewrite=True)
    assert refs_of(catalog, home) == before
    assert catalog.blobs.in_repo(home, digest(BAD)) == len(BAD)


def test_a_repo_that_was_nothing_else_is_empty(catalog: Catalog, alice: Actor, home: Repo) -> None:
    catalog.refs.create_branch(alice, home, "bare", empty=True)
    upload(catalog, alice, BAD)
    commit_lfs(catalog, alice, home, "a/b/c.bin", BAD, "bare")
    catalog.lfs_files.delete(alice, home, [digest(BAD)], rewrite=True)
    assert contents_of(catalog, home, "bare") == {}
    with bare_repository() as git:
        git.take(catalog, home)
        git.point(refs_of(catalog, home))
        git("fsck", "--strict", "--full")


def test_rights(catalog: Catalog, alice: Actor, home: Repo) -> None:
    for actor, error in (
        (person(catalog, "eve"), Forbidden),
        (person(catalog, "alice", "read"), Forbidden),
    ):
        with pytest.raises(error):
            catalog.lfs_files.delete(actor, home, [digest(BAD)], rewrite=False)
    catalog.repos.set(alice, "model", home.full, private=True)
    with pytest.raises(RepoNotFound):
        catalog.lfs_files.delete(person(catalog, "eve"), home, [digest(BAD)], rewrite=False)
    assert catalog.blobs.in_repo(home, digest(BAD)) == len(BAD)


def test_everybody_at_once(catalog: Catalog, alice: Actor, home: Repo) -> None:
    """Commits, squashes, deletions and gc without grace, each in its thread: nothing is lost."""
    rounds = 12
    failures: list[Exception] = []

    def repeat(work: Callable[[int], object]) -> None:
        try:
            for number in range(rounds):
                work(number)
        except Exception as error:  # shown by the test itself
            failures.append(error)

    def small(number: int) -> None:
        while True:
            try:
                commit(catalog, alice, home, {f"s/{number}": b"%d" % number})
                return
            except BadRequest:
                continue  # gc without grace took what was staged: the client sends it again

    works: list[Callable[[int], object]] = [
        small,
        lambda n: commit_lfs(catalog, alice, home, f"l/{n}.bin", b"large %d" % n),
        lambda n: catalog.squash.apply(alice, home, "main", f"squash {n}"),
        lambda n: catalog.lfs_files.delete(alice, home, [digest(BAD)], rewrite=n % 2 == 0),
        lambda n: commit_lfs(catalog, alice, home, "bad.bin", BAD),
        lambda n: catalog.sweep.sweep_objects(home.id, LATER_MS),
    ]
    threads = [threading.Thread(target=repeat, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    catalog.sweep.sweep_objects(home.id, LATER_MS)
    catalog.lfs_files.delete(alice, home, [digest(BAD)], rewrite=True)
    catalog.sweep.sweep_objects(home.id, LATER_MS)
    files = contents_of(catalog, home)
    assert {path: data for path, data in files.items() if path[:2] == "s/"} == {
        f"s/{n}": b"%d" % n for n in range(rounds)
    }
    assert {path for path in files if path[:2] == "l/"} == {f"l/{n}.bin" for n in range(rounds)}
    for n in range(rounds):
        assert catalog.blobs.in_repo(home, digest(b"large %d" % n))
    assert catalog.blobs.in_repo(home, digest(BAD)) is None
    with bare_repository() as git:
        git.take(catalog, home)
        git.point(refs_of(catalog, home))
        git("fsck", "--strict", "--full")
