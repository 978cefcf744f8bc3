"""How claims ask for devices that are cut into parts."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    """Add the columns; the claims and profiles that are there ask for devices that are cut freely."""
    for table in ("claims", "profiles"):
        mode = sa.Column("sharing_mode", sa.String(16), nullable=False, server_default="shared")
        op.add_column(table, mode)
        op.add_column(table, sa.Column("partition", sa.String(64), nullable=False, server_default=""))
