"""A name that was in use: who may take it again, and who hears that it is not theirs (rule T20)."""

import msgspec
import pytest
from catalog_kit import again, org, person, repo
from sqlalchemy import select

from headwater.catalog import schema as s
from headwater.catalog.actors import ANONYMOUS, OPERATOR, Actor
from headwater.catalog.catalog import Catalog
from headwater.errors import Conflict, Forbidden, RepoNotFound
from headwater.names import RepoId


def rid(full: str) -> RepoId:
    return RepoId.parse("model", full)


def lab(catalog: Catalog, **roles: str) -> dict[str, Actor]:
    people = {name: person(catalog, name) for name in roles}
    org(catalog, "lab", **roles)
    return {name: again(catalog, actor) for name, actor in people.items()}


def last_audit(catalog: Catalog) -> tuple[str, dict[str, object]]:
    with catalog.db.read() as conn:
        row = conn.execute(select(s.audit).order_by(s.audit.c.id.desc()).limit(1)).one()
    return row.action, msgspec.json.decode(row.detail)


def leads_to(catalog: Catalog, full: str) -> str:
    return catalog.repos.find(ANONYMOUS, "model", full).full


def test_a_deleted_name_goes_back_to_its_owner_only(catalog: Catalog) -> None:
    alice = person(catalog, "alice")
    repo(catalog, alice, "alice/M")
    catalog.repos.delete(alice, "model", "alice/m")
    with pytest.raises(Forbidden):
        repo(catalog, person(catalog, "bob"), "alice/m")
    assert repo(catalog, alice, "alice/m").full == "alice/m"
    catalog.repos.delete(alice, "model", "alice/m")  # and again
    assert repo(catalog, alice, "alice/m").full == "alice/m"


def test_a_namespace_that_changed_hands_does_not_inherit(catalog: Catalog) -> None:
    """Names of accounts are not given out twice today; the tombstone does not count on that."""
    alice, bob = person(catalog, "alice"), person(catalog, "bob")
    repo(catalog, alice, "alice/m")
    catalog.repos.delete(alice, "model", "alice/m")
    with catalog.db.write() as conn:
        conn.execute(
            s.tombstone.update().values(owner_id=bob.user_id)  # as if bob had been alice then
        )
    with pytest.raises(Conflict, match="was used before"):
        repo(catalog, alice, "alice/m")
    repo(catalog, alice, "alice/other")
    with pytest.raises(Conflict, match="was used before"):
        catalog.repos.move(alice, "model", "alice/other", rid("alice/m"))
    assert repo(catalog, OPERATOR, "alice/m").full == "alice/m"  # an admin of the hub may decide


def test_a_contributor_takes_no_deleted_name_of_others(catalog: Catalog) -> None:
    people = lab(catalog, alice="admin", carol="contributor", dave="write")
    carol = people["carol"]
    for maker, name in ((people["alice"], "lab/theirs"), (carol, "lab/hers")):
        repo(catalog, maker, name)
        catalog.repos.delete(maker, "model", name)
    with pytest.raises(Conflict, match="one of its writers"):
        repo(catalog, carol, "lab/theirs")
    assert repo(catalog, carol, "lab/hers").creator_id == carol.user_id
    assert repo(catalog, people["dave"], "lab/theirs").full == "lab/theirs"


def test_other_types_are_other_names(catalog: Catalog) -> None:
    people = lab(catalog, alice="admin", carol="contributor")
    repo(catalog, people["alice"], "lab/m")
    catalog.repos.delete(people["alice"], "model", "lab/m")
    assert repo(catalog, people["carol"], "lab/m", "dataset").type == "dataset"


def test_old_names_of_a_deleted_repo_are_buried_too(catalog: Catalog) -> None:
    people = lab(catalog, alice="admin", carol="contributor")
    alice, carol = people["alice"], people["carol"]
    repo(catalog, alice, "lab/a")
    catalog.repos.move(alice, "model", "lab/a", rid("lab/b"))
    catalog.repos.move(alice, "model", "lab/b", rid("alice/c"))
    catalog.repos.delete(alice, "model", "alice/c")
    for name in ("lab/a", "lab/b"):
        with pytest.raises(RepoNotFound):
            catalog.repos.find(alice, "model", name)
        with pytest.raises(Conflict):
            repo(catalog, carol, name)
    assert repo(catalog, alice, "lab/a").full == "lab/a"


