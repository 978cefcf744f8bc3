"""A Keystone of our own: everything in one folder, SQLite, a free port."""

import getpass
import grp
import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import openstack
from keystoneauth1 import exceptions

from testbed.rabbitmq import ADDRESS, free_port

PASSWORD = "not-a-secret"
START_TIMEOUT = 60
SCRIPTS = Path(sys.executable).parent
# Keystone reads the command line, so that of a WSGI server's own command is not for it.
SERVER = """
from cheroot import wsgi
from keystone.wsgi.api import application
wsgi.Server(("{address}", {port}), application, numthreads=1).safe_start()
"""


class Missing(Exception):
    """Keystone is not installed; the text says what is wanted."""


class Keystone:
    """Runs from the moment it is made until ``close``; raises Missing when it can't.

    Without ``url`` it takes a free port.
    """

    def __init__(self, folder: Path, url: str = "", region: str = "here") -> None:
        if importlib.util.find_spec("keystone") is None:
            raise Missing("Keystone is not installed; pip install gpupool[test] does")
        self.url = url or f"http://{ADDRESS}:{free_port()}"
        self.region = region
        self._environment = self._make_environment(folder)
        self._output = folder / "output.log"
        self._manage("db_sync")
        owner = ["--keystone-user", getpass.getuser()]
        owner += ["--keystone-group", grp.getgrgid(os.getgid()).gr_name]
        self._manage("fernet_setup", *owner)
        self._manage("credential_setup", *owner)
        self._manage(
            "bootstrap",
            *("--bootstrap-password", PASSWORD),
            *("--bootstrap-region-id", region),
            *("--bootstrap-public-url", f"{self.url}/v3"),
            # keystonemiddleware asks for the internal one.
            *("--bootstrap-internal-url", f"{self.url}/v3"),
        )
        self._process = self._serve()
        self.admin = self._connect()

    def _make_environment(self, folder: Path) -> dict[str, str]:
        config = folder / "keystone.conf"
        config.write_text(
            f"[DEFAULT]\nlog_file = {folder}/keystone.log\n"
            f"[database]\nconnection = sqlite:///{folder}/keystone.sqlite\n"
            f"[fernet_tokens]\nkey_repository = {folder}/fernet\n"
            # Quick hashes: the password is no secret.
            f"[identity]\npassword_hash_rounds = 4\n"
            f"[credential]\nkey_repository = {folder}/credential\n"
            f"[fernet_receipts]\nkey_repository = {folder}/fernet\n"
        )
        return {**os.environ, "OS_KEYSTONE_CONFIG_FILES": str(config)}

    def _manage(self, *arguments: str) -> None:
        config = self._environment["OS_KEYSTONE_CONFIG_FILES"]
        command = [SCRIPTS / "keystone-manage", "--config-file", config, *arguments]
        done = subprocess.run(
            command, env=self._environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"keystone-manage {arguments[0]}: {done.stderr[-2000:]}"

    def _serve(self) -> "subprocess.Popen[bytes]":
        address = self.url.removeprefix("http://").split(":")
        command = [sys.executable, "-c", SERVER.format(address=address[0], port=address[1])]
        with self._output.open("wb") as output:
            return subprocess.Popen(command, env=self._environment, stdout=output, stderr=output)

    def connect(self, username: str, project: str) -> openstack.connection.Connection:
        """Return a connection as a user, whose password is everyone's here."""
        return openstack.connect(
            load_yaml_config=False, load_envvars=False, **self.auth(username, project)
        )

    def auth(self, username: str, project: str) -> dict[str, str]:
        """Return what openstacksdk needs to know, and upper-cased with OS_ the command."""
        return {
            "auth_url": f"{self.url}/v3",
            "username": username,
            "password": PASSWORD,
            "project_name": project,
            "user_domain_id": "default",
            "project_domain_id": "default",
            "region_name": self.region,
            "identity_api_version": "3",
        }

    def _connect(self) -> openstack.connection.Connection:
        end = time.monotonic() + START_TIMEOUT
        while True:
            try:
                connection = self.connect("admin", "admin")
                connection.authorize()
            except (openstack.exceptions.SDKException, exceptions.ClientException) as exc:
                if self._process.poll() is not None or time.monotonic() > end:
                    self.close()
                    raise AssertionError(f"Keystone: {self._output.read_text()[-2000:]}") from exc
                time.sleep(0.2)
            else:
                return connection

    def add_user(self, name: str, project: str, role: str) -> None:
        """Make a user with one role in one project, and the project where there is none."""
        identity = self.admin.identity
        found = identity.find_project(project) or identity.create_project(
            name=project, domain_id="default"
        )
        user = identity.create_user(name=name, password=PASSWORD, domain_id="default")
        identity.assign_project_role_to_user(found, user, identity.find_role(role))

    def let_read_all(self, name: str) -> None:
        """Let a user look at what is of every project: limits, for one."""
        user = self.admin.identity.find_user(name)
        reader = self.admin.identity.find_role("reader")
        self.admin.identity.assign_system_role_to_user(user, reader, "all")

    def add_endpoint(self, service_type: str, url: str) -> None:
        """Put a service and its public endpoint into the catalogue."""
        service = self.admin.identity.create_service(type=service_type, name=service_type)
        self.admin.identity.create_endpoint(
            service_id=service.id, interface="public", url=url, region_id=self.region
        )

    def close(self) -> None:
        """Stop it."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()
