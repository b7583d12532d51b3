"""Refs: the only mutable pointers. Revisions in, commits out.

A revision is a branch, a tag, a full ref name or a commit id, looked up in that order. Refs move
only by `swap`, a compare-and-swap: whoever looked at an older target is told so (412).
"""

from __future__ import annotations

import builtins
import unicodedata
from collections.abc import Iterable, Set
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, or_, select, update

from headwater.catalog import audit, events
from headwater.catalog import schema as s
from headwater.catalog.actors import Actor
from headwater.catalog.clock import now_ms
from headwater.catalog.db import Db
from headwater.catalog.git import GitObjects, new_commit, new_tag, new_tree
from headwater.catalog.models import Repo, Revision
from headwater.catalog.repos import MAIN, find
from headwater.errors import BadRequest, Conflict, Forbidden, NotFound, RevisionNotFound, Stale
from headwater.names import GitOid, check_ref_part, shown

REFS_PER_REPO_MAX = 10_000  # a listing is one reply; pull requests are counted apart
PULL_REQUESTS = "refs/pr/"
# Hugging Face's words; its client tests look for them.
STALE = "The branch was updated since you opened this page. Please refresh and try again."


@dataclass(frozen=True, slots=True)
class Ref:
    name: str
    commit: GitOid


def no_revision(text: str) -> RevisionNotFound:
    return RevisionNotFound(f"Invalid rev id: {shown(text)}. No such branch, tag or commit here.")


