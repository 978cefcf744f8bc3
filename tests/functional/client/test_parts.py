"""Parts of devices, from the command line through conductor and agent to the simulated device."""

from pathlib import Path

import pytest

from .conftest import Openstack, running

pytestmark = pytest.mark.usefixtures("native")
CREATE = "gpu claim create --sharing-mode mig --partition"


def test_a_claim_of_a_part_is_bound_and_shows_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "own.conf"
    own.write_text("[reference]\nsharing_mode = mig\n")
    options = ("--hosts", "1", "--devices", "1", "--memory-mib", "700", "--config-file", str(own))
    with running(tmp_path / "state", *options) as service:
        openstack = Openstack(f"--os-auth-type none --os-endpoint {service.api}", capsys)
        claims = [openstack.json(f"{CREATE} 3of7 --wait") for _ in range(2)]
        assert {claim["state"] for claim in claims} == {"bound"}
        assert {(claim["compute"], claim["memory_mib"]) for claim in claims} == {(42, 300)}
        shown = service.client().list("vgpus", {})
        places = sorted(vgpu["part"]["place"] for vgpu in shown)
        assert len(places) == 2
        assert places[1] - places[0] >= 3
        assert "no device of pool default that is cut by mig" in openstack.refused(f"{CREATE} 9of7")
        assert "could never hold it" in openstack.refused(
            "gpu claim create --compute 10 --memory-mib 10"
        )
        # Its slices are another claim's when it has ended.
        openstack("gpu claim delete", claims[0]["id"])
        assert openstack.json(f"{CREATE} 3of7 --wait")["state"] == "bound"
        assert sorted(vgpu["part"]["place"] for vgpu in service.client().list("vgpus", {})) == places
