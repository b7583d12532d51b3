"""A family leaves one hub and arrives in another: the same commits, the same bytes, once each."""

import subprocess
from pathlib import Path

import pytest
from bundle_kit import (
    contents,
    find,
    hub,
    into,
    make_repo,
    members,
    moved,
    out,
    problems,
    put,
    put_large,
    refs_of,
    repo_names,
    safetensors,
    weights,
)

from headwater.app import Floors
from headwater.bundle.exporting import export
from headwater.catalog.actors import OPERATOR
from headwater.catalog.models import Repo
from headwater.catalog.plans import Plan, PutLfs
from headwater.errors import Conflict, Corrupt, Forbidden, NotFound, Unavailable
from headwater.formats.xet_hash import chunk_hash, file_hash, xorb_hash
from headwater.formats.xet_shard import Term
from headwater.formats.xorb import encode_chunk
from headwater.names import Digest, RepoId, RepoPath

NAMES = (("ann/base", "model"), ("ann/child", "model"), ("ann/notes", "dataset"))


def test_a_family_arrives_whole(source: Floors, bundle: Path, target: Floors) -> None:
    """Same commit ids, same bytes, sound in every part; the bundle is as small as the store."""
    report = into(target, bundle)
    assert [repo.is_new for repo in report.repos] == [True, True, True]
    for full, type in NAMES:
        old, new = find(source, full, type), find(target, full, type)
        assert refs_of(target, new) == refs_of(source, old)
        assert contents(target, new) == contents(source, old)
        assert (new.card, new.tags, new.private) == (old.card, old.tags, old.private)
    dev = contents(target, find(target, "ann/child"), "dev")
    assert dev["c.txt"] == b"only in dev"
    assert problems(target) == []
    stored = sum(
        path.stat().st_size for path in source.store.root.rglob("*") if path.suffix in
        (".packed", ".plain", ".tensor")
    )  # fmt: skip
    assert bundle.stat().st_size < stored + 100_000
    suffixes = {Path(name).suffix for name, _ in members(bundle)}
    assert {".packed", ".plain", ".tensor", ".bundle"} <= suffixes


def test_deltas_arrive_as_deltas(bundle: Path, target: Floors) -> None:
    into(target, bundle)
    child = find(target, "ann/child")
    tree = target.catalog.refs.resolve(child, "main").tree
    (entry,) = [e for e in target.catalog.files.list(child, tree) if e.path == "model.safetensors"]
    assert entry.lfs is not None
    usage = target.store.usage(entry.lfs.oid)
    assert usage is not None
    assert usage.means["delta"] > 0.9 * usage.raw_bytes


def test_git_reads_the_histories(source: Floors, bundle: Path, tmp_path: Path) -> None:
    """tar and git open a bundle without us, and fsck finds nothing."""
    subprocess.run(["tar", "-xf", bundle, "-C", tmp_path], check=True)
    done = subprocess.run(
        ["sha256sum", "--strict", "-c", "manifest.sha256"], cwd=tmp_path, capture_output=True
    )
    assert done.returncode == 0
    clone = tmp_path / "clone"
    quiet = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_LFS_SKIP_SMUDGE": "1", "PATH": "/usr/bin:/bin"}
    subprocess.run(
        ["git", "-c", "filter.lfs.required=false", "clone", "-q", tmp_path / "git/1.bundle", clone],
        check=True, env=quiet,
    )  # fmt: skip
    fsck = subprocess.run(
        ["git", "fsck", "--strict"], cwd=clone, env=quiet, capture_output=True, text=True
    )
    assert (fsck.returncode, fsck.stdout) == (0, "")
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=clone, env=quiet, capture_output=True)
    wanted = source.catalog.refs.head(find(source, "ann/child"))
    assert head.stdout.decode().strip() == wanted
    assert (clone / "folder/deep/a.txt").read_bytes() == b"a"


