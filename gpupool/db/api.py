"""The database as an object: connections, transactions, migrations. There is no global one."""

import logging
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from oslo_config import cfg
from oslo_db import api, exception, options
from oslo_db.sqlalchemy import enginefacade
from sqlalchemy.orm import Session

from gpupool.conf import database as conf_database
from gpupool.conf.database import GROUP
from gpupool.db import migrations, times
from gpupool.model import errors
from gpupool.model.clock import Clock

LOG = logging.getLogger(__name__)
# How long a SQLite connection waits for another one's transaction to end, milliseconds.
SQLITE_BUSY_MS = 60_000
# What MySQL and PostgreSQL answer when a table is not there.
_NO_TABLE = (1146, "42P01")
# What MySQL (disk full, table full) and PostgreSQL answer when their disk is full.
_NO_ROOM = (1021, 1114, "53100")
# What SQLite answers then; the second is about the file that its connections share.
_SQLITE_NO_ROOM = ("SQLITE_FULL", "SQLITE_IOERR_SHMSIZE", "SQLITE_IOERR_WRITE")


@enginefacade.transaction_context_provider
class _Context:
    """What oslo.db hangs one transaction on."""


class Database:
    """One database. Safe to use from many threads; open transactions don't nest."""

    # Decorates a function that opens a writer: it is called again, after a random and growing pause,
    # when the database ended its transaction to resolve a deadlock.
    retry = api.wrap_db_retry(
        retry_interval=0.02, max_retries=20, max_retry_interval=2, retry_on_deadlock=True
    )

    def __init__(self, settings: dict[str, Any]) -> None:
        """Take the options of oslo.db's [database] group by name; connects at first use.

        Raises Invalid when ``connection`` is missing or can't be used.
        """
        url = _url(settings["connection"])
        given = {key: value for key, value in settings.items() if value is not None}
        given["connection"] = url.render_as_string(hide_password=False)
        self._dialect = url.get_backend_name()
        if self._dialect == "sqlite":
            # Its connections are no pool, and SQLAlchemy refuses to be told how long to wait for one.
            given.pop("pool_timeout", None)
        # Where it is, without credentials: the same for all who use this one, and for nobody else.
        address = f"{url.host or ''}:{url.port or ''}/{url.database}"
        self.place = str(url.database) if self._dialect == "sqlite" else address
        # The file that a SQLite database is in; None for others.
        self.file = Path(url.database or "") if self._dialect == "sqlite" else None
        # What the time is for all who use it: the conductor has it follow the server's clock.
        self.clock = Clock()
        self._probed = url.difference_update_query(["plugin"])
        self._open = threading.local()
        self._manager = enginefacade.transaction_context()
        self._manager.configure(**given, sqlite_fk=True)
        self._manager.append_on_engine_create(_prepare)

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts) -> "Database":
        """Return the database of [database] in ``conf``, where oslo.db's options get registered."""
        options.set_defaults(conf, **conf_database.DEFAULTS)
        return cls(dict(conf[GROUP]))

    @classmethod
    def from_url(cls, url: str) -> "Database":
        """Return the database at ``url``, a SQLAlchemy URL, all else by default."""
        conf = cfg.ConfigOpts()
        conf([], default_config_files=[], default_config_dirs=[])
        conf.register_opts(options.database_opts, group=GROUP)
        conf.set_override("connection", url, group=GROUP)
        return cls.from_conf(conf)

    @contextmanager
    def reader(self) -> Iterator[Session]:
        """Open a transaction that only reads.

        Raises Unavailable when the database can't be reached, or lacks a table.
        """
        with self._alone(), _unavailable(), self._manager.reader.using(_Context()) as session:
            times.follow(session, self.clock)
            yield session

    @contextmanager
    def writer(self) -> Iterator[Session]:
        """Open a transaction; it is committed at the end, and rolled back when an error leaves it.

        Raises Unavailable as ``reader`` does; see ``retry`` for deadlocks.
        """
        with self._alone(), _unavailable(), self._manager.writer.using(_Context()) as session:
            session.connection(execution_options={"gpupool_writer": True})
            times.follow(session, self.clock)
            yield session

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Refuse a transaction inside another one: enough of them would wait for each other for ever."""
        if getattr(self._open, "one", False):
            raise RuntimeError("a transaction is open in this thread already; transactions don't nest")
        self._open.one = True
        try:
            yield
        finally:
            self._open.one = False

    def follow_clock(self) -> None:
        """Set ``clock`` by the server's clock; raises Unavailable as ``reader``."""
        with self.reader() as session:
            times.observe(session)

    def upgrade(self) -> None:
        """Bring the schema to what this code needs; doing so again changes nothing."""
        if self.file:
            _keep_private(self.file)
        with self.writer() as session:
            migrations.upgrade(session.connection())

    def upgrade_sql(self) -> str:
        """Return the SQL by which ``upgrade`` makes an empty database, without connecting."""
        return migrations.upgrade_sql(self._dialect)

    def version(self) -> str | None:
        """Return the revision of the schema, None when there is none yet."""
        with self.reader() as session:
            return migrations.current(session.connection())

    def check(self) -> None:
        """Raise Unavailable, saying what to do, unless the schema is what this code needs."""
        migrations.check(self.version())

    def probe(self) -> None:
        """Connect and ask for nothing; raises Unavailable when the database does not answer.

        By a connection of its own: those of transactions may all be in use.
        """
        with _unavailable(log=False):
            engine = sa.create_engine(self._probed, poolclass=sa.pool.NullPool)
            with engine.connect() as connection:
                connection.execute(sa.text("SELECT 1"))

    def close(self) -> None:
        """Close every idle connection."""
        self._manager.dispose_pool()


