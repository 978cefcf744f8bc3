"""A RabbitMQ node of our own: everything in one folder, free ports, no other node touched."""

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import amqp

HOME = Path("/usr/lib/rabbitmq/bin")
SERVER = HOME / "rabbitmq-server"
START_TIMEOUT = 90
ADDRESS = "127.0.0.1"


class Missing(Exception):
    """RabbitMQ is not installed; the text says what is wanted."""


def free_port() -> int:
    with socket.create_server((ADDRESS, 0)) as server:
        return server.getsockname()[1]


def check_installed() -> None:
    """Raise Missing unless a node can be run."""
    if not SERVER.exists() or not shutil.which("epmd"):
        raise Missing("RabbitMQ is not installed; on Debian: rabbitmq-server")


def environment_of(folder: Path, port: int) -> dict[str, str]:
    """Return the environment of a node that has all it needs in ``folder``; make its files there."""
    (folder / "rabbitmq.conf").write_text(
        f"listeners.tcp.1 = {ADDRESS}:{port}\ndisk_free_limit.absolute = 50MB\n"
    )
    (folder / "advanced.config").write_text("[{kernel, [{inet_dist_use_interface, {127,0,0,1}}]}].\n")
    (folder / "plugins").write_text("[].\n")
    names = {"CONFIG_FILE": "rabbitmq.conf", "ADVANCED_CONFIG_FILE": "advanced.config"}
    names |= {"ENABLED_PLUGINS_FILE": "plugins", "MNESIA_BASE": "mnesia", "LOG_BASE": "log"}
    return {
        **os.environ,
        **{f"RABBITMQ_{name}": str(folder / value) for name, value in names.items()},
        "HOME": str(folder),
        "RABBITMQ_HOME": str(HOME.parent),
        "RABBITMQ_NODENAME": f"gpupool{os.getpid()}@localhost",
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_CONF_ENV_FILE": os.devnull,
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none",
        "ERL_EPMD_ADDRESS": ADDRESS,
        "ERL_EPMD_PORT": str(free_port()),
    }


def answers(port: int) -> bool:
    """Return whether a node takes connections."""
    try:
        with amqp.Connection(host=f"{ADDRESS}:{port}", connect_timeout=5) as connection:
            return bool(connection.connected)
    except (OSError, amqp.AMQPError):
        return False


class RabbitMq:
    """Runs from the moment it is made until ``close``; raises Missing when it can't."""

    def __init__(self, folder: Path) -> None:
        check_installed()
        self._folder = folder
        self._port = free_port()
        self.environment = environment_of(folder, self._port)
        # Its port mapper first, so that no daemon of that kind is left behind.
        self._mapper = subprocess.Popen(["epmd"], env=self.environment, stdout=subprocess.DEVNULL)
        self._log = (folder / "output.log").open("wb")
        self._process = subprocess.Popen(
            [SERVER],
            env=self.environment,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.url = f"rabbit://guest:guest@{ADDRESS}:{self._port}/"
        self._wait()

    @property
    def pid(self) -> int:
        """Process id of the node, which leads a session of its own."""
        return self._process.pid

    def _wait(self) -> None:
        end = time.monotonic() + START_TIMEOUT
        while not answers(self._port):
            if self._process.poll() is not None or time.monotonic() > end:
                self.close()
                output = (self._folder / "output.log").read_text(errors="replace")
                raise AssertionError(f"RabbitMQ did not start:\n{output[-2000:]}")
            time.sleep(0.2)

    def control(self, script: str) -> str:
        """Run a shell script that calls rabbitmqctl; return what it says."""
        environment = {**self.environment, "PATH": f"{HOME}:{os.environ['PATH']}"}
        done = subprocess.run(
            ["/bin/sh", "-euc", script], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def url_of(self, name: str, secret: str) -> str:
        """Return the transport URL of an account."""
        return f"rabbit://{name}:{secret}@{ADDRESS}:{self._port}/"

    def connect(self, name: str, secret: str) -> amqp.Connection:
        """Return a bare connection of an account."""
        connection = amqp.Connection(
            host=f"{ADDRESS}:{self._port}", userid=name, password=secret, connect_timeout=30
        )
        connection.connect()
        return connection

    def close(self) -> None:
        """Stop the node and its port mapper."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._log.close()
        self._mapper.terminate()
        self._mapper.wait()
