"""Tokens: whom they stand for, and when they stand for nobody. Rule T12."""

import string

import pytest
from catalog_kit import org, person
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from headwater.catalog import clock, tokens
from headwater.catalog import schema as s
from headwater.catalog.actors import Scope
from headwater.catalog.catalog import Catalog
from headwater.catalog.tokens import BAD_TOKEN, looks_real, make_token
from headwater.errors import BadRequest, Conflict, NotFound, Unauthorized

ALPHABET = string.ascii_letters + string.digits


def bad(catalog: Catalog, text: str) -> None:
    with pytest.raises(Unauthorized) as met:
        catalog.tokens.actor(text)
    assert met.value.message == "Invalid credentials in Authorization header"
    assert met.value.status == 401


def test_the_words_are_the_clients() -> None:
    assert BAD_TOKEN == "Invalid credentials in Authorization header"


def test_a_token_is_its_holder(catalog: Catalog) -> None:
    made = catalog.accounts.create("alice", fullname="Alice A.", email="alice@example.org")
    org(catalog, "lab", alice="write")
    org(catalog, "club", alice="read")
    text = catalog.tokens.create("Alice", "laptop", "write")
    actor = catalog.tokens.actor(text)
    assert (actor.user_id, actor.hub_id, actor.name) == (made.id, made.hub_id, "alice")
    assert (actor.fullname, actor.email, actor.is_admin) == ("Alice A.", "alice@example.org", False)
    assert (actor.token_name, actor.token_role, actor.scopes) == ("laptop", "write", ())
    assert abs(actor.token_created_ms - clock.now_ms()) < 10_000
    assert [(o.name, o.role) for o in actor.orgs] == [("club", "read"), ("lab", "write")]


def test_scopes_come_back_as_they_were_given(catalog: Catalog) -> None:
    scope = Scope("model", "alice/m", ("repo.content.read", "repo.write"))
    assert person(catalog, "alice", "fineGrained", scope).scopes == (scope,)
    assert catalog.tokens.list("alice")[0].scopes == (scope,)


def test_a_token_is_kept_as_its_hash(catalog: Catalog) -> None:
    catalog.accounts.create("alice")
    text = catalog.tokens.create("alice", "t")
    with catalog.db.read() as conn:
        rows = [*conn.execute(select(s.token)), *conn.execute(select(s.audit))]
    assert text not in repr(rows)
    assert text[3:20] not in repr(rows)


@given(st.integers(0, 39), st.sampled_from(ALPHABET))
def test_one_wrong_character_is_noticed(at: int, char: str) -> None:
    """The checksum: a scanner, or we, need no database to tell a real token from a random one."""
    text = make_token()
    assert len(text) == 39
    assert looks_real(text)
    other = text[:at] + char + text[at + 1 :]
    assert looks_real(other) == (other == text)


@pytest.mark.parametrize(
    "text",
    ["", "hf_", "hf_" + "a" * 36, "HF_" + "a" * 36, "bearer", "hf_é" + "a" * 35, "\0", "\ud800"],
)
def test_what_is_not_a_token(catalog: Catalog, text: str) -> None:
    bad(catalog, text)
    bad(catalog, make_token())
    bad(catalog, make_token() + "\n")


def test_a_revoked_token_opens_nothing(catalog: Catalog) -> None:
    catalog.accounts.create("alice")
    text, other = (catalog.tokens.create("alice", name) for name in ("one", "two"))
    catalog.tokens.actor(text)
    catalog.tokens.revoke("alice", "one")
    bad(catalog, text)
    catalog.tokens.revoke("alice", "one")  # twice is as good as once
    assert catalog.tokens.actor(other).token_name == "two"
    again = catalog.tokens.create("alice", "one")  # the name is free, the old token stays dead
    assert catalog.tokens.actor(again).token_name == "one"
    bad(catalog, text)


def test_a_token_ends_when_it_says(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog.accounts.create("alice")
    ends = clock.now_ms() + 60_000
    text = catalog.tokens.create("alice", "t", expires_ms=ends)
    catalog.tokens.actor(text)
    monkeypatch.setattr(tokens, "now_ms", lambda: ends - 1)
    catalog.tokens.actor(text)
    monkeypatch.setattr(tokens, "now_ms", lambda: ends)
    bad(catalog, text)


def test_nobody_is_behind_a_deleted_account(catalog: Catalog) -> None:
    text_of = {}
    for name in ("alice", "bob"):
        catalog.accounts.create(name)
        text_of[name] = catalog.tokens.create(name, "t")
    gone = catalog.tokens.actor(text_of["alice"])
    catalog.accounts.delete("alice")
    bad(catalog, text_of["alice"])
    with pytest.raises(Unauthorized):
        catalog.tokens.actor_of(gone.user_id or 0, "read")
    assert catalog.tokens.actor(text_of["bob"]).name == "bob"


def test_a_deleted_organisation_is_nobodys(catalog: Catalog) -> None:
    person(catalog, "alice")
    org(catalog, "lab", alice="admin")
    catalog.accounts.delete("lab")
    assert person(catalog, "alice").orgs == ()


def test_what_cannot_be_made(catalog: Catalog) -> None:
    catalog.accounts.create("alice")
    org(catalog, "lab")
    catalog.tokens.create("alice", "t")
    with pytest.raises(Conflict):
        catalog.tokens.create("alice", "t")
    for user in ("nobody", "lab"):  # organisations have no tokens
        with pytest.raises(NotFound):
            catalog.tokens.create(user, "t")
    write = ("repo.write",)
    for role, scopes in [
        ("admin", ()),
        ("read", (Scope("user", "alice", write),)),
        ("fineGrained", ()),
        ("fineGrained", (Scope("user", "alice", ("repo.everything",)),)),
        ("fineGrained", (Scope("model", "alice", write),)),
        ("fineGrained", (Scope("user", "alice/m", write),)),
    ]:
        with pytest.raises(BadRequest):
            catalog.tokens.create("alice", "other", role, scopes=scopes)  # type: ignore[arg-type]
    for name in ("", "x" * 101, "a\nb", "a\0"):
        with pytest.raises(BadRequest):
            catalog.tokens.create("alice", name)
    with pytest.raises(NotFound):
        catalog.tokens.revoke("alice", "missing")
    assert [token.name for token in catalog.tokens.list("alice")] == ["t"]
