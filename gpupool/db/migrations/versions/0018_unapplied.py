"""Hosts that report and do not apply what they should have."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    """Add the column; it is not known of any host yet."""
    op.add_column(
        "hosts", sa.Column("unapplied_reason", sa.String(1000), nullable=False, server_default="")
    )
