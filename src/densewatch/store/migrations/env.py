"""Alembic's entry: runs the steps on the connection that `migrate.py` hands over."""

from alembic import context

from densewatch.store.schema import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
with context.begin_transaction():
    context.run_migrations()
