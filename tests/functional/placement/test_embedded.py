"""The embedded service: start, restart, several in one process, close; and other ways to reach it."""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import uuid
from pathlib import Path

import pytest
from oslo_config import cfg
from oslo_db.sqlalchemy import enginefacade
from placement.db.sqlalchemy import migration

from gpupool import conf as gpupool_conf
from gpupool.model import errors
from gpupool.placement.allocations import Allocations
from gpupool.placement.client import from_conf
from gpupool.placement.embedded import TOKEN, EmbeddedPlacement, _Patched
from gpupool.placement.provider_tree import ProviderTree
from tests.functional.placement.conftest import ensure_device


def test_a_restart_continues(tmp_path, host, pool, device, grant):
    held = grant()
    with EmbeddedPlacement(tmp_path / "new" / "folder") as first:
        ensure_device(ProviderTree(first.client()), host, pool, device)
        Allocations(first.client()).allocate([held], "project", "user")
    with EmbeddedPlacement(tmp_path / "new" / "folder") as second:
        assert not ensure_device(ProviderTree(second.client()), host, pool, device).changed
        assert list(Allocations(second.client()).allocations_of(device.id)) == [held.vgpu_id]


KILLED = """
import os, signal, sys
from pathlib import Path
from gpupool.placement.embedded import EmbeddedPlacement
EmbeddedPlacement(Path(sys.argv[1])).client().create_provider(sys.argv[2], "kept", None)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_answered_survives_kill_9(tmp_path):
    provider_id = str(uuid.uuid4())
    command = [sys.executable, "-c", KILLED, str(tmp_path), provider_id]
    killed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with EmbeddedPlacement(tmp_path) as service:
        assert service.client().get_provider(provider_id).name == "kept"


def test_an_older_schema_is_brought_up_to_date(tmp_path, host, pool, device, grant):
    """The first schema Placement has a migration for knows no consumer types."""
    older = enginefacade.transaction_context()
    older.configure(connection=f"sqlite:///{tmp_path / 'placement.sqlite'}")
    with _Patched(older):
        migration.upgrade("b4ed3a175331")
    older.writer.get_engine().dispose()
    held = grant()
    with EmbeddedPlacement(tmp_path) as service:
        ensure_device(ProviderTree(service.client()), host, pool, device)
        Allocations(service.client()).allocate([held], "project", "user")
        assert list(Allocations(service.client()).allocations_of(device.id)) == [held.vgpu_id]


def test_two_in_one_process_know_nothing_of_each_other(tmp_path, host, pool, device):
    with EmbeddedPlacement(tmp_path / "a") as a, EmbeddedPlacement(tmp_path / "b") as b:
        ensure_device(ProviderTree(a.client()), host, pool, device)
        assert list(ProviderTree(a.client()).devices()) == [device.id]
        assert ProviderTree(b.client()).devices() == {}
        assert len(b.client().traits()) > 100
        ensure_device(ProviderTree(b.client()), host, pool, device)


def test_two_in_one_process_answer_at_once(tmp_path):
    """Requests to both are mixed; every provider must end up where it was sent."""
    with EmbeddedPlacement(tmp_path / "a") as a, EmbeddedPlacement(tmp_path / "b") as b:
        failures = []

        def fill(service, prefix):
            client = service.client()
            for number in range(20):
                try:
                    client.create_provider(str(uuid.uuid4()), f"{prefix}-{number}", None)
                except errors.GpupoolError as exc:
                    failures.append(exc)

        threads = [
            threading.Thread(target=fill, args=each)
            for each in ((a, "a1"), (b, "b1"), (a, "a2"), (b, "b2"))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        for service, prefix in ((a, "a"), (b, "b")):
            listed = service.client()._call("GET", "/resource_providers")["resource_providers"]
            assert len(listed) == 40
            assert {provider["name"][0] for provider in listed} == {prefix}


def test_it_starts_from_any_thread(tmp_path):
    traits = []

    def run():
        with EmbeddedPlacement(tmp_path) as service:
            traits.extend(service.client().traits())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert "HW_GPU_API_VULKAN" in traits


def test_close_frees_port_and_thread_and_may_be_repeated(tmp_path):
    before = set(threading.enumerate())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    service = EmbeddedPlacement(tmp_path, port=port)
    client = service.client()
    client.traits()
    service.close()
    service.close()
    assert set(threading.enumerate()) <= before
    with pytest.raises(errors.Unavailable):
        client.traits()
    with EmbeddedPlacement(tmp_path, port=port) as again:
        assert again.url == service.url
        again.client().traits()


def test_a_taken_port_is_an_error(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match=str(taken.getsockname()[1])):
            EmbeddedPlacement(tmp_path, port=taken.getsockname()[1])


def test_it_leaves_the_global_configuration_and_the_log_alone(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    with EmbeddedPlacement(tmp_path) as service:
        service.client().find_provider("nobody")
    assert not hasattr(cfg.CONF, "placement_database")
    noisy = [each for each in caplog.records if each.name.startswith(("placement", "alembic"))]
    assert noisy == []


def test_only_the_token_is_let_in(service):
    stranger = service.client()
    stranger._adapter.session.auth.token = "somebody"
    with pytest.raises(errors.Unavailable, match="403"):
        stranger.traits()


def test_from_conf_reaches_a_service_by_configuration(service, tmp_path):
    file = tmp_path / "gpupool.conf"
    file.write_text(f"[placement]\nauth_type = admin_token\nendpoint = {service.url}\ntoken = {TOKEN}\n")
    client = from_conf(gpupool_conf.new(files=[str(file)]))
    assert "HW_GPU_API_VULKAN" in client.traits()
    assert client._adapter.session.timeout == 60
    assert client._adapter.connect_retries == 1


@pytest.mark.parametrize(
    ("section", "named"),
    [
        ("", "auth_type"),
        ("auth_type = nonsense\n", "nonsense"),
        ("auth_type = password\ncertfile = x\n", "certfile|keyfile|auth_url"),
    ],
)
def test_a_section_that_is_not_complete_is_invalid(tmp_path, section, named):
    file = tmp_path / "gpupool.conf"
    file.write_text("[placement]\n" + section)
    with pytest.raises(errors.Invalid, match=named):
        from_conf(gpupool_conf.new(files=[str(file)]))


def test_operators_look_with_osc_placement(service, ensure, host, device, allocations, grant):
    """The command that the operator guide shows: `openstack resource provider ...`."""
    ensure()
    held = grant()
    allocations.allocate([held], "project", "user")

    def openstack(*words):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
        command = [
            str(Path(sys.executable).with_name("openstack")),
            *("--os-auth-type", "admin_token", "--os-endpoint", service.url, "--os-token", TOKEN),
            *("--os-placement-api-version", "1.39", *words, "-f", "json"),
        ]
        run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
        return json.loads(run.stdout)

    listed = openstack("resource", "provider", "list", "--name", f"gpupool:{host}:ref-0")
    assert [provider["uuid"] for provider in listed] == [device.id]
    shown = openstack("resource", "provider", "allocation", "show", held.vgpu_id)
    assert shown[0]["resources"]["CUSTOM_GPUPOOL_COMPUTE"] == 25
