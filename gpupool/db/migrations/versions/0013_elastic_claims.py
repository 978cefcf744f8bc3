"""Elastic claims: between how many vGPUs they have."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Add the columns; the claims and profiles that are there are not elastic."""
    for table in ("claims", "profiles"):
        for name in ("min_count", "max_count"):
            op.add_column(table, sa.Column(name, sa.BigInteger(), nullable=True))