def _url(connection: str | None) -> sa.URL:
    """Return the URL to connect to; text is UTF-8 of any length on every database."""
    if not connection:
        raise errors.Invalid("[database] connection is not set; allowed: a SQLAlchemy URL")
    try:
        url = sa.make_url(connection)
        dialect = url.get_dialect()
        dialect.import_dbapi()
    except sa.exc.ArgumentError as exc:
        raise errors.Invalid("[database] connection is no SQLAlchemy URL") from exc
    except ImportError as exc:
        raise errors.Invalid(f"[database] connection needs the package {exc.name}") from exc
    if dialect.name == "sqlite" and url.database in (None, "", ":memory:"):
        raise errors.Invalid("[database] connection: SQLite needs a file: sqlite:////path/of/file")
    if dialect.name in ("mysql", "mariadb") and "charset" not in url.query:
        url = url.update_query_dict({"charset": "utf8mb4"})
    return url


def _keep_private(file: Path) -> None:
    """Restrict a SQLite database, which holds private keys, to its owner.

    SQLite makes its -wal and -shm files with the rights of the database.
    """
    with suppress(OSError):  # what is wrong with the file SQLite says better
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        for path in (file, file.with_name(f"{file.name}-wal"), file.with_name(f"{file.name}-shm")):
            with suppress(FileNotFoundError):
                path.chmod(0o600)


@contextmanager
def _unavailable(log: bool = True) -> Iterator[None]:
    """Raise Unavailable for every error that says that the database is away, full, or lacks a table."""
    try:
        yield
    except Exception as exc:
        if _lacks_table(exc):
            if log:
                why = str(exc).partition("\n")[0]  # The statement that met it follows.
                LOG.error("The database lacks a table, see `gpupool-manage db upgrade`: %s", why)
            raise errors.Unavailable("the database lacks a table", "database") from exc
        if _lacks_room(exc):
            if log:
                LOG.error("The disk of the database is full: %s", str(exc).partition("\n")[0])
            raise errors.Unavailable("the disk of the database is full", "database") from exc
        if not _is_outage(exc):
            raise
        if log:
            LOG.error("The database can't be reached: %s", exc)  # Not for users: it names hosts.
        raise errors.Unavailable("the database can't be reached", "database") from exc


def _lacks_table(exc: BaseException) -> bool:
    """Return whether a table is not there. oslo.db has a name for that on SQLite only."""
    return isinstance(exc, exception.DBNonExistentTable) or _code(exc) in _NO_TABLE


def _lacks_room(exc: BaseException) -> bool:
    """Return whether the database could not write because its disk is full."""
    return _code(exc) in (*_NO_ROOM, *_SQLITE_NO_ROOM)


def _code(exc: BaseException) -> object:
    """Return what the database calls an error: a number, or a word of SQLite's and PostgreSQL's."""
    inner = exc.inner_exception if isinstance(exc, exception.DBError) else exc
    said = getattr(inner, "orig", None)
    word = getattr(said, "pgcode", None) or getattr(said, "sqlite_errorname", None)
    return word or next(iter(getattr(said, "args", ())), None)


def _is_outage(exc: BaseException) -> bool:
    """Return whether an error is one of the connection, not of what was asked by it.

    oslo.db has names for some; its others wrap SQLAlchemy's, which say what became of the connection.
    """
    names = (
        exception.DBConnectionError,
        exception.DBNonExistentDatabase,
        sa.exc.OperationalError,  # What oslo.db knows no name for, such as PostgreSQL's refusals.
        sa.exc.InterfaceError,
        sa.exc.TimeoutError,  # No connection became free in time.
        ConnectionError,
    )
    if isinstance(exc, names):
        return True
    inner = exc.inner_exception if isinstance(exc, exception.DBError) else exc
    if isinstance(inner, sa.exc.InterfaceError):
        return True
    return isinstance(inner, sa.exc.DBAPIError) and inner.connection_invalidated


def _prepare(engine: sa.Engine) -> None:
    """Set up every connection of ``engine`` to behave alike on all databases."""
    # Errors with a statement go into logs; its values, tickets for instance, do not.
    engine.hide_parameters = True
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _connect_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
    elif engine.dialect.name in ("mysql", "mariadb"):
        sa.event.listen(engine, "connect", _connect_mysql)
    # oslo.db has connected once already, to see whether the server answers; that one is not alike.
    engine.dispose()


def _connect_sqlite(connection: Any, _record: Any) -> None:
    connection.execute(f"PRAGMA busy_timeout = {SQLITE_BUSY_MS}")
    try:
        # Readers and the writer don't wait for each other.
        connection.execute("PRAGMA journal_mode = WAL")
    except sqlite3.DatabaseError as exc:
        # A file that is no database: oslo.db knows no name for the error, and logs a traceback.
        named = sqlite3.OperationalError(str(exc))
        named.sqlite_errorname = getattr(exc, "sqlite_errorname", "")
        raise named from exc


def _begin_sqlite(connection: sa.Connection) -> None:
    """Take the write lock at once: a reader that becomes a writer can't wait, it fails."""
    if connection.get_execution_options().get("gpupool_writer"):
        connection.exec_driver_sql("COMMIT")  # What oslo.db just began; it holds no lock yet.
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _connect_mysql(connection: Any, _record: Any) -> None:
    # As PostgreSQL does by default: a statement sees what was committed before it, not only what
    # was before the transaction. Writers notice each other by generation.
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
