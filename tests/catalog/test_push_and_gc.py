"""gc in the middle of a push: the push is told to come again, or all of it is there (rule F16)."""

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from catalog_kit import commit as api_commit
from catalog_kit import contents_of, person, repo, upload
from real_git import bare_repository
from sqlalchemy import select

from headwater.catalog import schema as s
from headwater.catalog.actors import Actor
from headwater.catalog.catalog import Catalog
from headwater.catalog.git_push import NOTHING, Command, Outcome
from headwater.catalog.git_quarantine import Limits
from headwater.catalog.models import Repo
from headwater.errors import Unavailable
from headwater.formats.git_pack import PackFile
from headwater.formats.lfs_pointer import encode_pointer
from packs import history, pack

LATER_MS = 10**15


def push_around(
    catalog: Catalog,
    ann: Actor,
    where: Repo,
    entries: Iterable[bytes],
    command: Command,
    between: Callable[[], object],
) -> Outcome:
    """A push that is looked at, whose objects are kept; then `between`; then its refs move."""
    asked = 0

    def now() -> Actor:
        nonlocal asked
        asked += 1
        if asked == 2:
            between()
        return ann

    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as file:
        file.write(pack(list(entries)))
        file.flush()
        return catalog.git_push.run(
            now, where, [command], PackFile(file, 0), Path(folder), Limits(10**7, 2**30),
            atomic=False,
        )  # fmt: skip


def judge(catalog: Catalog, where: Repo) -> None:
    """Every ref leads to whole histories: real git walks them all."""
    query = select(s.ref.c.name, s.ref.c.target).where(s.ref.c.repo_id == where.id)
    with catalog.db.read() as conn:
        refs = {row.name: row.target for row in conn.execute(query)}
    with bare_repository() as git:
        git.take(catalog, where)
        git.point(refs)
        git("fsck", "--strict", "--full")


def test_gc_without_grace_drops_what_a_push_has_just_kept(catalog: Catalog) -> None:
    """`gc --grace-s 0` between the objects and the refs: nothing moves to what is gone."""
    ann = person(catalog, "ann")
    where = repo(catalog, ann, "ann/m")
    head = str(catalog.refs.head(where))
    oid = upload(catalog, ann, b"weights")
    pointer = encode_pointer(oid, len(b"weights"))
    new, entries = history({b"a": b"1", b"w.bin": pointer}, head)
    command = Command("refs/heads/dev", NOTHING, new)

    def gc() -> None:
        assert catalog.sweep.sweep_objects(where.id, LATER_MS) == 3

    with pytest.raises(Unavailable, match="push again"):
        push_around(catalog, ann, where, entries, command, gc)
    assert [ref.name for ref in catalog.refs.list(where)] == ["refs/heads/main"]
    judge(catalog, where)
    assert push_around(catalog, ann, where, entries, command, lambda: None).refused == {}
    assert contents_of(catalog, where, "dev") == {"a": b"1", "w.bin": pointer}
    judge(catalog, where)


def test_what_a_push_goes_on_from_is_dropped(catalog: Catalog) -> None:
    """The branch that a pushed commit goes on from is deleted, and gc runs, before it moves."""
    ann = person(catalog, "ann")
    where = repo(catalog, ann, "ann/m")
    catalog.refs.create_branch(ann, where, "dev")
    old = str(api_commit(catalog, ann, where, {"d/e": b"old"}, revision="dev").oid)
    kept = {path.encode(): data for path, data in contents_of(catalog, where, "main").items()}
    new, entries = history({**kept, b"a": b"1"}, old)
    command = Command("refs/heads/next", NOTHING, new)

    def gc() -> None:
        catalog.refs.delete_branch(ann, where, "dev")
        with catalog.db.write() as conn:  # long ago, unlike the push
            mine = s.git_object.c.oid.in_(
                select(s.git_object.c.oid).where(s.git_object.c.repo_id == where.id)
            )
            fresh = [new, *(row for row in staged(catalog, where, before))]
            conn.execute(
                s.git_object.update()
                .where(mine, s.git_object.c.oid.not_in(fresh))
                .values(created_ms=0)
            )
        assert catalog.sweep.sweep_objects(where.id, 1) > 0

    before = objects(catalog, where)
    with pytest.raises(Unavailable, match="push again"):
        push_around(catalog, ann, where, entries, command, gc)
    assert [ref.name for ref in catalog.refs.list(where)] == ["refs/heads/main"]
    judge(catalog, where)


def objects(catalog: Catalog, where: Repo) -> set[str]:
    with catalog.db.read() as conn:
        query = select(s.git_object.c.oid).where(s.git_object.c.repo_id == where.id)
        return set(conn.execute(query).scalars())


def staged(catalog: Catalog, where: Repo, before: set[str]) -> set[str]:
    """What came since."""
    return objects(catalog, where) - before
