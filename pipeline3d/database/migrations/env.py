"""Alembic's environment: runs the migrations on the connection that `migration.py` hands over."""

from alembic import context

from pipeline3d.database import access_tables, file_tables, webhook_tables  # noqa: F401  (so that they are known)
from pipeline3d.database.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
