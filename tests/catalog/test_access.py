"""Asking at a gate, and the answer: who may read when, and what never opens one."""

import pytest
from catalog_kit import again, commit, commit_lfs, digest, link, org, person, repo
from sqlalchemy import select

from headwater.catalog import access
from headwater.catalog import schema as s
from headwater.catalog.actors import OPERATOR, Actor, Scope
from headwater.catalog.catalog import Catalog
from headwater.catalog.models import Repo
from headwater.errors import (
    BadRequest,
    Conflict,
    Forbidden,
    GatedRepo,
    HeadwaterError,
    NotFound,
    RepoNotFound,
)
from headwater.names import RepoId

CARD = b"""---
extra_gated_fields:
  Company: text
  Purpose:
    type: select
    options: [Research, {label: Teaching, value: edu}]
  I agree: checkbox
---
"""
ANSWERS = {"Company": "ACME", "Purpose": "edu", "I agree": True}


def gated(catalog: Catalog, owner: Actor, full: str, gate: str = "manual") -> Repo:
    repo(catalog, owner, full)
    return catalog.repos.set(owner, "model", full, gated=gate)


def reads(catalog: Catalog, actor: Actor, where: Repo) -> bool:
    """Whether the actor, with a new request, may read; the two ways of asking agree."""
    now = again(catalog, actor)
    found = catalog.repos.find(OPERATOR, where.type, where.full)
    try:
        catalog.repos.find(now, where.type, where.full, "bytes")
    except HeadwaterError:
        assert not catalog.may_read_bytes(now, found)
        return False
    assert catalog.may_read_bytes(now, found)
    return True


def status_of(catalog: Catalog, owner: Actor, where: Repo) -> dict[str, str]:
    _, rows = catalog.access.page(owner, where.type, where.full, None, limit=100)
    return {row.user: row.status for row in rows}


def refusal(catalog: Catalog, actor: Actor, where: Repo) -> str:
    with pytest.raises(GatedRepo) as told:
        catalog.repos.find(again(catalog, actor), where.type, where.full, "bytes")
    return told.value.message


def test_a_manual_gate_from_asking_to_taking_back(catalog: Catalog) -> None:
    alice, bob = person(catalog, "alice"), person(catalog, "bob")
    m = gated(catalog, alice, "alice/m")
    assert "you are not in the authorized list. Visit " in refusal(catalog, bob, m)
    asked = catalog.access.ask(bob, "model", "alice/m", {})
    assert asked.status == "pending"
    assert not reads(catalog, bob, m)
    assert refusal(catalog, bob, m).endswith("is awaiting a review from the repo authors.")
    assert catalog.access.ask(bob, "model", "alice/m", {}) == asked  # once more changes nothing

    catalog.access.decide(alice, "model", "alice/m", user="BOB", status="accepted")
    assert reads(catalog, bob, m)
    with pytest.raises(NotFound, match="No access request found"):
        catalog.access.decide(alice, "model", "alice/m", user="bob", status="accepted")

    catalog.access.decide(
        alice, "model", "alice/m", request_id=asked.hub_id, status="rejected", reason="no"
    )
    assert not reads(catalog, bob, m)  # from the next request on
    assert refusal(catalog, bob, m).endswith("has been rejected by the repo's authors.")
    for again_ in (catalog.access.ask, lambda *a: catalog.access.withdraw(*a[:3])):
        with pytest.raises(GatedRepo, match="rejected"):
            again_(again(catalog, bob), "model", "alice/m", {})
    catalog.access.decide(alice, "model", "alice/m", user="bob", status="pending")
    assert status_of(catalog, alice, m) == {"bob": "pending"}
    catalog.access.withdraw(bob, "model", "alice/m")
    assert status_of(catalog, alice, m) == {}
    with pytest.raises(NotFound):
        catalog.access.withdraw(bob, "model", "alice/m")


def test_an_auto_gate_opens_at_once(catalog: Catalog) -> None:
    alice, bob = person(catalog, "alice"), person(catalog, "bob")
    m = gated(catalog, alice, "alice/m", "manual")
    catalog.access.ask(bob, "model", "alice/m", {})
    catalog.repos.set(alice, "model", "alice/m", gated="auto")
    assert not reads(catalog, bob, m)  # they asked under the old rule
    assert catalog.access.ask(bob, "model", "alice/m", {}).status == "accepted"
    assert reads(catalog, bob, m)
    catalog.access.decide(alice, "model", "alice/m", user="bob", status="rejected")
    with pytest.raises(GatedRepo, match="rejected"):
        catalog.access.ask(bob, "model", "alice/m", {})


