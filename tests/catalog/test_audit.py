"""Every change of state leaves one row of who did what, in the same transaction. Rule T22."""

from collections.abc import Callable

import pytest
from catalog_kit import commit, commit_lfs, person, repo
from sqlalchemy import select

from headwater.catalog import audit
from headwater.catalog import schema as s
from headwater.catalog.catalog import Catalog
from headwater.catalog.clock import iso
from headwater.errors import HeadwaterError
from headwater.names import RepoId


def rows(catalog: Catalog) -> list[str]:
    """`who what to-what`, oldest first."""
    query = select(s.audit.c.actor, s.audit.c.action, s.audit.c.subject).order_by(s.audit.c.id)
    with catalog.db.read() as conn:
        return [" ".join(row) for row in conn.execute(query)]


def test_one_row_for_each_change(catalog: Catalog) -> None:
    alice = person(catalog, "alice")
    catalog.accounts.create("lab", "org", by="root")
    home = repo(catalog, alice, "alice/m")
    before = len(rows(catalog))
    accounts, tokens, refs, repos = catalog.accounts, catalog.tokens, catalog.refs, catalog.repos
    new = RepoId("model", "alice", "n")
    changes: list[tuple[Callable[[], object], str]] = [
        (lambda: accounts.create("bob"), "operator user.create bob"),
        (lambda: accounts.set_role("lab", "bob", "read", by="root"), "root org.member lab"),
        (lambda: accounts.delete("bob"), "operator user.delete bob"),
        (lambda: tokens.create("alice", "x"), "operator token.create alice"),
        (lambda: tokens.revoke("alice", "x"), "operator token.revoke alice"),
        (lambda: repo(catalog, alice, "alice/d", "dataset"), "alice repo.create datasets/alice/d"),
        (lambda: repos.set(alice, "model", "alice/m", private=True), "alice repo.settings alice/m"),
        (lambda: commit(catalog, alice, home, {"a": b"1"}), "alice repo.commit alice/m"),
        (lambda: commit_lfs(catalog, alice, home, "w", b"1"), "alice repo.commit alice/m"),
        (lambda: commit(catalog, alice, home, {}, create_pr=True), "alice repo.commit alice/m"),
        (lambda: refs.create_branch(alice, home, "dev"), "alice ref.create alice/m"),
        (lambda: refs.delete_branch(alice, home, "dev"), "alice ref.delete alice/m"),
        (lambda: refs.create_tag(alice, home, "v1", "main", "m"), "alice ref.create alice/m"),
        (lambda: refs.delete_tag(alice, home, "v1"), "alice ref.delete alice/m"),
        (lambda: repos.move(alice, "model", "alice/m", new), "alice repo.move alice/m"),
        (lambda: repos.delete(alice, "dataset", "alice/d"), "alice repo.delete datasets/alice/d"),
    ]
    for change, expected in changes:
        change()
        found = rows(catalog)
        assert found[before:] == [expected]
        before = len(found)


def test_what_did_not_happen_is_not_noted(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row and the change are one: without the one there is not the other."""
    alice = person(catalog, "alice")
    home = repo(catalog, alice, "alice/m")
    before, head = rows(catalog), catalog.refs.head(home)
    with pytest.raises(HeadwaterError):
        commit(catalog, alice, home, {"nope": None})

    class Full(Exception):
        pass

    def full(*_args: object, **_kw: object) -> None:
        raise Full

    with monkeypatch.context() as patch:
        patch.setattr(audit, "record", full)
        for change in (
            lambda: commit(catalog, alice, home, {"a": b"1"}),
            lambda: catalog.refs.create_branch(alice, home, "dev"),
            lambda: catalog.repos.delete(alice, "model", "alice/m"),
        ):
            with pytest.raises(Full):
                change()
    assert rows(catalog) == before
    assert catalog.refs.head(home) == head
    assert len(catalog.refs.list(home)) == 1


def test_details_carry_names_of_every_kind(catalog: Catalog) -> None:
    """Digests and git ids are text with a type of its own; the trail takes them as text."""
    alice = person(catalog, "alice")
    home = repo(catalog, alice, "alice/m")
    made = commit(catalog, alice, home, {"a": b"1"})
    with catalog.db.read() as conn:
        query = select(s.audit.c.detail).order_by(s.audit.c.id.desc()).limit(1)
        assert made.oid in conn.execute(query).scalar_one()


def test_times_are_written_one_way() -> None:
    assert iso(0) == "1970-01-01T00:00:00.000Z"
    assert iso(1_767_225_600_007) == "2026-01-01T00:00:00.007Z"
