"""A push: objects looked at outside the catalog, inserted in parts, refs moved last and at once.

    outcome = push.run(actor, repo, commands, pack, folder, limits, atomic=…)
    outcome.unpack        None, or why the pack was refused
    outcome.refused       why, by ref; refs that are not in it have moved

The write lock is taken for some megabytes of objects at a time, then once more to move the refs:
rights, the old values that the client saw, possession of large files and everything that the push
leans on are looked at again in that transaction. Whoever saw an older value is told to fetch
first, as with any git server; a branch may be moved backwards by force, and the audit row says so.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Connection, delete, select, update

from headwater.catalog import audit, blobs, cards, events, refs
from headwater.catalog import schema as s
from headwater.catalog.actors import Actor
from headwater.catalog.clock import now_ms
from headwater.catalog.db import Db
from headwater.catalog.db_errors import ConnectionLost
from headwater.catalog.files import Files
from headwater.catalog.git import GitObjects, new_blob
from headwater.catalog.git_graph import kinds
from headwater.catalog.git_quarantine import TABLES, Limits, Quarantine, Row, unpack
from headwater.catalog.git_scratch import scratch
from headwater.catalog.git_tips import Tips
from headwater.catalog.git_verify import Verifier, outside_of
from headwater.catalog.models import Repo
from headwater.catalog.repos import MAIN, find
from headwater.errors import BadRequest, Conflict, HeadwaterError, NotFound, Unavailable
from headwater.formats.git_object import TREE_BYTES_MAX
from headwater.formats.git_pack import PackFile
from headwater.formats.lfs_pointer import encode_pointer
from headwater.names import check_ref_part, shown

NOTHING = "0" * 40  # git's way to say: no object
STALE = "fetch first"  # git's own words: it explains them to its user
NOT_ALONE = "atomic push failed"
_WENT_AWAY = "objects went away while you pushed; push again"
AUDITED_MAX = 100  # refs named in one audit row


@dataclass(frozen=True, slots=True)
class Command:
    """Move `ref` from `old` to `new`; `NOTHING` for one that does not exist."""

    ref: str
    old: str
    new: str


@dataclass(slots=True)
class Outcome:
    unpack: str | None = None
    refused: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Move:
    command: Command
    tip: str | None  # the commit that it comes to; None: the ref goes
    forced: bool = False


class _Undone(Exception):
    """Rolls the transaction back: one ref of an atomic push could not move."""


class Push:
    def __init__(self, db: Db, git: GitObjects, files: Files) -> None:
        self.db = db
        self.git = git
        self.files = files

    def run(
        self,
        actor_now: Callable[[], Actor],
        repo: Repo,
        commands: Sequence[Command],
        pack: PackFile | None,
        folder: Path,
        limits: Limits,
        *,
        atomic: bool,
    ) -> Outcome:
        """Do what can be done. HeadwaterError only for what is no fault of the push itself."""
        outcome = Outcome()
        with scratch(folder, TABLES) as db:
            new = Quarantine(db)
            try:
                if pack is not None:
                    base_bytes_max = max(limits.blob_bytes_max, TREE_BYTES_MAX)
                    unpack(pack, new, outside_of(self.db, self.git, repo, base_bytes_max), limits)
            except HeadwaterError as error:
                if error.status >= 500:
                    raise
                outcome.unpack = error.message
                outcome.refused = {command.ref: "unpacker error" for command in commands}
                return outcome
            verifier = Verifier(self.db, self.git, actor_now(), repo, new, limits)
            moves = []
            for command in commands:
                try:
                    moves.append(self._look(verifier, command))
                except HeadwaterError as error:
                    if error.status >= 500:
                        raise
                    outcome.refused[command.ref] = error.message
            if atomic and outcome.refused:
                return _all_refused(outcome, commands)
            if moves:
                for rows in new.staged():
                    self._insert(repo, rows)
                outcome.refused |= self._move(actor_now, repo, moves, verifier.tips, atomic=atomic)
            return _all_refused(outcome, commands) if atomic and outcome.refused else outcome

    def _look(self, verifier: Verifier, command: Command) -> _Move:
        """Whether a ref may move so, by its name and by what it would lead to."""
        branch = command.ref.startswith("refs/heads/")
        if command.new == NOTHING:
            if command.ref == MAIN:
                raise BadRequest("main cannot be deleted")
            check_ref(command.ref, old=True)
            return _Move(command, None)
        check_ref(command.ref)
        tip = verifier.tip(command.new, branch=branch)
        forced = (
            branch
            and command.old not in (NOTHING, command.new)
            and not verifier.tips.went_forward(command.old, tip)
        )
        return _Move(command, tip, forced)

    def _insert(self, repo: Repo, rows: list[Row]) -> None:
        """Keep objects that no ref leads to yet; found again, they get their full grace time."""
        at = now_ms()
        values = [
            {
                "repo_id": repo.id,
                "oid": row.oid,
                "kind": row.kind,
                "size_bytes": row.size_bytes,
                "data": row.data,
                "lfs_oid": None,
                "lfs_bytes": None,
                "created_ms": at,
            }
            for row in rows
        ]
        with self.db.write() as conn:
            _demand_same(conn, repo)
            statement = self.db.upsert(s.git_object, ["repo_id", "oid"], {"created_ms": at})
            conn.execute(statement, values)

    def _move(
        self,
        actor_now: Callable[[], Actor],
        repo: Repo,
        moves: list[_Move],
        tips: Tips,
        *,
        atomic: bool,
    ) -> dict[str, str]:
        """Move all refs that can move; why the others cannot."""
        try:
            return self._move_once(actor_now(), repo, moves, tips, atomic=atomic, again=False)
        except ConnectionLost:
            # Perhaps it was done and only the answer is lost: then the refs are where they should.
            return self._move_once(actor_now(), repo, moves, tips, atomic=atomic, again=True)

    def _move_once(
        self,
        actor: Actor,
        repo: Repo,
        moves: list[_Move],
        tips: Tips,
        *,
        atomic: bool,
        again: bool,
    ) -> dict[str, str]:
        refused: dict[str, str] = {}
        try:
            with self.db.write() as conn:
                repo = _demand_same(conn, find(conn, actor, repo.type, repo.full, "write"), repo)
                self._each(moves, refused, atomic, lambda m: self._seen(conn, repo, m, again))
                left = [move for move in moves if move.command.ref not in refused]
                if not left:
                    return refused
                self._demand_all(conn, actor, repo, tips)
                done = self._each(left, refused, atomic, lambda m: self._one(conn, repo, m))
                moved = [(move, was) for move, (is_moved, was) in done if is_moved]
                if moved:
                    self._told(conn, actor, repo, moved)
        except _Undone:
            pass
        return refused

    def _each(
        self,
        moves: list[_Move],
        refused: dict[str, str],
        atomic: bool,
        work: Callable[[_Move], tuple[bool, str | None]],
    ) -> list[tuple[_Move, tuple[bool, str | None]]]:
        """Do `work` for each; whoever cannot is noted. The first ends an atomic push."""
        done = []
        for move in moves:
            try:
                done.append((move, work(move)))
            except (BadRequest, Conflict) as error:
                refused[move.command.ref] = error.message
                if atomic:
                    raise _Undone from None
        return done

    def _demand_all(self, conn: Connection, actor: Actor, repo: Repo, tips: Tips) -> None:
        """What was seen before the transaction still holds; large files are linked."""
        try:
            tips.demand_reachable(conn, tips.edges)
        except BadRequest:
            raise Unavailable(_WENT_AWAY) from None
        for part in tips.new.needed():
            found = kinds(conn, repo.id, [oid for oid, _ in part])
            if len(found) != len(part):
                raise Unavailable(_WENT_AWAY)
        for pointers in tips.new.pointers():
            mine = blobs.held(conn, actor, [oid for oid, _ in pointers])
            if any(mine.get(oid) != size for oid, size in pointers):
                raise Unavailable("an LFS object went away while you pushed; push again")
            made = [new_blob(encode_pointer(*pointer), pointer) for pointer in pointers]
            self.git.put(conn, repo.id, made)
            blobs.link(self.db, conn, actor, repo.id, pointers)

    def _seen(
        self, conn: Connection, repo: Repo, move: _Move, again: bool
    ) -> tuple[bool, str | None]:
        """(whether there is anything to do, the commit the ref leads to). Conflict when it is not
        what the client saw; `again`: nor what it wants, which an earlier try may have done."""
        command = move.command
        here = (s.ref.c.repo_id == repo.id) & (s.ref.c.name == command.ref)
        row = conn.execute(select(s.ref.c.target, s.ref.c.commit).where(here)).one_or_none()
        target = row.target if row else NOTHING
        if target != command.old and not (again and target == command.new):
            raise Conflict(STALE)
        return target != command.new, row.commit if row else None

    def _one(self, conn: Connection, repo: Repo, move: _Move) -> tuple[bool, str | None]:
        """Move one ref that is where the client saw it: (whether it moved, from which commit)."""
        command, tip = move.command, move.tip
        here = (s.ref.c.repo_id == repo.id) & (s.ref.c.name == command.ref)
        todo, was = self._seen(conn, repo, move, again=True)
        if not todo:
            return False, was
        if tip is None:
            conn.execute(delete(s.ref).where(here))
        elif was is None:
            refs.create(conn, repo.id, command.ref, tip, command.new)
        else:
            values = {"target": command.new, "commit": tip, "updated_ms": now_ms()}
            conn.execute(update(s.ref).where(here).values(**values))
        if command.ref == MAIN and tip is not None:
            tree = self.git.commit(conn, repo.id, tip).tree
            cards.refresh(self.files, self.git, conn, repo, tree)
        return True, was

    def _told(
        self, conn: Connection, actor: Actor, repo: Repo, done: list[tuple[_Move, str | None]]
    ) -> None:
        """One audit row, one event."""
        told = [
            {
                "ref": move.command.ref,
                "was": was,
                "to": move.tip,
                **({"forced": True} if move.forced else {}),
            }
            for move, was in done[:AUDITED_MAX]
        ]
        subject = repo.prefix + repo.full
        audit.record(conn, actor.audit_name, "repo.push", subject, refs=told, count=len(done))
        moved = ((m.command.ref, was, m.tip) for m, was in done)
        events.refs_moved(conn, actor, repo, *moved)


def _demand_same(conn: Connection, repo: Repo, before: Repo | None = None) -> Repo:
    """The repo is still there, and its name does not lead to another one by now."""
    if before is not None:
        if repo.id != before.id:
            raise NotFound("the repository was moved while you pushed; push again")
    elif conn.execute(select(s.repo.c.id).where(s.repo.c.id == repo.id)).first() is None:
        raise NotFound("the repository was deleted while you pushed")
    return repo


def check_ref(name: str, *, old: bool = False) -> None:
    """BadRequest unless a push may make a ref of this name (`old`: or remove it)."""
    if name.startswith("refs/pr/"):
        raise BadRequest("pull requests are changed through the API, not by a push")
    for prefix, what in (("refs/heads/", "branch"), ("refs/tags/", "tag")):
        if name.startswith(prefix):
            if not old:
                check_ref_part(name.removeprefix(prefix), what)
            if unicodedata.normalize("NFC", name) != name or "\0" in name:
                raise BadRequest(f"{shown(name)} is not in Unicode form NFC")
            return
    raise BadRequest("only branches (refs/heads/) and tags (refs/tags/) are kept here")


def _all_refused(outcome: Outcome, commands: Sequence[Command]) -> Outcome:
    """Nothing moved: the refs that could have say so, too."""
    for command in commands:
        outcome.refused.setdefault(command.ref, NOT_ALONE)
    return outcome
