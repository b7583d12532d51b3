"""Repos that come with their history: whole or not at all, forward only, with their bytes."""

from pathlib import Path

import pytest
from catalog_kit import commit, commit_lfs, contents_of, digest, files_of, person, repo
from sqlalchemy import select

from headwater.catalog import schema as s
from headwater.catalog.actors import OPERATOR
from headwater.catalog.catalog import Catalog
from headwater.catalog.git_lacking import Want
from headwater.catalog.git_quarantine import Limits
from headwater.catalog.git_verify import Brought
from headwater.catalog.imports import Arriving, Imported
from headwater.catalog.models import Repo
from headwater.errors import BadRequest, Conflict, Forbidden, HeadwaterError, NotFound
from headwater.formats.git_pack import PackFile
from headwater.formats.lfs_pointer import encode_pointer
from headwater.names import Digest, RepoId

LIMITS = Limits(10**6, 10**8)


def bring(
    catalog: Catalog,
    source: Repo,
    full: str,
    folder: Path,
    *,
    files: dict[Digest, int] | None = None,
    refs: dict[str, str] | None = None,
    private: bool = False,
    gated: str = "",
    gone: frozenset[Digest] = frozenset(),
    dry_run: bool = False,
) -> Imported:
    """Import the history of `source` under another name, as a bundle would."""
    history = catalog.exports.history(source)
    path = folder / "pack"
    with path.open("wb") as file:
        want = Want([target for _, target in history.refs])
        for piece in catalog.git_fetch.pack(source, want, folder):
            if isinstance(piece, bytes):
                file.write(piece)
    with path.open("rb") as file:
        arriving = Arriving(
            RepoId.parse(source.type, full),
            private,
            gated,
            None,
            dict(history.refs) if refs is None else refs,
            PackFile(file, 0),
            Brought(
                history.files if files is None else files,
                gone,
                frozenset() if gone else frozenset(history.texts),
            ),
            "test",
        )
        return catalog.imports.run(arriving, folder, LIMITS, dry_run=dry_run)


def refs_of(catalog: Catalog, where: Repo) -> list[tuple[str, str, str]]:
    return catalog.git_fetch.refs(where)


def audited(catalog: Catalog, action: str) -> int:
    with catalog.db.read() as conn:
        query = select(s.audit.c.id).where(s.audit.c.action == action)
        return len(conn.execute(query).all())


@pytest.fixture
def source(catalog: Catalog) -> Repo:
    ann = person(catalog, "ann")
    made = repo(catalog, ann, "ann/m")
    commit(catalog, ann, made, {"README.md": b"---\nlicense: mit\n---\n", "a/b.txt": b"b"})
    commit_lfs(catalog, ann, made, "w.bin", b"weights")
    catalog.refs.create_branch(ann, made, "dev")
    catalog.refs.create_tag(ann, made, "v1", "main", "first")
    return made


def test_a_copy_has_the_same_ids(catalog: Catalog, source: Repo, tmp_path: Path) -> None:
    done = bring(catalog, source, "ann/copy", tmp_path)
    assert (done.is_new, done.made, done.moved, done.kept) == (True, 3, 0, 0)
    made = catalog.repos.find(OPERATOR, "model", "ann/copy")
    assert refs_of(catalog, made) == refs_of(catalog, source)
    assert contents_of(catalog, made) == contents_of(catalog, source)
    assert made.tags == catalog.repos.find(OPERATOR, "model", "ann/m").tags
    assert catalog.blobs.in_repo(made, digest(b"weights")) == 7
    assert audited(catalog, "repo.import") == 1
    again = bring(catalog, source, "ann/copy", tmp_path)
    assert (again.is_new, again.made, again.moved, again.kept) == (False, 0, 0, 3)
    assert audited(catalog, "repo.import") == 1  # nothing changed


def test_only_forward(catalog: Catalog, source: Repo, tmp_path: Path) -> None:
    ann = person(catalog, "ann")
    bring(catalog, source, "ann/copy", tmp_path)
    commit(catalog, ann, source, {"new.txt": b"new"})
    assert bring(catalog, source, "ann/copy", tmp_path).moved == 1
    copy = catalog.repos.find(OPERATOR, "model", "ann/copy")
    commit(catalog, ann, copy, {"mine.txt": b"mine"})
    before = refs_of(catalog, copy)
    assert bring(catalog, source, "ann/copy", tmp_path).kept == 3  # the copy is ahead
    commit(catalog, ann, source, {"theirs.txt": b"theirs"})
    with pytest.raises(Conflict, match="another history"):
        bring(catalog, source, "ann/copy", tmp_path)
    catalog.refs.delete_tag(ann, source, "v1")
    catalog.refs.create_tag(ann, source, "v1", "main", "moved")
    only_tag = {n: t for n, t, _ in refs_of(catalog, source) if n == "refs/tags/v1"}
    mains = {n: t for n, t, _ in before if n == "refs/heads/main"}
    with pytest.raises(HeadwaterError):
        bring(catalog, source, "ann/copy", tmp_path, refs=only_tag | mains)
    assert refs_of(catalog, copy) == before


