"""Where jobs are kept: on SQLite and on a real PostgreSQL."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from pg import NoServer, Postgres, cluster  # noqa: E402  (it lies in the folder just added)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A cluster for the session; without server binaries the test is skipped and says so."""
    try:
        with cluster() as running:
            yield running
    except NoServer as missing:
        pytest.skip(str(missing))


@pytest.fixture(params=["sqlite", "postgresql"])
def jobs_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database without jobs."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/jobs.sqlite"
    server: Postgres = request.getfixturevalue("postgres")
    return server.database(f"jobs_{tmp_path.name.lower().replace('-', '_')}"[:60])
