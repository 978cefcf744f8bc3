"""Keys of hosts and of conductors, and the incarnation that a host's generations are counted in."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0006"
down_revision = "0005"

TIME = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


def upgrade() -> None:
    """Make the tables; hosts that are there go on in the incarnation that has no name."""
    with op.batch_alter_table("hosts") as hosts:
        hosts.add_column(sa.Column("incarnation", sa.String(36), nullable=False, server_default=""))
    op.create_table(
        "host_keys",
        _text("id", 64),
        _text("host", 255),
        _text("state", 16),
        _text("signing_key", 64),
        _text("sealing_key", 64),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        _text("digest", 64),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_host_keys"),
        **_options(),
    )
    op.create_index("ix_host_keys_host", "host_keys", ["host"])
    op.create_index("ix_host_keys_state", "host_keys", ["state", "created_at"])
    op.create_table(
        "conductor_keys",
        sa.Column("number", sa.BigInteger(), nullable=False, autoincrement=False),
        _text("public_key", 64),
        _text("private_key", 64),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_conductor_keys"),
        **_options(),
    )


def _text(name: str, length: int) -> sa.Column[Any]:
    return sa.Column(name, sa.String(length), nullable=False)


def _options() -> dict[str, Any]:
    """Compare text byte by byte, as the tables of revision 0001 do."""
    context = op.get_context()
    dialect = context.dialect
    if dialect.name not in ("mysql", "mariadb"):
        return {}
    mariadb = context.as_sql or getattr(dialect, "is_mariadb", False)
    collation = "utf8mb4_nopad_bin" if mariadb else "utf8mb4_0900_bin"
    options = {"charset": "utf8mb4", "collate": collation, "engine": "InnoDB"}
    return {f"{dialect.name}_{option}": value for option, value in options.items()}
