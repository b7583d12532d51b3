"""Diffs are those that `git diff` prints, and `git apply` takes them."""

import subprocess
from pathlib import Path

import pytest
from catalog_kit import commit, commit_lfs, contents_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from real_git import Git, bare_repository

from effort import examples
from headwater.catalog import diffs
from headwater.catalog.actors import Actor
from headwater.catalog.catalog import Catalog
from headwater.catalog.diffs import Diff
from headwater.catalog.git import TreeRow, new_blob, new_commit, new_tree
from headwater.catalog.models import Repo
from headwater.names import GitOid

LINES = b"".join(b"line %d\n" % n for n in range(40))


def head(catalog: Catalog, home: Repo) -> GitOid:
    return catalog.refs.resolve(home, "main").commit


def by_git(git: Git, catalog: Catalog, home: Repo, old: str, new: str) -> bytes:
    git.take(catalog, home)
    return git("diff", "--full-index", "--no-renames", "--no-color", old, new)


def applied(git: Git, old: str, diff: bytes, folder: Path) -> dict[str, bytes]:
    """What `git apply` makes of a checkout of `old`."""
    folder.mkdir()
    tar = git("archive", "--format=tar", old)
    subprocess.run(["tar", "-x", "-C", str(folder)], input=tar, check=True)
    subprocess.run(
        ["git", "apply", "--whitespace=nowarn", "-"],
        input=diff, cwd=folder, check=True, capture_output=True,
        env={"GIT_CEILING_DIRECTORIES": str(folder.parent), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


CASES: dict[str, tuple[dict[str, bytes | None], dict[str, bytes | None]]] = {
    "changed": ({"a": LINES}, {"a": LINES.replace(b"line 7\n", b"seven\n")}),
    "far apart": (
        {"a": LINES},
        {"a": LINES.replace(b"line 3\n", b"").replace(b"line 30\n", b"line 30\nmore\n")},
    ),
    "close together": (
        {"a": LINES},
        {"a": LINES.replace(b"line 3\n", b"").replace(b"line 9\n", b"nine\n")},
    ),
    "added": ({"z": b""}, {"new/file": b"1\n2\n"}),
    "added empty": ({"z": b"1"}, {"empty": b""}),
    "removed": ({"a": b"1\n", "b": b"2\n"}, {"a": None}),
    "made empty": ({"a": b"1\n"}, {"a": b""}),
    "no newline": ({"a": b"1\n2"}, {"a": b"1\n2\n"}),
    "no newline in both": ({"a": b"1\n2"}, {"a": b"0\n2"}),
    "names": (
        {"with space": b"1\n", "é/ü": b"1\n", 'quo"te': b"1\n", "plain": b"1\n"},
        {"with space": b"2\n", "é/ü": b"2\n", 'quo"te': b"2\n", "plain": b"2\n"},
    ),
    "order": (
        {"f/x": b"1\n", "f.txt": b"1\n", "f-": b"1\n", "f0": b"1\n"},
        {"f/x": b"2\n", "f.txt": b"2\n", "f-": b"2\n", "f0": b"2\n"},
    ),
    "folder for file": ({"a": b"1\n"}, {"a": None, "a/b": b"1\n"}),
    "carriage returns": ({"a": b"1\r\n2\r\n"}, {"a": b"1\r\n3\r\n"}),
    "other encodings": ({"a": "é\n".encode("latin-1")}, {"a": "è\n".encode("latin-1")}),
    "headings": (
        {"a": b"def one():\n" + b"  x\n" * 9 + b"_two\n" + b"  y\n" * 9 + b"  z\n"},
        {"a": b"def one():\n" + b"  x\n" * 9 + b"_two\n" + b"  y\n" * 9 + b"  Z\n"},
    ),
}


@pytest.mark.parametrize(("before", "after"), CASES.values(), ids=CASES.keys())
def test_a_diff_is_that_of_git_and_applies(
    catalog: Catalog,
    alice: Actor,
    home: Repo,
    before: dict[str, bytes | None],
    after: dict[str, bytes | None],
    tmp_path: Path,
) -> None:
    old = commit(catalog, alice, home, before).oid
    new = commit(catalog, alice, home, after).oid
    made = catalog.diffs.between(home, old, new)
    with bare_repository() as git:
        assert made.text == by_git(git, catalog, home, old, new)
        wanted = contents_of(catalog, home)
        assert applied(git, old, made.text, tmp_path / "there") == wanted
        back = catalog.diffs.between(home, new, old)
        assert back.text == by_git(git, catalog, home, new, old)
    assert made.complete
    assert {path for path, _ in made.files} == after.keys()


def test_binary_and_large_files(catalog: Catalog, alice: Actor, home: Repo, tmp_path: Path) -> None:
    old = commit(catalog, alice, home, {"bin": b"a\0", "gone": b"\0"}).oid
    commit(catalog, alice, home, {"bin": b"b\0", "gone": None, "new": b"\0"})
    new = commit_lfs(catalog, alice, home, "w.bin", b"weights").oid
    made = catalog.diffs.between(home, old, new)
    with bare_repository() as git:
        assert made.text == by_git(git, catalog, home, old, new)
    assert b"Binary files a/bin and b/bin differ\n" in made.text
    assert b"Binary files a/gone and /dev/null differ\n" in made.text
    assert b"+version https://git-lfs.github.com/spec/v1\n" in made.text
    assert b"weights" not in made.text
    assert tmp_path.exists()


def test_modes_links_and_submodules(catalog: Catalog, alice: Actor, home: Repo) -> None:
    """Only a push can bring them; they are printed as git does."""
    one, two = new_blob(b"1\n"), new_blob(b"2\n")
    far = [GitOid(digit * 40) for digit in "12"]
    trees = [
        new_tree(
            [
                TreeRow("exec", 0o100644 if n else 0o100755, one.oid),
                TreeRow("both", 0o100755 if n else 0o100644, (one, two)[n].oid),
                TreeRow("link", 0o120000 if n else 0o100644, (one, two)[n].oid),
                TreeRow("sub", 0o160000, far[n]),
                TreeRow("same", (0o100644, 0o120000)[n], one.oid),
            ]
        )
        for n in range(2)
    ]
    commits = [new_commit(tree.oid, [], "pushed", "alice", 1) for tree in trees]
    with catalog.db.write() as conn:
        catalog.git.put(conn, home.id, [one, two, *trees, *commits])
    old, new = (made.oid for made in commits)
    made = catalog.diffs.between(home, old, new)
    with bare_repository() as git:
        assert made.text == by_git(git, catalog, home, old, new)
    assert (alice.name, made.complete) == ("alice", True)


def said_too_large(diff: Diff) -> bool:
    return not diff.complete and b"# diff too large: " in diff.text


def test_what_is_too_large_is_named_and_refused_by_git(
    catalog: Catalog, alice: Actor, home: Repo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    old = head(catalog, home)
    new = commit(catalog, alice, home, {f"f{n}": b"1\n" * 20 for n in range(4)}).oid
    limits = {
        "FILES_MAX": 3, "DIFF_BYTES_MAX": 200,
        "FILE_BYTES_MAX": 30, "FILE_LINES_MAX": 19, "READ_BYTES_MAX": 100,
    }  # fmt: skip
    for name, limit in limits.items():
        with monkeypatch.context() as patch:
            patch.setattr(diffs, name, limit)
            room = diffs.Diffs(catalog.db, catalog.git)  # one that remembers nothing
            made = room.between(home, old, new)
            assert said_too_large(made), name
            assert (len(made.files) < 4) == (name in ("FILES_MAX", "DIFF_BYTES_MAX"))
            with bare_repository() as git:
                git.take(catalog, home)
                with pytest.raises(subprocess.CalledProcessError):
                    applied(git, old, made.text, tmp_path / name)
    assert catalog.diffs.between(home, old, new).complete


def test_a_diff_is_made_once(
    catalog: Catalog, alice: Actor, home: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = head(catalog, home)
    new = commit(catalog, alice, home, {"a": b"1\n"}).oid
    made = catalog.diffs.between(home, old, new)
    monkeypatch.setattr(diffs, "FILES_MAX", 0)
    assert catalog.diffs.between(home, old, new) is made


def test_a_pull_request_shows_what_it_changes_and_once_merged_what_it_changed(
    catalog: Catalog, alice: Actor, home: Repo
) -> None:
    commit(catalog, alice, home, {"a": LINES})
    num = commit(catalog, alice, home, {"a": LINES + b"end\n"}, create_pr=True).pr
    assert num is not None
    commit(catalog, alice, home, {"a": b"start\n" + LINES, "other": b"1\n"})

    def diff() -> Diff:
        made = catalog.merging.diff(home, catalog.discussions.find(home, num))
        assert made is not None
        return made

    assert diff().files == (("a", "modified"),)
    assert b"+end\n" in diff().text
    assert b"start" not in diff().text
    catalog.merging.merge(alice, home, num)
    assert diff().files == (("a", "modified"),)
    assert b"+end\n" in diff().text
    commit(catalog, alice, home, {"a": None})
    assert b"+end\n" in diff().text  # what came later is no part of it


NAMES = st.sampled_from(["a", "b", "f/a", "f/g/b", "f/c", "h", "f.txt"])
BODIES = st.one_of(
    st.none(),
    st.lists(st.sampled_from([b"1\n", b"2\n", b"3\n", b"\0"]), max_size=3).map(b"".join),
    st.sampled_from([LINES, LINES[:-1], LINES + b"x\n", LINES.replace(b"line 4\n", b"")]),
)
TREES = st.dictionaries(NAMES, BODIES, max_size=5)


@given(before=TREES, after=TREES)
@settings(
    max_examples=examples(15),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_diff_applies(
    catalog: Catalog,
    alice: Actor,
    home: Repo,
    before: dict[str, bytes | None],
    after: dict[str, bytes | None],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    def made(files: dict[str, bytes | None]) -> GitOid:
        there = contents_of(catalog, home)
        wanted = {p: d for p, d in files.items() if d is not None or p in there}
        return commit(catalog, alice, home, wanted).oid

    old, new = made(before), made(after)
    diff = catalog.diffs.between(home, old, new)
    assert diff.complete
    with bare_repository() as git:
        said = by_git(git, catalog, home, old, new)
        assert _headers(diff.text) == _headers(said)
        if b"Binary files" not in diff.text and diff.text:
            folder = tmp_path_factory.mktemp("apply") / "there"
            assert applied(git, old, diff.text, folder) == contents_of(catalog, home)


def _headers(diff: bytes) -> list[bytes]:
    marks = (b"diff ", b"index ", b"new file", b"deleted", b"Binary", b"--- ", b"+++ ")
    return [line for line in diff.split(b"\n") if line.startswith(marks)]
