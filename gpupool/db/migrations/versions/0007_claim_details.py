"""What operators are told of why a claim is in its state, besides what its project is told."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the column; claims that are there have no details until their next change."""
    op.add_column(
        "claims", sa.Column("state_detail", sa.String(1000), nullable=False, server_default="")
    )
