"""The compute node of a host, and why its last report was refused."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Add the columns; the next report of each host fixes its compute node."""
    op.add_column("hosts", sa.Column("compute_node", sa.String(255), nullable=True))
    op.add_column("hosts", sa.Column("report_error", sa.String(1000), nullable=False, server_default=""))
