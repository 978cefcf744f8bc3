"""The tables of the first release."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None

TIME = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


def upgrade() -> None:
    """Make every table, those others refer to first."""
    _pools()
    _profiles()
    _claims()
    _hosts()
    _devices()
    _vgpus()
    _attachments()
    _sessions()
    _decayed_usages()
    _project_locks()


def _table(name: str, *parts: sa.Column[Any] | sa.Constraint) -> None:
    key = sa.PrimaryKeyConstraint("id", name=f"pk_{name}")
    op.create_table(name, _id("id"), *parts, key, **_options())


def _options() -> dict[str, Any]:
    """Compare text byte by byte, spaces at its end included, as SQLite and PostgreSQL do.

    MariaDB and MySQL have different names for that. SQL written without a connection is MariaDB's.
    """
    context = op.get_context()
    dialect = context.dialect
    if dialect.name not in ("mysql", "mariadb"):
        return {}
    mariadb = context.as_sql or getattr(dialect, "is_mariadb", False)
    collation = "utf8mb4_nopad_bin" if mariadb else "utf8mb4_0900_bin"
    options = {"charset": "utf8mb4", "collate": collation, "engine": "InnoDB"}
    return {f"{dialect.name}_{option}": value for option, value in options.items()}


def _index(table: str, *columns: str) -> None:
    op.create_index(f"ix_{table}_{columns[0]}", table, list(columns))


def _column(name: str, kind: sa.types.TypeEngine[Any], *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=nullable)


def _id(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return _column(name, sa.String(36), nullable=nullable)


def _name(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return _column(name, sa.String(255), nullable=nullable)


def _word(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return _column(name, sa.String(16), nullable=nullable)


def _numbers(*names: str) -> list[sa.Column[Any]]:
    return [_column(name, sa.BigInteger()) for name in names]


def _flags(*names: str) -> list[sa.Column[Any]]:
    return [_column(name, sa.Boolean()) for name in names]


def _json(*names: str) -> list[sa.Column[Any]]:
    return [_column(name, sa.JSON()) for name in names]


def _text(name: str) -> sa.Column[Any]:
    return _column(name, sa.Text())


def _time(name: str, *, nullable: bool = True) -> sa.Column[Any]:
    return _column(name, TIME, nullable=nullable)


def _stamps() -> list[sa.Column[Any]]:
    return [_time("created_at", nullable=False), _time("updated_at", nullable=False)]


def _refers(table: str, column: str, other: str, ondelete: str | None = None) -> sa.Constraint:
    name = f"fk_{table}_{column}_{other}"
    return sa.ForeignKeyConstraint([column], [f"{other}.id"], name=name, ondelete=ondelete)


def _unique(table: str, *columns: str) -> sa.Constraint:
    return sa.UniqueConstraint(*columns, name=f"uniq_{'0'.join((table, *columns))}")


def _pools() -> None:
    _table(
        "pools",
        _name("name"),
        _text("description"),
        _word("policy"),
        *_numbers("compute_overcommit", "memory_overcommit", "moves_per_hour"),
        *_stamps(),
        _unique("pools", "name"),
    )


def _wishes() -> list[sa.Column[Any]]:
    """Return what a claim asks for besides sizes and traits, and a profile may give."""
    return [
        _column("time_limit", sa.BigInteger(), nullable=True),
        _word("qos"),
        _word("on_preempt"),
        _word("layout"),
        *_numbers("cpu_milli", "host_memory_mib"),
        *_flags("preemptible", "same_host", "same_type", "linked"),
    ]


def _profiles() -> None:
    _table(
        "profiles",
        _name("name"),
        _text("description"),
        *_numbers("count", "compute", "memory_mib", "priority"),
        _word("tier"),
        *_json("required_traits", "forbidden_traits"),
        *_wishes(),
        *_stamps(),
        _unique("profiles", "name"),
    )


def _claims() -> None:
    _table(
        "claims",
        _name("name"),
        _name("project_id"),
        _name("user_id"),
        _id("pool_id"),
        *_numbers("count", "compute", "memory_mib", "priority", "attempts", "generation"),
        _word("tier"),
        _id("profile_id", nullable=True),
        *_json("required_traits", "forbidden_traits", "devices", "refused_by"),
        _name("host", nullable=True),
        _time("lease_end"),
        _time("asked_lease_end"),
        *_wishes(),
        _word("state"),
        _text("state_reason"),
        _word("release_to", nullable=True),
        _word("health"),
        _column("request_id", sa.String(64)),
        _time("bound_at"),
        _time("ended_at"),
        *_stamps(),
    )
    _index("claims", "state", "priority", "created_at")
    _index("claims", "project_id", "created_at")
    _index("claims", "pool_id", "state")
    _index("claims", "profile_id")
    _index("claims", "lease_end")
    _index("claims", "created_at")


def _hosts() -> None:
    _table(
        "hosts",
        _name("name"),
        _id("pool_id"),
        _word("state"),
        *_numbers("generation", "applied_generation", "revision", "cpu_milli", "memory_mib"),
        _column("agent_version", sa.String(64)),
        *_flags("simulated"),
        _time("last_seen_at"),
        *_stamps(),
        _unique("hosts", "name"),
        _refers("hosts", "pool_id", "pools"),
    )
    _index("hosts", "pool_id")
    _index("hosts", "state", "last_seen_at")


def _devices() -> None:
    _table(
        "devices",
        _id("host_id"),
        _name("key"),
        _name("vendor"),
        _name("product"),
        _word("sharing_mode"),
        *_numbers("memory_mib", "reserved_mib"),
        *_json("traits"),
        _word("health"),
        _name("link_group"),
        *_flags("simulated", "enabled", "extends_memory"),
        _text("disabled_reason"),
        *_stamps(),
        _unique("devices", "host_id", "key"),
        _refers("devices", "host_id", "hosts", "CASCADE"),
    )


def _vgpus() -> None:
    _table(
        "vgpus",
        _id("claim_id"),
        _name("project_id"),
        _id("host_id"),
        _id("device_id"),
        *_numbers("index", "compute", "memory_mib", "generation", "memory_used_mib", "busy_ns"),
        _word("state"),
        *_stamps(),
        _unique("vgpus", "claim_id", "index"),
        _refers("vgpus", "claim_id", "claims"),
        _refers("vgpus", "host_id", "hosts"),
        _refers("vgpus", "device_id", "devices"),
    )
    _index("vgpus", "project_id")
    _index("vgpus", "host_id", "state")
    _index("vgpus", "device_id")


def _attachments() -> None:
    _table(
        "attachments",
        _id("claim_id"),
        _name("project_id"),
        _id("host_id"),
        _word("kind"),
        _word("state"),
        _text("state_reason"),
        _text("ticket"),
        *_numbers("generation"),
        *_json("environment"),
        _name("cdi_device", nullable=True),
        *_stamps(),
        _refers("attachments", "claim_id", "claims"),
        _refers("attachments", "host_id", "hosts"),
    )
    _index("attachments", "claim_id")
    _index("attachments", "project_id")
    _index("attachments", "host_id", "state")


def _sessions() -> None:
    _table(
        "sessions",
        _id("attachment_id"),
        _id("vgpu_id"),
        _id("host_id"),
        *_numbers("program_pid", "worker_pid", "memory_used_mib", "busy_ns"),
        _time("started_at", nullable=False),
        _refers("sessions", "host_id", "hosts", "CASCADE"),
    )
    _index("sessions", "host_id")
    _index("sessions", "attachment_id")
    _index("sessions", "vgpu_id")


def _decayed_usages() -> None:
    op.create_table(
        "decayed_usages",
        _id("pool_id"),
        _name("project_id"),
        *_numbers("used"),
        _time("at", nullable=False),
        sa.PrimaryKeyConstraint("pool_id", "project_id", name="pk_decayed_usages"),
        **_options(),
    )


def _project_locks() -> None:
    op.create_table(
        "project_locks",
        _name("project_id"),
        *_numbers("taken"),
        sa.PrimaryKeyConstraint("project_id", name="pk_project_locks"),
        **_options(),
    )
