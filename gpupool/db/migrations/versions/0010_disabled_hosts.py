"""Hosts that take no new vGPUs because an operator wants it so."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add the columns; the hosts that are there are enabled."""
    op.add_column("hosts", sa.Column("enabled", sa.Boolean(), nullable=False, server_default=sa.true()))
    op.add_column(
        "hosts", sa.Column("disabled_reason", sa.String(1000), nullable=False, server_default="")
    )
