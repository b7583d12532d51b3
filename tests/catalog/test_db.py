"""What the database does when things go wrong, as our errors. Rules F8, F11, F13, F14."""

import itertools
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import psycopg
import pytest
from catalog_kit import commit, contents_of, files_of, open_catalog, person, repo
from catalog_workers import in_processes, new_files
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from headwater.catalog import db as db_module
from headwater.catalog import schema as s
from headwater.catalog.catalog import Catalog
from headwater.catalog.db import Db
from headwater.errors import BadRequest, Corrupt, NoSpace, NotFound, Unavailable
from headwater.store.cache import Cache
from pg import Postgres

# Faults that only one of the two has.
ON_SQLITE = pytest.mark.parametrize("database", ["sqlite"], indirect=True, scope="session")
ON_POSTGRESQL = pytest.mark.parametrize("database", ["postgresql"], indirect=True, scope="session")


def test_what_is_not_committed_did_not_happen(catalog: Catalog) -> None:
    class Cut(Exception):
        pass

    def cut_short() -> None:
        with catalog.db.write() as conn:
            conn.execute(s.meta.insert().values(key="k", value="v"))
            raise Cut

    with pytest.raises(Cut):
        cut_short()
    with catalog.db.read() as conn:
        assert conn.execute(s.meta.select()).all() == []


def test_our_bugs_stay_bugs(catalog: Catalog) -> None:
    """A broken constraint or statement is no passing trouble: it must not look like one."""
    with pytest.raises(IntegrityError), catalog.db.write() as conn:
        conn.execute(s.meta.insert(), [{"key": "k", "value": "v"}] * 2)
    with pytest.raises(SQLAlchemyError), catalog.db.read() as conn:
        conn.execute(text("SELECT * FROM no_such_table"))


def test_texts_no_database_holds_are_the_callers_fault(catalog: Catalog) -> None:
    bad = ["\ud800"] if catalog.db.is_sqlite else ["\ud800", "a\0b"]
    for value in bad:
        with pytest.raises(BadRequest), catalog.db.write() as conn:
            conn.execute(s.meta.insert().values(key="k", value=value))
    for name in ("\ud800", "\ud800/x"):
        with pytest.raises((BadRequest, NotFound)):
            catalog.repos.find(person(catalog, "alice"), "model", name)
    if not catalog.db.is_sqlite:
        with pytest.raises(BadRequest, match="does not fit"), catalog.db.write() as conn:
            conn.execute(s.meta.insert().values(key="k" * 65, value="v"))


