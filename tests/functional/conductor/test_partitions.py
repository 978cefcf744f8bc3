"""Claims of parts of devices that are cut into parts, from the request to what the host is told."""

from dataclasses import replace

import pytest

from gpupool.model import errors
from gpupool.model.device import SharingMode
from gpupool.model.profile import Profile
from gpupool.model.share import Part
from gpupool.model.states import ClaimState
from gpupool.placement import names

PRODUCT = "NVIDIA A100-SXM4-40GB"
MEMORY = 40960
MIG = {"compute": None, "memory_mib": None, "sharing_mode": SharingMode.MIG}


@pytest.fixture
def cut(lab):
    """Return a host of one device that is cut into parts."""
    agent = lab.agent(devices=1, memory_mib=MEMORY)
    agent.devices = {
        key: replace(each, product=PRODUCT, sharing_mode=SharingMode.MIG)
        for key, each in agent.devices.items()
    }
    lab.look(agent)
    return agent


def parts(lab):
    return sorted(vgpu.part for vgpu in lab.vgpus())


def test_a_claim_has_parts_of_its_own_which_its_host_is_told(lab, cut):
    claim = lab.bound(cut, count=2, partition="3g.20gb", **MIG)
    assert (claim.state, claim.compute, claim.memory_mib) == (ClaimState.BOUND, 42, MEMORY // 2)
    assert parts(lab) == [Part("3g.20gb", 0), Part("3g.20gb", 4)]
    assert sorted(spec.part for spec in cut.vgpus.values()) == parts(lab)
    assert {vgpu.id: vgpu.share for vgpu in lab.vgpus()} == {
        spec.id: spec.share._replace(device_id=lab.devices(cut)[0].id) for spec in cut.vgpus.values()
    }
    held = [amounts for each in lab.allocated().values() for amounts in each.values()]
    assert held == [{names.COMPUTE: 42, names.MEMORY_MIB: MEMORY // 2}] * 2
    lab.check_books([cut])


def test_parts_in_use_are_left_out_until_they_are_given_back(lab, cut):
    claims = [lab.bound(cut, partition="2g.10gb", **MIG) for _ in range(3)]
    small = lab.bound(cut, partition="1g.5gb", **MIG)
    assert small.state == ClaimState.BOUND
    waiting = lab.create(partition="2g.10gb", **MIG)
    lab.serve()
    assert lab.claim(waiting).state == ClaimState.QUEUED
    assert "2g.10gb" in lab.claim(waiting).state_reason
    assert len(set(parts(lab))) == 4
    lab.release(claims[1])
    lab.settle(cut)
    assert lab.claim(waiting).state == ClaimState.BOUND
    lab.check_books([cut])


def test_claims_of_shares_get_no_device_that_is_cut_into_parts(lab, cut):
    with pytest.raises(errors.Invalid, match="could never hold it"):
        lab.create()
    shared = lab.agent(devices=1)
    claim = lab.bound(shared)
    assert {vgpu.host_id for vgpu in lab.vgpus(claim_id=claim.id)} == {lab.host(shared).id}
    assert lab.vgpus(claim_id=claim.id)[0].part is None


def test_what_a_part_has_at_least_may_be_said_and_its_size_is_charged(lab, cut):
    wish = {**MIG, "memory_mib": 2000, "compute": 1}
    claim = lab.create(partition="1g.5gb", **wish)
    assert (claim.compute, claim.memory_mib) == (14, MEMORY // 8)
    lab.conf.set_override("compute", 100, group="quota")
    lab.made.limits.__init__(lab.conf)
    with pytest.raises(errors.OverQuota):
        lab.create(partition="7g.40gb", **wish)


def test_a_profile_may_name_a_part(lab, cut):
    profile = Profile(
        id="", name="seventh", compute=1, memory_mib=1, tier="pool", priority=50,
        sharing_mode=SharingMode.MIG, partition="1g.5gb",
    )  # fmt: skip
    lab.client.create_profile(lab.ctxt, replace(profile, id="5e7e0000-0000-4000-8000-000000000000"))
    claim = lab.bound(cut, profile="seventh", compute=None, memory_mib=None)
    assert (claim.sharing_mode, claim.partition) == (SharingMode.MIG, "1g.5gb")
    assert [part.kind for part in parts(lab)] == ["1g.5gb"]


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (
            {"partition": "1g.5gb"},
            "partition is '1g.5gb', and sharing_mode shared; allowed with one: mig",
        ),
        ({"sharing_mode": SharingMode.MIG}, "partition missing; sharing_mode mig needs a kind of part"),
        ({"sharing_mode": SharingMode.EXCLUSIVE}, "sharing_mode is 'exclusive'; allowed: shared, mig"),
        (
            {"sharing_mode": SharingMode.MIG, "partition": "9g.9gb"},
            "no device of pool default that is cut by mig has parts 9g.9gb of 25 % and 512 MiB or "
            "more; there are: 1g.10gb, 1g.5gb, 1g.5gb+me, 2g.10gb",
        ),
        (
            {"sharing_mode": SharingMode.MIG, "partition": "1g.5gb", "compute": 15},
            "has parts 1g.5gb of 15 % and 512 MiB or more",
        ),
        (
            {"sharing_mode": SharingMode.VFIO, "partition": "A40-4Q"},
            "no device of pool default that is cut by vfio has parts A40-4Q of 25 % and 512 MiB or "
            "more; there are: no such devices",
        ),
    ],
)
def test_what_no_device_has_is_refused_with_what_there_is(lab, cut, wish, said):
    with pytest.raises(errors.Invalid) as caught:
        lab.create(**wish)
    assert said in caught.value.message