def test_a_name_that_leads_elsewhere_is_not_taken_silently(catalog: Catalog) -> None:
    """Who pulls by the old name must not get a stranger's weights: only those who manage the
    moved repo may end it, and the audit trail says so."""
    people = lab(catalog, alice="admin", dave="write", carol="contributor")
    alice, dave, carol = people["alice"], people["dave"], people["carol"]
    repo(catalog, alice, "lab/m")
    catalog.repos.move(alice, "model", "lab/m", rid("alice/m"))
    repo(catalog, dave, "lab/other")
    for attempt in (
        lambda: repo(catalog, dave, "lab/m"),  # may create here, may not manage alice/m
        lambda: repo(catalog, carol, "lab/m"),
        lambda: catalog.repos.move(dave, "model", "lab/other", rid("lab/M")),
    ):
        with pytest.raises(Conflict, match="still leads there") as told:
            attempt()
        assert "alice" not in told.value.message  # where it leads may be hidden
    assert leads_to(catalog, "lab/m") == "alice/m"

    new = repo(catalog, alice, "lab/m")
    assert last_audit(catalog) == (
        "repo.create",
        {"private": False, "no_longer_leads_to": "alice/m"},
    )
    assert catalog.repos.find(ANONYMOUS, "model", "lab/m") == new


def test_the_refusal_is_the_same_when_the_target_is_hidden(catalog: Catalog) -> None:
    people = lab(catalog, alice="admin", dave="write")
    alice, dave = people["alice"], people["dave"]
    told = []
    for name, hidden in (("lab/x", True), ("lab/y", False)):
        repo(catalog, alice, name, private=hidden)
        catalog.repos.move(alice, "model", name, rid("alice/" + name[-1]))
        with pytest.raises(Conflict) as error:
            repo(catalog, dave, name)
        told.append(error.value.message.replace(name, "NAME"))
    assert told[0] == told[1]


def test_chains_of_moves(catalog: Catalog) -> None:
    people = lab(catalog, alice="admin")
    alice = people["alice"]
    made = repo(catalog, alice, "alice/a")
    for source, target in (("alice/a", "alice/b"), ("alice/b", "lab/c"), ("lab/c", "lab/d")):
        catalog.repos.move(alice, "model", source, rid(target))
    for name in ("alice/a", "alice/b", "lab/c", "LAB/D"):
        assert leads_to(catalog, name) == "lab/d"
    catalog.repos.move(alice, "model", "lab/d", rid("alice/B"))  # home to a middle name
    assert last_audit(catalog) == ("repo.move", {"to": "alice/B"})
    for name in ("alice/a", "alice/b", "lab/c", "lab/d"):
        found = catalog.repos.find(ANONYMOUS, "model", name)
        assert (found.id, found.full) == (made.id, "alice/B")


def test_taking_over_the_old_name_of_another_repo_of_one_s_own(catalog: Catalog) -> None:
    alice = person(catalog, "alice")
    repo(catalog, alice, "alice/a")
    second = repo(catalog, alice, "alice/second")
    catalog.repos.move(alice, "model", "alice/a", rid("alice/b"))
    catalog.repos.move(alice, "model", "alice/second", rid("alice/a"))
    assert last_audit(catalog) == (
        "repo.move",
        {"to": "alice/a", "no_longer_leads_to": "alice/b"},
    )
    assert catalog.repos.find(ANONYMOUS, "model", "alice/a").id == second.id
    assert leads_to(catalog, "alice/second") == "alice/a"


def test_new_repos_of_an_organisation_are_private_when_it_says_so(catalog: Catalog) -> None:
    people = lab(catalog, alice="admin")
    alice = people["alice"]
    catalog.accounts.set_repos_private("lab", True)
    assert catalog.repos.create(alice, rid("lab/a")).private
    assert not catalog.repos.create(alice, rid("lab/b"), private=False).private
    assert not catalog.repos.create(alice, rid("alice/a")).private
    assert catalog.accounts.find("LAB").repos_private
    catalog.accounts.set_repos_private("lab", False)
    assert not catalog.repos.create(alice, rid("lab/c")).private
