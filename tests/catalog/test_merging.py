"""Pull requests are merged as git would, once, and with all that goes with a moved branch."""

import pytest
from catalog_kit import (
    commit,
    commit_lfs,
    contents_of,
    files_of,
    link,
    repo,
    upload,
)
from sqlalchemy import func, select

from headwater.catalog import graph, three_way
from headwater.catalog import schema as s
from headwater.catalog.actors import Actor
from headwater.catalog.catalog import Catalog
from headwater.catalog.merging import MergeConflict
from headwater.catalog.models import Repo
from headwater.errors import BadRequest, Conflict, Forbidden, HeadwaterError, NotFound
from headwater.names import GitOid

NINE = b"".join(b"%d\n" % n for n in range(9))


@pytest.fixture
def home(catalog: Catalog, alice: Actor) -> Repo:
    made = repo(catalog, alice, "alice/m")
    commit(catalog, alice, made, {"a.txt": NINE, "folder/b.txt": b"b\n", "gone.txt": b"x\n"})
    return made


def propose(
    catalog: Catalog, bob: Actor, home: Repo, files: dict[str, bytes | None], revision: str = "main"
) -> int:
    made = commit(catalog, bob, home, files, "Propose", revision=revision, create_pr=True)
    assert made.pr is not None
    return made.pr


def state(catalog: Catalog, home: Repo) -> tuple[object, ...]:
    """All that a merge could change."""
    with catalog.db.read() as conn:
        counts = [
            conn.execute(select(func.count()).select_from(table)).scalar()
            for table in (s.audit, s.event, s.git_object)
        ]
    found, page = catalog.discussions.page(home, 0)
    events = [catalog.discussions.events(home, one.num) for one in page]
    return catalog.refs.list(home), counts, found, page, events


def conflicts_of(catalog: Catalog, home: Repo, num: int) -> list[str] | bool:
    return catalog.merging.conflicts(home, catalog.discussions.find(home, num))


def test_ahead_of_main(catalog: Catalog, alice: Actor, bob: Actor, home: Repo) -> None:
    before = catalog.refs.head(home)
    num = propose(
        catalog, bob, home, {"new.txt": b"new\n", "README.md": b"---\nlicense: mit\n---\n"}
    )
    theirs = catalog.refs.resolve(home, f"refs/pr/{num}")
    assert conflicts_of(catalog, home, num) == []
    made = catalog.merging.merge(alice, home, num, "Thanks")
    with catalog.db.read() as conn:
        info = catalog.git.commit(conn, home.id, made)
    assert info.parents == (before, theirs.commit)
    assert info.tree == theirs.tree
    assert info.message == "Propose (#1)\n\nThanks"
    assert catalog.refs.head(home) == made
    merged = catalog.discussions.find(home, num)
    assert (merged.status, merged.merge_commit, merged.base_commit) == ("merged", made, before)
    events = catalog.discussions.events(home, num)
    assert [e.kind for e in events] == ["commit", "comment", "status-change"]
    assert events[-1].details.status == "merged"
    assert "license:mit" in catalog.repos.find(alice, "model", "alice/m").tags


def test_both_moved(catalog: Catalog, alice: Actor, bob: Actor, home: Repo) -> None:
    num = propose(
        catalog, bob, home,
        {"a.txt": NINE.replace(b"1\n", b"one\n"), "new/deep/x": b"x", "gone.txt": None,
         "same.txt": b"same"},
    )  # fmt: skip
    commit(
        catalog, alice, home,
        {"a.txt": NINE.replace(b"7\n", b"seven\n"), "folder/b.txt": b"B\n", "same.txt": b"same",
         "new/y": b"y"},
    )  # fmt: skip
    catalog.merging.merge(alice, home, num)
    found = contents_of(catalog, home)
    del found[".gitattributes"]
    assert found == {
        "a.txt": NINE.replace(b"1\n", b"one\n").replace(b"7\n", b"seven\n"),
        "folder/b.txt": b"B\n",
        "new/deep/x": b"x",
        "new/y": b"y",
        "same.txt": b"same",
    }