def test_the_form_of_the_card_is_filled_in(catalog: Catalog) -> None:
    alice, bob = person(catalog, "alice"), person(catalog, "bob")
    m = gated(catalog, alice, "alice/m")
    commit(catalog, alice, m, {"README.md": CARD})
    for wrong in (
        {},
        {**ANSWERS, "I agree": False},
        {**ANSWERS, "Purpose": "Teaching"},  # the label, not the value
        {**ANSWERS, "Company": "  "},
        {**ANSWERS, "Company": "x" * 3000},
        {**ANSWERS, "Company": "a\x1b[2J"},
        {**ANSWERS, "More": "x"},
    ):
        with pytest.raises(BadRequest):
            catalog.access.ask(bob, "model", "alice/m", wrong)
    assert status_of(catalog, alice, m) == {}
    assert catalog.access.ask(bob, "model", "alice/m", ANSWERS).fields == ANSWERS


def test_who_may_answer(catalog: Catalog) -> None:
    """Writers of the repo, with a token that writes; to a stranger a hidden repo is missing."""
    alice, bob = person(catalog, "alice"), person(catalog, "bob")
    carol, dave = person(catalog, "carol"), person(catalog, "dave")
    org(catalog, "lab", alice="admin", carol="contributor", dave="read")
    alice, carol, dave = (again(catalog, who) for who in (alice, carol, dave))
    gated(catalog, alice, "lab/m")
    catalog.access.ask(bob, "model", "lab/m", {})
    readonly = person(catalog, "alice", "read")
    for who in (bob, carol, dave, readonly):
        with pytest.raises(Forbidden):
            catalog.access.page(who, "model", "lab/m", "pending", limit=5)
        with pytest.raises(Forbidden):
            catalog.access.decide(who, "model", "lab/m", user="bob", status="accepted")
        with pytest.raises(Forbidden):
            catalog.access.grant(who, "model", "lab/m", "bob")
    repo(catalog, alice, "lab/hidden", private=True)
    catalog.repos.set(alice, "model", "lab/hidden", gated="manual")
    for missing in ("lab/hidden", "lab/nothing"):
        for call in (
            lambda full: catalog.access.ask(bob, "model", full, {}),
            lambda full: catalog.access.withdraw(bob, "model", full),
            lambda full: catalog.access.page(bob, "model", full, None, limit=5),
            lambda full: catalog.access.decide(bob, "model", full, user="bob", status="accepted"),
            lambda full: catalog.access.grant(bob, "model", full, "bob"),
        ):
            with pytest.raises(RepoNotFound):
                call(missing)


def test_who_cannot_ask(catalog: Catalog) -> None:
    alice, bob = person(catalog, "alice"), person(catalog, "bob")
    repo(catalog, alice, "alice/open")
    with pytest.raises(BadRequest, match="not gated"):
        catalog.access.ask(bob, "model", "alice/open", {})
    gated(catalog, alice, "alice/m", "auto")
    with pytest.raises(BadRequest, match="already"):
        catalog.access.ask(alice, "model", "alice/m", {})
    narrow = person(catalog, "bob", "fineGrained", Scope("user", "bob", ("repo.write",)))
    for token in (person(catalog, "bob", "read"), narrow):
        with pytest.raises(Forbidden, match="role 'write'"):
            catalog.access.ask(token, "model", "alice/m", {})


def test_granting_unasked(catalog: Catalog) -> None:
    """The person need not have asked, and has not agreed to show an e-mail address."""
    alice = person(catalog, "alice")
    catalog.accounts.create("eve", email="eve@example.org")
    eve = person(catalog, "eve")
    m = gated(catalog, alice, "alice/m")
    catalog.access.grant(alice, "model", "alice/m", "eve")
    assert reads(catalog, eve, m)
    _, rows = catalog.access.page(alice, "model", "alice/m", "accepted", limit=5)
    assert [(row.user, row.email) for row in rows] == [("eve", None)]
    for again_, error in (("eve", BadRequest), ("alice", BadRequest), ("nobody", NotFound)):
        with pytest.raises(error):
            catalog.access.grant(alice, "model", "alice/m", again_)
    catalog.access.withdraw(eve, "model", "alice/m")
    catalog.access.ask(eve, "model", "alice/m", {})
    _, rows = catalog.access.page(alice, "model", "alice/m", "pending", limit=5)
    assert [(row.user, row.email) for row in rows] == [("eve", "eve@example.org")]


