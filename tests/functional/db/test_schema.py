"""Migrations and models agree, and the database says when they have not been run."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.orm import Session

from gpupool.db import claims, devices, host_keys, hosts, migrations, services, vgpus
from gpupool.db.api import Database
from gpupool.db.models import Base
from gpupool.model import errors
from tests.functional.db.conftest import Backend


def differences(url: str) -> list[object]:
    engine = sa.create_engine(url)
    try:
        with engine.connect() as connection:
            return compare_metadata(MigrationContext.configure(connection), Base.metadata)
    finally:
        engine.dispose()


def test_migrations_make_what_the_models_say(backend: Backend) -> None:
    url = backend()
    assert differences(url)
    Database.from_url(url).upgrade()
    assert differences(url) == []


def test_comparison_notices_a_missing_column(backend: Backend) -> None:
    url = backend()
    Database.from_url(url).upgrade()
    with Database.from_url(url).writer() as session:
        session.execute(sa.text("ALTER TABLE claims DROP COLUMN bound_at"))
    assert [found[0] for found in differences(url)] == ["add_column"]


def test_upgrade_again_changes_nothing(backend: Backend) -> None:
    database = Database.from_url(backend())
    assert database.version() is None
    database.upgrade()
    version = database.version()
    database.upgrade()
    assert database.version() == version is not None


def test_sql_alone_makes_the_same_schema(backend: Backend) -> None:
    url = backend()
    database = Database.from_url(url)
    with database.writer() as session:
        for statement in database.upgrade_sql().split(";"):
            lines = [line for line in statement.splitlines() if not line.startswith("--")]
            if "".join(lines).strip() not in ("", "BEGIN", "COMMIT"):
                session.execute(sa.text("\n".join(lines)))
    database.check()
    assert differences(url) == []


def test_check_says_what_to_run(backend: Backend) -> None:
    database = Database.from_url(backend())
    with pytest.raises(errors.Unavailable, match=r"revision none.*gpupool-manage db upgrade"):
        database.check()
    database.upgrade()
    database.check()


def test_check_knows_a_newer_database(backend: Backend) -> None:
    database = Database.from_url(backend())
    database.upgrade()
    with database.writer() as session:
        session.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(errors.Unavailable, match="9999, which a newer gpupool made"):
        database.check()


def test_no_revision_goes_down() -> None:
    script = ScriptDirectory(str(Path(migrations.__file__).parent))
    revisions = list(script.walk_revisions())
    assert len(script.get_heads()) == 1
    assert revisions
    assert not any(hasattr(revision.module, "downgrade") for revision in revisions)


def test_claims_of_before_keep_the_sessions_they_had(backend: Backend) -> None:
    database = Database.from_url(backend())
    _begin(database, claims={}, profiles={})
    database.upgrade()
    with database.reader() as session:
        assert session.execute(sa.text("SELECT sessions FROM claims")).scalars().all() == [64]
        assert session.execute(sa.text("SELECT sessions FROM profiles")).scalars().all() == [None]


def test_hosts_devices_and_claims_of_before_go_on(backend: Backend) -> None:
    database = Database.from_url(backend())
    _begin(
        database,
        pools={"policy": "pack"},
        hosts={"state": "up"},
        devices={"health": "ok", "sharing_mode": "shared", "traits": "[]"},
        claims={"state": "allocating"},
        vgpus={"state": "planned"},
    )
    database.upgrade()
    with database.reader() as session:
        host, device = hosts.get(session, "1"), devices.get(session, "1")
        assert claims.allocating(session) == {"1": None}
        assert session.scalars(sa.text("SELECT program_host_id FROM claims")).all() == [host.id]
        assert vgpus.get(session, "1").part is None
        assert services.list_(session)[0].host == host.name
        assert host_keys.list_(session) == []
    assert (host.incarnation, host.generation, host.unable_reason, host.refusals) == ("", 1, "", 0)
    assert (device.in_placement, device.health_reason) == (False, "")


def _begin(database: Database, **tables: Mapping[str, str]) -> None:
    """Make the schema of the first revision, and a row of each of ``tables``, with these values."""
    defaults = {sa.JSON: "[]", sa.DateTime: datetime(2026, 1, 1), sa.Boolean: False}
    with database.writer() as session:
        config = migrations.alembic_config()
        config.attributes["connection"] = session.connection()
        command.upgrade(config, "0001")
        for name, given in tables.items():
            table = sa.Table(name, sa.MetaData(), autoload_with=session.connection())
            row = {
                column.name: next(
                    (value for kind, value in defaults.items() if isinstance(column.type, kind)), "1"
                )
                for column in table.columns
                if not column.nullable
            }
            session.execute(sa.text(_insert(session, name, {**row, **given})), {**row, **given})


def _insert(session: Session, table: str, row: Mapping[str, object]) -> str:
    """Return the statement; a column's name may be a word of SQL."""
    assert table.isalpha()
    quote = session.get_bind().dialect.identifier_preparer.quote
    names = ", ".join(map(quote, row))
    return f"INSERT INTO {table} ({names}) VALUES ({', '.join(f':{name}' for name in row)})"
