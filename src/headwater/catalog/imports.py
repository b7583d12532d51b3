"""A repo that comes with its whole history: looked at as a push is, then there whole or not at all.

    imports.run(arriving, folder, limits, dry_run=…)  -> Imported

A new repo appears with everything in it, in one transaction; one that is here goes on, if what came
is the same history: each branch only forward, each tag the same, settings as they are here. Large
files are linked only when they came along (`git_verify.Brought`): that this hub holds bytes by some
hash gives them to nobody.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Connection, select, update

from headwater.catalog import audit, blobs, cards, events, refs, repos
from headwater.catalog import schema as s
from headwater.catalog.actors import OPERATOR
from headwater.catalog.clock import now_ms
from headwater.catalog.db import Db
from headwater.catalog.duplicate import OBJECT_BYTES_MAX, OBJECTS_MAX
from headwater.catalog.files import Files
from headwater.catalog.git import GitObjects, new_blob
from headwater.catalog.git_graph import kinds
from headwater.catalog.git_push import check_ref
from headwater.catalog.git_quarantine import TABLES, Limits, Quarantine, unpack
from headwater.catalog.git_scratch import scratch
from headwater.catalog.git_verify import Brought, Verifier, outside_of
from headwater.catalog.models import Repo
from headwater.catalog.repos import MAIN
from headwater.errors import BadRequest, Conflict, RepoNotFound, Unavailable, Unprocessable
from headwater.formats.git_object import TREE_BYTES_MAX
from headwater.formats.git_pack import PackFile
from headwater.formats.lfs_pointer import encode_pointer
from headwater.names import RepoId, shown


@dataclass(frozen=True, slots=True)
class Arriving:
    """A repo as it came. `refs` maps names to targets, commits or tag objects."""

    rid: RepoId
    private: bool
    gated: str
    sdk: str | None
    refs: dict[str, str]
    pack: PackFile = field(repr=False)
    brought: Brought = field(repr=False)
    origin: str  # what names the bundle in the audit trail


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of it: refs made, refs moved forward, refs that were there already."""

    rid: RepoId
    is_new: bool
    made: int
    moved: int
    kept: int


@dataclass(slots=True)
class _Looked:
    """A ref that may be set."""

    target: str
    commit: str
    was: str | None = None  # target of the ref that is here
    forward: bool = True  # False: the one here is ahead, and stays