def test_bytes_must_come_along(catalog: Catalog, source: Repo, tmp_path: Path) -> None:
    """That the hub has them already, and that the operator could link them, is no reason (T1)."""
    with pytest.raises(BadRequest, match="was not uploaded"):
        bring(catalog, source, "ann/thief", tmp_path, files={})
    with pytest.raises(BadRequest, match="its pointer says"):
        bring(catalog, source, "ann/thief", tmp_path, files={digest(b"weights"): 8})
    with pytest.raises(NotFound):
        catalog.repos.find(OPERATOR, "model", "ann/thief")
    assert audited(catalog, "repo.import") == 0


def test_what_is_gone_comes_as_gone(catalog: Catalog, source: Repo, tmp_path: Path) -> None:
    gone = frozenset({digest(b"weights")})
    bring(catalog, source, "ann/copy", tmp_path, files={}, gone=gone)
    made = catalog.repos.find(OPERATOR, "model", "ann/copy")
    entry = files_of(catalog, made)["w.bin"]
    assert entry.lfs is not None
    assert entry.lfs.gone
    assert catalog.blobs.in_repo(made, digest(b"weights")) is None


def test_an_update_neither_restores_nor_takes_away(
    catalog: Catalog, source: Repo, tmp_path: Path
) -> None:
    """What was taken out for good here stays out; what is here stays, whatever a bundle says."""
    ann = person(catalog, "ann")
    bring(catalog, source, "ann/copy", tmp_path)
    bring(catalog, source, "ann/kept", tmp_path)
    copy = catalog.repos.find(OPERATOR, "model", "ann/copy")
    catalog.lfs_files.delete(ann, copy, [digest(b"weights")], rewrite=False)
    commit(catalog, ann, source, {"new.txt": b"new"})
    bring(catalog, source, "ann/copy", tmp_path)
    entry = files_of(catalog, copy)["w.bin"]
    assert "new.txt" in files_of(catalog, copy)
    assert entry.lfs is not None
    assert entry.lfs.gone
    assert catalog.blobs.in_repo(copy, digest(b"weights")) is None
    bring(catalog, source, "ann/kept", tmp_path, files={}, gone=frozenset({digest(b"weights")}))
    kept = catalog.repos.find(OPERATOR, "model", "ann/kept")
    entry = files_of(catalog, kept)["w.bin"]
    assert "new.txt" in files_of(catalog, kept)
    assert entry.lfs is not None
    assert not entry.lfs.gone


def test_a_lie_about_what_is_gone(catalog: Catalog, source: Repo, tmp_path: Path) -> None:
    """A second pointer to a file that is here, of another size: the file stays."""
    ann = person(catalog, "ann")
    bring(catalog, source, "ann/copy", tmp_path)
    commit(catalog, ann, source, {"w2.bin": encode_pointer(digest(b"weights"), 8)})
    bring(catalog, source, "ann/copy", tmp_path, gone=frozenset({digest(b"weights")}), files={})
    copy = catalog.repos.find(OPERATOR, "model", "ann/copy")
    found = files_of(catalog, copy)
    assert found["w.bin"].lfs is not None
    assert not found["w.bin"].lfs.gone


def test_names_settings_and_dry_runs(catalog: Catalog, source: Repo, tmp_path: Path) -> None:
    assert bring(catalog, source, "ann/copy", tmp_path, dry_run=True).is_new
    with pytest.raises(NotFound):
        catalog.repos.find(OPERATOR, "model", "ann/copy")
    with pytest.raises(NotFound, match="No user or organisation"):
        bring(catalog, source, "nobody/copy", tmp_path)
    bring(catalog, source, "ann/shut", tmp_path, private=True, gated="manual")
    shut = catalog.repos.find(OPERATOR, "model", "ann/shut")
    assert (shut.private, shut.gated) == (True, "manual")
    bring(catalog, source, "ann/open", tmp_path)
    for wider in ({"private": True}, {"gated": "auto"}):
        with pytest.raises(Conflict, match="in the bundle"):
            bring(catalog, source, "ann/open", tmp_path, **wider)  # type: ignore[arg-type]
    catalog.accounts.create("pond", "org", repos_private=True)
    bring(catalog, source, "pond/new", tmp_path)
    assert catalog.repos.find(OPERATOR, "model", "pond/new").private


def test_refs_that_may_not_be(catalog: Catalog, source: Repo, tmp_path: Path) -> None:
    main = {n: t for n, t, _ in refs_of(catalog, source)}["refs/heads/main"]
    for refs in (
        {},
        {"refs/heads/dev": main},
        {"refs/heads/main": "0" * 40},
        {"refs/heads/main": main, "refs/pr/1": main},
        {"refs/heads/main": main, "refs/heads/a..b": main},
        {"refs/heads/main": main, "refs/heads/main/x": main},
        {"refs/heads/main": main, "HEAD": main},
    ):
        with pytest.raises(HeadwaterError):
            bring(catalog, source, "ann/copy", tmp_path, refs=refs)
        with pytest.raises(NotFound):
            catalog.repos.find(OPERATOR, "model", "ann/copy")


def test_the_quarantined_neither_leave_nor_change(
    catalog: Catalog, source: Repo, tmp_path: Path
) -> None:
    bring(catalog, source, "ann/copy", tmp_path)
    with catalog.db.write() as conn:
        conn.execute(s.repo.update().where(s.repo.c.key == "ann/copy").values(disabled=True))
    copy = catalog.repos.find(OPERATOR, "model", "ann/copy")
    with pytest.raises(Forbidden, match="quarantined"):
        catalog.exports.history(copy)
    with pytest.raises(Forbidden, match="disabled"):
        bring(catalog, source, "ann/copy", tmp_path)
