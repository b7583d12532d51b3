"""Alembic's entry: always online, on the connection and in the transaction it is handed."""

from alembic import context

# What is imported is compared.
from headwater.catalog import schema, schema_lineage, schema_social  # noqa: F401
from headwater.catalog.schema_base import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=False,  # the caller's transaction covers all steps
    render_as_batch=True,
)
context.run_migrations()
