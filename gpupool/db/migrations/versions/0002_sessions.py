"""How many sessions each vGPU of a claim may have."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

# What every vGPU had before it could be chosen.
BEFORE = "64"


def upgrade() -> None:
    """Add it to claims and profiles; claims that are there keep what they had."""
    with op.batch_alter_table("claims") as claims:
        claims.add_column(sa.Column("sessions", sa.BigInteger(), nullable=False, server_default=BEFORE))
    with op.batch_alter_table("profiles") as profiles:
        profiles.add_column(sa.Column("sessions", sa.BigInteger(), nullable=True))
