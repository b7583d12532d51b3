"""The catalog against a dict: any mix of commits, branches, tags and pull requests.

After each step the listing, the single look-ups and the history equal the model's; at the end real
git reads all objects and computes each tree anew.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

from catalog_kit import commit_lfs, digest, link, person, repo
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from real_git import Git, bare_repository

from effort import examples
from headwater.catalog import schema as s
from headwater.catalog.catalog import Catalog
from headwater.catalog.commits import Plan, PutFile, PutLfs, Remove
from headwater.catalog.models import Repo
from headwater.errors import (
    BadRequest,
    Conflict,
    EntryNotFound,
    HeadwaterError,
    PathCollision,
    RevisionNotFound,
    Stale,
)
from headwater.formats.git_patterns import DEFAULT_GITATTRIBUTES
from headwater.formats.lfs_pointer import encode_pointer
from headwater.names import RepoPath

Files = dict[str, bytes]  # path -> bytes as git has them: of a large file the pointer's

# Few names, so that they meet: as files and folders, as twins, and where git's order is not
# that of the names (`a-b` stands between `a` the file and `a` the folder).
NAMES = ["a", "A", "a-b", "a.b", "a0", "b", "ß", "SS", "naïve", "文", "é"]
paths = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)
contents = st.sampled_from([b"", b"one", b"two", b"\0\xff" * 50])
large = st.sampled_from([b"weights" * 9, b"other weights"])


@dataclass(frozen=True)
class Put:
    path: str
    data: bytes


@dataclass(frozen=True)
class PutLarge:
    path: str
    data: bytes


@dataclass(frozen=True)
class Drop:
    path: str
    folder: bool


wishes = st.lists(
    st.builds(Put, paths, contents)
    | st.builds(PutLarge, paths, large)
    | st.builds(Drop, paths, st.booleans()),
    min_size=1,
    max_size=5,
)


def names_in(files: Files, folder: str) -> dict[str, bool]:
    """What a folder (`` or `x/y/`) holds: name -> whether it is a folder."""
    found: dict[str, bool] = {}
    for path in files:
        if path.startswith(folder):
            name, slash, _ = path[len(folder) :].partition("/")
            found[name] = bool(slash)
    return found


def changed(files: Files, wish: Put | PutLarge | Drop) -> Files | type[HeadwaterError]:
    """The files after one wish, or the error it must meet."""
    *folders, name = wish.path.split("/")
    at = ""
    for folder in [*folders, name]:
        here = names_in(files, at)
        last = at + folder == wish.path
        if isinstance(wish, Drop):
            if folder not in here or here[folder] != (wish.folder if last else True):
                return EntryNotFound
        elif folder in here:
            if here[folder] == last:
                return BadRequest
        elif any(other.casefold() == folder.casefold() for other in here):
            return PathCollision
        at += f"{folder}/"
    if isinstance(wish, Drop):
        below = f"{wish.path}/"
        return {p: d for p, d in files.items() if p != wish.path and not p.startswith(below)}
    if isinstance(wish, PutLarge):
        return files | {wish.path: encode_pointer(digest(wish.data), len(wish.data))}
    return files | {wish.path: wish.data}


@dataclass
class Branch:
    """The commits of a ref, oldest first: (id, title, files after it)."""

    commits: list[tuple[str, str, Files]]

    @property
    def files(self) -> Files:
        return self.commits[-1][2]

    @property
    def head(self) -> str:
        return self.commits[-1][0]


class Model(RuleBasedStateMachine):
    catalog: Catalog
    numbers = itertools.count()
    judge: Git

    def __init__(self) -> None:
        super().__init__()
        self.number = next(self.numbers)
        self.alice, self.bob = person(self.catalog, "alice"), person(self.catalog, "bob")
        self.repo: Repo = repo(self.catalog, self.alice, f"alice/m{self.number}")
        head = self.catalog.refs.resolve(self.repo, "main").commit
        first = (head, "initial commit", {".gitattributes": DEFAULT_GITATTRIBUTES})
        self.refs = {"refs/heads/main": Branch([first])}
        self.prs = 0
        self.titles = itertools.count()
        for data in (b"weights" * 9, b"other weights"):
            for actor in (self.alice, self.bob):
                self.catalog.blobs.uploaded(actor, digest(data), len(data))

    # Commits

    def plan(self, revision: str, wishes: list[Put | PutLarge | Drop], **more: object) -> Plan:
        puts = [wish for wish in wishes if isinstance(wish, Put)]
        oids = iter(self.catalog.commits.stage(self.repo, [put.data for put in puts]))
        made = tuple(
            PutFile(RepoPath(wish.path), next(oids))
            if isinstance(wish, Put)
            else PutLfs(RepoPath(wish.path), digest(wish.data), len(wish.data))
            if isinstance(wish, PutLarge)
            else Remove(RepoPath(wish.path), wish.folder)
            for wish in wishes
        )
        return Plan(revision, made, f"change {next(self.titles)}", **more)  # type: ignore[arg-type]

    def expected(self, files: Files, wishes: list[Put | PutLarge | Drop]) -> Files | type:
        for wish in wishes:
            after = changed(files, wish)
            if isinstance(after, type):
                return after
            files = after
        return files

    @rule(data=st.data(), wishes=wishes, with_parent=st.booleans())
    def commit(
        self, data: st.DataObject, wishes: list[Put | PutLarge | Drop], with_parent: bool
    ) -> None:
        ref = data.draw(st.sampled_from(sorted(r for r in self.refs if "/tags/" not in r)))
        branch = self.refs[ref]
        parent = branch.head if with_parent else None
        actor = self.bob if ref.startswith("refs/pr/") else self.alice
        plan = self.plan(ref.removeprefix("refs/heads/"), wishes, parent=parent)
        after = self.expected(branch.files, wishes)
        if isinstance(after, type):
            assert raised(lambda: self.catalog.commits.apply(actor, self.repo, plan)) is after
            self.check(ref)
            return
        made = self.catalog.commits.apply(actor, self.repo, plan)
        if after == branch.files:
            assert made.oid == branch.head  # nothing changes: no commit
        else:
            branch.commits.append((made.oid, plan.summary, after))
        self.check(ref)

    @rule(wishes=wishes)
    def open_pr(self, wishes: list[Put | PutLarge | Drop]) -> None:
        plan = self.plan("main", wishes, create_pr=True)
        branch = self.refs["refs/heads/main"]
        after = self.expected(branch.files, wishes)
        if isinstance(after, type):
            assert raised(lambda: self.catalog.commits.apply(self.bob, self.repo, plan)) is after
            return
        made = self.catalog.commits.apply(self.bob, self.repo, plan)
        self.prs += 1
        assert made.pr == self.prs
        ref = f"refs/pr/{made.pr}"
        self.refs[ref] = Branch([*branch.commits, (made.oid, plan.summary, after)])
        self.check(ref)
        self.check("refs/heads/main")

    @precondition(lambda self: len(self.refs["refs/heads/main"].commits) > 1)
    @rule(wishes=wishes)
    def commit_on_old_parent(self, wishes: list[Put | PutLarge | Drop]) -> None:
        old = self.refs["refs/heads/main"].commits[-2][0]
        plan = self.plan("main", wishes, parent=old)
        assert raised(lambda: self.catalog.commits.apply(self.alice, self.repo, plan)) is Stale

    # Refs

    @rule(data=st.data(), name=st.sampled_from(["dev", "dev/x", "v1", "ünïcode"]))
    def branch(self, data: st.DataObject, name: str) -> None:
        start = data.draw(st.sampled_from(sorted(self.refs)))
        self.make(
            f"refs/heads/{name}",
            start,
            lambda: self.catalog.refs.create_branch(self.alice, self.repo, name, start=start),
        )

    @rule(
        data=st.data(),
        name=st.sampled_from(["v1", "v1/rc", "v2"]),
        message=st.sampled_from(["", "é"]),
    )
    def tag(self, data: st.DataObject, name: str, message: str) -> None:
        start = data.draw(st.sampled_from(sorted(self.refs)))
        self.make(
            f"refs/tags/{name}",
            start,
            lambda: self.catalog.refs.create_tag(self.alice, self.repo, name, start, message),
        )

    def make(self, ref: str, start: str, create: Callable[[], None]) -> None:
        in_the_way = any(
            ref == other or ref.startswith(f"{other}/") or other.startswith(f"{ref}/")
            for other in self.refs
        )
        if in_the_way:
            assert raised(create) is Conflict
            return
        create()
        self.refs[ref] = Branch(list(self.refs[start].commits))
        self.check(ref)

    @rule(name=st.sampled_from(["dev", "dev/x", "v1"]))
    def delete_branch(self, name: str) -> None:
        def delete() -> None:
            self.catalog.refs.delete_branch(self.alice, self.repo, name)

        if self.refs.pop(f"refs/heads/{name}", None) is None:
            assert raised(delete) is RevisionNotFound
        else:
            delete()

    @rule(name=st.sampled_from(["v1", "v2"]))
    def delete_tag(self, name: str) -> None:
        def delete() -> None:
            self.catalog.refs.delete_tag(self.alice, self.repo, name)

        if self.refs.pop(f"refs/tags/{name}", None) is None:
            assert raised(delete) is RevisionNotFound
        else:
            delete()

    # What must hold

    def check(self, ref: str) -> None:
        """Listing, look-ups, history and last changes of one ref equal the model's."""
        branch, catalog = self.refs[ref], self.catalog
        revision = catalog.refs.resolve(self.repo, ref)
        assert revision.commit == branch.head
        assert revision.ref == ref
        entries = catalog.files.list(self.repo, revision.tree, recursive=True)
        folders = {
            "/".join(p.split("/")[:n]) for p in branch.files for n in range(1, p.count("/") + 1)
        }
        assert {e.path for e in entries if e.kind == "directory"} == folders
        read = {e.path: catalog.files.read(self.repo, e) for e in entries if e.kind == "file"}
        assert read == branch.files
        pages: list[object] = []
        while page := catalog.files.list(
            self.repo,
            revision.tree,
            recursive=True,
            limit=2,
            after=pages[-1].path if pages else None,  # type: ignore[attr-defined]
        ):
            pages += page
        assert pages == entries
        assert catalog.files.paths(self.repo, revision.tree, [e.path for e in entries]) == entries
        for entry in entries:
            assert catalog.files.find(self.repo, revision.tree, entry.path) == entry
        history = catalog.history.list(self.repo, revision.commit, 1000)
        assert [(c.oid, c.title) for c in history] == [c[:2] for c in reversed(branch.commits)]
        touched = catalog.history.last_touched(self.repo, revision.commit, branch.files)
        assert {path: info.oid for path, info in touched.items()} == last_changes(branch)

    def teardown(self) -> None:
        """Every ref once more, then git: the same files, the same trees as it makes itself."""
        listed = {ref.name: ref.commit for ref in self.catalog.refs.list(self.repo)}
        assert listed == {name: branch.head for name, branch in self.refs.items()}
        self.judge.take(self.catalog, self.repo)
        inside = {
            name.replace("refs/", f"refs/heads/{self.number}/"): o for name, o in listed.items()
        }
        self.judge.point(inside)
        for name, branch in self.refs.items():
            self.check(name)
            tree = self.catalog.refs.resolve(self.repo, name).tree
            assert self.judge.tree_of(branch.files) == tree
            blobs = {path: Git.blob(data).decode() for path, data in branch.files.items()}
            assert self.judge.listed(tree) == blobs


