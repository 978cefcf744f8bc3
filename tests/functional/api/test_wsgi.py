"""The module an external WSGI server loads, in a process of its own, reading the configuration."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gpupool.db.api import Database
from tests.functional.api.service import new_conf

PROGRAM = """
import sys
import webob
from oslo_service import backend
try:
    from gpupool.api import wsgi
except Exception as exc:
    sys.exit(str(exc))
print(backend.get_backend_type().value)
answer = webob.Request.blank("/v1/pools").get_response(vars(wsgi)["application"])
print(answer.status_int, answer.json["pools"])
"""
UWSGI = ("--master", "--lazy-apps", "--enable-threads", "--need-app", "--die-on-term")
PATIENCE = 60


@pytest.fixture
def configured(tmp_path):
    """Return the configuration of a home folder, which is where oslo.config looks first."""
    folder = tmp_path / ".gpupool"
    folder.mkdir()
    return new_conf(folder)


def environment(home):
    return {**os.environ, "HOME": str(home), "PYTHONPATH": str(Path(__file__).parents[3])}


def run(home):
    return subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment(home),
        capture_output=True,
        text=True,
        check=False,
    )


def test_application(configured, tmp_path):
    Database.from_conf(configured).upgrade()
    done = run(tmp_path)
    printed = [line for line in done.stdout.splitlines() if " INFO " not in line]
    assert printed == ["threading", "200 []"], done.stderr


def test_application_on_a_database_that_is_not_ready(configured, tmp_path):
    done = run(tmp_path)
    assert done.returncode == 1
    assert "gpupool-manage db upgrade" in done.stderr.splitlines()[-1]


def ask(path):
    """Return what a server at the Unix socket ``path`` answers to GET /v1/pools."""
    connection = http.client.HTTPConnection("localhost", timeout=PATIENCE)
    connection.sock = socket.socket(socket.AF_UNIX)
    with connection.sock:
        connection.sock.settimeout(PATIENCE)
        connection.sock.connect(path)
        connection.request("GET", "/v1/pools")
        return json.load(connection.getresponse())


def test_uwsgi_serves_it(configured, tmp_path, monkeypatch):
    Database.from_conf(configured).upgrade()
    monkeypatch.chdir(tmp_path)  # A socket's path is short, and its folder's is not.
    command = [Path(sys.executable).with_name("uwsgi"), *UWSGI, "--http-socket", "api.sock"]
    command += ["--module", "gpupool.api.wsgi:application"]
    with Path("log").open("wb") as log:
        server = subprocess.Popen(command, env=environment(tmp_path), stdout=log, stderr=log)
    try:
        end = time.monotonic() + PATIENCE
        while not Path("api.sock").is_socket():
            assert server.poll() is None, Path("log").read_text()
            assert time.monotonic() < end, Path("log").read_text()
            time.sleep(0.05)
        try:
            assert ask("api.sock")["pools"] == []
        except OSError:
            pytest.fail(Path("log").read_text())
    finally:
        server.terminate()
        server.wait(PATIENCE)
