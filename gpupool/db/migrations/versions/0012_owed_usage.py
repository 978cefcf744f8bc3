"""What projects are owed of pools, which fair share does not forget while they wait."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Add the column; what was used so far counts as what was due, and nothing is owed."""
    op.add_column(
        "decayed_usages", sa.Column("owed", sa.BigInteger(), nullable=False, server_default="0")
    )