def last_changes(branch: Branch) -> dict[str, str]:
    """For each path of the head, the newest commit that changed it."""
    found = {}
    for path, data in branch.files.items():
        oid = branch.head
        for newer, older in itertools.pairwise([*reversed(branch.commits), ("", "", {})]):
            oid = newer[0]
            if older[2].get(path) != data:
                break
        found[path] = oid
    return found


def raised(call: Callable[[], object]) -> type[Exception] | None:
    """The class of the error that a call raises."""
    try:
        call()
    except HeadwaterError as error:
        return type(error)
    return None


def test_any_mix_of_changes_equals_the_model(catalog: Catalog) -> None:
    """Commits, branches, tags and pull requests in any order; the judge is real git."""
    person(catalog, "alice")
    person(catalog, "bob")
    with bare_repository() as git:
        machine = type("Machine", (Model,), {"catalog": catalog, "judge": git})
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=examples(15),
                stateful_step_count=20,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
        found = git("fsck", "--strict", "--full", "--no-dangling").decode()
        assert not found, found


def test_a_full_repo_survives_git_fsck(catalog: Catalog) -> None:
    """Each kind of object once, by hand: what the model may not have drawn."""
    alice = person(catalog, "alice")
    home = repo(catalog, alice, "alice/all")
    commit_lfs(catalog, alice, home, "w.bin", b"weights")
    link(catalog, alice, home, digest(b"weights"), "copy.bin")
    catalog.refs.create_branch(alice, home, "empty", empty=True)
    catalog.refs.create_tag(alice, home, "v1", "main", "first\n\nrelease é")
    with bare_repository() as git:
        git.take(catalog, home)
        with catalog.db.read() as conn:
            targets = {r.name: r.target for r in conn.execute(s.ref.select())}
        git.point(targets)
        assert not git("fsck", "--strict", "--full", "--no-dangling").decode()
        assert git("cat-file", "-t", "refs/tags/v1") == b"tag\n"
        assert git("ls-tree", "-r", "refs/heads/empty") == b""
