"""Knowing a hash never gives bytes (rule T1), and tells nothing of what exists."""

import pytest
from catalog_kit import (
    again,
    commit,
    commit_lfs,
    digest,
    link,
    org,
    person,
    repo,
    statements,
    upload,
)
from sqlalchemy import update

from headwater.catalog import blobs, clock
from headwater.catalog import schema as s
from headwater.catalog.actors import ANONYMOUS, OPERATOR, Actor, Scope
from headwater.catalog.catalog import Catalog
from headwater.catalog.commits import Plan, PutLfs
from headwater.catalog.models import Repo
from headwater.errors import BadRequest
from headwater.formats.lfs_pointer import encode_pointer
from headwater.names import Digest, RepoId, RepoPath, XetHash

SECRET = b"weights of a private model"
OID = digest(SECRET)


@pytest.fixture
def alice(catalog: Catalog) -> Actor:
    """She owns the private repo that holds SECRET."""
    actor = person(catalog, "alice")
    commit_lfs(catalog, actor, repo(catalog, actor, "alice/vault", private=True), "w.bin", SECRET)
    return actor


@pytest.fixture
def bobs(catalog: Catalog, bob: Actor) -> Repo:
    return repo(catalog, bob, "bob/m")


def refusal(catalog: Catalog, actor: Actor, where: Repo, oid: Digest) -> str:
    """What a commit of `oid` hears, with the hash itself taken out."""
    with pytest.raises(BadRequest) as met:
        link(catalog, actor, where, oid)
    return met.value.message.replace(oid, "HASH")


def let_uploads_expire(catalog: Catalog) -> None:
    with catalog.db.write() as conn:
        conn.execute(update(s.upload).values(expires_ms=clock.now_ms()))


@pytest.mark.usefixtures("alice")
def test_foreign_and_unknown_sound_the_same(catalog: Catalog, bob: Actor, bobs: Repo) -> None:
    foreign = refusal(catalog, bob, bobs, OID)
    assert foreign == refusal(catalog, bob, bobs, digest(b"nobody has this"))
    assert "upload" in foreign
    assert catalog.blobs.held(bob, [OID, digest(b"nobody has this")]) == {}
    assert "w.bin" not in contents(catalog, bobs)


def contents(catalog: Catalog, where: Repo) -> set[str]:
    tree = catalog.refs.resolve(where, "main").tree
    return {entry.path for entry in catalog.files.list(where, tree, recursive=True)}


@pytest.mark.usefixtures("alice")
def test_the_same_queries_run_whatever_exists(catalog: Catalog, bob: Actor) -> None:
    """As many statements for a foreign blob as for an unknown one: their time tells nothing."""
    with statements(catalog) as foreign:
        catalog.blobs.held(bob, [OID])
    with statements(catalog) as unknown:
        catalog.blobs.held(bob, [digest(b"nobody has this")])
    assert unknown == foreign != []


def test_who_uploads_may_link_for_a_while(
    catalog: Catalog, alice: Actor, bob: Actor, bobs: Repo
) -> None:
    upload(catalog, bob, SECRET)
    assert catalog.blobs.held(bob, [OID]) == {OID: len(SECRET)}
    let_uploads_expire(catalog)
    assert catalog.blobs.held(bob, [OID]) == {}
    refusal(catalog, bob, bobs, OID)
    upload(catalog, bob, SECRET)
    link(catalog, bob, bobs, OID)
    let_uploads_expire(catalog)
    assert catalog.blobs.held(bob, [OID]) == {OID: len(SECRET)}  # now by the repo that holds it
    assert catalog.blobs.held(alice, [OID]) == {OID: len(SECRET)}


def test_the_declared_size_must_be_the_uploaded_one(
    catalog: Catalog, bob: Actor, bobs: Repo
) -> None:
    upload(catalog, bob, SECRET)
    for size_bytes in (0, len(SECRET) + 1, -1, 2**63):
        plan = Plan("main", (PutLfs(RepoPath("w.bin"), OID, size_bytes),), "x")
        with pytest.raises(BadRequest, match="were declared"):
            catalog.commits.apply(bob, bobs, plan)