CONFLICTS: list[tuple[str, dict[str, bytes | None], dict[str, bytes | None], list[str]]] = [
    ("both changed a line", {"a.txt": b"x\n"}, {"a.txt": b"y\n"}, ["a.txt"]),
    ("both added", {"n": b"x\n"}, {"n": b"y\n"}, ["n"]),
    ("changed and removed", {"a.txt": b"x\n"}, {"a.txt": None}, ["a.txt"]),
    ("removed and changed", {"a.txt": None}, {"a.txt": b"x\n"}, ["a.txt"]),
    ("binary", {"gone.txt": b"a\0"}, {"gone.txt": b"b\0"}, ["gone.txt"]),
    ("a file where a folder is", {"n": b"x"}, {"n/y": b"y"}, ["n"]),
    ("a folder where a file is", {"n/y": b"y"}, {"n": b"x"}, ["n/y"]),
    ("letter case", {"N.txt": b"x"}, {"n.txt": b"y"}, ["N.txt"]),
    ("letter case of folders", {"N/a": b"x"}, {"n/b": b"y"}, ["N/a"]),
    ("accents", {"é": b"x"}, {"É": b"y"}, ["é"]),
    (
        "several", {"a.txt": b"x\n", "n": b"x", "fine": b"1"},
        {"a.txt": b"y\n", "n": b"y", "other": b"2"}, ["a.txt", "n"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("theirs", "ours", "files"), [c[1:] for c in CONFLICTS], ids=[c[0] for c in CONFLICTS]
)
def test_a_conflict_changes_nothing_and_names_the_files(
    catalog: Catalog,
    alice: Actor,
    bob: Actor,
    home: Repo,
    theirs: dict[str, bytes | None],
    ours: dict[str, bytes | None],
    files: list[str],
) -> None:
    num = propose(catalog, bob, home, theirs)
    commit(catalog, alice, home, ours)
    assert conflicts_of(catalog, home, num) == files
    before = state(catalog, home)
    with pytest.raises(MergeConflict) as refused:
        catalog.merging.merge(alice, home, num)
    assert refused.value.status == 409
    assert refused.value.extra == {"filesWithConflicts": files}
    assert all(name in refused.value.message for name in files)
    assert state(catalog, home) == before


def test_a_conflict_is_solved_in_the_pull_request(
    catalog: Catalog, alice: Actor, bob: Actor, home: Repo
) -> None:
    num = propose(catalog, bob, home, {"a.txt": NINE.replace(b"1\n", b"one\n")})
    commit(catalog, alice, home, {"a.txt": NINE.replace(b"1\n", b"uno\n")})
    assert conflicts_of(catalog, home, num) == ["a.txt"]
    commit(catalog, bob, home, {"a.txt": NINE.replace(b"1\n", b"uno\n")}, revision=f"refs/pr/{num}")
    assert conflicts_of(catalog, home, num) == []
    catalog.merging.merge(alice, home, num)
    assert contents_of(catalog, home)["a.txt"] == NINE.replace(b"1\n", b"uno\n")


def test_a_folder_takes_a_files_place(
    catalog: Catalog, alice: Actor, bob: Actor, home: Repo
) -> None:
    num = propose(catalog, bob, home, {"gone.txt": None, "gone.txt/inside": b"1"})
    commit(catalog, alice, home, {"other": b"1"})
    catalog.merging.merge(alice, home, num)
    assert {"gone.txt/inside", "other"} <= contents_of(catalog, home).keys()


def test_what_cannot_be_merged(catalog: Catalog, alice: Actor, bob: Actor, home: Repo) -> None:
    merge = catalog.merging.merge
    talk = catalog.discussions.open(bob, home, "only talk", "")
    with pytest.raises(BadRequest, match="not a pull request"):
        merge(alice, home, talk)
    with pytest.raises(NotFound):
        merge(alice, home, 99)
    draft = catalog.pull_requests.draft(bob, home, "Propose", "")
    with pytest.raises(Conflict, match="draft"):
        merge(alice, home, draft)
    catalog.discussions.set_status(bob, home, draft, "open")
    assert conflicts_of(catalog, home, draft) == []
    with pytest.raises(Conflict, match="no commit"):
        merge(alice, home, draft)
    num = propose(catalog, bob, home, {"n": b"1"})
    with pytest.raises(Forbidden):
        merge(bob, home, num)
    catalog.discussions.set_status(bob, home, num, "closed")
    with pytest.raises(Conflict, match="closed"):
        merge(alice, home, num)
    catalog.discussions.set_status(bob, home, num, "open")
    merge(alice, home, num)
    before = state(catalog, home)
    for again in (
        lambda: merge(alice, home, num),
        lambda: catalog.discussions.set_status(alice, home, num, "closed"),
        lambda: catalog.discussions.set_status(alice, home, num, "open"),
        lambda: commit(catalog, alice, home, {"m": b"1"}, revision=f"refs/pr/{num}"),
    ):
        with pytest.raises(Conflict, match="merged"):
            again()
    assert state(catalog, home)[0] == before[0]


def test_into_another_branch_than_main(
    catalog: Catalog, alice: Actor, bob: Actor, home: Repo
) -> None:
    catalog.refs.create_branch(alice, home, "dev")
    num = propose(catalog, bob, home, {"n": b"1"}, "dev")
    assert catalog.discussions.find(home, num).target_ref == "refs/heads/dev"
    main = catalog.refs.head(home)
    made = catalog.merging.merge(alice, home, num)
    assert catalog.refs.head(home) == main
    assert catalog.refs.resolve(home, "dev").commit == made
    gone = propose(catalog, bob, home, {"m": b"1"}, "dev")
    catalog.refs.delete_branch(alice, home, "dev")
    assert conflicts_of(catalog, home, gone) is True
    assert catalog.merging.diff(home, catalog.discussions.find(home, gone)) is None
    with pytest.raises(NotFound):
        catalog.merging.merge(alice, home, gone)


def test_large_files_stay_proven(catalog: Catalog, alice: Actor, bob: Actor, home: Repo) -> None:
    oid = upload(catalog, bob, b"weights" * 100)
    num = catalog.pull_requests.draft(bob, home, "Weights", "")
    commit_lfs(catalog, bob, home, "w.bin", b"weights" * 100, f"refs/pr/{num}")
    commit(catalog, alice, home, {"other": b"1"})
    catalog.discussions.set_status(bob, home, num, "open")
    catalog.merging.merge(alice, home, num)
    entry = files_of(catalog, home)["w.bin"]
    assert entry.lfs is not None
    assert entry.lfs.oid == oid
    assert catalog.blobs.in_repo(home, oid) == 700


def test_pointers_are_never_merged_by_their_lines(
    catalog: Catalog, alice: Actor, bob: Actor, home: Repo
) -> None:
    """Two pointers differ in two lines; half of each would name bytes that nobody has."""
    link(catalog, alice, home, upload(catalog, alice, b"base"))
    num = propose(catalog, bob, home, {"x": b"1"})
    commit_lfs(catalog, bob, home, "w.bin", b"theirs", f"refs/pr/{num}")
    commit_lfs(catalog, alice, home, "w.bin", b"ours, longer")
    assert conflicts_of(catalog, home, num) == ["w.bin"]
    # By their lines alone these two would merge, into a text that is no pointer at all.
    other = propose(catalog, bob, home, {"y": b"1"})
    commit_lfs(catalog, bob, home, "w.bin", b"theirs again", f"refs/pr/{other}")
    pointer = contents_of(catalog, home)["w.bin"]
    commit(catalog, alice, home, {"w.bin": b"# a note\n" + pointer})
    assert conflicts_of(catalog, home, other) == ["w.bin"]


def test_cards_follow_main(catalog: Catalog, alice: Actor, bob: Actor, home: Repo) -> None:
    commit(catalog, alice, home, {"README.md": b"---\nlicense: mit\n---\n"})
    num = propose(catalog, bob, home, {"README.md": b"---\nlicense: apache-2.0\n---\n"})
    catalog.merging.merge(alice, home, num)
    tags = catalog.repos.find(alice, "model", "alice/m").tags
    assert "apache-2.0" in tags
    assert "license:mit" not in tags


def test_too_much_is_a_conflict_or_refused_never_slow(
    catalog: Catalog, alice: Actor, bob: Actor, home: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    num = propose(catalog, bob, home, {"a.txt": NINE.replace(b"1\n", b"one\n"), "n": b"1"})
    commit(catalog, alice, home, {"a.txt": NINE.replace(b"7\n", b"seven\n")})
    monkeypatch.setattr(three_way, "TEXT_BYTES_MAX", 10)
    assert conflicts_of(catalog, home, num) == ["a.txt"]
    monkeypatch.setattr(three_way, "TEXT_BYTES_MAX", 1000)
    monkeypatch.setattr(three_way, "TEXTS_BYTES_MAX", 40)
    commit(catalog, alice, home, {"y": b"1"})
    assert conflicts_of(catalog, home, num) == ["a.txt"]
    monkeypatch.setattr(three_way, "TEXTS_BYTES_MAX", 1000)
    commit(catalog, alice, home, {"z": b"1"})  # what was said of other heads is another answer
    monkeypatch.setattr(three_way, "PATHS_MAX", 1)
    assert conflicts_of(catalog, home, num) is True
    with pytest.raises(HeadwaterError) as refused:
        catalog.merging.merge(alice, home, num)
    assert refused.value.status == 422
    monkeypatch.setattr(three_way, "PATHS_MAX", 2)
    monkeypatch.setattr(graph, "COMMITS_LOOKED_AT_MAX", 1)
    assert conflicts_of(catalog, home, num) is True
    monkeypatch.setattr(graph, "COMMITS_LOOKED_AT_MAX", 100)
    catalog.merging.merge(alice, home, num)


def test_the_base_is_the_youngest_common_commit(
    catalog: Catalog, alice: Actor, bob: Actor, home: Repo
) -> None:
    """After a merge of main's own changes a pull request is compared with what it has of main."""
    first = propose(catalog, bob, home, {"a.txt": NINE.replace(b"1\n", b"one\n")})
    second = propose(catalog, bob, home, {"a.txt": NINE.replace(b"7\n", b"seven\n")})
    catalog.merging.merge(alice, home, first)
    catalog.merging.merge(alice, home, second)
    third = propose(catalog, bob, home, {"a.txt": b"all new\n"})
    with catalog.db.read() as conn:
        heads = [catalog.refs.resolve(home, r).commit for r in ("main", f"refs/pr/{third}")]
        assert graph.merge_base(conn, catalog.git, home.id, *heads) == heads[0]
        lone = catalog.refs.resolve(home, f"refs/pr/{first}").commit
        assert graph.merge_base(conn, catalog.git, home.id, lone, heads[0]) == lone
    assert conflicts_of(catalog, home, third) == []


def test_histories_without_a_common_commit(
    catalog: Catalog, alice: Actor, bob: Actor, home: Repo
) -> None:
    catalog.refs.create_branch(alice, home, "void", empty=True)
    num = propose(catalog, bob, home, {"n": b"1"}, "void")
    commit(catalog, alice, home, {"n": b"2"}, revision="void")
    heads = [GitOid(catalog.refs.resolve(home, r).commit) for r in ("main", f"refs/pr/{num}")]
    with catalog.db.read() as conn:
        assert graph.merge_base(conn, catalog.git, home.id, *heads) is None
    assert catalog.diffs.since_parted(home, *heads).files == (("n", "added"),)