class Refs:
    def __init__(self, db: Db, git: GitObjects) -> None:
        self.db = db
        self.git = git

    def resolve(self, repo: Repo, revision: str) -> Revision:
        """The commit that `revision` means, or RevisionNotFound."""
        with self.db.read() as conn:
            return self.resolve_in(conn, repo.id, revision)

    def resolve_in(self, conn: Connection, repo_id: int, revision: str) -> Revision:
        name, commit = self.lookup(conn, repo_id, revision)
        if name is None and not self.git.among(conn, repo_id, [commit], "commit"):
            raise no_revision(revision)  # gc took it, though it may be remembered here
        try:
            info = self.git.commit(conn, repo_id, commit)
        except NotFound:
            raise no_revision(revision) from None
        return Revision(GitOid(commit), info.tree, name)

    def start_in(self, conn: Connection, repo_id: int, revision: str) -> GitOid:
        """A commit that a new ref may lead to. RevisionNotFound for one that no ref leads to and
        of which gc took a part already, so that nothing could be read there."""
        found = self.resolve_in(conn, repo_id, revision)
        if found.ref is None:
            query = select(s.ref.c.commit).where(s.ref.c.repo_id == repo_id)
            heads = conn.execute(query).scalars().all()
            whole = self._closure(conn, repo_id, heads, set(), trees=False)
            loose = self._closure(conn, repo_id, [found.commit], whole, trees=True) - whole
            if len(self.git.among(conn, repo_id, loose)) != len(loose):
                raise no_revision(revision)
        return found.commit

    def _closure(
        self, conn: Connection, repo_id: int, commits: Iterable[str], seen: Set[str], *, trees: bool
    ) -> set[str]:
        """`seen`, these commits and those behind them; with `trees` also all that they hold."""
        found = set(seen)
        todo = [(commit, "commit") for commit in commits]
        while todo:
            oid, kind = todo.pop()
            if oid in found:
                continue
            found.add(oid)
            try:
                links = self.git.links(conn, repo_id, oid, kind)
            except NotFound:
                continue  # whoever asks compares with what is stored
            todo += [link for link in links if trees or link[1] == "commit"]
        return found

    def lookup(self, conn: Connection, repo_id: int, revision: str) -> tuple[str | None, str]:
        """(ref name or None, commit id as written) of a revision; the commit is not read."""
        if "\0" in revision:  # no ref has one, and PostgreSQL would not even compare it
            raise no_revision(revision)
        revision = unicodedata.normalize("NFC", revision)
        if revision == "HEAD":  # git's word for the default branch; no ref may be called so
            revision = MAIN.removeprefix("refs/heads/")
        names = [f"refs/heads/{revision}", f"refs/tags/{revision}", revision]
        found = {
            row.name: row.commit
            for row in conn.execute(
                select(s.ref.c.name, s.ref.c.commit).where(
                    s.ref.c.repo_id == repo_id, s.ref.c.name.in_(names)
                )
            )
        }
        for name in names:
            if name in found:
                return name, found[name]
        try:
            return None, GitOid(revision)
        except BadRequest:
            raise no_revision(revision) from None

    def list(self, repo: Repo) -> builtins.list[Ref]:
        query = select(s.ref.c.name, s.ref.c.commit).where(s.ref.c.repo_id == repo.id)
        with self.db.read() as conn:
            return [Ref(n, GitOid(c)) for n, c in conn.execute(query.order_by(s.ref.c.name))]

    def head(self, repo: Repo) -> GitOid | None:
        """The commit of `main`, or None."""
        query = select(s.ref.c.commit).where(s.ref.c.repo_id == repo.id, s.ref.c.name == MAIN)
        with self.db.read() as conn:
            found = conn.execute(query).scalar_one_or_none()
        return GitOid(found) if found else None

    def create_branch(
        self,
        actor: Actor,
        repo: Repo,
        branch: str,
        *,
        start: str | None = None,
        empty: bool = False,
        overwrite: bool = False,
    ) -> None:
        """A branch at `start` (default main), or with an empty tree. Conflict when it exists."""
        name = "refs/heads/" + check_ref_part(branch)
        with self.db.write() as conn:
            repo = find(conn, actor, repo.type, repo.full, "write")
            exists = self._target(conn, repo.id, name)
            if exists and not overwrite:
                raise Conflict(f"Reference {name} already exists")
            if exists and name == MAIN:
                raise Forbidden("Cannot overwrite refs/heads/main")
            if not exists:
                _make_room(conn, repo.id, name)
            if empty:
                tree = new_tree([])
                at_s = now_ms() // 1000
                first = new_commit(tree.oid, [], "initial commit", actor.audit_name, at_s)
                self.git.put(conn, repo.id, [tree, first])
                commit = first.oid
            else:
                commit = self.start_in(conn, repo.id, start or "main")
            self._set(conn, repo.id, name, commit, commit)
            audit.record(conn, actor.audit_name, "ref.create", str(repo.full), ref=name, to=commit)
            events.refs_moved(conn, actor, repo, (name, exists, commit))

    def create_tag(self, actor: Actor, repo: Repo, tag: str, revision: str, message: str) -> None:
        """A tag on `revision`; with a message it is an annotated one. Conflict when it exists."""
        name = "refs/tags/" + check_ref_part(tag, "tag")
        with self.db.write() as conn:
            repo = find(conn, actor, repo.type, repo.full, "write")
            if self._target(conn, repo.id, name):
                raise Conflict(f"Tag reference {name} already exists")
            _make_room(conn, repo.id, name)
            commit = self.start_in(conn, repo.id, revision)
            target = commit
            if message:
                made = new_tag(tag, commit, message, actor.audit_name, now_ms() // 1000)
                self.git.put(conn, repo.id, [made])
                target = made.oid
            self._set(conn, repo.id, name, target, commit)
            audit.record(conn, actor.audit_name, "ref.create", str(repo.full), ref=name, to=commit)
            events.refs_moved(conn, actor, repo, (name, None, commit))

    def delete_branch(self, actor: Actor, repo: Repo, branch: str) -> None:
        """Drop a branch; what only it led to goes with the next gc. RevisionNotFound if absent."""
        if branch == "main":
            raise Forbidden("Cannot delete refs/heads/main")
        self._delete(actor, repo, f"refs/heads/{branch}", branch)

    def delete_tag(self, actor: Actor, repo: Repo, tag: str) -> None:
        """Drop a tag. RevisionNotFound when there is none of that name."""
        self._delete(actor, repo, f"refs/tags/{tag}", tag)

    def _delete(self, actor: Actor, repo: Repo, name: str, shown_name: str) -> None:
        if "\0" in name:
            raise no_revision(shown_name)
        name = unicodedata.normalize("NFC", name)
        with self.db.write() as conn:
            repo = find(conn, actor, repo.type, repo.full, "write")
            was = self._target(conn, repo.id, name)
            if was is None:
                raise no_revision(shown_name)
            conn.execute(delete(s.ref).where(s.ref.c.repo_id == repo.id, s.ref.c.name == name))
            audit.record(conn, actor.audit_name, "ref.delete", str(repo.full), ref=name, was=was)
            events.refs_moved(conn, actor, repo, (name, was, None))

    def _target(self, conn: Connection, repo_id: int, name: str) -> str | None:
        query = select(s.ref.c.target).where(s.ref.c.repo_id == repo_id, s.ref.c.name == name)
        return conn.execute(query).scalar_one_or_none()

    def _set(self, conn: Connection, repo_id: int, name: str, target: str, commit: str) -> None:
        values = {"target": target, "commit": commit, "updated_ms": now_ms()}
        conn.execute(
            self.db.upsert(s.ref, ["repo_id", "name"], values),
            {"repo_id": repo_id, "name": name, **values},
        )


def _make_room(conn: Connection, repo_id: int, name: str) -> None:
    """Refuse a new ref that git could not hold: `a` beside `a/b`, or one too many."""
    mine = s.ref.c.repo_id == repo_id
    # Anybody may open pull requests: they must not take the room of the owners' branches.
    kind = s.ref.c.name.startswith(PULL_REQUESTS)
    kind = kind if name.startswith(PULL_REQUESTS) else ~kind
    count = conn.execute(select(func.count()).select_from(s.ref).where(mine, kind)).scalar_one()
    if count >= REFS_PER_REPO_MAX:
        raise BadRequest(f"a repo has at most {REFS_PER_REPO_MAX} refs; delete some first")
    parts = name.split("/")
    above = ["/".join(parts[:depth]) for depth in range(3, len(parts))]
    below = s.ref.c.name.startswith(f"{name}/", autoescape=True)
    twin = select(s.ref.c.name).where(mine, or_(s.ref.c.name.in_(above), below))
    if (found := conn.execute(twin).scalars().first()) is not None:
        raise Conflict(f"Reference {name} already exists in part: {found} is in its way")


def swap(conn: Connection, repo_id: int, name: str, old: GitOid, new: GitOid) -> None:
    """Move a ref from `old` to `new`; Stale when it is no longer at `old`."""
    done = conn.execute(
        update(s.ref)
        .where(s.ref.c.repo_id == repo_id, s.ref.c.name == name, s.ref.c.commit == old)
        .values(target=new, commit=new, updated_ms=now_ms())
    )
    if done.rowcount != 1:
        raise Stale(STALE)


def create(
    conn: Connection, repo_id: int, name: str, commit: str, target: str | None = None
) -> None:
    """A ref that did not exist; `target` is the tag object that leads to the commit, if any."""
    _make_room(conn, repo_id, name)
    target = target or commit
    conn.execute(
        insert(s.ref).values(
            repo_id=repo_id, name=name, target=target, commit=commit, updated_ms=now_ms()
        )
    )
