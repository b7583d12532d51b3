"""What the database drivers raise, as our error tree: the caller hears what to do.

A full disk is NoSpace, a damaged file Corrupt, a text no column can hold BadRequest; whatever
passes with time (locks, restarts, lost connections) is Unavailable. Anything else is a bug of
ours and stays as it came.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from headwater.errors import BadRequest, Corrupt, HeadwaterError, NoSpace, Unavailable

# https://www.sqlite.org/rescode.html, the primary codes
_SQLITE_PASSING = frozenset(
    "BUSY LOCKED IOERR CANTOPEN READONLY PROTOCOL NOMEM INTERRUPT PERM AUTH NOLFS".split()
)
_SQLITE_DAMAGE = frozenset(["CORRUPT", "NOTADB"])
# https://www.postgresql.org/docs/current/errcodes-appendix.html: classes for connections lost,
# transactions rolled back for another's sake, resources, the operator, the system
_SERVER_PASSING = ("08", "40", "53", "55", "57", "58")


class ConnectionLost(Unavailable):
    """The database went away in mid-sentence: whether a COMMIT took place is not known."""


@contextmanager
def translated() -> Iterator[None]:
    """Driver errors that a caller can act on, as our own."""
    try:
        yield
    except PoolTimeout as error:
        raise _busy() from error
    except UnicodeEncodeError as error:  # a lone surrogate: no UTF-8, so in no database
        raise BadRequest("a text of the request is not valid Unicode") from error
    except DBAPIError as error:
        if (ours := _ours(error)) is None:
            raise
        raise ours from error


def _busy() -> Unavailable:
    return Unavailable("The catalog is busy. Try again in a moment.")


def _ours(error: DBAPIError) -> HeadwaterError | None:
    cause = error.orig
    name: str | None = getattr(cause, "sqlite_errorname", None)
    if name is not None:
        return _of_sqlite(name.split("_")[1])
    if error.connection_invalidated:
        return ConnectionLost("The catalog's database went away. Try again in a moment.")
    state: str | None = getattr(cause, "sqlstate", None)
    return _of_server(state, type(cause).__name__)


def _of_sqlite(code: str) -> HeadwaterError | None:
    if code == "FULL":
        return _full()
    if code in _SQLITE_DAMAGE:
        return _damaged()
    return _busy() if code in _SQLITE_PASSING else None


def _of_server(state: str | None, kind: str) -> HeadwaterError | None:
    if state is None:  # raised by the driver itself: it never got as far as the server
        if kind == "OperationalError":
            return _busy()
        return BadRequest("a text of the request holds a NUL") if kind == "DataError" else None
    if state == "53100":
        return _full()
    if state.startswith("XX0") and state != "XX000":
        return _damaged()
    if state.startswith("22"):
        return BadRequest("a value of the request does not fit")
    return _busy() if state.startswith(_SERVER_PASSING) else None


def _full() -> NoSpace:
    return NoSpace("Not enough storage on the hub. Nothing was saved.")


def _damaged() -> Corrupt:
    return Corrupt("the catalog is damaged; run `headwater check`")
