"""Accounts: names that are given once, to one, for ever. Rule T20."""

import pytest
from catalog_kit import org, person, repo

from headwater.catalog.accounts import AUDIT_NAMES
from headwater.catalog.catalog import Catalog
from headwater.errors import BadRequest, Conflict, InvalidName, NotFound


@pytest.mark.parametrize(
    "twin", ["openai", "OpenAI", "0penai", "0PENAI", "opena1", "openal", "openaI", "OPENAl"]
)
def test_look_alikes_are_refused(catalog: Catalog, twin: str) -> None:
    catalog.accounts.create("openai", "org")
    with pytest.raises(Conflict):
        catalog.accounts.create(twin)


@pytest.mark.parametrize(("one", "two"), [("a-b", "a_b"), ("a.b", "a-b"), ("a_b", "a.b")])
def test_signs_between_words_look_alike(catalog: Catalog, one: str, two: str) -> None:
    catalog.accounts.create(one)
    with pytest.raises(Conflict):
        catalog.accounts.create(two, "org")


def test_other_names_are_free(catalog: Catalog) -> None:
    for name in ("qwen", "qw3n", "qwen2", "q-wen", "owen"):
        catalog.accounts.create(name)
    assert [account.name for account in catalog.accounts.list("user")] == sorted(
        ["qwen", "qw3n", "qwen2", "q-wen", "owen"]
    )


def test_a_deleted_name_is_never_given_again(catalog: Catalog) -> None:
    for kind in ("user", "org"):
        name = f"gone-{kind}"
        catalog.accounts.create(name, kind)
        catalog.accounts.delete(name)
        with pytest.raises(NotFound):
            catalog.accounts.find(name)
        for again in (name, name.upper(), name.replace("o", "0"), name.replace("-", "_")):
            with pytest.raises(Conflict):
                catalog.accounts.create(again)
    assert catalog.accounts.list("user") == []


def test_who_owns_repos_stays(catalog: Catalog) -> None:
    alice = person(catalog, "alice")
    repo(catalog, alice, "alice/m")
    with pytest.raises(Conflict, match="owns 1 repos"):
        catalog.accounts.delete("alice")
    catalog.repos.delete(alice, "model", "alice/m")
    catalog.accounts.delete("alice")


@pytest.mark.parametrize("name", [*AUDIT_NAMES, "Operator", "api", "-x", "a" * 97, "a--b", ""])
def test_names_that_are_not_for_accounts(catalog: Catalog, name: str) -> None:
    """The audit trail's own names, routes, and what `check_name` refuses."""
    with pytest.raises(InvalidName):
        catalog.accounts.create(name)


def test_texts_that_do_not_fit(catalog: Catalog) -> None:
    for more in (
        {"fullname": "x" * 201},
        {"fullname": "a\nb"},
        {"fullname": "\ud800"},
        {"email": "x" * 321},
        {"email": "a\0b"},
    ):
        with pytest.raises(BadRequest):
            catalog.accounts.create("alice", **more)  # type: ignore[arg-type]
    assert catalog.accounts.count() == 0


def test_roles(catalog: Catalog) -> None:
    for name in ("alice", "bob"):
        person(catalog, name)
    org(catalog, "lab", bob="read", alice="admin")
    assert catalog.accounts.members("LAB") == [("alice", "admin"), ("bob", "read")]
    catalog.accounts.set_role("lab", "bob", "write")
    catalog.accounts.set_role("lab", "alice", None)
    assert catalog.accounts.members("lab") == [("bob", "write")]
    for where, who in (("alice", "bob"), ("lab", "lab")):
        with pytest.raises(BadRequest):
            catalog.accounts.set_role(where, who, "read")
    with pytest.raises(BadRequest):
        catalog.accounts.set_role("lab", "bob", "owner")  # type: ignore[arg-type]
    for where, who in (("nobody", "bob"), ("lab", "nobody")):
        with pytest.raises(NotFound):
            catalog.accounts.set_role(where, who, "read")
    catalog.accounts.delete("bob")
    assert catalog.accounts.members("lab") == []
