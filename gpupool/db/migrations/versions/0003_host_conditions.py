"""Why hosts take no new vGPUs, and why devices are not healthy."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0003"
down_revision = "0002"

TIME = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


def upgrade() -> None:
    """Add the columns; the hosts and devices that are there are in order until they report."""
    op.add_column("hosts", _reason("unable_reason"))
    op.add_column("hosts", sa.Column("refusals", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("hosts", sa.Column("held_until", TIME, nullable=True))
    op.add_column("hosts", _reason("held_reason"))
    op.add_column("devices", _reason("health_reason"))


def _reason(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.String(1000), nullable=False, server_default="")