def test_the_size_of_a_foreign_blob_is_not_told(
    catalog: Catalog, alice: Actor, bob: Actor, bobs: Repo
) -> None:
    assert alice.name == "alice"
    plan = Plan("main", (PutLfs(RepoPath("w.bin"), OID, 1),), "x")
    with pytest.raises(BadRequest, match="no upload of yours"):
        catalog.commits.apply(bob, bobs, plan)


def test_reading_a_repo_is_holding_its_bytes(
    catalog: Catalog, alice: Actor, bob: Actor, bobs: Repo
) -> None:
    """Public: anybody signed in. Gated or private again: nobody new."""
    let_uploads_expire(catalog)
    carol = person(catalog, "carol")
    carols = repo(catalog, carol, "carol/m")
    catalog.repos.set(alice, "model", "alice/vault", private=False, gated="auto")
    refusal(catalog, bob, bobs, OID)  # the page is public, the bytes are not
    catalog.repos.set(alice, "model", "alice/vault", gated="")
    link(catalog, bob, bobs, OID)
    catalog.repos.set(alice, "model", "alice/vault", private=True)
    catalog.repos.set(bob, "model", "bob/m", private=True)
    refusal(catalog, carol, carols, OID)
    assert catalog.blobs.held(ANONYMOUS, [OID]) == {}


def test_roles_come_and_go(catalog: Catalog, bob: Actor, bobs: Repo) -> None:
    """A member may link what the organisation's private repo holds; taken out, no longer."""
    boss = person(catalog, "boss")
    org(catalog, "lab", boss="admin")
    boss = again(catalog, boss)
    commit_lfs(catalog, boss, repo(catalog, boss, "lab/vault", private=True), "w.bin", SECRET)
    refusal(catalog, bob, bobs, OID)
    for role in ("read", "contributor", "write", "admin"):
        catalog.accounts.set_role("lab", "bob", role)
        assert catalog.blobs.held(again(catalog, bob), [OID]) == {OID: len(SECRET)}
    catalog.accounts.set_role("lab", "bob", None)
    refusal(catalog, again(catalog, bob), bobs, OID)


def test_a_transfer_ends_what_the_old_owner_held(catalog: Catalog, alice: Actor) -> None:
    person(catalog, "carol")
    org(catalog, "lab", alice="admin", carol="admin")
    let_uploads_expire(catalog)
    alice = again(catalog, alice)
    catalog.repos.move(alice, "model", "alice/vault", RepoId("model", "lab", "vault"))
    assert catalog.blobs.held(alice, [OID])
    catalog.accounts.set_role("lab", "alice", None)
    alice = again(catalog, alice)
    assert catalog.blobs.held(alice, [OID]) == {}
    refusal(catalog, alice, repo(catalog, alice, "alice/m"), OID)
    assert catalog.blobs.held(person(catalog, "carol"), [OID])


def test_a_deleted_repo_holds_nothing(catalog: Catalog, alice: Actor) -> None:
    let_uploads_expire(catalog)
    catalog.repos.delete(alice, "model", "alice/vault")
    assert catalog.blobs.held(alice, [OID]) == {}


@pytest.mark.parametrize(
    ("scope", "holds"),
    [
        (Scope("user", "alice", ("repo.content.read",)), True),
        (Scope("user", "Alice", ("repo.write",)), True),
        (Scope("model", "alice/vault", ("repo.content.read",)), True),
        (Scope("model", "alice/VAULT", ("repo.write",)), True),
        (Scope("user", "alice", ("repo.access.read",)), False),
        (Scope("model", "alice/vault", ("repo.access.read",)), False),
        (Scope("dataset", "alice/vault", ("repo.content.read",)), False),
        (Scope("model", "alice/other", ("repo.content.read",)), False),
        (Scope("user", "bob", ("repo.content.read",)), False),
        (Scope("user", "alice", ("org.read",)), False),
    ],
)
def test_fine_grained_tokens(catalog: Catalog, alice: Actor, scope: Scope, holds: bool) -> None:
    """A token holds what it may read, not what its owner may."""
    assert alice.name == "alice"
    let_uploads_expire(catalog)
    actor = person(catalog, "alice", "fineGrained", scope)
    assert bool(catalog.blobs.held(actor, [OID])) == holds


