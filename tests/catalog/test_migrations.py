"""Schema versions: up to this program's, never down, and the steps make what the tables say."""

import subprocess
import sys
from collections.abc import Callable

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from catalog_kit import open_catalog, person, repo
from sqlalchemy import inspect, text

from headwater.catalog import migrate
from headwater.catalog import schema as s
from headwater.catalog.actors import OPERATOR
from headwater.catalog.catalog import Catalog
from headwater.catalog.db import Db
from headwater.catalog.models import Repo
from headwater.catalog.schema_base import metadata
from headwater.errors import Refused


def test_the_steps_make_the_tables(catalog: Catalog) -> None:
    """Upgraded from nothing, the database is what `schema.py` says, to the last index."""
    with catalog.db.read() as conn:
        context = MigrationContext.configure(
            conn, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, metadata) == []
        names = set(inspect(conn).get_table_names()) - {"alembic_version"}
    assert names == set(metadata.tables)


def test_the_version_is_that_of_the_last_step() -> None:
    assert ScriptDirectory.from_config(migrate.config()).get_current_head() == migrate.VERSION


def test_upgrading_again_changes_nothing(catalog: Catalog, url: str) -> None:
    repo(catalog, person(catalog, "alice"), "alice/m")
    asked = "import sys; from headwater.catalog import migrate; print('alembic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True)
    assert done.stdout == "False\n", "a command that has nothing to upgrade does not pay for it"
    again = open_catalog(url)
    assert again.repos.find(OPERATOR, "model", "alice/m").name == "m"
    again.close()


def test_a_later_version_is_refused(catalog: Catalog, url: str) -> None:
    """A database of a later release is left as it is (rule F29)."""
    repo(catalog, person(catalog, "alice"), "alice/m")
    with catalog.db.write() as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Refused, match="9999"):
        open_catalog(url)
    with catalog.db.read() as conn:
        assert conn.execute(text("SELECT version_num FROM alembic_version")).scalar() == "9999"


def test_a_step_that_fails_leaves_nothing(
    empty_url: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All steps are one transaction: half a schema is never there (rule F6)."""
    db = Db(empty_url())

    class Cut(Exception):
        pass

    def cut(*_args: object, **_kw: object) -> None:
        raise Cut

    with monkeypatch.context() as patch:
        patch.setattr("alembic.operations.BatchOperations.create_index", cut)
        with pytest.raises(Cut):
            migrate.upgrade(db)
    with db.read() as conn:
        assert inspect(conn).get_table_names() == []
    migrate.upgrade(db)
    db.close()


def test_a_record_has_the_columns_in_their_order() -> None:
    """`Repo.of` takes a row by position."""
    assert list(Repo.__dataclass_fields__) == [column.name for column in s.repo.c]


def test_row_ids_are_never_used_twice(catalog: Catalog) -> None:
    """What outlives its repo (a cache, a signed address) must not come to mean another."""
    alice = person(catalog, "alice")
    first = repo(catalog, alice, "alice/m")
    catalog.repos.delete(alice, "model", "alice/m")
    assert repo(catalog, alice, "alice/m").id > first.id
