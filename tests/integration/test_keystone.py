"""Users of a real Keystone: the endpoint from its catalogue, its tokens, its roles, its projects."""

import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from cheroot import wsgi

from gpupool import conf as gpupool_conf
from gpupool.api.app import make_app
from gpupool.placement.embedded import EmbeddedPlacement
from tests.functional.api import service
from tests.integration import identity

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("keystone")]

Openstack = Callable[..., "CompletedProcess[str]"]


@pytest.fixture(scope="module")
def api(keystone: identity.Keystone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return where an API that checks Keystone's tokens listens; it is in the catalogue."""
    folder = tmp_path_factory.mktemp("service")
    with (
        EmbeddedPlacement(folder / "placement") as placement,
        service.running(folder, placement.client()) as running,
    ):
        app = make_app(_conf(keystone, folder), running.database, running.conductor)
        server = wsgi.Server(("127.0.0.1", 0), app)
        server.prepare()
        threading.Thread(target=server.serve, daemon=True).start()
        url = f"http://127.0.0.1:{server.bind_addr[1]}"
        keystone.add_endpoint("gpu-pool", url)
        yield url
        server.stop()


def _conf(keystone: identity.Keystone, folder: Path):
    names = ("auth_url", "username", "password", "project_name", "user_domain_id", "project_domain_id")
    auth = keystone.auth("gpupool", "service")
    lines = ["[api]", "auth_strategy = keystone", "[keystone_authtoken]", "auth_type = password"]
    lines += [f"www_authenticate_uri = {keystone.url}", "service_token_roles_required = true"]
    lines += [f"{name} = {auth[name]}" for name in names]
    path = folder / "api.conf"
    path.write_text("\n".join(lines) + "\n")
    return gpupool_conf.new(files=[str(path)])


@pytest.fixture
def openstack(keystone: identity.Keystone, api: str) -> Openstack:
    """Return what runs `openstack gpu` as a user."""

    def run(user: str, project: str, *words: str, **changes: str) -> "CompletedProcess[str]":
        auth = {f"OS_{name.upper()}": value for name, value in keystone.auth(user, project).items()}
        clean = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
        return subprocess.run(
            [identity.SCRIPTS / "openstack", "gpu", *words],
            env={**clean, **auth, **changes},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_a_member_claims_and_the_project_sees_it(openstack: Openstack) -> None:
    made = openstack(
        *("berta", "blue", "claim", "create", "--name", "hers", "--compute", "25"),
        *("--memory-mib", "512", "--wait", "-f", "json"),
    )
    assert made.returncode == 0, made.stderr
    claim = json.loads(made.stdout)
    assert claim["state"] == "bound"

    seen = openstack("rita", "blue", "claim", "show", "hers", "-f", "json")
    assert json.loads(seen.stdout)["id"] == claim["id"]
    refused = openstack("rita", "blue", "claim", "delete", "hers")
    assert refused.returncode != 0
    assert "403" in refused.stderr

    foreign = openstack("greta", "green", "claim", "show", claim["id"])
    assert foreign.returncode != 0
    assert "not" in foreign.stderr
    assert json.loads(openstack("greta", "green", "claim", "list", "-f", "json").stdout) == []
    gone = openstack("berta", "blue", "claim", "delete", "hers", "--wait")
    assert gone.returncode == 0, gone.stderr


def test_hosts_are_the_administrators(openstack: Openstack) -> None:
    assert "host-a" in openstack("admin", "admin", "host", "list").stdout
    refused = openstack("berta", "blue", "host", "list")
    assert refused.returncode != 0
    assert "403" in refused.stderr


def test_a_wrong_password_is_keystones_to_refuse(openstack: Openstack) -> None:
    refused = openstack("berta", "blue", "claim", "list", OS_PASSWORD="wrong")
    assert refused.returncode != 0
    assert "401" in refused.stderr