def test_a_dry_run_says_all_and_keeps_nothing(bundle: Path, target: Floors) -> None:
    report = into(target, bundle, dry_run=True)
    assert [(str(repo.rid), repo.is_new) for repo in report.repos] == [
        ("ann/base", True), ("ann/child", True), ("datasets/ann/notes", True),
    ]  # fmt: skip
    assert repo_names(target) == set()
    assert list(target.store.blobs()) == []
    assert list(target.store.root.rglob("*.tensor")) == []
    assert list((target.store.root / "tmp").iterdir()) == []


def test_twice_is_once(bundle: Path, target: Floors) -> None:
    into(target, bundle)
    before = sorted(path for path in target.store.root.rglob("*") if path.is_file())
    report = into(target, bundle)
    assert [(repo.is_new, repo.made, repo.moved) for repo in report.repos] == [(False, 0, 0)] * 3
    assert sorted(path for path in target.store.root.rglob("*") if path.is_file()) == before
    assert problems(target) == []


def test_a_later_bundle_goes_forward_and_an_older_one_changes_nothing(tmp_path: Path) -> None:
    a, b = hub(tmp_path / "a", "ann"), hub(tmp_path / "b", "ann")
    repo = make_repo(a, "ann/m")
    out(a, [repo], tmp_path / "1.tar")
    put(a, repo, {"new.txt": b"new"})
    out(a, [repo], tmp_path / "2.tar")
    into(b, tmp_path / "1.tar")
    (done,) = into(b, tmp_path / "2.tar").repos
    assert (done.is_new, done.moved) == (False, 1)
    (done,) = into(b, tmp_path / "1.tar").repos
    assert (done.moved, done.kept) == (0, 1)
    here = find(b, "ann/m")
    assert contents(b, here)["new.txt"] == b"new"
    put(b, here, {"mine.txt": b"mine"})
    put(a, repo, {"theirs.txt": b"theirs"})
    out(a, [repo], tmp_path / "3.tar")
    with pytest.raises(Conflict, match="another history"):
        into(b, tmp_path / "3.tar")
    into(b, tmp_path / "3.tar", target="ann/other")
    assert contents(b, find(b, "ann/other"))["theirs.txt"] == b"theirs"
    assert problems(b) == []
    a.close()
    b.close()


def test_where_it_may_go(bundle: Path, target: Floors) -> None:
    target.catalog.accounts.create("lab", "org")
    with pytest.raises(NotFound, match="No user or organisation"):
        into(target, bundle, target="nobody")
    into(target, bundle, target="lab")
    assert repo_names(target) == {"lab/base", "lab/child", "lab/notes"}


def test_a_private_base_does_not_leave_with_its_child(tmp_path: Path) -> None:
    """Deltas against what is not exported become whole tensors: no byte of the base is inside."""
    a, b = hub(tmp_path / "a", "ann"), hub(tmp_path / "b", "ann")
    base = make_repo(a, "ann/secret", private=True)
    child = make_repo(a, "ann/open", base="ann/secret")
    first = {f"layer.{n}": weights(n) for n in range(2)}
    oid = put_large(a, base, "m.safetensors", safetensors(first))
    second = {name: moved(values, 3) for name, values in first.items()}
    tuned = put_large(a, child, "m.safetensors", safetensors(second), oid)
    usage = a.store.usage(tuned)
    assert usage is not None
    assert usage.means.get("delta")
    of_base = a.store.usage(oid)
    assert of_base is not None
    out(a, [child], tmp_path / "child.tar")
    names = {name for name, _ in members(tmp_path / "child.tar")}
    assert not names & {f"tensors/{name}.tensor" for name in of_base.tensors}
    into(b, tmp_path / "child.tar")
    assert contents(b, find(b, "ann/open")) == contents(a, child)
    both = a.catalog.exports.family([child], up=True, down=False)
    assert [repo.full for repo in both] == ["ann/secret", "ann/open"]
    out(a, both, tmp_path / "both.tar")
    assert (tmp_path / "both.tar").stat().st_size < 0.9 * (
        tmp_path / "child.tar"
    ).stat().st_size * 2
    c = hub(tmp_path / "c", "ann")
    into(c, tmp_path / "both.tar")
    assert find(c, "ann/secret").private
    assert contents(c, find(c, "ann/secret")) == contents(a, base)
    assert problems(b) == problems(c) == []
    for floors in (a, b, c):
        floors.close()


