"""Every service that the run needs, from ``start`` to ``close``."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pymysql
import pymysql.cursors

from gpupool import conf as gpupool_conf
from gpupool.placement.embedded import TOKEN
from testbed import rabbitmq
from testbed.rabbitmq import Missing, free_port
from tests.faults.clock import ServiceClock, compile_c
from tests.faults.proxy import ADDRESS, Proxy
from tests.faults.service import Service, wait

ROOT = Path(__file__).parents[2]
CONDUCTORS = ("conductor-1", "conductor-2")
# The canary's host has a pool of its own, so that room is never what the canary waits for.
HOST, CANARY_HOST = "host-a", "host-z"
CANARY_POOL = "canary"
DEVICES, DEVICE_MIB = 2, 4096
# Simulated ones, on the canary's host.
NVIDIA_DEVICES = 2
# Seconds. Clocks are set for less than they need to be believed: see "Time" on the architecture page.
CLOCK_SETTLE = 20
START = 120
Groups = dict[str, dict[str, Any]]
Row = dict[str, Any]


class Stack:
    """The services by name, the proxies before them, and their clocks."""

    def __init__(self, folder: Path, hosts: int = 1) -> None:
        self.folder = folder
        self.hosts = (*(f"host-{chr(ord('a') + number)}" for number in range(hosts)), CANARY_HOST)
        self.services: dict[str, Service] = {}
        self.proxies: dict[str, Proxy] = {}
        self.clocks: dict[str, ServiceClock] = {}
        # Hosts whose state folder is a small disk of its own.
        self.disks: dict[str, Path] = {}
        self._stops = ExitStack()

    def start(self) -> None:
        """Raises Missing when a service is not installed."""
        rabbitmq.check_installed()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._shim = compile_c("clock.c", self.folder / "clock.so", "-shared", "-fPIC")
        self.program = compile_c("program.c", self.folder / "program")
        # A socket's path has to be short.
        self._short = Path(self._stops.enter_context(tempfile.TemporaryDirectory(prefix="gpf-")))
        self._short.chmod(0o755)
        self._start_rabbitmq()
        self._start_mariadb()
        self._start_placement()
        self._start_conductors()
        self._start_api()
        for name in self.hosts:
            self._start_agent(name)
        self._wait_for_hosts()

    def close(self) -> None:
        self._end_all()
        self._stops.close()

    def _end_all(self) -> None:
        for service in reversed(list(self.services.values())):
            service.kill()
        for pid in self.workers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _add(self, name: str, command: list[str | Path], **more: Any) -> Service:
        clock = self.clocks[name] = ServiceClock(self._shim, self._short / f"{name}.clock")
        environment = {**more.pop("environment", {}), **clock.environment}
        if name == "rabbitmq":  # Erlang has shells start it, which have no use for it.
            environment = {key: value for key, value in environment.items() if key != "LD_PRELOAD"}
        log = self.folder / f"{name}.log"
        service = Service(name, command, log, environment=environment, **more)
        self.services[name] = service
        service.start()
        return service

    def _wait(self, done: Callable[[], object], what: str) -> None:
        """Wait until something is so at the start; AssertionError when a service ended instead."""

        def ended() -> list[str]:
            return [service.name for service in self.services.values() if not service.alive]

        def over() -> bool:
            with contextlib.suppress(Exception):
                return bool(done())
            return False

        wait(lambda: over() or ended(), START, what)
        assert not ended(), f"{ended()} ended before {what}: see {self.folder}"

    def _start_rabbitmq(self) -> None:
        folder = self.folder / "rabbitmq"
        folder.mkdir()
        port = free_port()
        environment = rabbitmq.environment_of(folder, port)
        mapper = subprocess.Popen(["epmd"], env=environment, stdout=subprocess.DEVNULL)
        self._stops.callback(lambda: (mapper.kill(), mapper.wait()))
        self._add("rabbitmq", [rabbitmq.SERVER], environment=environment)
        self._rabbit_port = port
        self._wait(self.rabbitmq_answers, "RabbitMQ")
        for name in (*CONDUCTORS, "api", *self.hosts):
            self.proxies[f"messages of {name}"] = Proxy(port)

    def rabbitmq_answers(self) -> bool:
        return rabbitmq.answers(self._rabbit_port)

    def _start_mariadb(self) -> None:
        install = _binary("mariadb-install-db")
        folder = self._short / "mariadb"
        folder.mkdir()
        user = "mysql" if os.geteuid() == 0 else None
        if user:
            shutil.chown(folder, user)
        self._socket = folder / "socket"
        port = free_port()
        options = [
            "--no-defaults",
            f"--datadir={folder}/data",
            f"--tmpdir={folder}",
            "--skip-name-resolve",
        ]
        made = [*options, "--auth-root-authentication-method=normal", "--skip-test-db"]
        subprocess.run([install, *made], check=True, user=user, cwd=folder, capture_output=True)
        listen = [f"--socket={self._socket}", f"--port={port}", f"--bind-address={ADDRESS}"]
        more = [f"--pid-file={folder}/pid", "--max-connections=300", "--innodb-buffer-pool-size=64M"]
        command = [_binary("mariadbd"), *options, *listen, *more]
        self._add("mariadb", command, user=user, cwd=folder)
        self._wait(lambda: self.query("SELECT 1"), "MariaDB")
        for name in ("gpupool", "placement"):
            self.query(f"CREATE DATABASE {name}")
            self.query(f"CREATE USER {name}@'127.0.0.1' IDENTIFIED BY 'secret-of-{name}'")
            self.query(f"GRANT ALL ON {name}.* TO {name}@'127.0.0.1'")
        self.proxies["database"] = Proxy(port)
        self._placement_database = Proxy(port)

    def query(self, statement: str) -> list[Row]:
        """Return the rows; raises pymysql.MySQLError when the database is away."""
        link = pymysql.connect(
            user="root",
            unix_socket=str(self._socket),
            autocommit=True,
            connect_timeout=3,
            read_timeout=10,
            cursorclass=pymysql.cursors.DictCursor,
        )
        with link, link.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    def _url(self, name: str, proxy: Proxy) -> str:
        return f"mysql+pymysql://{name}:secret-of-{name}@{ADDRESS}:{proxy.port}/{name}"

    def _write(self, name: str, groups: Groups) -> Path:
        lines = []
        for group, values in groups.items():
            lines += [f"[{group}]", *(f"{key} = {value}" for key, value in values.items())]
        path = self.folder / f"{name}.conf"
        path.write_text("\n".join(lines) + "\n")
        return path

    def _common(self, name: str) -> Groups:
        port = self.proxies[f"messages of {name}"].port
        url = f"rabbit://guest:guest@{ADDRESS}:{port}/"
        return {"DEFAULT": {"transport_url": url, "control_exchange": "gpupool"}}

    def _wsgi(self, application: str, config: Path, threads: int) -> list[str | Path]:
        self.ports = {**getattr(self, "ports", {}), application: free_port()}
        options = {
            "application": application,
            "config": str(config),
            "port": self.ports[application],
            "processes": 1,
            "threads": threads,
            "log": str(self.folder / f"{application}.requests"),
        }
        return [sys.executable, "-W", "ignore", "-m", "bench.claims.wsgi", json.dumps(options)]

    def _start_placement(self) -> None:
        database = {"connection": self._url("placement", self._placement_database)}
        config = self._write(
            "placement", {"api": {"auth_strategy": "noauth2"}, "placement_database": database}
        )
        manage = Path(sys.executable).parent / "placement-manage"
        subprocess.run([manage, "--config-file", config, "db", "sync"], check=True, capture_output=True)
        self._add("placement", self._wsgi("placement", config, 4), cwd=ROOT)
        self._wait(self.placement_answers, "Placement")
        self.proxies["Placement"] = Proxy(self.ports["placement"])

    def placement_answers(self) -> bool:
        return _answers(self.ports["placement"], "/")

    def _start_conductors(self) -> None:
        self._database = {"connection": self._url("gpupool", self.proxies["database"])}
        api = {"auth_strategy": "noauth"}
        groups = {**self._common("api"), "database": self._database, "api": api}
        self._api_config = self._write("api", groups)
        manage = [Path(sys.executable).parent / "gpupool-manage", "--config-file", self._api_config]
        subprocess.run([*manage, "db", "upgrade"], check=True, capture_output=True)
        lead = f"mysql://gpupool:secret-of-gpupool@{ADDRESS}:{self.proxies['database'].port}/gpupool"
        endpoint = f"http://{ADDRESS}:{self.proxies['Placement'].port}"
        placement = {"auth_type": "admin_token", "endpoint": endpoint, "token": TOKEN, "timeout": 10}
        conductor = {
            "queue_interval": 1,
            "reconcile_interval": 3,
            "host_timeout": 12,
            "allocating_timeout": 30,
            "clock_settle": CLOCK_SETTLE,
            **_known("conductor", admit_hosts="automatic"),
        }
        for name in CONDUCTORS:
            groups = {
                **self._common(name),
                "database": self._database,
                "placement": placement,
                "conductor": conductor,
                "queue": {"min_run_time": 5},
                "coordination": {"backend_url": lead},
            }
            self._add_python(name, "gpupool.cmd.conductor", self._write(name, groups))
        self._wait(lambda: self.query("SELECT 1 FROM gpupool.pools"), "a conductor made the pool")

    def _add_python(
        self, name: str, module: str, config: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        command = [sys.executable, "-W", "ignore", "-m", module, "--config-file", config]
        self._add(name, command, cwd=ROOT, environment=environment or {})

    def _start_api(self) -> None:
        self._add("api", self._wsgi("api", self._api_config, 16), cwd=ROOT)
        pool = {"name": CANARY_POOL}
        self._wait(lambda: self.call("POST", "/v1/pools", pool)[0] in (201, 409), "API")

    def _start_agent(self, name: str) -> None:
        state = self.state_of(name)
        state.mkdir(parents=True)
        if self._mount(state):
            self.disks[name] = state
        agent = {
            "host": name,
            "pool": CANARY_POOL if name == CANARY_HOST else "default",
            "drivers": "reference",
            "report_interval": 2,
            "state_path": state,
            "run_path": self._short / name,
            "cdi_path": self.folder / f"{name}.cdi",
            "cpu_milli": 64_000,
            "memory_mib": 65_536,
        }
        environment: dict[str, str] = {}
        if name == CANARY_HOST:
            agent["drivers"] = "reference,nvidia"
            environment["LD_LIBRARY_PATH"] = str(self._simulate_nvml())
        reference = {"devices": DEVICES, "memory_mib": DEVICE_MIB, "compute_units": 1}
        groups = {**self._common(name), "agent": agent, "reference": reference}
        config = self._write(name, groups)
        self._add_python(name, "gpupool.cmd.agent", config, environment)

    def _simulate_nvml(self) -> Path:
        """Return a folder with a simulated NVML, whose devices no claim asks for."""
        folder = self.folder / "nvml"
        folder.mkdir()
        self._hardware = folder / "hardware"
        self.set_nvidia("ok")
        source = ROOT / "tests/unit/drivers/simulated_nvml.c"
        compile_c(str(source), folder / "libnvidia-ml.so.1", "-shared", "-fPIC")
        return folder

    def set_nvidia(self, state: str) -> None:
        """Set what every call about one of the simulated NVIDIA devices does: see simulated_nvml.c."""
        rows = [
            f"GPU-{number}|Simulated|{1 << 34}|{1 << 29}|none|ok" for number in range(NVIDIA_DEVICES)
        ]
        new = self._hardware.with_name("new")
        new.write_text("\n".join([*rows[:-1], rows[-1].replace("ok", state)]) + "\n")
        new.replace(self._hardware)

    def state_of(self, host: str) -> Path:
        return self.folder / "hosts" / host

    def empty(self, host: str) -> None:
        """Delete all that a host's agent has on disk."""
        for folder in (self.state_of(host), self._short / host, self.folder / f"{host}.cdi"):
            for path in folder.iterdir() if folder.is_dir() else ():
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def admit(self, host: str, seconds: float) -> None:
        """Admit a host that was installed anew by the key that it introduces, as an operator does."""
        wait(lambda: self._admitted(host), seconds, f"{host} is admitted")

    def _admitted(self, host: str) -> bool:
        status, found = self.call("GET", f"/v1/hosts/{host}")
        if status != 200 or not found["pending_fingerprints"]:
            return False
        body = {"admit": {"fingerprint": found["pending_fingerprints"][-1]}}
        return self.call("POST", f"/v1/hosts/{host}/action", body)[0] == 200

    def _mount(self, folder: Path) -> bool:
        """Make a folder a disk of 4 MiB; return whether this process may."""
        command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder]
        if os.geteuid() or subprocess.run(command, check=False, capture_output=True).returncode:
            return False
        self._stops.callback(subprocess.run, ["umount", "-l", folder], check=False)
        return True

    def _wait_for_hosts(self) -> None:
        up = "SELECT 1 FROM gpupool.hosts WHERE state = 'up'"
        self._wait(lambda: len(self.query(up)) == len(self.hosts), "hosts are up")
        written = "SELECT DISTINCT resource_provider_id FROM placement.inventories"
        devices = DEVICES * len(self.hosts) + NVIDIA_DEVICES
        self._wait(lambda: len(self.query(written)) == devices, "providers of devices")

    def call(
        self, method: str, path: str, body: Any = None, project: str = "operator", timeout: float = 35
    ) -> tuple[int, Any]:
        """Return status and body of an API request; status 0 when there was no answer."""
        link = http.client.HTTPConnection(ADDRESS, self.ports["api"], timeout=timeout)
        headers = {"Content-Type": "application/json", "X-Project-Id": project, "X-User-Id": project}
        try:
            link.request(method, path, None if body is None else json.dumps(body), headers)
            answer = link.getresponse()
            content = answer.read()
            return answer.status, json.loads(content) if content else {}
        except (OSError, ValueError, http.client.HTTPException):
            return 0, {}
        finally:
            link.close()

    def workers(self, *hosts: str) -> dict[int, str]:
        """Return the sessions of all live workers of these hosts, or of this run's, by pid."""
        folders = [self.state_of(host) / "sessions" for host in hosts or self.hosts]
        records = {path.name for folder in folders for path in _files(folder)}
        return {pid: session for pid, session in _sessions() if session in records}


def _known(group: str, **options: Any) -> Mapping[str, Any]:
    """Return those of the options that this release has."""
    names = {
        option.dest for name, listed in gpupool_conf.list_opts() if name == group for option in listed
    }
    return {name: value for name, value in options.items() if name in names}


def _files(folder: Path) -> list[Path]:
    """Return what is in a folder, but for files that are not finished."""
    if not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if not path.name.startswith(".")]


def _sessions() -> Iterator[tuple[int, str]]:
    """Yield pid and session of every worker of this machine."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError):
                command = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
                yield int(entry.name), command[command.index("--session") + 1]


def _answers(port: int, path: str) -> bool:
    link = http.client.HTTPConnection(ADDRESS, port, timeout=5)
    try:
        link.request("GET", path)
        return bool(link.getresponse().status)
    finally:
        link.close()


def _binary(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        raise Missing(f"{name} is not installed; on Debian: mariadb-server")
    return found
