"""Where a pushed ref leads through commits and tags, new ones and those of the repo.

tips.peel(conn, oid, branch)       the commit that a ref comes to, and the tags on the way
tips.history(conn, commit)         (new commits, commits of the repo where they go on)
tips.demand_reachable(conn, edge)  a ref of the repo leads there
tips.went_forward(old, tip)        whether a branch only grew
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from sqlalchemy import Connection, select

from headwater.catalog import schema as s
from headwater.catalog.db import Db
from headwater.catalog.git import GitObjects
from headwater.catalog.git_graph import kinds
from headwater.catalog.git_quarantine import Quarantine
from headwater.catalog.models import Repo
from headwater.errors import BadRequest
from headwater.formats.git_object import read_commit, read_tag

TAGS_OF_TAGS_MAX = 8
STEPS_MAX = 10_000  # commits walked to see whether a branch only went forward


class Tips:
    """For one push: `good` has the commits that were looked at for an earlier ref, `edges` those
    of the repo where what was pushed goes on."""

    def __init__(self, db: Db, git: GitObjects, repo: Repo, new: Quarantine) -> None:
        self.db = db
        self.git = git
        self.repo = repo
        self.new = new
        self.good: set[str] = set()
        self.edges: set[str] = set()

    def went_forward(self, old: str, tip: str) -> bool:
        """Whether `old` is on the way back from the tip; False also when that is too far."""
        todo, seen = deque([tip]), {tip}
        with self.db.read() as conn:
            while todo and len(seen) < STEPS_MAX and old not in seen:
                oid = todo.popleft()
                fresh = [oid for oid in self._parents(conn, oid) if oid not in seen]
                seen.update(fresh)
                todo += fresh
        return old in seen

    def _parents(self, conn: Connection, oid: str) -> Sequence[str]:
        if self.new.kind(oid) is not None:
            return read_commit(self.new.body(oid)).parents
        return self.git.commit(conn, self.repo.id, oid).parents

    def peel(self, conn: Connection, oid: str, branch: bool) -> tuple[str, list[str]]:
        """(the commit that a new ref comes to, the tags on the way)."""
        tags: list[str] = []
        stated = "commit" if branch else None
        for _ in range(TAGS_OF_TAGS_MAX):
            kind = self._kind(conn, oid)
            if kind is None:
                raise BadRequest(f"missing necessary objects: {oid} did not come")
            if stated not in (None, kind):
                raise BadRequest(f"{oid} is a {kind}, not a {stated}")
            if kind == "commit":
                return oid, tags
            if kind != "tag":
                raise BadRequest(f"a tag must lead to a commit; {oid} is a {kind}")
            tags.append(oid)
            is_new = self.new.kind(oid) is not None
            body = self.new.body(oid) if is_new else self.git.read(conn, self.repo.id, oid, "tag")
            said = read_tag(body)
            oid, stated = said.target, said.kind
        raise BadRequest(f"over {TAGS_OF_TAGS_MAX} tags of tags")

    def _kind(self, conn: Connection, oid: str) -> str | None:
        return self.new.kind(oid) or kinds(conn, self.repo.id, [oid]).get(oid)

    def history(self, conn: Connection, commit: str) -> tuple[set[str], set[str]]:
        """(commits that came with the push, commits behind them that did not)."""
        fresh: set[str] = set()
        edge: set[str] = set()
        todo = [commit]
        while todo:
            oid = todo.pop()
            if oid in fresh or oid in edge or oid in self.good:
                continue
            kind = self.new.kind(oid)
            if kind is None:
                edge.add(oid)
            elif kind != "commit":
                raise BadRequest(f"{oid} is named as a commit and is a {kind}")
            else:
                fresh.add(oid)
                todo += read_commit(self.new.body(oid)).parents
        return fresh, edge

    def demand_reachable(self, conn: Connection, edge: set[str]) -> None:
        """Where a push ends, the history of a ref must go on: what merely lies here may go."""
        query = select(s.ref.c.commit).where(s.ref.c.repo_id == self.repo.id)
        seen = set(conn.execute(query).scalars())
        left = edge - seen
        todo = list(seen)
        while todo and left:
            parents = set(self.git.commit(conn, self.repo.id, todo.pop()).parents) - seen
            seen |= parents
            left -= parents
            todo += parents
        if left:
            raise BadRequest(f"missing necessary objects: commit {min(left)} did not come")
