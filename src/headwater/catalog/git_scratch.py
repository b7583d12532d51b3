"""Scratch: what one fetch or push has to remember, on disk, gone with the process.

    with scratch(folder, tables) as db:    a private SQLite file that has no name any more

Lists of objects grow with a repo, memory must not. The file is unlinked while it is open, so that
a crash leaves nothing behind; nothing in it is durable, and nobody else sees it.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from headwater.errors import NoSpace, Unavailable
from headwater.store.files import writing

CACHE_KIB = 16 * 1024  # pages kept in memory; beyond, they go to the file
_SETTINGS = f"""
    PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA locking_mode=EXCLUSIVE;
    PRAGMA temp_store=FILE; PRAGMA mmap_size=0; PRAGMA cache_size=-{CACHE_KIB};
"""


@contextmanager
def scratch(folder: Path, tables: str) -> Iterator[sqlite3.Connection]:
    """A database with these tables. NoSpace when the disk is full. One thread at a time uses it,
    not always the same one."""
    path = folder / f"git-{secrets.token_hex(12)}.sqlite"
    with writing("scratch file"):
        folder.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        path.unlink(missing_ok=True)
        raise Unavailable(f"scratch file: {error}; try again") from error
    with closing(db):
        try:
            db.executescript(_SETTINGS + "BEGIN;" + tables)
            path.unlink()
            yield db
        except sqlite3.OperationalError as error:
            if "full" in str(error):
                raise NoSpace("Not enough storage on the hub. Nothing was saved.") from error
            raise
        finally:
            path.unlink(missing_ok=True)
