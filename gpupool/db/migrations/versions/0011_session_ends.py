"""Sessions that are to end."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Make the table; nothing is to end yet."""
    op.create_table(
        "session_ends",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("host_id", sa.String(36), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_session_ends"),
        sa.ForeignKeyConstraint(
            ["host_id"], ["hosts.id"], name="fk_session_ends_host_id_hosts", ondelete="CASCADE"
        ),
        **_options(),
    )
    op.create_index("ix_session_ends_host_id", "session_ends", ["host_id"])


def _options() -> dict[str, Any]:
    """Return the options of a table that all of ours have, of the dialect in use."""
    dialect = op.get_context().dialect
    if dialect.name not in ("mysql", "mariadb"):
        return {}
    mariadb = op.get_context().as_sql or getattr(dialect, "is_mariadb", False)
    collation = "utf8mb4_nopad_bin" if mariadb else "utf8mb4_0900_bin"
    wanted = {"charset": "utf8mb4", "collate": collation, "engine": "InnoDB"}
    return {f"{dialect.name}_{name}": value for name, value in wanted.items()}
