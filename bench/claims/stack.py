"""Everything that runs: RabbitMQ, MariaDB, Placement, conductors and simulated agents."""

import json
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from bench.claims.process import Failed, Process
from gpupool.db.api import Database
from gpupool.placement.embedded import TOKEN
from testbed import databases, rabbitmq

START_SECONDS = 90
# One account each, so that MariaDB counts apart what each asks; the last is this bench's own.
ACCOUNTS = ("gpupool", "placement", "bench")
MARIADB = ("--userstat=1", "--max-connections=300", "--innodb-buffer-pool-size=256M")
Groups = dict[str, dict[str, Any]]


class Missing(Exception):
    """A service is not installed; the text says which."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is started.

    ``hosts``: devices by name. ``interval``: seconds between two reports of a host. ``durable``: a
    transaction is on disk when it is over. ``driver``: by which Python speaks to MariaDB, as SQLAlchemy
    names it. ``settings``: options of the conductors by (group, name).
    """

    hosts: Mapping[str, int]
    interval: int
    conductors: int = 2
    placement_processes: int = 2
    placement_threads: int = 2
    api_processes: int = 0
    agent_threads: int = 16
    memory_mib: int = 16_384
    durable: bool = True
    driver: str = "pymysql"
    settings: Mapping[tuple[str, str], str] = field(default_factory=dict)