class Imports:
    def __init__(self, db: Db, git: GitObjects, files: Files) -> None:
        self.db = db
        self.git = git
        self.files = files

    def demand_room(self, rid: RepoId) -> None:
        """What `run` would say of the name, before anything else is looked at."""
        if self._here(rid) is None:
            with self.db.read() as conn:
                repos.may_take(conn, OPERATOR, rid)

    def run(
        self, arriving: Arriving, folder: Path, limits: Limits, *, dry_run: bool = False
    ) -> Imported:
        """BadRequest, Malformed or TooLarge when what came breaks a rule; Conflict when the repo
        is here and is another one, or wider open; NotFound when nobody has its namespace."""
        repo = self._here(arriving.rid)
        if repo is not None:
            _demand_as_closed(repo, arriving)
        known = repo or _nobody(arriving)
        with scratch(folder, TABLES) as db:
            new = Quarantine(db)
            base_bytes_max = max(limits.blob_bytes_max, TREE_BYTES_MAX)
            unpack(arriving.pack, new, outside_of(self.db, self.git, known, base_bytes_max), limits)
            verifier = Verifier(self.db, self.git, OPERATOR, known, new, limits, arriving.brought)
            looked = self._look(verifier, known, arriving)
            _measure(new)
            if dry_run:
                with self.db.read() as conn:
                    if repo is None:
                        repos.may_take(conn, OPERATOR, arriving.rid)
                return _told(arriving.rid, repo is None, looked)
            with self.db.write() as conn:
                return self._write(conn, arriving, repo, verifier, looked)

    def _here(self, rid: RepoId) -> Repo | None:
        with self.db.read() as conn:
            return _find(conn, rid)

    def _look(self, verifier: Verifier, repo: Repo, arriving: Arriving) -> dict[str, _Looked]:
        """Every ref: may it be, is what it leads to all there, does it only go forward."""
        looked: dict[str, _Looked] = {}
        if MAIN not in arriving.refs:
            raise BadRequest(f"{arriving.rid.full} came without its branch main")
        with self.db.read() as conn:
            query = select(s.ref.c.name, s.ref.c.target, s.ref.c.commit)
            rows = conn.execute(query.where(s.ref.c.repo_id == repo.id)).all()
        here = {row.name: (row.target, row.commit) for row in rows}
        for name, target in arriving.refs.items():
            check_ref(name)
            branch = name.startswith("refs/heads/")
            one = _Looked(target, verifier.tip(target, branch=branch))
            looked[name] = one
            if name not in here:
                continue
            one.was, commit = here[name]
            ahead = branch and verifier.tips.went_forward(one.commit, commit)
            if one.was == target or ahead:
                one.forward = False
            elif not branch or not verifier.tips.went_forward(commit, one.commit):
                raise Conflict(
                    f"{arriving.rid.full} is here with another history: {shown(name)} would not "
                    "go forward. Nothing was changed; import it under another name with --as"
                )
        return looked

    def _write(
        self,
        conn: Connection,
        arriving: Arriving,
        before: Repo | None,
        verifier: Verifier,
        looked: dict[str, _Looked],
    ) -> Imported:
        """All of it, in this transaction."""
        rid, new = arriving.rid, verifier.new
        repo = _find(conn, rid)
        if (repo is None) != (before is None) or (repo and before and repo.id != before.id):
            raise Unavailable(f"{rid.full} came or went meanwhile; import again")
        if repo is None:
            repo, _ = repos.insert_row(
                conn, OPERATOR, rid, private=arriving.private or None, sdk=arriving.sdk,
                gated=arriving.gated,
            )  # fmt: skip
        else:
            _demand_as_closed(repo, arriving)
        told = _told(rid, before is None, looked)
        if not told.made + told.moved:
            return told  # all of it is here
        self._insert(conn, repo, verifier)
        self._link(conn, repo, arriving.brought, new)
        moved = []
        for name, one in looked.items():
            if one.forward:
                moved.append((name, self._set(conn, repo, name, one), one.commit))
        main = looked[MAIN]
        if main.forward:
            tree = self.git.commit(conn, repo.id, main.commit).tree
            cards.refresh(self.files, self.git, conn, repo, tree)
        audit.record(
            conn, OPERATOR.audit_name, "repo.import", str(rid), new=told.is_new, made=told.made,
            moved=told.moved, files=len(arriving.brought.files), private=repo.private,
            bundle=arriving.origin,
        )  # fmt: skip
        if before is None:
            events.emit(conn, OPERATOR, repo, "repo", "create")
        events.refs_moved(conn, OPERATOR, repo, *moved)
        return told

    def _insert(self, conn: Connection, repo: Repo, verifier: Verifier) -> None:
        """Git objects; what they lean on is looked at once more."""
        at = now_ms()
        statement = self.db.upsert(s.git_object, ["repo_id", "oid"], {"created_ms": at})
        for rows in verifier.new.staged():
            values = [
                {
                    "repo_id": repo.id, "oid": row.oid, "kind": row.kind,
                    "size_bytes": row.size_bytes, "data": row.data,
                    "lfs_oid": None, "lfs_bytes": None, "created_ms": at,
                }
                for row in rows
            ]  # fmt: skip
            conn.execute(statement, values)
        for part in verifier.new.needed():
            if len(kinds(conn, repo.id, [oid for oid, _ in part])) != len(part):
                raise Unavailable("objects went away meanwhile; import again")

    def _link(self, conn: Connection, repo: Repo, brought: Brought, new: Quarantine) -> None:
        """Pointers, and the large files behind them."""
        for pointers in new.pointers():
            oids = [oid for oid, _ in pointers]
            stays = set(blobs.withdrawn(conn, repo.id, oids))  # taken out of this repo for good
            there = [p for p in pointers if p[0] in brought.files and p[0] not in stays]
            known = blobs.held(conn, OPERATOR, [oid for oid, _ in there])
            if any(known.get(oid) != size for oid, size in there):
                raise Unavailable("a large file went away meanwhile; import again")
            made = [new_blob(encode_pointer(*pointer), pointer) for pointer in pointers]
            self.git.put(conn, repo.id, made)
            blobs.link(self.db, conn, OPERATOR, repo.id, there)
            mine = select(s.repo_blob.c.oid).where(s.repo_blob.c.repo_id == repo.id)
            here = set(conn.execute(mine.where(s.repo_blob.c.oid.in_(oids))).scalars())
            gone = [oid for oid in oids if oid not in brought.files and oid not in here]
            blobs.withdraw(self.db, conn, repo.id, gone)

    def _set(self, conn: Connection, repo: Repo, name: str, one: _Looked) -> str | None:
        """Make a ref, or move it from where it was when it was looked at; the commit it left."""
        here = (s.ref.c.repo_id == repo.id) & (s.ref.c.name == name)
        row = conn.execute(select(s.ref.c.target, s.ref.c.commit).where(here)).one_or_none()
        if (row.target if row else None) != one.was:
            raise Unavailable(f"{shown(name)} moved meanwhile; import again")
        if row is None:
            refs.create(conn, repo.id, name, one.commit, one.target)
            return None
        values = {"target": one.target, "commit": one.commit, "updated_ms": now_ms()}
        conn.execute(update(s.ref).where(here).values(**values))
        return str(row.commit)


