"""The real Placement service over HTTP, one for all tests here; every test has ids of its own."""

import uuid
from dataclasses import replace

import pytest

from gpupool.model.device import Device, SharingMode, device_id
from gpupool.model.share import Share
from gpupool.placement.allocation import Grant, Order
from gpupool.placement.allocations import Allocations
from gpupool.placement.embedded import EmbeddedPlacement
from gpupool.placement.provider_tree import DeviceProvider, ProviderTree, Wanted


def ensure_device(tree: ProviderTree, host: str, pool_id: str, device: Device) -> DeviceProvider:
    """Write a device's provider, below the compute node called ``host`` if there is one."""
    wanted = Wanted(host=host, pool_id=pool_id, device=device)
    return tree.ensure_device(wanted, tree.compute_node(host))


@pytest.fixture(scope="session")
def service(tmp_path_factory):
    with EmbeddedPlacement(tmp_path_factory.mktemp("placement")) as embedded:
        yield embedded


@pytest.fixture
def client(service):
    return service.client()


@pytest.fixture
def tree(client):
    return ProviderTree(client)


@pytest.fixture
def allocations(client):
    return Allocations(client)


@pytest.fixture
def host():
    return f"host-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def pool():
    return str(uuid.uuid4())


@pytest.fixture
def device(host):
    return Device(
        id=device_id(host, "ref-0"),
        host_id=str(uuid.uuid4()),
        key="ref-0",
        vendor="reference",
        product="Reference Device",
        sharing_mode=SharingMode.SHARED,
        memory_mib=4096,
        traits=("CUSTOM_GPUPOOL_CUDA_12",),
        simulated=True,
    )


@pytest.fixture
def ensure(tree, host, pool, device):
    """Report the device as the conductor does, with ``changes``."""

    def report(pool_id=pool, **changes):
        return ensure_device(tree, host, pool_id, replace(device, **changes))

    return report


@pytest.fixture
def grant(device):
    """Make a grant on the device for a new vGPU."""

    def make(compute=25, memory_mib=1024, device_id=device.id):
        vgpu_id = str(uuid.uuid4())
        share = Share(device_id=device_id, compute=compute, memory_mib=memory_mib)
        return Grant(vgpu_id=vgpu_id, share=share)

    return make


@pytest.fixture
def order():
    """Make an order of grants."""

    def make(*grants):
        return Order(key=str(uuid.uuid4()), grants=grants, project_id="project", user_id="user")

    return make


@pytest.fixture
def compute_node(client, host):
    """Make and delete the host's compute node provider as nova-compute and Nova's API do."""

    class ComputeNode:
        id = str(uuid.uuid4())

        def create(self):
            client.create_provider(self.id, host, None)

        def delete(self):
            """Delete the tree from its leaves up, as Nova's service delete does."""
            for provider in client._call("GET", f"/resource_providers?in_tree={self.id}")[
                "resource_providers"
            ]:
                if provider["uuid"] != self.id:
                    client.delete_provider(provider["uuid"])
            client.delete_provider(self.id)

    return ComputeNode()