class Stack:
    """Services in ``folder``, from ``start`` to ``close``; ``groups`` has the pids by what they are."""

    def __init__(self, folder: Path, options: Options) -> None:
        self.folder = folder
        self.options = options
        self.groups: dict[str, list[int]] = {}
        self.api = ""
        self._stops = ExitStack()
        self._processes: list[Process] = []
        self._exchange = f"bench-{uuid.uuid4()}"

    def start(self) -> None:
        """Start all but the agents; raises Missing or Failed."""
        try:
            with ThreadPoolExecutor(1) as beside:
                rabbit = beside.submit(self._start_rabbitmq)
                self._start_mariadb()
                self._start_placement()
                rabbit.result()
        except (rabbitmq.Missing, databases.Missing) as exc:
            raise Missing(str(exc)) from exc
        config = self._write("gpupool", self._gpupool())
        for number in range(1, self.options.conductors + 1):
            name = f"conductor-{number}"
            path = self._write(name, self._conductor(number))
            self._add("conductors", name, "gpupool.cmd.conductor", "--config-file", path)
        if self.options.api_processes:
            self.api = self._serve("api", config, self.options.api_processes)
        self._wait("a conductor has made the default pool", lambda: self.count("gpupool.pools"))

    def start_agents(self) -> None:
        """Start the agents: every host reports, and goes on doing so."""
        options = {
            "config": str(self.folder / "gpupool.conf"),
            "hosts": dict(self.options.hosts),
            "memory_mib": self.options.memory_mib,
            "interval": self.options.interval,
            "threads": self.options.agent_threads,
        }
        arguments = ("bench.claims.agents", json.dumps(options))
        self.agents = self._add("agents", "agents", *arguments, talks=True)

    def load(self, options: Mapping[str, Any]) -> Process:
        """Return a load, see ``bench.claims.load``, that is ready to begin."""
        places = {
            "config": str(self.folder / "gpupool.conf"),
            "database": self.url("gpupool", "bench"),
            "api": self.api,
        }
        arguments = ("bench.claims.load", json.dumps({**options, **places}))
        process = self._add("load", f"load-{len(self._processes)}", *arguments, talks=True)
        process.ask()
        return process

    def check(self) -> None:
        """Raise Failed when one of the services has ended."""
        for process in self._processes:
            process.check()

    def close(self) -> None:
        """End everything."""
        self._stops.close()

    def url(self, database: str, account: str) -> str:
        """Return the URL of a database for an account."""
        url = sa.make_url(self._server.url(database))
        url = url.set(username=account, drivername=f"mysql+{self.options.driver}")
        return url.render_as_string()

    def count(self, table: str, expression: str = "*") -> int:
        """Return how many rows a table, given with its database, has."""
        return int(self.query(f"SELECT COUNT({expression}) FROM {table}")[0][0])

    def query(self, statement: str) -> list[sa.Row[Any]]:
        """Return the rows of a query of the bench's own."""
        with self._engine.connect() as connection:
            return list(connection.exec_driver_sql(statement))

    def logs(self) -> list[Path]:
        """Return the conductors' logs."""
        return sorted(self.folder.glob("conductor-*.log"))

    def requests(self) -> Path:
        """Return the log of Placement's requests."""
        return self.folder / "placement.requests"

    def _folder(self, name: str) -> Path:
        path = self.folder / name
        path.mkdir()
        return path

    def _start_rabbitmq(self) -> None:
        self.rabbit = rabbitmq.RabbitMq(self._folder("rabbitmq"))
        self._stops.callback(self.rabbit.close)
        self.groups["rabbitmq"] = [self.rabbit.pid]

    def _start_mariadb(self) -> None:
        durable = f"--innodb-flush-log-at-trx-commit={int(self.options.durable)}"
        self._server = self._stops.enter_context(databases.mariadb(*MARIADB, durable))
        for name in ACCOUNTS:
            self._server.execute(f"CREATE DATABASE {name}")
            self._server.execute(f"CREATE USER {name}@localhost")
            self._server.execute(f"GRANT ALL ON *.* TO {name}@localhost")
        self._engine = sa.create_engine(self.url("bench", "bench"), isolation_level="AUTOCOMMIT")
        self._stops.callback(self._engine.dispose)
        (pid_file,) = self.query("SELECT @@pid_file")[0]
        self.groups["mariadb"] = [int(Path(pid_file).read_text())]
        database = Database.from_url(self.url("gpupool", "gpupool"))
        database.upgrade()
        database.close()

    def _start_placement(self) -> None:
        config = self._write(
            "placement",
            {
                "api": {"auth_strategy": "noauth2"},
                "placement_database": {"connection": self.url("placement", "placement")},
            },
        )
        manage = shutil.which("placement-manage", path=str(Path(sys.executable).parent))
        if manage is None:
            raise Missing("Placement is not installed; pip install openstack-placement does")
        done = subprocess.run(
            [manage, "--config-file", config, "db", "sync"], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise Failed(f"placement-manage: {done.stderr[-2000:]}")
        self._placement = self._serve("placement", config, self.options.placement_processes)

    def _serve(self, application: str, config: str, processes: int) -> str:
        """Serve an application on a free port, and return its URL when it answers."""
        port = rabbitmq.free_port()
        options = {
            "application": application,
            "config": config,
            "port": port,
            "processes": processes,
            "threads": self.options.placement_threads,
            "log": str(self.folder / f"{application}.requests"),
        }
        self._add(application, application, "bench.claims.wsgi", json.dumps(options))
        url = f"http://{rabbitmq.ADDRESS}:{port}"
        self._wait(f"{application} answers", lambda: _answers(url))
        return url

    def _gpupool(self) -> Groups:
        return {
            "DEFAULT": {"transport_url": self.rabbit.url, "control_exchange": self._exchange},
            "database": {"connection": self.url("gpupool", "gpupool")},
            "api": {"auth_strategy": "noauth"},
        }

    def _conductor(self, number: int) -> Groups:
        groups = self._gpupool()
        groups["DEFAULT"]["log_file"] = self.folder / f"conductor-{number}.log"
        groups["placement"] = {
            "auth_type": "admin_token",
            "endpoint": self._placement,
            "token": TOKEN,
        }
        groups["conductor"] = {
            "host_timeout": 4 * self.options.interval,
            "admit_hosts": "automatic",
        }
        groups["coordination"] = {"backend_url": f"file://{self.folder}/coordination"}
        for (group, name), value in self.options.settings.items():
            groups.setdefault(group, {})[name] = value
        return groups

    def _write(self, name: str, groups: Groups) -> str:
        lines = []
        for group, values in groups.items():
            lines += [f"[{group}]", *(f"{key} = {value}" for key, value in values.items())]
        path = self.folder / f"{name}.conf"
        path.write_text("\n".join(lines) + "\n")
        return str(path)

    def _add(self, group: str, name: str, *arguments: str, talks: bool = False) -> Process:
        process = Process(self.folder, name, *arguments, talks=talks)
        self._stops.callback(process.stop)
        self._processes.append(process)
        self.groups.setdefault(group, []).append(process.pid)
        return process

    def _wait(self, what: str, done: Callable[[], Any]) -> None:
        end = time.monotonic() + START_SECONDS
        while not done():
            self.check()
            if time.monotonic() > end:
                outputs = "\n".join(each.output for each in self._processes)
                raise Failed(f"not in {START_SECONDS} s: {what}\n{outputs}")
            time.sleep(0.1)


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True
