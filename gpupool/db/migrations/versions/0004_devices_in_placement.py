"""Whether a device's provider is in Placement."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column; the reconciler finds out in its first run what is in Placement already."""
    op.add_column(
        "devices", sa.Column("in_placement", sa.Boolean(), nullable=False, server_default=sa.false())
    )
