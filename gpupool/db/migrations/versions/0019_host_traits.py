"""Which custom traits the devices of a host have had."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    """Make the table; traits that were made before do not count."""
    op.create_table(
        "host_traits",
        sa.Column("host_id", sa.String(36), nullable=False),
        sa.Column("trait", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("host_id", "trait", name="pk_host_traits"),
        sa.ForeignKeyConstraint(
            ["host_id"], ["hosts.id"], name="fk_host_traits_host_id_hosts", ondelete="CASCADE"
        ),
        **_options(),
    )


def _options() -> dict[str, Any]:
    """Return the options of a table that all of ours have, of the dialect in use."""
    dialect = op.get_context().dialect
    if dialect.name not in ("mysql", "mariadb"):
        return {}
    mariadb = op.get_context().as_sql or getattr(dialect, "is_mariadb", False)
    collation = "utf8mb4_nopad_bin" if mariadb else "utf8mb4_0900_bin"
    wanted = {"charset": "utf8mb4", "collate": collation, "engine": "InnoDB"}
    return {f"{dialect.name}_{name}": value for name, value in wanted.items()}
