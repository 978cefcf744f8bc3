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

RESOURCES = ("claims", "vgpus", "compute", "memory_mib")
Openstack = Callable[..., "CompletedProcess[str]"]


@pytest.fixture(scope="module")
def api(keystone: identity.Keystone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return where an API that checks Keystone's tokens listens; it is in the catalogue."""
    folder = tmp_path_factory.mktemp("service")
    keystone.let_read_all("gpupool")
    with (
        EmbeddedPlacement(folder / "placement") as placement,
        service.running(folder, placement.client(), _limits(keystone)) as running,
    ):
        app = make_app(_conf(keystone, folder), running.database, running.conductor)
        server = wsgi.Server(("127.0.0.1", 0), app)
        server.prepare()
        threading.Thread(target=server.serve, daemon=True).start()
        url = f"http://127.0.0.1:{server.bind_addr[1]}"
        keystone.add_endpoint("gpu-pool", url)
        for name in RESOURCES:
            keystone.admin.identity.create_registered_limit(
                service_id=keystone.admin.identity.find_service("gpu-pool").id,
                region_id="here",
                resource_name=f"gpupool_{name}",
                default_limit=-1,
            )
        yield url
        server.stop()


def _limits(keystone: identity.Keystone) -> str:
    """Return the options by which limits are Keystone's, each change at once."""
    auth = keystone.auth("gpupool", "service")
    names = ("auth_url", "username", "password", "user_domain_id")
    lines = ["[quota]", "driver = unified", "cache_time = 0"]
    lines += ["[oslo_limit]", "auth_type = password", "system_scope = all"]
    lines += ["endpoint_service_type = gpu-pool", "endpoint_region_name = here"]
    return "\n".join([*lines, *(f"{name} = {auth[name]}" for name in names)]) + "\n"


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


def shown(answer: "CompletedProcess[str]") -> list[dict[str, object]]:
    """Return the rows of a list."""
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def refusal(answer: "CompletedProcess[str]") -> str:
    assert answer.returncode != 0, answer.stdout
    return " ".join(answer.stderr.split())


def test_projects_are_named(openstack: Openstack, keystone: identity.Keystone) -> None:
    ids = {name: keystone.admin.identity.find_project(name).id for name in ("blue", "green")}
    made = openstack(
        *("berta", "blue", "claim", "create", "--name", "named", "--compute", "1"),
        *("--memory-mib", "1", "-f", "json"),
    )
    assert made.returncode == 0, made.stderr
    listing = ("claim", "list", "-f", "json", "-c", "Name", "--project")
    for name in ("blue", ids["blue"]):
        assert {"Name": "named"} in shown(openstack("admin", "admin", *listing, name))
        # A user without the right to list projects can name its own.
        assert {"Name": "named"} in shown(openstack("berta", "blue", *listing, name))
    for noun in ("vgpu", "attachment", "session"):
        shown(openstack("admin", "admin", noun, "list", "-f", "json", "--project", "blue"))
    assert shown(openstack("admin", "admin", *listing, "green")) == []
    said = refusal(openstack("admin", "admin", *listing, "purple"))
    assert said == "Keystone has no project with the name or id 'purple'"
    said = refusal(openstack("greta", "green", *listing, "blue"))
    assert said == (
        "Keystone does not let you look for project 'blue' by its name (HTTP 403); give its id"
    )
    assert "gpu-pool:claims:get_all" in refusal(openstack("greta", "green", *listing, ids["blue"]))
    queue = ("queue", "show", "-f", "json", "--project")
    assert shown(openstack("greta", "green", *queue, "green")) == []
    assert "gpu-pool:queue:get_all" in refusal(openstack("greta", "green", *queue, ids["blue"]))
    # A project that is gone may have left claims.
    assert shown(openstack("admin", "admin", *listing, "0" * 32)) == []
    assert openstack("berta", "blue", "claim", "delete", "named", "--wait").returncode == 0


def test_projects_of_several_domains(openstack: Openstack, keystone: identity.Keystone) -> None:
    api = keystone.admin.identity
    domain = api.create_domain(name="elsewhere")
    twins = [
        api.create_project(name="twin", domain_id=domain_id).id for domain_id in (domain.id, "default")
    ]
    show = ("quota", "show", "-f", "json", "--project")
    said = refusal(openstack("admin", "admin", *show, "twin"))
    assert said.startswith("2 projects are named 'twin'; give --project-domain, or one id of: ")
    assert all(twin in said for twin in twins)
    for name in ("elsewhere", domain.id, "default", "Default"):
        shown(openstack("admin", "admin", *show, "twin", "--project-domain", name))
    said = refusal(openstack("admin", "admin", *show, "blue", "--project-domain", "elsewhere"))
    assert said == "Keystone has no project with the name or id 'blue' in domain 'elsewhere'"
    said = refusal(openstack("admin", "admin", *show, "blue", "--project-domain", "nowhere"))
    assert said == "Keystone has no domain with the name or id 'nowhere'"
    own = ("berta", "blue", *show, "blue", "--project-domain")
    shown(openstack(*own, "Default"))
    assert "does not let you look" in refusal(openstack(*own, "elsewhere"))


def limits(answer: "CompletedProcess[str]") -> dict[object, object]:
    return {row["Resource"]: row["Limit"] for row in shown(answer)}


def test_limits_are_set_in_keystone(openstack: Openstack, keystone: identity.Keystone) -> None:
    show = ("quota", "show", "-f", "json", "--project", "green")
    change = ("quota", "set", "--project", "green")
    unlimited = dict.fromkeys(RESOURCES, -1)
    assert limits(openstack("admin", "admin", *show)) == unlimited
    made = openstack("admin", "admin", *change, "--compute", "30", "--claims", "2")
    assert made.returncode == 0, made.stderr
    assert limits(openstack("admin", "admin", *show)) == {**unlimited, "compute": 30, "claims": 2}
    wanted = ("claim", "create", "--compute", "31", "--memory-mib", "1")
    assert "31 % asked, 0 % used, 30 % allowed" in refusal(openstack("greta", "green", *wanted))
    changed = ("--compute", "40", "--default", "claims", "--default", "vgpus", "--memory-mib", "9")
    assert openstack("admin", "admin", *change, *changed).returncode == 0
    expected = {**unlimited, "compute": 40, "memory_mib": 9}
    assert limits(openstack("admin", "admin", *show)) == expected
    assert openstack("greta", "green", *wanted).returncode == 0
    rows = shown(openstack("admin", "admin", "quota", "list", "-f", "json"))
    green = keystone.admin.identity.find_project("green").id
    assert [(row["Resource"], row["Used"], row["Limit"]) for row in rows if row["Project"] == green] == [
        ("claims", 1, -1),
        ("vgpus", 1, -1),
        ("compute", 31, 40),
        ("memory_mib", 1, 9),
    ]


def test_who_may_not_set_limits_is_told(openstack: Openstack, keystone: identity.Keystone) -> None:
    said = refusal(openstack("greta", "green", "quota", "set", "--project", "green", "--vgpus", "9"))
    assert said.startswith(
        "the limit of vgpus was not set: Keystone does not let you (HTTP 403): setting limits takes the "
        "role admin"
    )
    assert "gpu-pool:quotas:get_all" in refusal(openstack("greta", "green", "quota", "list"))
    nobody = ("quota", "set", "--project", "0" * 32, "--vgpus", "9")
    assert "has no project with the name or id" in refusal(openstack("admin", "admin", *nobody))
    api = keystone.admin.identity
    service = api.find_service("gpu-pool")
    registered = list(api.registered_limits(service_id=service.id, resource_name="gpupool_vgpus"))
    api.delete_registered_limit(registered[0])
    missing = ("quota", "set", "--project", "blue", "--vgpus", "9", "--claims", "9")
    said = refusal(openstack("admin", "admin", *missing))
    assert said.startswith("Keystone has no registered limit gpupool_vgpus; an administrator makes one")
    assert [each for each in api.limits(service_id=service.id) if each.resource_name == "claims"] == []
