"""The consumer in Placement that holds a vGPU's share, where it is not the vGPU itself."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    """Add the column; the vGPUs that are there are consumers themselves."""
    op.add_column("vgpus", sa.Column("consumer_id", sa.String(36), nullable=True))
    op.create_index("ix_vgpus_consumer_id", "vgpus", ["consumer_id"])
