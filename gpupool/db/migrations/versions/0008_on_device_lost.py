"""What becomes of claims that lose a device."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the columns; the claims and profiles that are there wait, as they did."""
    for table in ("claims", "profiles"):
        op.add_column(
            table,
            sa.Column("on_device_lost", sa.String(16), nullable=False, server_default="wait"),
        )
