"""Who may do what: the whole table, written out. Rules T3, T4, T5, T12.

Each cell has one sign for each verb: see, bytes, propose, write, manage.

    +  allowed
    1  401 RepoNotFound: to those who did not sign in, missing and private are one
    4  404 RepoNotFound: to those who did, likewise
    g  401, G  403 GatedRepo          D  403 the repo is disabled
    T  403 the token is too narrow    F  403 the person has no such right
"""

from dataclasses import replace

import pytest
from catalog_kit import again, commit, digest, link, org, person, repo, upload
from sqlalchemy import update

from headwater.catalog import schema as s
from headwater.catalog import schema_social as so
from headwater.catalog.actors import ANONYMOUS, OPERATOR, Actor, Scope
from headwater.catalog.catalog import Catalog
from headwater.catalog.listing import Query
from headwater.catalog.models import Repo
from headwater.catalog.rights import Verb, demand
from headwater.errors import Conflict, Forbidden, GatedRepo, HeadwaterError, NotFound, RepoNotFound
from headwater.names import RepoId

VERBS: tuple[Verb, ...] = ("see", "bytes", "propose", "write", "manage")
VISIBILITIES = ("public", "private", "gated", "disabled", "private disabled", "private gated")

# All of them ask for a model of the organisation `lab`, which `cora` created.
TABLE = """
                                public  private  gated  disabled  private disabled  private gated
anonymous                       ++111   11111    +g111  +DDD1     11111             11111
stranger                        +++FF   44444    +G+FF  +DDDF     44444             44444
stranger, read token            ++TFF   44444    +GTFF  +DDDF     44444             44444
stranger, repo.write on it      +++FF   44444    +G+FF  +DDDF     44444             44444
stranger, repo.write on self    ++TFF   44444    +GTFF  +DDDF     44444             44444
reader                          +++FF   +++FF    +++FF  +DDDF     +DDDF             +++FF
reader, read token              ++TFF   ++TFF    ++TFF  +DDDF     +DDDF             ++TFF
contributor, own repo           +++++   +++++    +++++  +DDD+     +DDD+             +++++
contributor, other's repo       +++FF   +++FF    +++FF  +DDDF     +DDDF             +++FF
writer                          +++++   +++++    +++++  +DDD+     +DDD+             +++++
writer, read token              ++TTT   ++TTT    ++TTT  +DDDT     +DDDT             ++TTT
org admin                       +++++   +++++    +++++  +DDD+     +DDD+             +++++
writer, access.read on org      ++TTT   +TTTT    +TTTT  +DDDT     +DDDT             +TTTT
writer, content.read on org     ++TTT   ++TTT    ++TTT  +DDDT     +DDDT             ++TTT
writer, repo.write on org       +++++   +++++    +++++  +DDD+     +DDD+             +++++
writer, access.read on it       ++TTT   +TTTT    +TTTT  +DDDT     +DDDT             +TTTT
writer, content.read on it      ++TTT   ++TTT    ++TTT  +DDDT     +DDDT             ++TTT
writer, repo.write on it        +++++   +++++    +++++  +DDD+     +DDD+             +++++
writer, repo.write on another   ++TTT   44444    +TTTT  +DDDT     44444             44444
writer, it as a dataset         ++TTT   44444    +TTTT  +DDDT     44444             44444
writer, org.read on org         ++TTT   44444    +TTTT  +DDDT     44444             44444
hub admin                       +++++   +++++    +++++  +DDD+     +DDD+             +++++
hub admin, read token           ++TTT   ++TTT    ++TTT  +DDDT     +DDDT             ++TTT
hub admin, repo.write on it     +++++   +++++    +++++  +DDD+     +DDD+             +++++
hub admin, repo.write on self   ++TTT   44444    +TTTT  +DDDT     44444             44444
operator                        +++++   +++++    +++++  +DDD+     +DDD+             +++++
"""


def expected() -> dict[tuple[str, str], str]:
    """(actor, visibility) -> five signs."""
    _, *lines = TABLE.strip("\n").splitlines()
    cells: dict[tuple[str, str], str] = {}
    for line in lines:
        actor, signs = line[:32].strip(), line[32:].split()
        cells.update(zip(((actor, v) for v in VISIBILITIES), signs, strict=True))
    return cells


@pytest.fixture
def repos(catalog: Catalog) -> dict[str, Repo]:
    """One repo of each visibility, by its name with `-` for the space."""
    person(catalog, "cora")
    org(catalog, "lab", cora="contributor")
    cora = person(catalog, "cora")
    made = {}
    for visibility in VISIBILITIES:
        name = visibility.replace(" ", "-")
        made[visibility] = repo(catalog, cora, f"lab/{name}", private="private" in visibility)
        link(catalog, cora, made[visibility], upload(catalog, cora, name.encode()))
        if "gated" in visibility:
            catalog.repos.set(OPERATOR, "model", f"lab/{name}", gated="manual")
        if "disabled" in visibility:
            with catalog.db.write() as conn:
                conn.execute(
                    update(s.repo).where(s.repo.c.id == made[visibility].id).values(disabled=True)
                )
    return made


@pytest.fixture
def actors(catalog: Catalog, repos: dict[str, Repo]) -> dict[str, Actor]:
    """Everybody of the table; `it` in a scope stands for each of the repos."""

    def scoped(name: str, kind: str, on: str, *permissions: str) -> Actor:
        names = [repo.full for repo in repos.values()] if on == "it" else [on]
        scopes = (Scope(kind, each, permissions) for each in names)  # type: ignore[arg-type]
        return person(catalog, name, "fineGrained", *scopes)

    for name in ("stranger", "reader", "other", "writer", "boss"):
        person(catalog, name)
    for name, role in {
        "reader": "read",
        "other": "contributor",
        "writer": "write",
        "boss": "admin",
    }.items():
        catalog.accounts.set_role("lab", name, role)  # type: ignore[arg-type]
    person(catalog, "root", admin=True)
    return {
        "anonymous": ANONYMOUS,
        "stranger": person(catalog, "stranger"),
        "stranger, read token": person(catalog, "stranger", "read"),
        "stranger, repo.write on it": scoped("stranger", "model", "it", "repo.write"),
        "stranger, repo.write on self": scoped("stranger", "user", "stranger", "repo.write"),
        "reader": person(catalog, "reader"),
        "reader, read token": person(catalog, "reader", "read"),
        "contributor, own repo": person(catalog, "cora"),
        "contributor, other's repo": person(catalog, "other"),
        "writer": person(catalog, "writer"),
        "writer, read token": person(catalog, "writer", "read"),
        "org admin": person(catalog, "boss"),
        "writer, access.read on org": scoped("writer", "org", "lab", "repo.access.read"),
        "writer, content.read on org": scoped("writer", "org", "LAB", "repo.content.read"),
        "writer, repo.write on org": scoped("writer", "org", "lab", "repo.write"),
        "writer, access.read on it": scoped("writer", "model", "it", "repo.access.read"),
        "writer, content.read on it": scoped("writer", "model", "it", "repo.content.read"),
        "writer, repo.write on it": scoped("writer", "model", "it", "repo.write"),
        "writer, repo.write on another": scoped("writer", "model", "lab/another", "repo.write"),
        "writer, it as a dataset": scoped("writer", "dataset", "it", "repo.write"),
        "writer, org.read on org": scoped("writer", "org", "lab", "org.read"),
        "hub admin": person(catalog, "root"),
        "hub admin, read token": person(catalog, "root", "read"),
        "hub admin, repo.write on it": scoped("root", "model", "it", "repo.write"),
        "hub admin, repo.write on self": scoped("root", "user", "root", "repo.write"),
        "operator": OPERATOR,
    }


def sign(catalog: Catalog, actor: Actor, where: Repo, verb: Verb) -> str:
    """What really happens, as a sign of the table."""
    try:
        catalog.repos.find(actor, "model", where.full, verb)
    except RepoNotFound as error:
        return {401: "1", 404: "4"}[error.status]
    except GatedRepo as error:
        return {401: "g", 403: "G"}[error.status]
    except Forbidden as error:
        if error.message == "Access to this resource is disabled.":
            return "D"
        return "T" if error.message.startswith("Your token") else "F"
    return "+"


def test_the_whole_table(
    catalog: Catalog, repos: dict[str, Repo], actors: dict[str, Actor]
) -> None:
    found = {
        (who, visibility): "".join(sign(catalog, actor, repos[visibility], v) for v in VERBS)
        for who, actor in actors.items()
        for visibility in VISIBILITIES
    }
    assert found == expected()


def test_listings_show_what_may_be_seen(
    catalog: Catalog, repos: dict[str, Repo], actors: dict[str, Actor]
) -> None:
    for who, actor in actors.items():
        listed = {row.repo.full for row in catalog.listing.page(actor, Query("model")).rows}
        seen = {repos[v].full for v in VISIBILITIES if expected()[who, v][0] == "+"}
        assert listed == seen, who


def test_bytes_are_held_where_they_may_be_read(
    catalog: Catalog, repos: dict[str, Repo], actors: dict[str, Actor]
) -> None:
    """The doors that go by hash agree with the door that goes by name."""
    with catalog.db.write() as conn:
        conn.execute(s.upload.delete())
    for who, actor in actors.items():
        for visibility, where in repos.items():
            may = expected()[who, visibility][1] == "+"
            if actor == OPERATOR:
                may = True  # who may link whatever is there
            oid = digest(where.name.encode())
            assert bool(catalog.blobs.held(actor, [oid])) == may, (who, visibility)
            if actor != OPERATOR:
                assert catalog.may_read_bytes(actor, catalog.repos.by_id(OPERATOR, where.id)) == may


def test_missing_and_private_are_one(
    catalog: Catalog, repos: dict[str, Repo], actors: dict[str, Actor]
) -> None:
    """Same class, status and text for a repo that is not there, in each verb."""
    assert repos["private"].private
    for who in ("anonymous", "stranger", "stranger, repo.write on it"):
        for verb in VERBS:
            met = []
            for name in ("lab/private", "lab/nothing", "nobody/nothing"):
                with pytest.raises(RepoNotFound) as error:
                    catalog.repos.find(actors[who], "model", name, verb)
                met.append(
                    (type(error.value), error.value.status, error.value.message.replace(name, "X"))
                )
            assert len(set(met)) == 1, met


def test_names_of_the_old_kind_tell_nothing(catalog: Catalog, repos: dict[str, Repo]) -> None:
    """The old name of a private repo is as missing as any other, and the new one is not said."""
    assert repos["private"].private
    catalog.repos.move(OPERATOR, "model", "lab/private", RepoId("model", "lab", "moved"))
    stranger = person(catalog, "stranger")
    for actor in (ANONYMOUS, stranger):
        with pytest.raises(RepoNotFound) as error:
            catalog.repos.find(actor, "model", "lab/private")
        assert "moved" not in error.value.message
    assert catalog.repos.find(person(catalog, "cora"), "model", "lab/private").name == "moved"


def test_a_transfer_drops_the_old_owner(catalog: Catalog) -> None:
    """What alice may do with her repo ends with the move, for the tokens she already has, too."""
    alice = person(catalog, "alice")
    fine = person(catalog, "alice", "fineGrained", Scope("user", "alice", ("repo.write",)))
    person(catalog, "boss")
    org(catalog, "lab", alice="write", boss="admin")
    alice, boss = again(catalog, alice), person(catalog, "boss")
    repo(catalog, alice, "alice/m", private=True)
    catalog.repos.move(alice, "model", "alice/m", RepoId("model", "lab", "m"))
    signs = "".join(
        sign(catalog, alice, catalog.repos.find(boss, "model", "lab/m"), v) for v in VERBS
    )
    assert signs == "+++++"  # by her role in the organisation
    for old in ("alice/m", "lab/m"):
        with pytest.raises(RepoNotFound):
            catalog.repos.find(fine, "model", old)
    catalog.accounts.set_role("lab", "alice", "contributor")
    moved = catalog.repos.find(boss, "model", "lab/m")
    assert "".join(sign(catalog, again(catalog, alice), moved, v) for v in VERBS) == "+++++"
    catalog.repos.move(boss, "model", "lab/m", RepoId("model", "boss", "m"))
    moved = catalog.repos.find(boss, "model", "boss/m")
    assert moved.creator_id == boss.user_id
    assert "".join(sign(catalog, again(catalog, alice), moved, v) for v in VERBS) == "44444"


def test_rights_are_of_today(catalog: Catalog, repos: dict[str, Repo]) -> None:
    """A signed address remembers who, never what they may."""
    writer = person(catalog, "writer")
    catalog.accounts.set_role("lab", "writer", "write")
    assert sign(catalog, again(catalog, writer), repos["private"], "write") == "+"
    catalog.accounts.set_role("lab", "writer", None)
    assert sign(catalog, again(catalog, writer), repos["private"], "write") == "4"


CREATORS: tuple[tuple[str, str, type[HeadwaterError] | None], ...] = (
    ("anonymous", "lab", RepoNotFound),
    ("anonymous", "nobody", RepoNotFound),
    ("stranger", "stranger", None),
    ("stranger", "STRANGER", None),
    ("stranger", "nobody", NotFound),
    ("stranger", "lab", Forbidden),
    ("stranger, read token", "stranger", Forbidden),
    ("stranger, repo.write on self", "stranger", None),
    ("stranger, repo.write on it", "stranger", Forbidden),
    ("reader", "lab", Forbidden),
    ("contributor, own repo", "lab", None),
    ("writer", "lab", None),
    ("writer", "stranger", Forbidden),
    ("writer, repo.write on org", "lab", None),
    ("writer, repo.write on it", "lab", Forbidden),
    ("writer, content.read on org", "lab", Forbidden),
    ("org admin", "lab", None),
    ("hub admin", "stranger", None),
    ("hub admin, read token", "stranger", Forbidden),
    ("hub admin, repo.write on self", "stranger", Forbidden),
    ("operator", "lab", None),
)


def test_who_creates_where(catalog: Catalog, actors: dict[str, Actor]) -> None:
    for number, (who, namespace, meets) in enumerate(CREATORS):
        rid = RepoId("model", namespace, f"new{number}")
        if meets is not None:
            with pytest.raises(meets):
                catalog.repos.create(actors[who], rid)
            continue
        made = catalog.repos.create(actors[who], rid)
        assert made.namespace == namespace.lower()  # as the account spells it
        assert made.creator_id == (actors[who].user_id or None)
        with pytest.raises(Conflict):
            catalog.repos.create(actors[who], rid)


def test_moving_into_a_namespace_asks_as_creating_there(
    catalog: Catalog, actors: dict[str, Actor]
) -> None:
    repo(catalog, actors["stranger"], "stranger/mine")
    for who, namespace in (("stranger", "lab"), ("stranger", "nobody"), ("reader", "stranger")):
        to = RepoId("model", namespace, "taken-away")
        with pytest.raises((Forbidden, NotFound)):
            catalog.repos.move(actors[who], "model", "stranger/mine", to)
    assert catalog.repos.find(ANONYMOUS, "model", "stranger/mine").namespace == "stranger"


def test_pull_requests_are_their_authors(catalog: Catalog) -> None:
    """A stranger opens one and adds to it; nobody else does without the right to write."""
    alice, bob, carol = (person(catalog, name) for name in ("alice", "bob", "carol"))
    home = repo(catalog, alice, "alice/m")
    with pytest.raises(Forbidden):
        commit(catalog, bob, home, {"a": b"1"})
    assert commit(catalog, bob, home, {"a": b"1"}, create_pr=True).pr == 1
    commit(catalog, bob, home, {"b": b"1"}, revision="refs/pr/1")
    commit(catalog, alice, home, {"c": b"1"}, revision="refs/pr/1")
    with pytest.raises(Forbidden):
        commit(catalog, carol, home, {"d": b"1"}, revision="refs/pr/1")
    with pytest.raises(Forbidden):
        commit(catalog, person(catalog, "bob", "read"), home, {"d": b"1"}, revision="refs/pr/1")
    with catalog.db.write() as conn:
        conn.execute(update(so.discussion).values(status="closed"))
    with pytest.raises(Forbidden):
        commit(catalog, bob, home, {"e": b"1"}, revision="refs/pr/1")
    catalog.repos.set(alice, "model", "alice/m", private=True)
    for create_pr in (True, False):
        with pytest.raises(RepoNotFound):
            commit(catalog, bob, home, {"f": b"1"}, revision="main", create_pr=create_pr)


def test_demand_and_allowed_agree_without_a_database() -> None:
    """A gate tells those who are in front of it, whoever they are, to ask."""
    gated = Repo(
        1, "h", "model", 7, "lab", "m", "lab/m", None, False, "auto", False, 0, 0,
        None, None, None, "{}", "{}", "[]", 0, 0, 0, 0, None, "{}",
    )  # fmt: skip
    someone = Actor(user_id=3, name="bob", token_role="read")
    with pytest.raises(GatedRepo, match="Visit /lab/m/ask-access to ask"):
        demand(someone, gated, "bytes")
    demand(replace(someone, user_id=7), gated, "bytes")
