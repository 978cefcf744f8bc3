"""What alembic runs for each command; the caller gives a connection, or a dialect for SQL only."""

from alembic import context

from gpupool.db.models import Base

attributes = context.config.attributes
if context.is_offline_mode():
    context.configure(dialect_name=attributes["dialect"], target_metadata=Base.metadata)
else:
    context.configure(connection=attributes["connection"], target_metadata=Base.metadata)
with context.begin_transaction():
    context.run_migrations()
