"""The part of its device that a vGPU has, of a device that is cut into parts."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Add the column; the vGPUs that are there have shares of devices that are cut freely."""
    op.add_column("vgpus", sa.Column("part", sa.String(64), nullable=True))
