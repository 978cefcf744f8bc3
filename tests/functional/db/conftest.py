"""Every test of this folder runs on SQLite, and on MariaDB and PostgreSQL where these are installed."""

import itertools
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa

from gpupool.db.api import Database
from gpupool.db.models import Base
from testbed import databases

# Returns the URL of a new empty database.
Backend = Callable[[], str]


# One server of a kind for the whole run: all its tests go to one worker of pytest-xdist.
BACKENDS = [
    pytest.param(name, marks=pytest.mark.xdist_group(f"db-{name}"))
    for name in ("sqlite", "mariadb", "postgresql")
]


@pytest.fixture(scope="session", params=BACKENDS)
def backend(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Backend]:
    numbers = itertools.count()
    if request.param == "sqlite":
        folder = tmp_path_factory.mktemp("sqlite")
        yield lambda: f"sqlite:///{folder}/{next(numbers)}.db"
        return
    try:
        with getattr(databases, request.param)() as server:
            yield lambda: server.create_database(f"test{next(numbers)}")
    except databases.Missing as exc:
        pytest.skip(str(exc))


@pytest.fixture(scope="session")
def upgraded(backend: Backend) -> Iterator[Database]:
    database = Database.from_url(backend())
    database.upgrade()
    yield database
    database.close()


@pytest.fixture
def database(upgraded: Database) -> Database:
    """A database with the whole schema and no rows."""
    with upgraded.writer() as session:
        for table in reversed(Base.metadata.sorted_tables):
            session.execute(sa.delete(table))
    return upgraded
