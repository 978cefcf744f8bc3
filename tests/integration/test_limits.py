"""Unified limits: what a real Keystone says that projects may hold."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import oslo_messaging
import pytest
from oslo_context.context import RequestContext
from oslo_limit import limit

from gpupool import conf as gpupool_conf
from gpupool.conductor.claims.limits_keystone import UnifiedLimits
from gpupool.db.api import Database
from gpupool.model import errors
from gpupool.model.claim import Claim, ClaimRequest
from gpupool.model.quota import Resource
from gpupool.placement.embedded import EmbeddedPlacement
from tests.functional.conductor.lab import Lab
from tests.integration import identity

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist_group("keystone")]

# Of its own: other tests put the real one into the catalogue.
SERVICE, BARE = "gpu-pool-limits", "gpu-pool-bare"
REGISTERED = {"claims": 3, "vgpus": 4, "compute": 200, "memory_mib": 500}
# Configures what reads the limits; keywords are options of [quota].
Configure = Callable[..., Any]


@pytest.fixture(scope="module")
def admin(keystone: identity.Keystone) -> Any:
    """Return Keystone's API as administrator; the limits of one service are registered."""
    keystone.let_read_all("gpupool")
    for service_type in (SERVICE, BARE):
        keystone.add_endpoint(service_type, "http://gpu-pool.example.org")
    api = keystone.admin.identity
    service = api.find_service(SERVICE)
    for name, value in REGISTERED.items():
        api.create_registered_limit(
            service_id=service.id,
            region_id="here",
            resource_name=f"gpupool_{name}",
            default_limit=value,
        )
    return api


def give(admin: Any, project: str, **limits: int) -> str:
    """Give a new project limits of its own; return its id."""
    made = admin.create_project(name=f"{project}-{uuid.uuid4()}", domain_id="default")
    service = admin.find_service(SERVICE)
    for name, value in limits.items():
        admin.create_limit(
            service_id=service.id,
            region_id="here",
            project_id=made.id,
            resource_name=f"gpupool_{name}",
            resource_limit=value,
        )
    return str(made.id)


@pytest.fixture
def configure(keystone: identity.Keystone, tmp_path: Path) -> Configure:
    """Return what makes a configuration that reads limits from Keystone."""
    auth = keystone.auth("gpupool", "service")
    names = ("auth_url", "username", "password", "user_domain_id")
    oslo_limit = {name: auth[name] for name in names}
    oslo_limit |= {"auth_type": "password", "system_scope": "all", "endpoint_service_type": SERVICE}

    def write(changes: dict[str, str] | None = None, **quota: int) -> Any:
        groups = {
            "DEFAULT": {"transport_url": "fake://"},
            "quota": {"driver": "unified", **quota},
            "oslo_limit": {**oslo_limit, **(changes or {})},
        }
        lines = []
        for group, values in groups.items():
            lines += [f"[{group}]", *(f"{name} = {value}" for name, value in values.items())]
        path = tmp_path / f"{uuid.uuid4()}.conf"
        path.write_text("\n".join(lines) + "\n")
        return gpupool_conf.new(files=[str(path)])

    return write


def test_a_project_has_the_registered_limits_or_its_own(admin: Any, configure: Configure) -> None:
    limits = UnifiedLimits(configure())
    assert limits.of(give(admin, "plain")) == REGISTERED
    assert limits.of(give(admin, "rich", vgpus=100, compute=-1)) == {
        **REGISTERED,
        "vgpus": 100,
        "compute": -1,
    }


def test_the_limits_of_everybody_are_those_of_each(admin: Any, configure: Configure) -> None:
    limits = UnifiedLimits(configure())
    rich = give(admin, "rich", vgpus=100, compute=-1)
    default, own = limits.everybody()
    assert default == REGISTERED
    assert own[rich] == limits.of(rich)
    assert give(admin, "plain") not in own
    nobody = UnifiedLimits(configure({"endpoint_service_type": BARE})).everybody()
    assert nobody == (dict.fromkeys(Resource, 0), {})


def test_what_is_not_registered_may_not_be_used(admin: Any, configure: Configure) -> None:
    limits = UnifiedLimits(configure({"endpoint_service_type": BARE}))
    assert limits.of(give(admin, "plain")) == dict.fromkeys(REGISTERED, 0)


@pytest.mark.parametrize(("cache_time", "after"), [(0, 9), (3600, 2)])
def test_limits_are_kept_as_long_as_the_operator_says(
    admin: Any, configure: Configure, cache_time: int, after: int
) -> None:
    project = give(admin, "kept", claims=2)
    limits = UnifiedLimits(configure(cache_time=cache_time))
    assert limits.of(project)[Resource.CLAIMS] == 2
    [own] = admin.limits(project_id=project)
    admin.update_limit(own, resource_limit=9)
    assert limits.of(project)[Resource.CLAIMS] == after


@pytest.fixture
def lab(admin: Any, configure: Configure, tmp_path: Path) -> Iterator[Lab]:
    """A conductor that asks Keystone."""
    oslo_messaging.set_transport_defaults(f"test-{uuid.uuid4()}")
    database = Database.from_url(f"sqlite:///{tmp_path}/gpupool.sqlite")
    database.upgrade()
    with EmbeddedPlacement(tmp_path / "placement") as placement:
        made = Lab(configure(), database, placement.client())
        yield made
        made.close()


def create(lab: Lab, project: str, **wishes: int) -> Claim:
    ctxt = RequestContext(project_id=project, user_id="user")
    request = ClaimRequest(**{"compute": 10, "memory_mib": 100, **wishes})
    return lab.client.create_claim(ctxt, str(uuid.uuid4()), request)


def test_a_claim_within_the_limits_is_made_and_one_beyond_is_not(admin: Any, lab: Lab) -> None:
    project = give(admin, "blue", memory_mib=1000)
    create(lab, project, count=4)
    with pytest.raises(errors.OverQuota) as caught:
        create(lab, project, memory_mib=601)
    assert caught.value.message == (
        "quota of vgpus: 1 asked, 4 used, 4 allowed; "
        "quota of memory_mib: 601 MiB asked, 400 MiB used, 1000 MiB allowed"
    )
    assert [(one.used, one.limit) for one in lab.client.show_quotas(lab.ctxt, project)] == [
        (1, 3),
        (4, 4),
        (40, 200),
        (400, 1000),
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"endpoint_service_type": "no-such-service"},
        {"auth_url": "http://127.0.0.1:9/v3"},
        {"password": "wrong"},
        {"auth_type": "no-such-plugin"},
    ],
)
def test_while_keystone_does_not_tell_nothing_is_granted(
    configure: Configure, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str]
) -> None:
    # oslo.limit keeps its connection for the life of the process.
    monkeypatch.setattr(limit, "_SDK_CONNECTION", None)
    limits = UnifiedLimits(configure(changes))
    with pytest.raises(errors.Unavailable, match="can't be read from Keystone"):
        limits.of("any")
    with pytest.raises(errors.Unavailable, match="can't be read from Keystone"):
        limits.everybody()
