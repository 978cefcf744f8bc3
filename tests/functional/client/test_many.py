"""Many clients at once: nothing may be left of claims that were released."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gpupool.demo.shell import Endpoints, Shell
from tests.functional.client.conftest import USES_SERVICE, Service

pytestmark = USES_SERVICE
CLIENTS = 8
CLAIMS = 100
DEADLINE = 180
PAUSE = 0.3


def life_of_a_claim(service: Service, number: int) -> str:
    """Create a claim, wait until it is bound, attach every third, release it, wait; return its end."""
    client = service.client()
    sizes = {"compute": 5 + number % 40, "memory_mib": 64 + number, "count": 1 + number % 2}
    claim = client.create("claims", {"name": f"many-{number}", **sizes})
    end = time.monotonic() + DEADLINE
    while claim["state"] != "bound":
        assert time.monotonic() < end, claim
        time.sleep(PAUSE)
        claim = client.get("claims", claim["id"])
    if number % 3 == 0:
        client.create("attachments", {"claim_id": claim["id"], "kind": "process"})
    client.delete("claims", claim["id"])
    while claim["state"] not in ("released", "failed"):
        assert time.monotonic() < end, claim
        time.sleep(PAUSE)
        claim = client.get("claims", claim["id"])
    return str(claim["state"])


@pytest.mark.timeout(400)
def test_a_hundred_claims_by_eight_clients(service: Service) -> None:
    with ThreadPoolExecutor(CLIENTS) as clients:
        states = list(clients.map(lambda number: life_of_a_claim(service, number), range(CLAIMS)))
    assert states == ["released"] * CLAIMS
    client = service.client()
    for collection in ("vgpus", "attachments", "sessions"):
        assert list(client.list(collection, {"all_projects": "true"})) == []
    assert {device["compute_granted"] for device in client.list("devices")} == {0}
    assert not any(in_placement(service).values())
    assert on_hosts(service.state_dir) == []


def in_placement(service: Service) -> dict[str, object]:
    """Return Placement's allocations by provider, of four providers."""
    shell = Shell(Endpoints(service.api, service.placement))
    end = time.monotonic() + DEADLINE
    # A service that has just started may still be making them.
    while len(allocations := dict(shell.placement_allocations())) < 4:
        assert time.monotonic() < end, allocations
        time.sleep(PAUSE)
    return allocations


def on_hosts(state_dir: Path) -> list[Path]:
    """Return what agents keep of vGPUs, attachments and sessions."""
    hosts = state_dir / "hosts"
    kept = [
        path
        for kind in ("ledgers", "attachments", "sessions", "tickets")
        for path in hosts.glob(f"*/{kind}/*")
    ]
    return kept + list((state_dir / "run").glob("*/attachments/*")) + list((state_dir / "cdi").iterdir())


def test_one_claim_released_by_many_at_once(service: Service) -> None:
    """One release counts, whoever asks; the others hear that it is or has been released."""
    client = service.client()
    claim = client.create("claims", {"compute": 10, "memory_mib": 10})
    barrier = threading.Barrier(CLIENTS)

    def release(_number: int) -> str:
        mine = service.client()
        barrier.wait()
        try:
            mine.delete("claims", claim["id"])
        except Exception as exc:
            return str(exc)
        return ""

    with ThreadPoolExecutor(CLIENTS) as clients:
        said = list(clients.map(release, range(CLIENTS)))
    assert "" in said
    assert all(answer == "" or "HTTP 409" in answer for answer in said)
    end = time.monotonic() + DEADLINE
    while (found := client.get("claims", claim["id"]))["state"] != "released":
        assert time.monotonic() < end, found
        time.sleep(0.05)
    assert not any(in_placement(service).values())
