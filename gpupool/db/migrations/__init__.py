"""Migrations of the schema, by alembic. There is no way down: restore a backup instead."""

import io
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from gpupool.model import errors


def alembic_config() -> Config:
    """Return what Alembic is configured with: where the revisions are."""
    config = Config()
    # ConfigParser would read % as the start of a variable.
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config


def head() -> str:
    """Return the newest revision."""
    return str(ScriptDirectory.from_config(alembic_config()).get_current_head())


def upgrade(connection: sa.Connection) -> None:
    """Bring the schema behind ``connection`` to the newest revision, in its transaction."""
    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def upgrade_sql(dialect: str) -> str:
    """Return the SQL that makes the schema in an empty database of ``dialect``, as in a URL."""
    config = alembic_config()
    config.attributes["dialect"] = dialect
    config.output_buffer = io.StringIO()
    command.upgrade(config, "head", sql=True)
    return config.output_buffer.getvalue()


def current(connection: sa.Connection) -> str | None:
    """Return the revision of the schema behind ``connection``, None when there is none."""
    return MigrationContext.configure(connection).get_current_revision()


def check(version: str | None) -> None:
    """Raise Unavailable, saying what to do, unless ``version`` is the newest revision."""
    if version == head():
        return
    known = {
        script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions()
    }
    if version is None or version in known:
        raise errors.Unavailable(
            f"the database is at revision {version or 'none'}, {head()} is needed: "
            "run `gpupool-manage db upgrade`"
        )
    raise errors.Unavailable(
        f"the database is at revision {version}, which a newer gpupool made: run that one"
    )
