"""Whole repos against a model: commit, squash, delete large files, duplicate, gc, in any order.

What a ref reaches and nobody deleted stays readable, in every commit behind it; what was deleted
is gone in that repo only; after gc the store holds the one and nothing else (rules S7, F16).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from catalog_kit import commit, digest, files_of, person, repo, upload
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from real_git import bare_repository
from sqlalchemy import select, update

from effort import examples
from headwater.catalog import schema as s
from headwater.catalog.catalog import Catalog
from headwater.catalog.commits import Plan, PutLfs
from headwater.catalog.models import Repo
from headwater.names import RepoId, RepoPath

LATER_MS = 10**15
LARGE = [b"one" * 9, b"two" * 9]  # few, so that the same comes back
REPOS_MAX = 3
Files = dict[str, bytes]  # large files alone; the ordinary ones only make commits differ

larges = st.sampled_from(LARGE)
paths = st.sampled_from(["x", "d/e/z"])
branches = st.sampled_from(["main", "dev"])


@dataclass
class Model:
    where: Repo
    refs: dict[str, list[Files]] = field(default_factory=lambda: {"main": [{}]})
    gone: set[bytes] = field(default_factory=set)

    @property
    def named(self) -> set[bytes]:
        """All large files that some commit behind a ref holds."""
        return {d for past in self.refs.values() for files in past for d in files.values()}


class Ops(RuleBasedStateMachine):
    catalog: Catalog
    number = 0

    def __init__(self) -> None:
        super().__init__()
        self.alice = person(self.catalog, "alice")
        self.store: set[str] = set()
        self.count = 0
        self.repos = [Model(repo(self.catalog, self.alice, self.name()))]

    def name(self) -> str:
        type(self).number += 1
        return f"alice/m{self.number}"

    def one(self, pick: int) -> Model:
        return self.repos[pick % len(self.repos)]

    picks = st.integers(0, REPOS_MAX - 1)

    @rule(pick=picks, path=paths, data=larges, branch=branches)
    def put(self, pick: int, path: str, data: bytes, branch: str) -> None:
        model = self.one(pick)
        if branch not in model.refs:
            return
        oid = upload(self.catalog, self.alice, data)
        self.store.add(oid)
        plan = Plan(branch, (PutLfs(RepoPath(path), oid, len(data)),), f"put {path}")
        self.catalog.commits.apply(self.alice, model.where, plan)
        model.gone.discard(data)
        past = model.refs[branch]
        if past[-1].get(path) != data:
            model.refs[branch] = [*past, past[-1] | {path: data}]

    @rule(pick=picks, path=paths, branch=branches)
    def remove(self, pick: int, path: str, branch: str) -> None:
        model = self.one(pick)
        if path not in model.refs.get(branch, [{}])[-1]:
            return
        commit(self.catalog, self.alice, model.where, {path: None}, revision=branch)
        past = model.refs[branch]
        model.refs[branch] = [*past, {p: d for p, d in past[-1].items() if p != path}]

    @rule(pick=picks, branch=branches)
    def small(self, pick: int, branch: str) -> None:
        model = self.one(pick)
        if branch in model.refs:
            self.count += 1
            text = b"%d" % self.count
            commit(self.catalog, self.alice, model.where, {"d/small": text}, revision=branch)
            model.refs[branch] = [*model.refs[branch], model.refs[branch][-1]]

    @rule(pick=picks, drop=st.booleans())
    def branch(self, pick: int, drop: bool) -> None:
        model = self.one(pick)
        if drop and model.refs.pop("dev", None) is not None:
            self.catalog.refs.delete_branch(self.alice, model.where, "dev")
        elif not drop and "dev" not in model.refs:
            self.catalog.refs.create_branch(self.alice, model.where, "dev")
            model.refs["dev"] = list(model.refs["main"])

    @rule(pick=picks, branch=branches)
    def squash(self, pick: int, branch: str) -> None:
        model = self.one(pick)
        if branch in model.refs:
            self.catalog.squash.apply(self.alice, model.where, branch, "squashed")
            model.refs[branch] = model.refs[branch][-1:]

    @rule(pick=picks, which=st.integers(0, 1), rewrite=st.booleans())
    def delete(self, pick: int, which: int, rewrite: bool) -> None:
        model = self.one(pick)
        if not model.named:
            return
        data = sorted(model.named)[which % len(model.named)]
        oid = digest(data)
        self.catalog.lfs_files.delete(self.alice, model.where, [oid], rewrite=rewrite)
        if rewrite:
            model.refs = {
                ref: [{p: d for p, d in files.items() if d != data} for files in past]
                for ref, past in model.refs.items()
            }
        model.gone.add(data)

    @rule(pick=picks)
    def duplicate(self, pick: int) -> None:
        if len(self.repos) < REPOS_MAX:
            model = self.one(pick)
            rid = RepoId.parse("model", self.name())
            made = Model(self.catalog.duplicate.repo(self.alice, model.where, rid))
            made.refs = {ref: list(past) for ref, past in model.refs.items()}
            made.gone = set(model.gone)
            self.repos.append(made)

    @rule(pick=picks)
    def delete_repo(self, pick: int) -> None:
        if len(self.repos) > 1:
            model = self.one(pick)
            self.catalog.repos.delete(self.alice, "model", model.where.full)
            self.repos.remove(model)

    @rule()
    def gc(self) -> None:
        """All at once, without grace, as `headwater gc --grace-s 0` would."""
        with self.catalog.db.write() as conn:
            conn.execute(update(s.upload).values(expires_ms=0))
        for model in self.repos:
            self.catalog.sweep.sweep_objects(model.where.id, LATER_MS)
        for oid in self.catalog.sweep.dead_blobs(LATER_MS):
            assert self.catalog.sweep.forget_blob(oid, LATER_MS, self.dropping(oid))
        alive = {d for model in self.repos for d in model.named - model.gone}
        assert self.store == {digest(data) for data in alive}
        for model in self.repos:
            self.compare(model)

    def dropping(self, oid: str) -> Callable[[], bool]:
        return lambda: not self.store.discard(oid)  # type: ignore[func-returns-value]

    def compare(self, model: Model) -> None:
        """Every commit behind every ref has the model's large files, gone or readable."""
        for ref, past in model.refs.items():
            head = self.catalog.refs.resolve(model.where, ref).commit
            history = self.catalog.history.list(model.where, head, 1000)
            assert len(history) == len(past)
            for info, wanted in zip(reversed(history), past, strict=True):
                entries = files_of(self.catalog, model.where, info.oid)
                found = {path: entry.lfs for path, entry in entries.items() if entry.lfs}
                assert {path: lfs.oid for path, lfs in found.items()} == {
                    path: digest(data) for path, data in wanted.items()
                }
                for path, lfs in found.items():
                    assert lfs.gone == (wanted[path] in model.gone)
                    held = self.catalog.blobs.in_repo(model.where, lfs.oid)
                    assert held == (None if lfs.gone else lfs.size_bytes)
                    assert lfs.gone or lfs.oid in self.store

    def teardown(self) -> None:
        for model in self.repos:
            self.compare(model)
            query = select(s.ref.c.name, s.ref.c.target).where(s.ref.c.repo_id == model.where.id)
            with self.catalog.db.read() as conn:
                refs = {row.name: row.target for row in conn.execute(query)}
            with bare_repository() as git:
                git.take(self.catalog, model.where)
                git.point(refs)
                git("fsck", "--strict", "--full")
        self.gc()
        for model in self.repos:  # the next example begins with an empty store
            self.catalog.repos.delete(self.alice, "model", model.where.full)
        self.repos = []
        self.gc()


def test_whole_repos_in_any_order(catalog: Catalog) -> None:
    machine = type("Machine", (Ops,), {"catalog": catalog})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples(40), stateful_step_count=40, deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip
