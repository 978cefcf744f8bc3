"""The database object: where it connects, and what it says when it can't."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from gpupool import conf as configuration
from gpupool.db import pools
from gpupool.db.api import SQLITE_BUSY_MS, Database
from gpupool.model import errors
from gpupool.model.clock import Clock
from tests.functional.db import make
from tests.functional.db.conftest import Backend


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "connection is not set; allowed: a SQLAlchemy URL"),
        ("here", "connection is no SQLAlchemy URL"),
        ("oracle9://here", "connection is no SQLAlchemy URL"),
        ("mysql+oursql://here", "connection is no SQLAlchemy URL"),
        ("postgresql+pg8000://here", "connection needs the package pg8000"),
        ("sqlite://", "SQLite needs a file"),
        ("sqlite:///:memory:", "SQLite needs a file"),
    ],
)
def test_urls_that_are_refused(url: str, message: str) -> None:
    with pytest.raises(errors.Invalid, match=message):
        Database.from_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "mysql+pymysql://gpupool:secret@127.0.0.1:1/gpupool",
        "postgresql+psycopg2://gpupool:secret@127.0.0.1:1/gpupool",
        "sqlite:////nowhere/at/all.db",
    ],
)
@pytest.mark.parametrize("max_retries", [0, 1])
def test_a_database_that_does_not_answer(url: str, max_retries: int, tmp_path: Path) -> None:
    file = tmp_path / "gpupool.conf"
    settings = f"connection = {url}\nmax_retries = {max_retries}\nretry_interval = 0"
    file.write_text(f"[database]\n{settings}\n")
    database = Database.from_conf(configuration.new(files=[str(file)]))
    with pytest.raises(errors.Unavailable, match=r"^the database can't be reached$"):
        database.check()
    with (
        pytest.raises(errors.Unavailable, match=r"^the database can't be reached$"),
        database.writer() as session,
    ):
        pools.create(session, make.pool())


def test_a_database_without_tables(backend: Backend) -> None:
    """One that was restored from an empty backup, for instance."""
    database = Database.from_url(backend())
    with (
        pytest.raises(errors.Unavailable, match=r"^the database lacks a table$") as caught,
        database.reader() as session,
    ):
        pools.list_(session)
    assert caught.value.service == "database"
    with (
        pytest.raises(errors.Unavailable, match=r"^the database lacks a table$"),
        database.writer() as session,
    ):
        pools.create(session, make.pool())
    database.upgrade()
    with database.reader() as session:
        assert pools.list_(session) == []


def test_two_databases_know_nothing_of_each_other(backend: Backend) -> None:
    first, second = Database.from_url(backend()), Database.from_url(backend())
    for database in (first, second):
        database.upgrade()
    with first.writer() as session:
        pool = pools.create(session, make.pool())
        with second.writer() as other:
            assert pools.list_(other) == []
        assert pools.list_(session) == [pool]


def test_its_clock_is_the_servers(database: Database) -> None:
    database.clock = Clock()
    database.follow_clock()
    assert database.clock.steady
    assert abs(database.clock.now() - database.clock.wall()) < timedelta(seconds=2)


def test_a_writer_sees_what_was_committed_since_it_began(database: Database) -> None:
    with database.reader() as session:
        url = session.get_bind().url.render_as_string(hide_password=False)
        if url.startswith("sqlite"):
            pytest.skip("a transaction of SQLite sees one moment")
        assert pools.list_(session) == []
        with Database.from_url(url).writer() as other:
            pool = pools.create(other, make.pool())
        assert pools.list_(session) == [pool]


def test_the_first_connection_is_as_the_later_ones(backend: Backend) -> None:
    database = Database.from_url(backend())
    with database.reader() as first:
        dialect = first.get_bind().dialect.name
        if dialect == "sqlite":
            assert first.execute(sa.text("PRAGMA busy_timeout")).scalar() == SQLITE_BUSY_MS
        else:
            assert first.connection().get_isolation_level() == "READ COMMITTED"
    database.close()


def test_sqlite_keeps_rules_and_does_not_block_readers(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/gpupool.db"
    database = Database.from_url(url)
    database.upgrade()
    with database.writer() as session:
        pools.create(session, make.pool())
        with Database.from_url(url).reader() as other:
            assert pools.list_(other) == []
            assert other.execute(sa.text("PRAGMA foreign_keys")).scalar() == 1
            assert other.execute(sa.text("PRAGMA journal_mode")).scalar() == "wal"


def test_a_transaction_in_another_one_is_refused(database: Database) -> None:
    with database.reader(), pytest.raises(RuntimeError, match="don't nest"), database.writer():
        pass
    with database.reader():
        pass


def test_transactions_of_many_threads_take_turns(database: Database) -> None:
    """More threads than connections: all get their turn, and no more are open at once."""
    with database.reader() as session:
        if session.get_bind().dialect.name == "sqlite":
            pytest.skip("connections of SQLite are not counted: they are no use at once anyway")
    counted = threading.Lock()
    open_, most = 0, 0

    def work(_: int) -> None:
        nonlocal open_, most
        with database.reader() as session:
            session.connection()
            with counted:
                open_ += 1
                most = max(most, open_)
            time.sleep(0.02)
            with counted:
                open_ -= 1

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(work, range(32)))
    assert most == 5  # oslo.db's max_pool_size
