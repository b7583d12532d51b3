"""Schema versions: upgraded at start, never downgraded, refused when newer than the program.

Alembic holds the steps (`migrations/versions`). Several processes may start at once: all steps
are one write transaction, and of those there is one at a time. Where there is nothing to do, which
is nearly always, Alembic is not even imported: with what it brings along that takes a sixth of the
time that a hub needs to start again.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from headwater.catalog.db import Db
from headwater.errors import Refused

if TYPE_CHECKING:
    from alembic.config import Config

VERSION = "0004"  # of this program's schema; a test compares it with the steps


def upgrade(db: Db) -> None:
    """Bring the schema to this program's version, or refuse."""
    with db.read() as conn:
        if _version(conn) == VERSION:
            return
    _upgrade(db)


def config(conn: Connection | None = None) -> Config:
    """Where Alembic finds the steps."""
    from alembic.config import Config

    made = Config()
    made.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    made.set_main_option("path_separator", "os")
    made.attributes["connection"] = conn
    return made


def _version(conn: Connection) -> str | None:
    if not inspect(conn).has_table("alembic_version"):
        return None
    return conn.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _upgrade(db: Db) -> None:
    from alembic import command
    from alembic.util import CommandError

    with db.write() as conn:
        current = _version(conn)
        if current == VERSION:  # by another process, meanwhile
            return
        try:
            command.upgrade(config(conn), "head")
        except CommandError as error:
            raise Refused(
                f"the catalog has schema version {current}, which this Headwater does not know: "
                "it was written by a later release. Start that release; nothing was changed."
            ) from error
