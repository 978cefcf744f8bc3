"""Moves of vGPUs that are under way."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from gpupool.db.models import TIME

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    """Make the table.

    A row that an older conductor wrote beside the vGPU that it moved is dropped by the reconciler, and
    one that leaves its host goes as any does.
    """
    op.create_table(
        "moves",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("vgpu_id", sa.String(36), nullable=False),
        sa.Column("host_id", sa.String(36), nullable=False),
        sa.Column("source", sa.JSON(), nullable=False),
        sa.Column("target", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("conductor_id", sa.String(36), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_moves"),
        sa.UniqueConstraint("vgpu_id", name="uniq_moves0vgpu_id"),
        sa.ForeignKeyConstraint(
            ["vgpu_id"], ["vgpus.id"], name="fk_moves_vgpu_id_vgpus", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["host_id"], ["hosts.id"], name="fk_moves_host_id_hosts"),
        **_options(),
    )
    op.create_index("ix_moves_host_id", "moves", ["host_id"])


def _options() -> dict[str, Any]:
    """Return the options of a table that all of ours have, of the dialect in use."""
    dialect = op.get_context().dialect
    if dialect.name not in ("mysql", "mariadb"):
        return {}
    mariadb = op.get_context().as_sql or getattr(dialect, "is_mariadb", False)
    collation = "utf8mb4_nopad_bin" if mariadb else "utf8mb4_0900_bin"
    wanted = {"charset": "utf8mb4", "collate": collation, "engine": "InnoDB"}
    return {f"{dialect.name}_{name}": value for name, value in wanted.items()}
