"""``systemctl`` for a machine without systemd: runs the ExecStart= of unit files as their users.

Knows ``--version``, ``daemon-reload``, and ``start``, ``restart`` and ``enable --now`` of services. Of
a unit file it follows what says how to start the process, drop-ins too; limits it leaves out.
"""

import contextlib
import grp
import os
import pwd
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

FOLDERS = (Path("/etc/systemd/system"), Path("/lib/systemd/system"))
# Of this program: where processes' numbers are, and what services print.
PIDS, LOGS = Path("/run/units"), Path("/var/log/units")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
START_SECONDS = 120
# It tells systemd by a program that need not be there, and its operators by this one.
READY = {"rabbitmq-server": ["rabbitmqctl", "await_startup", "--timeout", "110"]}


class Unit:
    """A service by its unit file."""

    def __init__(self, name: str) -> None:
        self.name = name.removesuffix(".service")
        self._options: dict[str, list[str]] = defaultdict(list)
        files = [path for each in FOLDERS if (path := each / f"{self.name}.service").exists()]
        if not files:
            sys.exit(f"Unit {self.name}.service could not be found.")
        for path in (files[0], *sorted(FOLDERS[0].glob(f"{self.name}.service.d/*.conf"))):
            self._read(path)

    def _read(self, path: Path) -> None:
        section = ""
        for line in path.read_text().replace("\\\n", " ").splitlines():
            if line.startswith("["):
                section = line.strip("[]")
            elif "=" in line and not line.startswith(("#", ";")) and section == "Service":
                name, value = (part.strip() for part in line.split("=", 1))
                self._options[name] = [*self._options[name], value] if value else []

    def option(self, name: str, default: str = "") -> str:
        """Return the last value."""
        return (self._options[name] or [default])[-1]

    @property
    def _pid_file(self) -> Path:
        return PIDS / f"{self.name}.pid"

    def stop(self) -> None:
        """End the service as it wishes, or after its TimeoutStopSec."""
        file = Path(self.option("PIDFile") or self._pid_file)
        with contextlib.suppress(OSError, ValueError):
            pid = int(file.read_text())
            os.kill(pid, getattr(signal, self.option("KillSignal", "SIGTERM")))
            end = time.monotonic() + 60
            while Path(f"/proc/{pid}").exists() and _state(pid) != "Z" and time.monotonic() < end:
                time.sleep(0.1)
        self._pid_file.unlink(missing_ok=True)

    def start(self) -> None:
        """Start the service, and wait until it says that it serves, if it is of that kind."""
        user = pwd.getpwnam(self.option("User", "root"))
        groups = [grp.getgrnam(name).gr_gid for name in self.option("SupplementaryGroups").split()]
        for name in self.option("RuntimeDirectory").split():
            folder = Path("/run", name)
            folder.mkdir(mode=int(self.option("RuntimeDirectoryMode", "755"), 8), exist_ok=True)
            os.chown(folder, user.pw_uid, user.pw_gid)
        environment = {"PATH": PATH, "HOME": user.pw_dir, "USER": user.pw_name, "LANG": "C.UTF-8"}
        for line in self._options["Environment"]:
            environment |= dict(each.split("=", 1) for each in shlex.split(line))
        with self._told(environment) as told, (LOGS / f"{self.name}.log").open("ab") as log:
            process = subprocess.Popen(
                self._command(environment),
                env=environment,
                cwd=self.option("WorkingDirectory", "/"),
                user=user.pw_uid,
                group=user.pw_gid,
                extra_groups=groups,
                umask=int(self.option("UMask", "022"), 8),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            self._pid_file.write_text(str(process.pid))
            self._wait(process, told)

    def _command(self, environment: dict[str, str]) -> list[str]:
        """Return the words of ExecStart=; one that is a variable gives what that says, if it is set."""
        found = []
        for word in shlex.split(self.option("ExecStart").lstrip("@-:+!")):
            variable = re.fullmatch(r"\$(\w+)", word)
            found += environment.get(variable[1], "").split() if variable else [word]
        return found

    @contextlib.contextmanager
    def _told(self, environment: dict[str, str]):
        """Yield the socket on which a service of Type=notify says that it serves."""
        if self.option("Type") != "notify" or self.name in READY:
            yield None
            return
        path = PIDS / f"{self.name}.notify"
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
            told.bind(str(path))
            path.chmod(0o777)
            told.settimeout(1)
            environment["NOTIFY_SOCKET"] = str(path)
            yield told

    def _wait(self, process: "subprocess.Popen[bytes]", told: socket.socket | None) -> None:
        end = time.monotonic() + START_SECONDS
        if self.option("Type") == "forking":
            if process.wait(START_SECONDS):
                self._fail(f"status {process.returncode}")
        elif self.name in READY:
            # It does not wait for a node of which nothing is known yet.
            while (done := _tried(READY[self.name])).returncode:
                if process.poll() is not None or time.monotonic() > end:
                    self._fail(done.stderr)
                time.sleep(0.5)
        while told:
            with contextlib.suppress(TimeoutError):
                if b"READY=1" in told.recv(4096):
                    return
            if process.poll() is not None or time.monotonic() > end:
                self._fail("it did not say that it serves")

    def _fail(self, why: str) -> None:
        log = (LOGS / f"{self.name}.log").read_text(errors="replace")
        sys.exit(f"Job for {self.name}.service failed: {why}\n{log[-3000:]}")


def _tried(command: list[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def main() -> None:
    """Do what ``systemctl`` was asked for."""
    PIDS.mkdir(exist_ok=True)
    LOGS.mkdir(exist_ok=True)
    match sys.argv[1:]:
        case ["--version"]:
            print("systemd 252 (252.38-1~deb12u1)")
        case ["daemon-reload"]:
            pass
        case ["restart", *names]:
            for unit in map(Unit, names):
                unit.stop()
                unit.start()
        case ["start", *names] | ["enable", "--now", *names]:
            for unit in map(Unit, names):
                unit.start()
        case other:
            sys.exit(f"no such command here: {other}")


if __name__ == "__main__":
    main()
