"""Counting: three figures, each by its own rule."""

from collections.abc import Callable

import pytest
from catalog_kit import commit, open_catalog, person, repo
from sqlalchemy import func, select

from headwater.catalog import counting
from headwater.catalog import schema as s
from headwater.catalog.actors import ANONYMOUS, Actor
from headwater.catalog.catalog import Catalog
from headwater.catalog.counting import PENDING_MAX, SEEN_DAYS, WINDOW_DAYS, Downloads
from headwater.catalog.listing import Query
from headwater.catalog.models import Repo
from headwater.errors import Unavailable

DAY_MS = 86_400_000
MORNING = 20_000 * DAY_MS


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets the clock that counting looks at."""

    def set_ms(now_ms: int) -> None:
        monkeypatch.setattr(counting, "now_ms", lambda: now_ms)

    set_ms(MORNING)
    return set_ms


def note(catalog: Catalog, home: Repo, *notes: tuple[str, str, bool]) -> None:
    for path, caller, marked in notes:
        catalog.counting.note(home, path, caller, marked=marked)
    catalog.counting.flush()


@pytest.mark.usefixtures("at")
def test_three_figures(catalog: Catalog, home: Repo) -> None:
    note(
        catalog, home,
        ("config.json", "a", False),
        ("config.json", "a", True),
        ("model.safetensors", "a", False),  # neither by the rule nor marked
        ("model.safetensors", "b", True),
        ("tokenizer.json", "b", True),
        ("q4.gguf", "c", False),
        ("config.json", "c", False),
    )  # fmt: skip
    assert catalog.counting.of(home) == Downloads(raw=4, marked=3, dedup=3)
    fresh = catalog.repos.find(ANONYMOUS, "model", "alice/m")
    assert (fresh.downloads, fresh.downloads_all) == (4, 4)


@pytest.mark.usefixtures("at")
def test_a_caller_counts_once_a_day(catalog: Catalog, home: Repo, url: str) -> None:
    """However often, in however many flushes, in whichever worker: the secret is one."""
    for _ in range(3):
        note(catalog, home, ("config.json", "a", False))
    other = open_catalog(url)
    note(other, home, ("config.json", "a", False), ("config.json", "b", False))
    other.close()
    assert catalog.counting.of(home) == Downloads(raw=5, marked=0, dedup=2)


@pytest.mark.parametrize(
    ("type", "library", "path", "counts"),
    [
        ("model", None, "config.json", True),
        ("model", None, "hyperparams.yaml", True),
        ("model", None, "sub/config.json", False),
        ("model", None, "README.md", False),
        ("model", None, "sub/q4.gguf", True),
        ("model", "peft", "adapter_config.json", True),
        ("model", "peft", "config.json", False),
        ("model", "diffusers", "model_index.json", False),
        ("model", "diffusers", "config.json", True),
        ("model", "keras", "config.json", True),
        ("model", "keras", "weights.keras", True),
        ("model", "keras", "keras_metadata.pb", False),
        ("model", "stable-baselines3", "ppo.zip", True),
        ("model", "stable-baselines3", "config.json", False),
        ("model", "stanza", "models/default.zip", True),
        ("model", "stanza", "other.zip", False),
        ("model", "open_clip", "model.safetensors", True),
        ("model", "something-new", "config.json", True),
        ("dataset", None, "data/train.parquet", True),
        ("space", None, "app.py", True),
    ],
)
def test_query_files(
    catalog: Catalog, alice: Actor, type: str, library: str | None, path: str, counts: bool
) -> None:
    made = repo(catalog, alice, "alice/x", type)  # type: ignore[arg-type]
    if library:
        commit(catalog, alice, made, {"README.md": f"---\nlibrary_name: {library}\n---\n".encode()})
    made = catalog.repos.find(alice, made.type, "alice/x")
    assert counting.is_query_file(made, path) == counts


def test_days_leave_the_window(catalog: Catalog, home: Repo, at: Callable[[int], None]) -> None:
    note(catalog, home, ("config.json", "a", False), ("config.json", "b", False))
    at(MORNING + DAY_MS)
    note(catalog, home, ("config.json", "a", False))

    def figures() -> tuple[int, int, int]:
        fresh = catalog.repos.find(ANONYMOUS, "model", "alice/m")
        return fresh.downloads, fresh.downloads_all, catalog.counting.of(home).raw

    assert figures() == (3, 3, 3)
    assert catalog.counting.of(home, 1) == Downloads(1, 0, 1)
    at(MORNING + (WINDOW_DAYS - 1) * DAY_MS)
    catalog.counting.roll()
    assert figures() == (3, 3, 3)
    at(MORNING + WINDOW_DAYS * DAY_MS)
    catalog.counting.roll()
    assert figures() == (1, 3, 1)
    at(MORNING + (WINDOW_DAYS + 1) * DAY_MS)
    catalog.counting.roll()
    assert figures() == (0, 3, 0)
    assert catalog.counting.of(home, None) == Downloads(3, 0, 3)


def test_callers_are_forgotten(catalog: Catalog, home: Repo, at: Callable[[int], None]) -> None:
    """No address is kept, and the hash only for as long as its day is in question."""
    note(catalog, home, ("config.json", "203.0.113.9", False))

    def seen() -> int:
        with catalog.db.read() as conn:
            assert b"203.0.113.9" not in bytes(
                conn.execute(select(s.download_seen.c.caller)).scalar() or b""
            )
            return int(conn.execute(select(func.count()).select_from(s.download_seen)).scalar_one())

    assert seen() == 1
    at(MORNING + SEEN_DAYS * DAY_MS)
    catalog.counting.roll()
    assert seen() == 1
    at(MORNING + (SEEN_DAYS + 1) * DAY_MS)
    catalog.counting.roll()
    assert seen() == 0
    assert catalog.counting.of(home).dedup == 1


@pytest.mark.usefixtures("at")
def test_downloads_of_a_deleted_repo_are_dropped(
    catalog: Catalog, alice: Actor, home: Repo
) -> None:
    other = repo(catalog, alice, "alice/other")
    catalog.counting.note(home, "config.json", "a", marked=True)
    catalog.counting.note(other, "config.json", "a", marked=True)
    catalog.repos.delete(alice, "model", "alice/m")
    catalog.counting.flush()
    assert catalog.counting.of(home) == Downloads(0, 0, 0)
    assert catalog.counting.of(other) == Downloads(1, 1, 1)
    catalog.counting.flush()  # with nothing noted there is nothing to do


@pytest.mark.usefixtures("at")
def test_a_busy_database_loses_no_counts(
    catalog: Catalog, home: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog.counting.note(home, "config.json", "a", marked=True)
    with monkeypatch.context() as patch:

        def busy() -> None:
            raise Unavailable("busy")

        patch.setattr(catalog.db, "write", busy)
        with pytest.raises(Unavailable):
            catalog.counting.flush()
        catalog.counting.note(home, "config.json", "b", marked=False)
    catalog.counting.flush()
    assert catalog.counting.of(home) == Downloads(raw=2, marked=1, dedup=2)


@pytest.mark.usefixtures("at")
def test_many_callers_in_one_flush(catalog: Catalog, alice: Actor) -> None:
    """More callers and repos than one statement takes; beyond the limit only dedup runs low."""
    homes = [repo(catalog, alice, f"alice/m{n}") for n in range(3)]
    for number in range(3000):
        catalog.counting.note(homes[number % 3], "config.json", str(number), marked=False)
    catalog.counting.flush()
    assert [catalog.counting.of(home) for home in homes] == [Downloads(1000, 0, 1000)] * 3
    page = catalog.listing.page(ANONYMOUS, Query("model", sort="downloads"))
    assert [row.repo.downloads for row in page.rows] == [1000] * 3
    assert PENDING_MAX > 3000


@pytest.mark.usefixtures("at")
def test_what_waits_is_written_at_the_end(url: str) -> None:
    catalog = open_catalog(url)
    home = repo(catalog, person(catalog, "bob"), "bob/m")
    catalog.counting.note(home, "config.json", "a", marked=False)
    catalog.close()
    again = open_catalog(url)
    assert again.counting.of(home) == Downloads(1, 0, 1)
    again.close()