def test_an_accepted_user_may_link_the_bytes_and_a_revoked_one_not(catalog: Catalog) -> None:
    """Possession follows the gate: a hash alone opens nothing, before and after (rules T1, T5)."""
    alice, bob = person(catalog, "alice"), person(catalog, "bob")
    m = gated(catalog, alice, "alice/m")
    commit_lfs(catalog, alice, m, "w.bin", b"weights")
    oid = digest(b"weights")
    mine, other = repo(catalog, bob, "bob/a"), repo(catalog, bob, "bob/b", private=True)
    assert catalog.blobs.held(again(catalog, bob), [oid]) == {}
    catalog.access.grant(alice, "model", "alice/m", "bob")
    assert catalog.blobs.held(again(catalog, bob), [oid]) == {oid: 7}
    catalog.access.decide(alice, "model", "alice/m", user="bob", status="rejected")
    assert catalog.blobs.held(again(catalog, bob), [oid]) == {}
    for where in (mine, other):
        with pytest.raises(HeadwaterError):
            link(catalog, again(catalog, bob), where, oid)


def test_a_private_repo_lets_in_members_only(catalog: Catalog) -> None:
    """An acceptance opens the gate, not the door: closed repos vanish, reopened ones are back."""
    alice, bob = person(catalog, "alice"), person(catalog, "bob")
    m = gated(catalog, alice, "alice/m")
    catalog.access.grant(alice, "model", "alice/m", "bob")
    catalog.repos.set(alice, "model", "alice/m", private=True)
    with pytest.raises(RepoNotFound):
        catalog.repos.find(again(catalog, bob), "model", "alice/m")
    assert not catalog.may_read_bytes(
        again(catalog, bob), catalog.repos.find(alice, "model", "alice/m")
    )
    catalog.repos.set(alice, "model", "alice/m", private=False, gated="")
    catalog.repos.set(alice, "model", "alice/m", gated="manual")
    assert reads(catalog, bob, m)


def test_moving_to_another_owner_drops_what_the_old_one_granted(catalog: Catalog) -> None:
    alice, bob, carol = (person(catalog, name) for name in ("alice", "bob", "carol"))
    org(catalog, "lab", alice="admin")
    alice = again(catalog, alice)
    m = gated(catalog, alice, "alice/m")
    catalog.access.grant(alice, "model", "alice/m", "bob")
    catalog.access.ask(carol, "model", "alice/m", {})
    renamed = catalog.repos.move(alice, "model", "alice/m", RepoId("model", "alice", "n"))
    assert reads(catalog, bob, renamed)  # the same owner still means it
    moved = catalog.repos.move(alice, "model", "alice/n", RepoId("model", "lab", "n"))
    assert not reads(catalog, bob, moved)
    assert status_of(catalog, alice, moved) == {}
    home = catalog.repos.move(alice, "model", "lab/n", RepoId("model", "alice", "m"))
    assert home.id == m.id
    assert not reads(catalog, bob, home)  # moving back brings nothing back


def test_a_deleted_repo_takes_its_requests_along(catalog: Catalog) -> None:
    alice, bob = person(catalog, "alice"), person(catalog, "bob")
    gated(catalog, alice, "alice/m")
    catalog.access.grant(alice, "model", "alice/m", "bob")
    catalog.repos.delete(alice, "model", "alice/m")
    m = gated(catalog, alice, "alice/m")
    assert not reads(catalog, bob, m)
    assert again(catalog, bob).asked == {}


def test_a_deleted_user_is_no_longer_listed(catalog: Catalog) -> None:
    alice, bob = person(catalog, "alice"), person(catalog, "bob")
    m = gated(catalog, alice, "alice/m")
    catalog.access.ask(bob, "model", "alice/m", {})
    catalog.accounts.delete("bob")
    assert status_of(catalog, alice, m) == {}


