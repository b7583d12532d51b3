"""gc against everything that keeps bytes: refs, buckets, attachments, uploads that wait.

Any order of commits, pushes, pull requests, squashes, deletions for good, duplicates, buckets,
pictures and gc, with and without grace. What one of them reaches stays readable, to the last
object; what none of them reaches is gone after a run without grace (rules S7, F16).
A failure prints the seed; HEADWATER_TEST_SEED repeats it.
"""

import os
import tempfile
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from catalog_kit import commit, digest, person, repo
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from sqlalchemy import delete, select, update

from effort import examples
from headwater.catalog import schema as s
from headwater.catalog import schema_social as so
from headwater.catalog.actors import Actor
from headwater.catalog.bucket_batch import Drop, Put
from headwater.catalog.catalog import Catalog
from headwater.catalog.commits import Plan, PutLfs
from headwater.catalog.git import GitObjects
from headwater.catalog.git_push import NOTHING, Command
from headwater.catalog.git_quarantine import Limits
from headwater.catalog.models import Repo
from headwater.catalog.sweep import Sweep
from headwater.errors import (
    BadRequest,
    Conflict,
    EntryNotFound,
    RevisionNotFound,
    Unavailable,
)
from headwater.formats.git_pack import PackFile
from headwater.formats.lfs_pointer import encode_pointer
from headwater.names import Digest, RepoId, RepoPath, XetHash
from packs import history, pack

LATER_MS = 10**15  # no grace: whatever there is, is older
GRACE_MS = 1000  # what `age` made old is older than this, what came since is not
LARGE = [b"one" * 9, b"two" * 9, b"three" * 9]  # few, so that the same comes back
REPOS_MAX = 3
SEED = int(os.environ.get("HEADWATER_TEST_SEED", "20261124"))
Files = dict[str, bytes]  # large files by path


@dataclass
class Home:
    """A repo as it should be."""

    where: Repo
    heads: dict[str, str] = field(default_factory=dict)  # ref -> commit
    files: dict[str, Files] = field(default_factory=dict)  # of every commit ever made
    gone: set[bytes] = field(default_factory=set)  # deleted for good