@pytest.mark.usefixtures("alice")
def test_a_scope_on_what_is_not_ones_own(catalog: Catalog) -> None:
    mallory = person(
        catalog, "mallory", "fineGrained", Scope("model", "alice/vault", ("repo.content.read",))
    )
    assert catalog.blobs.held(mallory, [OID]) == {}


def test_the_operator_may_link_what_is_there(catalog: Catalog, alice: Actor) -> None:
    """The command line has no account to note uploads under, and needs none."""
    assert alice.name == "alice"
    catalog.blobs.uploaded(OPERATOR, digest(b"imported"), 8)
    assert catalog.blobs.held(OPERATOR, [digest(b"imported"), OID, digest(b"?")]) == {
        digest(b"imported"): 8,
        OID: len(SECRET),
    }
    home = catalog.repos.find(OPERATOR, "model", "alice/vault")
    link(catalog, OPERATOR, home, digest(b"imported"), "imported.bin")


def test_many_at_once(catalog: Catalog, bob: Actor) -> None:
    """More hashes than one IN (…) takes."""
    mine = [upload(catalog, bob, b"%d" % n) for n in range(3)]
    asked = [digest(b"x%d" % n) for n in range(700)]
    assert set(catalog.blobs.held(bob, [*asked, *mine])) == set(mine)


# Xet: the same rule at its doors

CHUNK = b"c" * 32
XORB, FILE = XetHash("1" * 64), XetHash("2" * 64)


def test_chunks_are_found_only_in_what_one_may_read(
    catalog: Catalog, alice: Actor, bob: Actor
) -> None:
    catalog.blobs.uploaded(
        alice, OID, len(SECRET), xet_hash=FILE, xorbs=[XORB], eligible=[(CHUNK, XORB)]
    )
    assert catalog.blobs.offers(alice, CHUNK) == {XORB: (OID,)}
    assert catalog.blobs.offers(bob, CHUNK) == {}
    assert catalog.blobs.offers(ANONYMOUS, CHUNK) == {}
    catalog.repos.set(alice, "model", "alice/vault", private=False)
    assert catalog.blobs.offers(bob, CHUNK) == {XORB: (OID,)}


def test_a_file_hash_opens_only_the_repo_it_is_in(
    catalog: Catalog, alice: Actor, bob: Actor, bobs: Repo
) -> None:
    catalog.blobs.uploaded(alice, OID, len(SECRET), xet_hash=FILE)
    vault = catalog.repos.find(alice, "model", "alice/vault")
    assert catalog.blobs.readable_file(alice, vault, FILE) == OID
    assert catalog.blobs.readable_file(bob, bobs, FILE) is None
    assert catalog.blobs.readable_file(bob, bobs, XetHash("3" * 64)) is None
    assert catalog.blobs.in_repo(vault, OID) == len(SECRET)
    assert catalog.blobs.in_repo(bobs, OID) is None


def test_a_pointer_as_an_ordinary_file_is_text(
    catalog: Catalog, alice: Actor, bob: Actor, bobs: Repo
) -> None:
    """Whoever writes a pointer to foreign bytes gets back what they wrote: the pointer (B8)."""
    assert alice.name == "alice"
    text = encode_pointer(OID, len(SECRET))
    commit(catalog, bob, bobs, {"w.bin": text})
    tree = catalog.refs.resolve(bobs, "main").tree
    entry = catalog.files.find(bobs, tree, RepoPath("w.bin"))
    assert entry.lfs is None
    assert entry.size_bytes == len(text)
    assert catalog.files.read(bobs, entry) == text
    assert catalog.blobs.in_repo(bobs, OID) is None
    upload(catalog, bob, SECRET)  # now proven, the very same git object is a large file
    link(catalog, bob, bobs, OID, "proven.bin")
    entry = catalog.files.find(
        bobs, catalog.refs.resolve(bobs, "main").tree, RepoPath("proven.bin")
    )
    assert entry.lfs is not None
    assert entry.size_bytes == len(SECRET)


def test_expired_notes_are_dropped(catalog: Catalog, bob: Actor) -> None:
    upload(catalog, bob, b"one")
    assert catalog.blobs.forget_expired() == 0
    let_uploads_expire(catalog)
    later = clock.now_ms() + 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blobs, "now_ms", lambda: later)
        assert catalog.blobs.forget_expired() == 1
