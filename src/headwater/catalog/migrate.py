"""Schema versions: upgraded at start, never downgraded, refused when newer than the program.

Alembic holds the steps (`migrations/versions`). Several processes may start at once: all steps
are one write transaction, and of those there is one at a time.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection

from headwater.catalog.db import Db
from headwater.errors import Refused


def _config(conn: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = conn
    return config


def upgrade(db: Db) -> None:
    """Bring the schema to this program's version, or refuse."""
    with db.write() as conn:
        config = _config(conn)
        current = MigrationContext.configure(conn).get_current_revision()
        scripts = ScriptDirectory.from_config(config)
        if current == scripts.get_current_head():
            return
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise Refused(
                f"the catalog has schema version {current}, which this Headwater does not know: "
                "it was written by a later release. Start that release; nothing was changed."
            ) from error
