"""Private database servers: started from Debian's packages, in a folder of their own."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

START_SECONDS = 60


class Missing(Exception):
    """The server can't run here; the message says what is missing."""


@dataclass
class Server:
    """A running server; ``url`` gives the URL of a database by name, ``maintenance`` always exists."""

    url: Callable[[str], str]
    maintenance: str

    def create_database(self, name: str) -> str:
        """Make an empty database and return its URL."""
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def execute(self, statement: str) -> None:
        engine = sa.create_engine(self.url(self.maintenance), isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                connection.exec_driver_sql(statement)
        finally:
            engine.dispose()


@contextmanager
def mariadb(*settings: str) -> Iterator[Server]:
    """Run MariaDB with defaults that are quick, and ``settings`` of its command line over them."""
    install, daemon = _binary("mariadb-install-db"), _binary("mariadbd")
    with _folder("mysql") as (folder, user):
        data, socket = folder / "data", folder / "socket"
        options = ["--no-defaults", f"--datadir={data}", f"--tmpdir={folder}", "--skip-name-resolve"]
        _once(
            folder,
            user,
            [install, *options, "--auth-root-authentication-method=normal", "--skip-test-db"],
        )
        server = Server(
            lambda name: f"mysql+pymysql://root@localhost/{name}?unix_socket={socket}", "mysql"
        )
        arguments = [f"--socket={socket}", "--skip-networking", f"--pid-file={folder}/pid"]
        quick = ["--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=32M"]
        with _running(
            folder, user, [daemon, *options, *arguments, *quick, *settings], server, signal.SIGTERM
        ):
            yield server


@contextmanager
def postgresql() -> Iterator[Server]:
    places = [str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    initdb, daemon = _binary("initdb", *places), _binary("postgres", *places)
    with _folder("postgres") as (folder, user):
        data = folder / "data"
        options = ["-U", "gpupool", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
        _once(folder, user, [initdb, "-D", str(data), *options])
        server = Server(lambda name: f"postgresql+psycopg2://gpupool@/{name}?host={folder}", "postgres")
        settings = ["-c", "listen_addresses=", "-c", "fsync=off", "-c", "deadlock_timeout=100ms"]
        # At SIGTERM it would wait until every client has gone.
        with _running(
            folder, user, [daemon, "-D", str(data), "-k", str(folder), *settings], server, signal.SIGINT
        ):
            yield server


def _binary(name: str, *places: str) -> str:
    path = os.pathsep.join([*places, os.environ.get("PATH", ""), "/usr/sbin"])
    found = shutil.which(name, path=path)
    if found is None:
        raise Missing(f"{name} is not installed")
    return found


@contextmanager
def _folder(preferred: str) -> Iterator[tuple[Path, str | None]]:
    """Yield a short folder, for sockets have short names, and the user to run as: not root."""
    user = None
    if os.geteuid() == 0:
        known = {entry.pw_name for entry in pwd.getpwall()}
        user = preferred if preferred in known else "nobody"
    folder = Path(tempfile.mkdtemp(prefix="gpupool-", dir="/tmp"))
    try:
        if user is not None:
            shutil.chown(folder, user)
        yield folder, user
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _once(folder: Path, user: str | None, command: list[str]) -> None:
    done = subprocess.run(command, check=False, cwd=folder, user=user, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {done.stdout}{done.stderr}")


@contextmanager
def _running(
    folder: Path, user: str | None, command: list[str], server: Server, stop: signal.Signals
) -> Iterator[None]:
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, user=user, stdout=log, stderr=log)
    try:
        _wait(process, server, folder / "log")
        yield
    finally:
        process.send_signal(stop)
        process.wait()


def _wait(process: subprocess.Popen[bytes], server: Server, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            return server.execute("SELECT 1")
        except sa.exc.OperationalError as exc:
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{process.args!r} did not start: {log.read_text()}") from exc
        time.sleep(0.1)
