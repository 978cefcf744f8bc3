"""How long preemptible claims of a pool run at least."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the column; the pools that are there go by the service's configuration, as they did."""
    op.add_column("pools", sa.Column("min_run_time", sa.BigInteger(), nullable=True))
