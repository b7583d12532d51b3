"""Alembic's entry: always online, on the connection and in the transaction it is handed."""

from alembic import context

from headwater.catalog.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=False,  # the caller's transaction covers all steps
    render_as_batch=True,
)
context.run_migrations()
