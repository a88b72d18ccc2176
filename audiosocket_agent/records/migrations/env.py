"""Run by alembic for each upgrade, with the connection and the transaction of whoever asked."""

from alembic import context

from audiosocket_agent.records.schema import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
)
context.run_migrations()