def test_what_a_fine_grained_token_reads_behind_gates(catalog: Catalog) -> None:
    """The person is let in; the token must say that it reaches there, by repo, owner, or word."""
    alice, bob = person(catalog, "alice"), person(catalog, "bob")
    m = gated(catalog, alice, "alice/m")
    catalog.access.grant(alice, "model", "alice/m", "bob")

    def token(*scopes: Scope) -> Actor:
        return person(catalog, "bob", "fineGrained", *scopes)

    enough = (
        Scope("model", "alice/m", ("repo.content.read",)),
        Scope("user", "alice", ("repo.content.read",)),
        Scope("user", "bob", ("canReadGatedRepos",)),
    )
    for scope in enough:
        assert catalog.may_read_bytes(token(scope), m), scope
    for scope in (
        Scope("user", "bob", ("repo.content.read",)),
        Scope("model", "alice/other", ("repo.content.read",)),
        Scope("model", "alice/m", ("repo.access.read",)),
    ):
        narrow = token(scope)
        assert not catalog.may_read_bytes(narrow, m), scope
        with pytest.raises(Forbidden, match="canReadGatedRepos"):
            catalog.repos.find(narrow, "model", "alice/m", "bytes")
    catalog.access.decide(alice, "model", "alice/m", user="bob", status="rejected")
    for scope in enough:
        assert not catalog.may_read_bytes(token(scope), m), scope
    for type, name in (("model", "alice/m"), ("user", "alice"), ("org", "bob")):
        with pytest.raises(BadRequest, match="own user"):
            token(Scope(type, name, ("canReadGatedRepos",)))  # type: ignore[arg-type]
    mine = gated(catalog, bob, "bob/m")
    assert catalog.may_read_bytes(token(enough[2]), mine)
    catalog.repos.set(bob, "model", "bob/m", private=True)
    hidden = catalog.repos.find(bob, "model", "bob/m")
    assert not catalog.may_read_bytes(token(enough[2]), hidden)


def test_requests_come_in_pages(catalog: Catalog) -> None:
    alice = person(catalog, "alice")
    gated(catalog, alice, "alice/m")
    for number in range(5):
        catalog.access.ask(person(catalog, f"u{number}a"), "model", "alice/m", {})
    seen: list[str] = []
    after = 0
    while True:
        _, rows = catalog.access.page(alice, "model", "alice/m", "pending", after=after, limit=2)
        seen += [row.user for row in rows[:2]]
        if len(rows) <= 2:
            break
        after = rows[1].id
    assert seen == [f"u{number}a" for number in range(5)]


def test_grants_by_others_do_not_use_up_what_one_may_ask_for(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hostile owner may not fill somebody's list so that they can ask nobody any more."""
    monkeypatch.setattr(access, "ASKED_MAX", 1)
    monkeypatch.setattr(access, "GRANTED_MAX", 2)
    alice, bob = person(catalog, "alice"), person(catalog, "bob")
    for name in ("a1", "a2", "a3", "a4"):
        gated(catalog, alice, f"alice/{name}")
    for name in ("a1", "a2"):
        catalog.access.grant(alice, "model", f"alice/{name}", "bob")
    with pytest.raises(Conflict):
        catalog.access.grant(alice, "model", "alice/a3", "bob")
    catalog.access.ask(bob, "model", "alice/a3", {})
    with pytest.raises(Conflict):
        catalog.access.ask(bob, "model", "alice/a4", {})


def test_each_change_is_one_audit_row(catalog: Catalog) -> None:
    def rows() -> list[str]:
        with catalog.db.read() as conn:
            query = select(s.audit.c.action).where(s.audit.c.action.like("access.%"))
            return list(conn.execute(query.order_by(s.audit.c.id)).scalars())

    alice, bob = person(catalog, "alice"), person(catalog, "bob")
    gated(catalog, alice, "alice/m")
    catalog.access.ask(bob, "model", "alice/m", {})
    catalog.access.ask(bob, "model", "alice/m", {})  # changes nothing, says nothing
    catalog.access.decide(alice, "model", "alice/m", user="bob", status="accepted")
    catalog.access.decide(alice, "model", "alice/m", user="bob", status="pending")
    catalog.access.grant(alice, "model", "alice/m", "bob")
    catalog.access.withdraw(bob, "model", "alice/m")
    assert rows() == [
        "access.ask",
        "access.accepted",
        "access.pending",
        "access.grant",
        "access.withdraw",
    ]