def test_families_by_their_cards(tmp_path: Path) -> None:
    a = hub(tmp_path / "a", "ann")
    root = make_repo(a, "ann/root")
    tune = make_repo(a, "ann/tune", base="ann/root")
    quant = make_repo(a, "ann/quant", base="ann/tune")
    make_repo(a, "ann/sibling", base="ann/root")
    names = lambda repos, **way: [r.name for r in a.catalog.exports.family(repos, **way)]  # noqa: E731
    assert names([tune], up=True, down=True) == ["root", "tune", "quant"]
    assert names([quant], up=True, down=False) == ["root", "tune", "quant"]
    assert set(names([root], up=False, down=True)) == {"root", "tune", "quant", "sibling"}
    root = a.catalog.repos.move(OPERATOR, "model", "ann/root", RepoId("model", "ann", "trunk"))
    assert names([quant], up=True, down=False) == ["trunk", "tune", "quant"]
    assert set(names([root], up=False, down=True)) == {"trunk", "tune", "quant", "sibling"}
    a.close()


def test_what_may_not_leave(source: Floors, bundle: Path, tmp_path: Path) -> None:
    from sqlalchemy import update

    from headwater.catalog import schema as s

    with pytest.raises(Conflict, match="exists already"):
        out(source, [find(source, "ann/base")], bundle)
    a = hub(tmp_path / "a", "ann")
    repo = make_repo(a, "ann/m")
    with a.catalog.db.write() as conn:
        conn.execute(update(s.repo).values(disabled=True))
    with pytest.raises(Forbidden, match="quarantined"):
        out(a, [repo], tmp_path / "no.tar")
    assert [*tmp_path.glob("*.tar"), *tmp_path.glob("*.part")] == []
    a.close()


def test_what_was_taken_out_for_good_stays_out(tmp_path: Path) -> None:
    a, b = hub(tmp_path / "a", "ann"), hub(tmp_path / "b", "ann")
    repo = make_repo(a, "ann/m")
    oid = put_large(a, repo, "gone.bin", b"gone" * 50_000, pack=False)
    a.catalog.lfs_files.delete(OPERATOR, repo, [oid], rewrite=False)
    done = out(a, [repo], tmp_path / "m.tar")
    assert done.manifest.repos[0].gone == (oid,)
    into(b, tmp_path / "m.tar")
    here = find(b, "ann/m")
    assert refs_of(b, here) == refs_of(a, repo)
    tree = b.catalog.refs.resolve(here, "main").tree
    entry = b.catalog.files.find(here, tree, "gone.bin")  # type: ignore[arg-type]
    assert entry.lfs is not None
    assert entry.lfs.gone
    assert problems(b) == []
    a.close()
    b.close()


def test_a_text_that_reads_like_a_pointer_stays_a_text(tmp_path: Path) -> None:
    """And is no way to bytes that the other hub has."""
    from headwater.formats.lfs_pointer import encode_pointer

    a, b = hub(tmp_path / "a", "ann"), hub(tmp_path / "b", "ann")
    theirs = make_repo(b, "ann/private", private=True)
    secret = put_large(b, theirs, "w.bin", b"secret" * 5000, pack=False)
    repo = make_repo(a, "ann/m")
    text = encode_pointer(secret, 30_000)
    put(a, repo, {"w.bin": text})
    out(a, [repo], tmp_path / "m.tar")
    into(b, tmp_path / "m.tar")
    here = find(b, "ann/m")
    assert contents(b, here)["w.bin"] == text
    assert b.catalog.blobs.in_repo(here, secret) is None
    a.close()
    b.close()