def _find(conn: Connection, rid: RepoId) -> Repo | None:
    """The repo of that very name: where an old name leads is another one."""
    try:
        return repos.find(conn, OPERATOR, rid.type, rid.full, "write", moved=False)
    except RepoNotFound:
        return None


def _demand_as_closed(repo: Repo, arriving: Arriving) -> None:
    """Conflict when what came is for fewer people than the repo that is here."""
    if arriving.private and not repo.private:
        raise Conflict(f"{repo.full} is public here and private in the bundle; make it private")
    if arriving.gated and not (repo.gated or repo.private):
        raise Conflict(f"{repo.full} is gated in the bundle and open here; put a gate before it")


def _nobody(arriving: Arriving) -> Repo:
    """Stands for a repo that is not made yet: row 0 holds nothing."""
    rid = arriving.rid
    return Repo(
        id=0, hub_id="", type=rid.type, owner_id=0, namespace=rid.namespace, name=rid.name,
        key=rid.key, creator_id=None, private=True, gated="", disabled=False, created_ms=0,
        updated_ms=0, sdk=None, pipeline_tag=None, library_name=None, card="{}", config="{}",
        tags="[]", downloads=0, downloads_all=0, likes=0, trending=0, parameters=None, weights="{}",
    )  # fmt: skip


def _measure(new: Quarantine) -> None:
    """Unprocessable when writing it would keep everybody waiting for too long."""
    count, size_bytes = new.reached()
    if count > OBJECTS_MAX or size_bytes > OBJECT_BYTES_MAX:
        raise Unprocessable(
            f"a history of {count} git objects and {size_bytes} bytes; at most {OBJECTS_MAX} of "
            f"{OBJECT_BYTES_MAX} bytes are taken in at once. Squash it first, then export again"
        )


def _told(rid: RepoId, is_new: bool, looked: dict[str, _Looked]) -> Imported:
    made = sum(one.was is None for one in looked.values())
    moved = sum(one.forward for one in looked.values()) - made
    return Imported(rid, is_new, made, moved, len(looked) - made - moved)
