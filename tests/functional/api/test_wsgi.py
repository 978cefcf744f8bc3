"""The module an external WSGI server loads, in a process of its own, reading the configuration."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gpupool.db.api import Database
from tests.functional.api.service import new_conf

PROGRAM = """
import sys
import webob
from gpupool.api import wsgi
from oslo_service import backend
print(backend.get_backend_type().value)
try:
    answer = webob.Request.blank("/v1/pools").get_response(wsgi.application)
except Exception as exc:
    sys.exit(str(exc))
print(answer.status_int, answer.json["pools"], wsgi.application is wsgi.application)
"""


@pytest.fixture
def configured(tmp_path):
    """Return the configuration of a home folder, which is where oslo.config looks first."""
    folder = tmp_path / ".gpupool"
    folder.mkdir()
    return new_conf(folder)


def run(home):
    environment = {**os.environ, "HOME": str(home), "PYTHONPATH": str(Path(__file__).parents[3])}
    return subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False
    )


def test_application(configured, tmp_path):
    Database.from_conf(configured).upgrade()
    done = run(tmp_path)
    printed = [line for line in done.stdout.splitlines() if " INFO " not in line]
    assert printed == ["threading", "200 [] True"], done.stderr


def test_application_on_a_database_that_is_not_ready(configured, tmp_path):
    done = run(tmp_path)
    assert done.returncode == 1
    assert "gpupool-manage db upgrade" in done.stderr.splitlines()[-1]
