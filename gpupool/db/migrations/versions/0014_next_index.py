"""Elastic claims: which index the next vGPU of one gets."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Add the column; claims that are there look for a free index from the first on, as before."""
    op.add_column("claims", sa.Column("next_index", sa.BigInteger(), nullable=False, server_default="0"))
