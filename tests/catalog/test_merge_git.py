"""Any merge is that of git: same trees, and no conflict of git's is settled by us."""

from catalog_kit import commit, contents_of, person, repo
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from real_git import bare_repository
from sqlalchemy import func, select

from effort import examples
from headwater.catalog import schema as s
from headwater.catalog.catalog import Catalog
from headwater.errors import Conflict

NINE = b"".join(b"%d\n" % n for n in range(9))
NAMES = st.sampled_from(["a", "b", "f/a", "f/g/b", "f/c", "h"])
BODIES = st.one_of(
    st.none(),
    st.lists(st.sampled_from([b"1\n", b"2\n", b"3\n"]), max_size=3).map(b"".join),
    st.sampled_from([NINE, NINE.replace(b"0\n", b"zero\n"), NINE.replace(b"8\n", b"eight\n"),
                     NINE.replace(b"4\n", b"")]),
)  # fmt: skip
TREES = st.dictionaries(NAMES, BODIES, max_size=4)


@given(first=TREES, theirs=TREES, ours=TREES)
@settings(
    max_examples=examples(25),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_a_merge_is_that_of_git(
    catalog: Catalog,
    first: dict[str, bytes | None],
    theirs: dict[str, bytes | None],
    ours: dict[str, bytes | None],
) -> None:
    """The tree that we merge is the one `git merge-tree` makes; what git leaves to a person, we
    do, too. Git, in turn, settles some that we leave: lines that touch."""
    alice = person(catalog, "alice")
    home = repo(catalog, alice, f"alice/m{_count(catalog)}")

    def made(files: dict[str, bytes | None], revision: str) -> None:
        there = contents_of(catalog, home, revision)
        files = {p: d and _of(p, d) for p, d in files.items() if d is not None or p in there}
        commit(catalog, alice, home, files, revision=revision)

    made({path: data or b"x\n" for path, data in first.items()}, "main")
    num = catalog.pull_requests.draft(alice, home, "Propose", "")
    made(theirs, f"refs/pr/{num}")
    made(ours, "main")
    catalog.discussions.set_status(alice, home, num, "open")
    before = [str(catalog.refs.resolve(home, r).commit) for r in ("main", f"refs/pr/{num}")]
    try:
        merged = catalog.merging.merge(alice, home, num)
    except Conflict:
        merged = None
    with bare_repository() as git:
        git.take(catalog, home)
        args = ("merge-tree", "--write-tree", "--name-only", *before)
        said, clean = git.run(*args)
        if merged is not None:
            assert clean
            assert said.decode().strip() == catalog.refs.resolve(home, "main").tree
            git("fsck", "--strict", merged)
        if not clean:
            assert merged is None


def _of(path: str, data: bytes) -> bytes:
    """Lines that stand in no other file: git would take the one for the other, renamed."""
    return b"".join(b"%s %s" % (path.encode(), line) for line in data.splitlines(keepends=True))


def _count(catalog: Catalog) -> int:
    with catalog.db.read() as conn:
        return int(conn.execute(select(func.count()).select_from(s.repo)).scalar_one())