def test_a_writer_that_waits_too_long_is_told_to_come_back(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Busy is 503 after the stated wait, never "database is locked" (rule F14)."""
    monkeypatch.setattr(db_module, "BUSY_TIMEOUT_S", 0.2)
    take_turn = str(db_module._TAKE_TURN).replace("'10s'", "'200ms'")
    monkeypatch.setattr(db_module, "_TAKE_TURN", text(take_turn))
    one, two = Db(url), Db(url)
    with one.write(), pytest.raises(Unavailable, match="busy"), two.write():
        pytest.fail("two writers at once")
    with two.write() as conn:
        conn.execute(s.meta.insert().values(key="k", value="v"))
    with one.write() as writing, two.read() as conn:  # readers never wait for a writer
        writing.execute(s.meta.delete())
        assert len(conn.execute(s.meta.select()).all()) == 1
    one.close()
    two.close()


def test_a_writer_waits_its_turn(catalog: Catalog, url: str) -> None:
    other = open_catalog(url)
    inside, done = threading.Event(), []

    def write() -> None:
        inside.wait(10)
        with other.db.write() as conn:
            done.append(conn.execute(s.meta.select()).all())

    thread = threading.Thread(target=write)
    thread.start()
    with catalog.db.write() as conn:
        inside.set()
        thread.join(0.2)
        assert not done, "it is not its turn yet"
        conn.execute(s.meta.insert().values(key="k", value="v"))
    thread.join(10)
    assert done == [[("k", "v")]]
    other.close()


@ON_SQLITE
def test_a_full_disk_saves_nothing(catalog: Catalog) -> None:
    alice = person(catalog, "alice")
    home = repo(catalog, alice, "alice/m")
    files = files_of(catalog, home)
    with catalog.db.engine.connect() as conn:
        pages = conn.exec_driver_sql("PRAGMA page_count").scalar_one()
        conn.exec_driver_sql(f"PRAGMA max_page_count={pages + 2}")
        conn.rollback()
    incompressible = [bytes((n * k * k) % 251 for k in range(5000)) for n in range(1, 60)]
    with pytest.raises(NoSpace, match="Nothing was saved"):
        commit(catalog, alice, home, {f"f{n}": data for n, data in enumerate(incompressible)})
    assert files_of(catalog, home) == files
    catalog.db.engine.dispose()  # space returns
    commit(catalog, alice, home, {"f": b"x"})
    assert contents_of(catalog, home)["f"] == b"x"


@ON_SQLITE
def test_a_damaged_file_is_said_to_be_damaged(url: str) -> None:
    catalog = open_catalog(url)
    alice = person(catalog, "alice")
    for number in range(30):
        repo(catalog, alice, f"alice/m{number}")
    catalog.close()
    path = Path(url.removeprefix("sqlite:///"))
    whole = path.read_bytes()
    for spoiled in (b"not a database" + whole[14:], whole[:4096] + b"\xff" * (len(whole) - 4096)):
        path.write_bytes(spoiled)
        with pytest.raises(Corrupt, match="headwater check"):
            open_catalog(url)
    path.write_bytes(whole)
    open_catalog(url).close()


@ON_SQLITE
def test_sqlite_is_as_careful_as_it_can_be(catalog: Catalog) -> None:
    expected = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "cell_size_check": 1,
                "mmap_size": 0}  # fmt: skip
    for door in (catalog.db.read, catalog.db.write):
        with door() as conn:
            found = {k: conn.exec_driver_sql(f"PRAGMA {k}").scalar() for k in expected}
            assert found == expected
            raw = conn.connection.driver_connection
            assert isinstance(raw, sqlite3.Connection)
            assert raw.in_transaction


@ON_POSTGRESQL
def test_reads_cannot_write_on_postgresql(catalog: Catalog) -> None:
    with pytest.raises(SQLAlchemyError), catalog.db.read() as conn:
        conn.execute(s.meta.insert().values(key="k", value="v"))


@ON_POSTGRESQL
def test_connections_that_were_cut(
    catalog: Catalog, url: str, request: pytest.FixtureRequest
) -> None:
    """Idle ones are replaced unseen; one cut in mid-commit is 503 or the commit, made once."""
    server: Postgres = request.getfixturevalue("postgres")
    name = url.rsplit("/", 1)[1]
    alice = person(catalog, "alice")
    home = repo(catalog, alice, "alice/m")

    def cut() -> None:
        with psycopg.connect(server.url("postgres"), autocommit=True) as conn:
            conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
            )

    cut()
    assert catalog.repos.find(alice, "model", "alice/m") == home
    real, calls = catalog.commits._commit, itertools.count()

    def commit_and_be_cut(*args: object) -> object:
        made = real(*args)  # type: ignore[arg-type]
        if next(calls) == 0:
            cut()
        return made

    catalog.commits._commit = commit_and_be_cut  # type: ignore[method-assign, assignment]
    parent = catalog.refs.resolve(home, "main").commit
    made = commit(catalog, alice, home, {"a": b"1"}, parent=parent)
    assert next(calls) == 2, "the first try was lost, the second made the commit"
    assert [c.oid for c in catalog.history.list(home, made.oid, 9)] == [made.oid, parent]
    with pytest.raises(Unavailable), catalog.db.read() as conn:
        conn.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    catalog.accounts.count()


def test_what_was_read_is_remembered_within_bounds() -> None:
    kept: Cache[str, str] = Cache(10)
    kept.put_new("a", "A", 4)
    kept.put_new("b", "B", 4)
    assert kept.get("a") == "A"
    kept.put_new("c", "C", 4)  # b is the oldest unused
    assert [kept.get(key) for key in "abc"] == ["A", None, "C"]
    kept.put_new("huge", "H", 11)
    assert kept.get("huge") is None
    kept.put_new("a", "other", 1)  # what is there cannot change
    assert kept.get("a") == "A"
    kept.put_new("d", "D", 10)
    assert [kept.get(key) for key in "acd"] == [None, None, "D"]


def test_the_orm_is_whole_before_threads_start() -> None:
    """A hub that was just started answered a query with 500: a thread was importing it."""
    ask = "import sys, headwater.catalog.db; print('sqlalchemy.orm' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_processes_that_make_a_file_together(tmp_path: Path) -> None:
    """Four make the same sixty new files: without a second try about nine in 240 failed."""
    assert in_processes(new_files, 4, str(tmp_path), 60) == [60] * 4
