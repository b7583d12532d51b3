"""One catalog a test, on SQLite and on a real PostgreSQL: every test here runs on both."""

import itertools
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from catalog_kit import (  # noqa: E402  (it lies in the folder that was just added)
    open_catalog,
    person,
    repo,
)

from headwater.catalog.actors import Actor  # noqa: E402
from headwater.catalog.catalog import Catalog  # noqa: E402
from headwater.catalog.models import Repo  # noqa: E402
from pg import NoServer, Postgres, cluster  # noqa: E402

_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A cluster for the session; without server binaries the test is skipped and says so."""
    try:
        with cluster() as running:
            yield running
    except NoServer as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    """Which database."""
    return str(request.param)


@pytest.fixture(scope="session")
def empty_url(
    database: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], str]:
    """Makes databases that hold nothing, not even a schema; gives their addresses."""
    if database == "sqlite":
        folder = tmp_path_factory.mktemp("catalogs")
        return lambda: f"sqlite:///{folder}/{next(_numbers)}.sqlite"
    server: Postgres = request.getfixturevalue("postgres")
    return lambda: server.database(f"hub{next(_numbers)}")


@pytest.fixture(scope="session")
def template(database: str, empty_url: Callable[[], str]) -> str:
    """The address of an upgraded, empty catalog that the others are copies of."""
    url = empty_url()
    open_catalog(url).close()
    return url


@pytest.fixture
def url(
    database: str, template: str, empty_url: Callable[[], str], request: pytest.FixtureRequest
) -> Iterator[str]:
    """The address of an empty catalog of this test's own."""
    if database == "sqlite":
        copy = empty_url()
        shutil.copy(template.removeprefix("sqlite:///"), copy.removeprefix("sqlite:///"))
        yield copy
    else:
        server: Postgres = request.getfixturevalue("postgres")
        name = f"hub{next(_numbers)}"
        yield server.database(name, template.rsplit("/", 1)[1])
        server.drop(name)


@pytest.fixture
def catalog(url: str) -> Iterator[Catalog]:
    """An empty catalog."""
    made = open_catalog(url)
    yield made
    made.close()


@pytest.fixture
def alice(catalog: Catalog) -> Actor:
    return person(catalog, "alice")


@pytest.fixture
def bob(catalog: Catalog) -> Actor:
    return person(catalog, "bob")


@pytest.fixture
def home(catalog: Catalog, alice: Actor) -> Repo:
    """An empty model of Alice's."""
    return repo(catalog, alice, "alice/m")
