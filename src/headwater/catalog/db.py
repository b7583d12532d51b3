"""The database, entered by two doors.

    with db.read() as conn:    a consistent snapshot
    with db.write() as conn:   one transaction, alone: one writer at a time in the whole database
    for some in pages(values): … IN (some) …    as many as one statement takes

On SQLite a write begins with BEGIN IMMEDIATE: a deferred BEGIN fails at once with "database is
locked" when another writer got in between, whatever the timeout says. `synchronous=FULL` makes
COMMIT mean durable, in WAL mode too. On PostgreSQL an advisory lock does the same and a read is
REPEATABLE READ, so that what is checked inside a transaction still holds when it acts, and the
code above need not know which of the two it runs on.

What the driver raises becomes our error tree here.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

# Unused here, and whole before any thread starts: the jobs' engine imports it in a thread, and a
# query that meets it half imported fails (it asks whether a `str` of ours is a mapped object).
import sqlalchemy.orm  # noqa: F401
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.sql.dml import Insert
from sqlalchemy.sql.schema import Table

from headwater.catalog.db_errors import translated

SYNCHRONOUS = "FULL"  # a commit is on the disk when it returns; NORMAL loses it at a power cut
BUSY_TIMEOUT_S = 10  # a writer waits this long for its turn, then the client is told to retry
POOL_SIZE = 48  # more than the server's threads, so that a request never waits for a connection
IN_MAX = 500  # values in one IN (…): below every driver's limit on bound values
_WAL_POLL_S = 0.01
_LOCK_KEY = 0x4845_4144  # "HEAD"; any constant will do, it only has to be ours
_TAKE_TURN = text(
    f"SELECT set_config('lock_timeout', '{BUSY_TIMEOUT_S}s', true), "
    f"pg_advisory_xact_lock({_LOCK_KEY})"
)
Value = TypeVar("Value")


def pages(values: Iterable[Value]) -> Iterator[list[Value]]:
    """The values, each once and in their order, IN_MAX at a time."""
    some = list(dict.fromkeys(values))
    for at in range(0, len(some), IN_MAX):
        yield some[at : at + IN_MAX]


class Db:
    """One database, SQLite or PostgreSQL."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.is_sqlite = make_url(url).get_backend_name() == "sqlite"
        if self.is_sqlite:
            self.engine = _sqlite_engine(url)
            self._reader: Engine = self.engine
            self._writer: Engine = self.engine.execution_options(headwater_write=True)
        else:
            self.engine = _server_engine(url)
            self._reader = self.engine.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
            self._writer = self.engine

    def close(self) -> None:
        self.engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A snapshot: everything read inside belongs to one moment."""
        with translated(), self._reader.connect() as conn, conn.begin():
            yield conn

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction: all of it is durable when the block ends, or none of it happened."""
        with translated(), self._writer.connect() as conn, conn.begin():
            if not self.is_sqlite:
                conn.execute(_TAKE_TURN)
            yield conn

    def insert_new(self, table: Table) -> Insert:
        """INSERT that leaves an existing row alone; both databases spell it so."""
        dialect: Any = sqlite if self.is_sqlite else postgresql
        statement: Insert = dialect.insert(table).on_conflict_do_nothing()
        return statement

    def upsert_adding(self, table: Table, keys: list[str], sums: tuple[str, ...]) -> Any:
        """INSERT … ON CONFLICT (keys) DO UPDATE: the new figures are added to those there."""
        dialect: Any = sqlite if self.is_sqlite else postgresql
        statement = dialect.insert(table)
        added = {name: table.c[name] + statement.excluded[name] for name in sums}
        return statement.on_conflict_do_update(index_elements=keys, set_=added)

    def upsert(self, table: Table, keys: list[str], update: dict[str, Any]) -> Any:
        """INSERT … ON CONFLICT (keys) DO UPDATE SET update; values come at execution."""
        dialect: Any = sqlite if self.is_sqlite else postgresql
        return dialect.insert(table).on_conflict_do_update(index_elements=keys, set_=update)


def use_wal(cursor: sqlite3.Cursor | sqlite3.Connection) -> None:
    """Put the file into WAL mode, which stays. When several processes make a new file, SQLite tells
    all but one of them that it is locked, at once and whatever their timeout."""
    deadline_s = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() >= deadline_s:
                raise
            time.sleep(_WAL_POLL_S)


def _sqlite_engine(url: str) -> Engine:
    path = make_url(url).database
    if path and path != ":memory:":
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        url,
        pool_size=POOL_SIZE,
        max_overflow=16,
        connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def on_connect(raw: Any, _record: Any) -> None:
        raw.isolation_level = None  # BEGIN is ours to say
        cursor = raw.cursor()
        use_wal(cursor)
        cursor.execute(f"PRAGMA synchronous={SYNCHRONOUS}")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA cell_size_check=ON")
        cursor.execute("PRAGMA mmap_size=0")  # an mmapped page that rots is a SIGBUS, not an error
        cursor.execute("PRAGMA cache_size=-16384")
        cursor.execute("PRAGMA wal_autocheckpoint=1000")
        cursor.close()

    @event.listens_for(engine, "begin")
    def on_begin(conn: Connection) -> None:
        write = conn.get_execution_options().get("headwater_write")
        conn.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def _server_engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    return create_engine(parsed, pool_size=POOL_SIZE, max_overflow=16, pool_pre_ping=True)