class World(RuleBasedStateMachine):
    catalog: Catalog
    number = 0

    def __init__(self) -> None:
        super().__init__()
        with self.catalog.db.write() as conn:  # an example that failed left its own behind
            for table in (s.repo, so.attachment, s.upload, s.blob):
                conn.execute(delete(table))
        self.ann = person(self.catalog, "ann")
        self.store: set[str] = set()
        self.waiting: set[bytes] = set()  # uploaded, and not linked or expired since
        self.pictures: set[bytes] = set()
        self.bucket = repo(self.catalog, self.ann, self.name(), "bucket")
        self.bucket_files: Files = {}
        self.homes: list[Home] = []
        self.count = 0
        self.make()

    def name(self) -> str:
        type(self).number += 1
        return f"ann/m{self.number}"

    def make(self) -> None:
        home = Home(repo(self.catalog, self.ann, self.name()))
        self.homes.append(home)
        self.note(home, "refs/heads/main", {})

    def note(self, home: Home, ref: str, files: Files) -> None:
        """The ref has moved: its commit is remembered with the files it should have."""
        head = str(self.catalog.refs.resolve(home.where, ref).commit)
        home.heads[ref] = head
        home.files[head] = dict(files)

    def at(self, home: Home, ref: str) -> Files:
        return home.files[home.heads[ref]]

    def one(self, pick: int) -> Home:
        return self.homes[pick % len(self.homes)]

    def branch_of(self, home: Home, pick: int) -> str:
        branches = sorted(ref for ref in home.heads if ref.startswith("refs/heads/"))
        return branches[pick % len(branches)]

    def send(self, data: bytes) -> Digest:
        self.store.add(digest(data))
        self.waiting.add(data)
        xet = XetHash(digest(b"xet" + data))
        self.catalog.blobs.uploaded(self.ann, digest(data), len(data), xet_hash=xet)
        return digest(data)

    picks = st.integers(0, 5)
    larges = st.sampled_from(LARGE)
    paths = st.sampled_from(["x", "d/e/z"])

    # What keeps bytes

    @rule(data=larges)
    def upload(self, data: bytes) -> None:
        self.send(data)

    @rule(pick=picks, branch=picks, path=paths, data=larges, sent=st.booleans(), pr=st.booleans())
    def put(self, pick: int, branch: int, path: str, data: bytes, sent: bool, pr: bool) -> None:
        home = self.one(pick)
        ref = self.branch_of(home, branch)
        if sent:
            self.send(data)
        self.count += 1
        plan = Plan(
            ref, (PutLfs(RepoPath(path), digest(data), None),), f"put {self.count}", create_pr=pr
        )
        try:
            made = self.catalog.commits.apply(self.ann, home.where, plan)
        except BadRequest:
            assert not sent
            return
        assert digest(data) in self.store, "linked bytes that are gone"
        after = self.at(home, ref) | {path: data}
        if after == self.at(home, ref) and not pr:
            # Nothing changes and nothing is linked, but what was deleted for good comes back.
            if data in home.gone:
                home.gone.discard(data)
                self.waiting.discard(data)
            return
        home.gone.discard(data)
        self.waiting.discard(data)
        self.note(home, f"refs/pr/{made.pr}" if pr else ref, after)

    @rule(pick=picks, branch=picks, path=paths)
    def remove(self, pick: int, branch: int, path: str) -> None:
        home = self.one(pick)
        ref = self.branch_of(home, branch)
        try:
            commit(self.catalog, self.ann, home.where, {path: None}, revision=ref)
        except EntryNotFound:
            assert path not in self.at(home, ref)
            return
        self.note(home, ref, {p: d for p, d in self.at(home, ref).items() if p != path})

    @rule(pick=picks, start=picks, data=larges, new=st.booleans(), swept=st.sampled_from([0, 1, 2]))
    def push(self, pick: int, start: int, data: bytes, new: bool, swept: int) -> None:
        """A commit by git on any commit there ever was, gc coming between objects and refs."""
        home = self.one(pick)
        olds = sorted(home.files)
        old = olds[start % len(olds)]
        if not new:
            old = home.heads["refs/heads/main"]
        ref = "refs/heads/pushed" if new else "refs/heads/main"
        sent = self.send(data)
        self.count += 1
        files = {b"p": encode_pointer(sent, len(data)), b"n": b"%d" % self.count}
        oid, entries = history(files, old)
        before = home.heads.get(ref, NOTHING)
        asked = 0

        def actor() -> Actor:
            nonlocal asked
            asked += 1
            if asked == 2 and swept:
                self.collect(LATER_MS if swept == 2 else self.grace())
            return self.ann

        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as file:
            file.write(pack(entries))
            file.flush()
            try:
                outcome = self.catalog.git_push.run(
                    actor, home.where, [Command(ref, before, oid)], PackFile(file, 0),
                    Path(folder), Limits(10**7, 2**30), atomic=False,
                )  # fmt: skip
            except Unavailable:
                assert swept, "told to push again, and nothing went away"
                return
        if outcome.refused:
            assert "did not come" in outcome.refused[ref], outcome
            return
        self.waiting.discard(data)
        home.gone.discard(data)
        self.note(home, ref, {"p": data})
        assert home.heads[ref] == oid

    @rule(pick=picks, num=picks)
    def merge(self, pick: int, num: int) -> None:
        home = self.one(pick)
        prs = sorted(ref for ref in home.heads if ref.startswith("refs/pr/"))
        if not prs:
            return
        ref = prs[num % len(prs)]
        pr = int(ref.rpartition("/")[2])
        target = self.catalog.discussions.find(home.where, pr).target_ref
        try:
            self.catalog.merging.merge(self.ann, home.where, pr)
        except (Conflict, RevisionNotFound):
            return
        assert target is not None
        head = str(self.catalog.refs.resolve(home.where, target).commit)
        home.heads[target] = head
        home.files[head] = self.large_files(home, head)  # the merge itself is tested elsewhere
        theirs = home.files[home.heads[ref]]
        assert set(home.files[head].values()) <= set(LARGE)
        assert any(data in home.files[head].values() for data in theirs.values()) or not theirs

    @rule(pick=picks, num=picks)
    def close(self, pick: int, num: int) -> None:
        home = self.one(pick)
        prs = sorted(ref for ref in home.heads if ref.startswith("refs/pr/"))
        if prs:
            pr = int(prs[num % len(prs)].rpartition("/")[2])
            if self.catalog.discussions.find(home.where, pr).status == "open":
                self.catalog.discussions.set_status(self.ann, home.where, pr, "closed")

    @rule(pick=picks, start=picks, tag=st.booleans())
    def ref_at(self, pick: int, start: int, tag: bool) -> None:
        """A branch or tag at any commit there ever was: refused, or whole."""
        home = self.one(pick)
        olds = sorted(home.files)
        old = olds[start % len(olds)]
        try:
            if tag:
                self.catalog.refs.create_tag(self.ann, home.where, "v1", old, "said")
            else:
                self.catalog.refs.create_branch(self.ann, home.where, "dev", start=old)
        except (Conflict, RevisionNotFound):
            return
        self.note(home, "refs/tags/v1" if tag else "refs/heads/dev", home.files[old])

    @rule(
        pick=picks, which=st.sampled_from(["refs/heads/dev", "refs/heads/pushed", "refs/tags/v1"])
    )
    def drop_ref(self, pick: int, which: str) -> None:
        home = self.one(pick)
        if home.heads.pop(which, None):
            name = which.split("/", 2)[2]
            drop = (
                self.catalog.refs.delete_tag if "tags" in which else self.catalog.refs.delete_branch
            )
            drop(self.ann, home.where, name)

    @rule(pick=picks, branch=picks)
    def squash(self, pick: int, branch: int) -> None:
        home = self.one(pick)
        ref = self.branch_of(home, branch)
        files = self.at(home, ref)
        self.count += 1
        self.catalog.squash.apply(self.ann, home.where, ref, f"squashed {self.count}")
        self.note(home, ref, files)

    @rule(pick=picks, data=larges, rewrite=st.booleans())
    def delete(self, pick: int, data: bytes, rewrite: bool) -> None:
        home = self.one(pick)
        oid = digest(data)
        held = self.catalog.blobs.in_repo(home.where, oid) is not None
        self.catalog.lfs_files.delete(self.ann, home.where, [oid], rewrite=rewrite)
        if held:
            home.gone.add(data)
        if rewrite:
            for ref in home.heads:
                head = str(self.catalog.refs.resolve(home.where, ref).commit)
                left = {p: d for p, d in self.at(home, ref).items() if d != data}
                home.heads[ref] = head
                home.files[head] = left

    @rule(pick=picks)
    def duplicate(self, pick: int) -> None:
        if len(self.homes) >= REPOS_MAX:
            return
        home = self.one(pick)
        rid = RepoId.parse("model", self.name())
        made = Home(self.catalog.duplicate.repo(self.ann, home.where, rid))
        made.heads = {r: c for r, c in home.heads.items() if not r.startswith("refs/pr/")}
        made.files = {c: home.files[c] for c in made.heads.values()}
        made.gone = set(home.gone)
        self.homes.append(made)

    @rule(pick=picks)
    def delete_repo(self, pick: int) -> None:
        if len(self.homes) > 1:
            home = self.one(pick)
            self.catalog.repos.delete(self.ann, "model", home.where.full)
            self.homes.remove(home)

    @rule(path=paths, data=larges, sent=st.booleans())
    def bucket_put(self, path: str, data: bytes, sent: bool) -> None:
        if sent:
            self.send(data)
        change = Put(RepoPath(path), XetHash(digest(b"xet" + data)), 1)
        failed = self.catalog.buckets.apply(self.ann, self.bucket.full, [change])
        if failed:
            assert not sent
            return
        assert digest(data) in self.store, "linked bytes that are gone"
        if self.bucket_files.get(path) != data:  # else nothing is done, and the note waits on
            self.waiting.discard(data)
        self.bucket_files[path] = data

    @rule(path=paths)
    def bucket_drop(self, path: str) -> None:
        self.catalog.buckets.apply(self.ann, self.bucket.full, [Drop(RepoPath(path))])
        self.bucket_files.pop(path, None)

    @rule(data=larges)
    def attach(self, data: bytes) -> None:
        self.store.add(digest(data))
        self.catalog.attachments.add(self.ann, digest(data), len(data), "image/png")
        self.pictures.add(data)

    @rule()
    def detach(self) -> None:
        """As when the account's rows go."""
        with self.catalog.db.write() as conn:
            conn.execute(delete(so.attachment))
        self.pictures.clear()

    # Time, and gc

    @rule()
    def age(self) -> None:
        """All that there is has been there for long."""
        with self.catalog.db.write() as conn:
            for table in (s.git_object, s.repo_blob, s.blob):
                conn.execute(update(table).values(created_ms=1))

    @rule()
    def expire(self) -> None:
        with self.catalog.db.write() as conn:
            conn.execute(update(s.upload).values(expires_ms=0))
        self.waiting.clear()

    @staticmethod
    def grace() -> int:
        return GRACE_MS

    @rule()
    def gc_with_grace(self) -> None:
        self.collect(self.grace())
        self.whole()

    @rule()
    def gc(self) -> None:
        """Without grace: what is left is what something reaches, and nothing else."""
        self.collect(LATER_MS)
        self.whole()
        assert self.store == {digest(data) for data in self.alive()}
        for home in self.homes:
            reached, stored = self.objects(home)
            assert reached == stored

    def collect(self, older_than_ms: int) -> None:
        """What `headwater gc` does, in its order."""
        sweep = self.catalog.sweep
        for repo_id in sweep.repo_ids():
            sweep.sweep_objects(repo_id, older_than_ms)
        for oid in sweep.dead_blobs(older_than_ms):
            sweep.forget_blob(oid, older_than_ms, partial(self.dropped, oid))
        for oid in sorted(self.store):
            if sweep.is_stray(Digest(oid)):
                sweep.forget_stray(Digest(oid), partial(self.dropped, oid))

    def dropped(self, oid: str) -> bool:
        self.store.discard(oid)
        return True

    # What must hold

    def alive(self) -> set[bytes]:
        found = set(self.bucket_files.values()) | self.pictures | self.waiting
        for home in self.homes:
            named: set[bytes] = set()
            for ref in home.heads:
                for oid in self.past(home, ref):
                    named |= set(self.large_files(home, oid).values())
            found |= named - home.gone
        return found

    def objects(self, home: Home) -> tuple[set[str], set[str]]:
        """(those that refs lead to, those that are there), nothing remembered."""
        fresh = Sweep(self.catalog.db, GitObjects(self.catalog.db))
        query = select(s.git_object.c.oid).where(s.git_object.c.repo_id == home.where.id)
        with self.catalog.db.read() as conn:
            reached = set(fresh.reachable(conn, home.where.id, set()))
            return reached, set(conn.execute(query).scalars())

    def past(self, home: Home, ref: str) -> list[str]:
        head = self.catalog.refs.resolve(home.where, ref).commit
        return [str(info.oid) for info in self.catalog.history.list(home.where, head, 1000)]

    def large_files(self, home: Home, revision: str) -> Files:
        """Those of a commit, by path, as the hub has them."""
        of = {digest(data): data for data in LARGE}
        tree = self.catalog.refs.resolve(home.where, revision).tree
        entries = self.catalog.files.list(home.where, tree, recursive=True)
        return {e.path: of[e.lfs.oid] for e in entries if e.lfs is not None}

    def whole(self) -> None:
        """Every ref reads as it should, object by object; so do bucket and pictures."""
        for home in self.homes:
            reached, stored = self.objects(home)
            assert reached <= stored
            for ref, head in home.heads.items():
                assert str(self.catalog.refs.resolve(home.where, ref).commit) == head
                assert self.large_files(home, head) == self.at(home, ref)
                for data in self.at(home, ref).values():
                    held = self.catalog.blobs.in_repo(home.where, digest(data))
                    assert held == (None if data in home.gone else len(data))
        listed = self.catalog.buckets.tree(self.bucket, "", recursive=True, after=None, limit=99)
        assert {f.path: f.oid for f in listed} == {  # type: ignore[union-attr]
            path: digest(data) for path, data in self.bucket_files.items()
        }
        assert {digest(data) for data in self.alive()} <= self.store

    def teardown(self) -> None:
        self.whole()
        self.expire()
        self.gc()


def test_gc_at_any_time(catalog: Catalog) -> None:
    print(f"seed {SEED}")
    machine = type("Machine", (World,), {"catalog": catalog})
    run_state_machine_as_test(
        seed(SEED)(machine),
        settings=settings(
            max_examples=examples(40), stateful_step_count=40, deadline=None, database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip
