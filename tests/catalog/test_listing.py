"""Listings against brute force: the same repos in the same order, whatever is asked."""

import itertools
import time

import pytest
from catalog_kit import commit, org, person, repo, statements
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, text

from effort import examples
from headwater.catalog import schema as s
from headwater.catalog.actors import ANONYMOUS, OPERATOR, Actor, Scope
from headwater.catalog.catalog import Catalog
from headwater.catalog.listing import (
    CURSOR_MAX,
    LIMIT_MAX,
    SORTS,
    TEXT_CHARS_MAX,
    Listed,
    Query,
    statement_of,
)
from headwater.catalog.rights import allowed
from headwater.errors import BadRequest

TAGS = ["license:mit", "chat", "chat_x", "100%", "text-generation", "Ünïcode"]
NAMES = ["bert", "BERT-large", "be_rt", "be.rt", "llama", "b", "x_y", "xzy", "gpt-2"]


@pytest.fixture
def actors(catalog: Catalog) -> list[Actor]:
    """A hub of some sixty repos, and everybody who might list it."""
    alice, bob = person(catalog, "alice"), person(catalog, "bob")
    org(catalog, "lab", alice="read")
    with catalog.db.write() as conn:
        owners = {row.id: row.name for row in conn.execute(s.account.select())}
        cells = itertools.product(sorted(owners), NAMES, ("model", "dataset"))
        for number, (owner, name, type) in enumerate(cells):
            repo_id = conn.execute(
                insert(s.repo).values(
                    hub_id=f"{number:024x}", type=type, owner_id=owner, namespace=owners[owner],
                    name=name, key=f"{owners[owner]}/{name}".lower(), private=number % 5 == 0,
                    gated=("", "auto", "manual")[number % 3], created_ms=1000 - number % 7,
                    updated_ms=number % 11, downloads=number % 4, likes=number % 3,
                ).returning(s.repo.c.id)
            ).scalar_one()  # fmt: skip
            mine = [tag for bit, tag in enumerate(TAGS) if (number * 7) >> bit & 1]
            for tag in mine:
                conn.execute(insert(s.repo_tag).values(repo_id=repo_id, tag=tag))
    return [
        ANONYMOUS,
        OPERATOR,
        person(catalog, "alice"),
        bob,
        person(catalog, "alice", "fineGrained", Scope("org", "lab", ("repo.access.read",))),
        person(catalog, "alice", "fineGrained", Scope("model", "alice/bert", ("repo.write",))),
        alice,
    ]


def brute(catalog: Catalog, actor: Actor, query: Query) -> list[int]:
    """Ids of what `query` asks for, found by looking at every repo."""
    with catalog.db.read() as conn:
        tags: dict[int, set[str]] = {}
        for repo_id, tag in conn.execute(s.repo_tag.select()):
            tags.setdefault(repo_id, set()).add(tag)
        ids = [row.id for row in conn.execute(s.repo.select())]
    wanted = {*query.filters, *([query.pipeline_tag] if query.pipeline_tag else [])}
    found = []
    for repo_id in ids:
        each = catalog.repos.by_id(OPERATOR, repo_id)
        if (
            each.type == query.type
            and allowed(actor, each, "see")
            and all(part.lower() in each.full.lower() for part in query.search)
            and (query.author is None or each.namespace == query.author.lower())
            and wanted <= tags.get(repo_id, set())
            and (query.gated is None or bool(each.gated) == query.gated)
        ):
            found.append((getattr(each, SORTS[query.sort].key), repo_id))
    return [repo_id for _, repo_id in sorted(found, reverse=True)]


def paged(catalog: Catalog, actor: Actor, query: Query) -> list[int]:
    """Ids of all pages in turn."""
    found: list[int] = []
    cursor = None
    while True:
        page = catalog.listing.page(
            actor,
            Query(
                **{f: getattr(query, f) for f in Query.__dataclass_fields__} | {"cursor": cursor}
            ),
        )
        assert len(page.rows) <= max(1, query.limit)
        found += [row.repo.id for row in page.rows]
        if (cursor := page.cursor) is None:
            return found


searches = st.sampled_from(
    ["b", "BERT", "e_r", "%", "_", "be.rt", "\\", "/", "alice/", "lab/b", "é", "zz"]
)
queries = st.builds(
    Query,
    type=st.sampled_from(["model", "dataset", "space"]),
    search=st.lists(searches, max_size=2).map(tuple),
    author=st.sampled_from([None, None, "alice", "LAB", "nobody", "%"]),
    filters=st.lists(st.sampled_from([*TAGS, "none", "chat%"]), max_size=2).map(tuple),
    pipeline_tag=st.sampled_from([None, "text-generation"]),
    gated=st.sampled_from([None, True, False]),
    sort=st.sampled_from(sorted(SORTS)),
    limit=st.sampled_from([1, 2, 7, 1000]),
)


def test_any_listing_equals_brute_force(catalog: Catalog, actors: list[Actor]) -> None:
    @settings(max_examples=examples(60), deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.integers(0, len(actors) - 1), queries)
    @example(0, Query("model", search=("_",)))
    @example(1, Query("model", search=("%",)))
    @example(4, Query("model", sort="downloads", limit=2))
    @example(5, Query("dataset", filters=("100%",), limit=1))
    def check(who: int, query: Query) -> None:
        assert paged(catalog, actors[who], query) == brute(catalog, actors[who], query)

    check()


def test_a_row_says_what_the_repo_says(catalog: Catalog) -> None:
    alice = person(catalog, "alice")
    card = b"---\nlicense: mit\ntags: [zeta, alpha]\npipeline_tag: text-generation\n---\n"
    home = repo(catalog, alice, "alice/m")
    made = commit(catalog, alice, home, {"README.md": card, "m.gguf": b"x"})
    (row,) = catalog.listing.page(ANONYMOUS, Query("model")).rows
    fresh = catalog.repos.find(ANONYMOUS, "model", "alice/m")
    tags = ("alpha", "gguf", "license:mit", "region:us", "text-generation", "zeta")
    assert row == Listed(fresh, tags, made.oid)
    assert catalog.listing.one(fresh) == row
    catalog.refs.create_branch(alice, home, "dev")
    with catalog.db.write() as conn:
        conn.execute(s.ref.delete().where(s.ref.c.name == "refs/heads/main"))
    assert catalog.listing.page(ANONYMOUS, Query("model")).rows[0].head is None
    assert catalog.listing.one(fresh).head is None


def test_a_push_between_pages_hides_nothing(catalog: Catalog) -> None:
    """Keyset pages: what is new comes first and moves no other off the page it would be on."""
    alice = person(catalog, "alice")
    for number in range(6):
        repo(catalog, alice, f"alice/m{number}")
    first = catalog.listing.page(alice, Query("model", limit=3))
    repo(catalog, alice, "alice/new")
    second = catalog.listing.page(alice, Query("model", limit=3, cursor=first.cursor))
    assert [row.repo.name for row in second.rows] == ["m2", "m1", "m0"]
    assert second.cursor is None


@pytest.mark.parametrize(
    "query",
    [
        Query("model", sort="name"),
        Query("model", search=("x" * (TEXT_CHARS_MAX + 1),)),
        Query("model", search=("a\0",)),
        Query("model", filters=("\0",)),
        Query("model", author="\0"),
        Query("model", filters=("a",) * 21),
        Query("model", cursor=(CURSOR_MAX + 1, 1)),
        Query("model", cursor=(0, -1)),
        Query("model", search=("\ud800",)),
    ],
)
def test_what_cannot_be_asked(catalog: Catalog, query: Query) -> None:
    with pytest.raises(BadRequest):
        catalog.listing.page(ANONYMOUS, query)


def test_limits_are_kept_to(catalog: Catalog) -> None:
    alice = person(catalog, "alice")
    for number in range(3):
        repo(catalog, alice, f"alice/m{number}")
    for limit in (0, -5, 1):
        assert len(catalog.listing.page(alice, Query("model", limit=limit)).rows) == 1
    assert len(catalog.listing.page(alice, Query("model", limit=10**9)).rows) == 3
    last = catalog.listing.page(alice, Query("model", cursor=(CURSOR_MAX, CURSOR_MAX)))
    assert len(last.rows) == 3


# What it costs


@pytest.fixture
def many(catalog: Catalog) -> Actor:
    """Three thousand repos, with as many downloads as their number."""
    alice = person(catalog, "alice")
    rows = [
        {
            "hub_id": f"{number:024x}", "type": "model", "owner_id": alice.user_id,
            "namespace": "alice", "name": f"m{number}", "key": f"alice/m{number}",
            "private": number % 10 == 0, "created_ms": number, "updated_ms": number,
            "downloads": number, "card": '{"license": "mit"}', "tags": '["a", "b", "license:mit"]',
        }
        for number in range(3000)
    ]  # fmt: skip
    with catalog.db.write() as conn:
        conn.execute(insert(s.repo), rows)
        if not catalog.db.is_sqlite:
            conn.execute(text("ANALYZE"))
    return alice


def plan_of(catalog: Catalog, actor: Actor, query: Query) -> str:
    """How the database will find the page."""
    explain = "EXPLAIN QUERY PLAN " if catalog.db.is_sqlite else "EXPLAIN "
    statement = statement_of(actor, query)
    compiled = statement.compile(catalog.db.engine, compile_kwargs={"literal_binds": True})
    with catalog.db.read() as conn:
        rows = conn.execute(text(explain + str(compiled).replace(":", "\\:"))).all()
    return "\n".join(str(row[-1]) for row in rows)


@pytest.mark.parametrize(
    ("sort", "index"),
    [
        ("downloads", "ix_repo_type_downloads"),
        ("likes", "ix_repo_type_likes"),
        ("createdAt", "ix_repo_type_created"),
        ("lastModified", "ix_repo_type_updated"),
    ],
)
def test_pages_come_from_an_index(catalog: Catalog, many: Actor, sort: str, index: str) -> None:
    """First and deep pages alike are read in the index's order: no sort, no skipping."""
    for actor in (ANONYMOUS, many, OPERATOR):
        for cursor in (None, (1500, 1500)):
            plan = plan_of(catalog, actor, Query("model", sort=sort, limit=20, cursor=cursor))
            assert index in plan, plan
            assert "TEMP B-TREE" not in plan, plan
            assert "Sort" not in plan.replace("Incremental Sort", "Sort"), plan


def test_a_deep_page_costs_what_the_first_does(catalog: Catalog, many: Actor) -> None:
    def cost_s(cursor: tuple[int, int] | None) -> float:
        query = Query("model", sort="downloads", limit=20, cursor=cursor)
        best = 9.0
        for _ in range(20):
            began = time.perf_counter()
            catalog.listing.page(many, query)
            best = min(best, time.perf_counter() - began)
        return best

    assert cost_s((100, 3000)) < 3 * cost_s(None) + 0.002


def test_the_largest_page_asks_no_more_than_a_small_one(catalog: Catalog, many: Actor) -> None:
    """A thousand rows: no question for each of them (bench/listing.py tells the time)."""
    with statements(catalog) as small:
        catalog.listing.page(many, Query("model", limit=20))
    with statements(catalog) as large:
        page = catalog.listing.page(many, Query("model", limit=LIMIT_MAX))
    assert len(page.rows) == LIMIT_MAX
    assert 0 < len(large) <= len(small) + LIMIT_MAX // 500