def put_chunked(floors: Floors, repo: Repo, path: str, chunks: list[bytes]) -> Digest:
    """Commit a large file that came as Xet chunks."""
    raw = b"".join(chunk_hash(chunk) for chunk in chunks)
    lengths = [len(chunk) for chunk in chunks]
    name = xorb_hash(raw, lengths)
    with floors.store.write_xorb(name) as writer:
        for chunk in chunks:
            writer.write(encode_chunk(chunk))
        writer.finish()
    term = Term(name, sum(lengths), 0, len(chunks))
    blob = floors.store.write_chunked(file_hash(raw, lengths), [term], oid=None)
    floors.catalog.blobs.uploaded(OPERATOR, blob.oid, blob.size_bytes, xorbs=[name])
    plan = Plan("main", (PutLfs(RepoPath(path), blob.oid, blob.size_bytes),), "chunks")
    floors.catalog.commits.apply(OPERATOR, repo, plan)
    return blob.oid


def test_what_came_as_chunks_travels_plain(tmp_path: Path) -> None:
    a, b = hub(tmp_path / "a", "ann"), hub(tmp_path / "b", "ann")
    repo = make_repo(a, "ann/m")
    oid = put_chunked(a, repo, "w.bin", [b"one" * 5000, b"two" * 7000])
    put_large(a, repo, "empty.bin", b"", pack=False)
    found = a.store.find(oid)
    assert found is not None
    assert found.layout == "chunked"
    out(a, [repo], tmp_path / "m.tar")
    assert f"blobs/{oid}.plain" in {name for name, _ in members(tmp_path / "m.tar")}
    into(b, tmp_path / "m.tar")
    assert contents(b, find(b, "ann/m")) == contents(a, repo)
    assert problems(b) == []
    a.close()
    b.close()


@pytest.mark.parametrize("change", ["pack", "unpack"])
def test_a_layout_that_changes_underneath(
    tmp_path: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the pass that hashes and the one that copies: the same bytes, or none; who unpacks
    is told to wait."""
    monkeypatch.setattr("headwater.store.packs.LOCK_WAIT_S", 0.2)
    a, b = hub(tmp_path / "a", "ann"), hub(tmp_path / "b", "ann")
    repo = make_repo(a, "ann/m")
    data = safetensors({"a": weights(1), "b": weights(2)})
    oid = put_large(a, repo, "m.safetensors", data, pack=change == "unpack")
    changed: list[str] = []

    def progress(what: str, done: int, total: int) -> None:
        if what == "writing" and not changed:
            changed.append(what)
            getattr(a.store, change)(oid)

    def run() -> None:
        export(
            a.store, a.catalog, [repo], tmp_path / "m.tar", scratch=tmp_path / "s",
            progress=progress,
        )  # fmt: skip

    if change == "unpack":
        with pytest.raises(Unavailable, match="try again"):
            run()
        assert [*tmp_path.glob("*.tar"), *tmp_path.glob("*.part")] == []
    run()
    assert changed
    into(b, tmp_path / "m.tar")
    assert contents(b, find(b, "ann/m"))["m.safetensors"] == data
    a.close()
    b.close()


def test_damage_is_found_before_it_leaves(tmp_path: Path) -> None:
    a = hub(tmp_path / "a", "ann")
    repo = make_repo(a, "ann/m")
    put_large(a, repo, "m.safetensors", safetensors({"a": weights(1)}))
    (path,) = a.store.root.rglob("*.tensor")
    sound = path.read_bytes()
    path.write_bytes(sound[:3000] + bytes([sound[3000] ^ 1]) + sound[3001:])
    with pytest.raises(Corrupt, match="headwater check"):
        out(a, [repo], tmp_path / "m.tar")
    assert not (tmp_path / "m.tar").exists()
    assert list((a.store.root / "tmp").iterdir()) == []
    a.close()
