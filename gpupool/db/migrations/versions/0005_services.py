"""Which processes run, and which conductor binds a claim."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from gpupool.db.models import TIME

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the table of services, and note on claims that are allocating who binds them."""
    dialect = op.get_context().dialect
    op.add_column("claims", sa.Column("conductor_id", sa.String(36), nullable=True))
    options: dict[str, Any] = {}
    if dialect.name in ("mysql", "mariadb"):
        mariadb = op.get_context().as_sql or getattr(dialect, "is_mariadb", False)
        collation = "utf8mb4_nopad_bin" if mariadb else "utf8mb4_0900_bin"
        wanted = {"charset": "utf8mb4", "collate": collation, "engine": "InnoDB"}
        options = {f"{dialect.name}_{name}": value for name, value in wanted.items()}
    op.create_table(
        "services",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("binary", sa.String(64), nullable=False),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("beats", sa.BigInteger(), nullable=False),
        sa.Column("leads", sa.Boolean(), nullable=False),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("last_seen_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_services"),
        **options,
    )
    op.create_index("ix_services_last_seen_at", "services", ["last_seen_at"])
