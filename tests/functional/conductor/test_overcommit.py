"""More than there is may be granted, but never to guaranteed claims; programs share their host."""

from dataclasses import replace
from threading import Barrier, Thread

import pytest

from gpupool.model import errors
from gpupool.model.claim import Qos
from gpupool.model.pool import PoolChange
from gpupool.model.states import ClaimState
from gpupool.placement import names
from testbed.simulated_agent import SimulatedAgent
from tests.functional.conductor.lab import Lab

WAITING, GOING = ClaimState.QUEUED, ClaimState.BINDING


def overcommit(lab, agent, **percent):
    """Set what the host's pool grants, and its providers too."""
    lab.client.update_pool(lab.ctxt, lab.host(agent).pool_id, PoolChange(**percent))
    lab.serve()


def ratios(lab, device):
    found = lab.made.placement.inventories(device.id)[0]
    return found[names.COMPUTE].allocation_ratio, found[names.MEMORY_MIB].allocation_ratio


def extending(lab, **kwargs):
    """Return a host of one device whose driver extends its memory into the host's."""
    agent = SimulatedAgent(lab.transport, "host-extending", devices=1, **kwargs)
    agent.devices["ref-0"] = replace(agent.devices["ref-0"], extends_memory=True)
    lab.look(agent)
    return agent


def states(lab, *claims):
    return [lab.claim(claim).state for claim in claims]


def make(lab, *wishes):
    """Return claims that were served one after the other."""
    made = []
    for wish in wishes:
        made.append(lab.create(**{"memory_mib": 1, **wish}))
        lab.serve()
    return made


def test_providers_follow_the_pool(lab):
    plain, extended = lab.agent(devices=1), extending(lab)
    (device,), (other,) = lab.devices(plain), lab.devices(extended)
    overcommit(lab, plain, compute_overcommit=114, memory_overcommit=150)
    assert ratios(lab, device) == (1.145, 1.0)
    assert ratios(lab, other) == (1.145, 1.5002)
    overcommit(lab, plain, compute_overcommit=100, memory_overcommit=100)
    assert ratios(lab, device) == ratios(lab, other) == (1.0, 1.0)


def test_a_pool_that_changed_elsewhere_is_followed_by_the_reconciler(lab, placement):
    agent = lab.agent(devices=1)
    other = Lab(lab.conf, lab.database, placement.client())
    other.close()
    lab.client.update_pool(lab.ctxt, lab.host(agent).pool_id, PoolChange(compute_overcommit=120))
    other.reconcile()
    assert ratios(lab, lab.devices(agent)[0]) == (1.205, 1.0)


def test_best_effort_goes_beyond_what_there_is_and_guaranteed_does_not(lab):
    agent = lab.agent(devices=1)
    overcommit(lab, agent, compute_overcommit=120)
    best = {"qos": Qos.BEST_EFFORT}
    claims = make(
        lab,
        {"compute": 60, **best},
        {"compute": 50},
        {"compute": 10, **best},
        {"compute": 51},
        {"compute": 1, **best},
    )
    assert states(lab, *claims) == [GOING, GOING, GOING, WAITING, WAITING]
    lab.look(agent)
    lab.release(claims[0])
    lab.look(agent)
    # 60 are granted of 120, and 50 guaranteed of 100: room for 50 guaranteed at most.
    assert states(lab, claims[3]) == [WAITING]
    lab.release(claims[3])
    lab.serve()
    assert states(lab, claims[4]) == [GOING]
    lab.check_books()


def test_guaranteed_claims_share_what_there_is_whatever_may_be_granted(lab):
    agent = lab.agent(devices=1)
    overcommit(lab, agent, compute_overcommit=300)
    claims = make(lab, {"compute": 60}, {"compute": 40}, {"compute": 1})
    assert states(lab, *claims) == [GOING, GOING, WAITING]


def test_memory_goes_beyond_where_the_driver_can_extend_it(lab):
    agent = extending(lab, memory_mib=1000)
    overcommit(lab, agent, memory_overcommit=150)
    best = {"qos": Qos.BEST_EFFORT, "compute": 1}
    claims = make(
        lab,
        {"compute": 1, "memory_mib": 900},
        {**best, "memory_mib": 600},
        {"compute": 1, "memory_mib": 200},
        {**best, "memory_mib": 1},
    )
    assert states(lab, *claims) == [GOING, GOING, WAITING, WAITING]
    assert lab.create(**best, memory_mib=1400).state == WAITING
    for wish in ({"memory_mib": 1501, **best}, {"memory_mib": 1001, "compute": 1}):
        with pytest.raises(errors.Invalid, match=r"memory_mib is|could never hold"):
            lab.create(**wish)


def at_once(*works):
    barrier = Barrier(len(works))
    results = [None] * len(works)

    def run(number, work):
        barrier.wait()
        results[number] = work()

    threads = [Thread(target=run, args=each) for each in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.parametrize(
    ("wish", "cpu"), [({"compute": 60}, 0), ({"compute": 1, "cpu_milli": 2000}, 4400)]
)
def test_two_conductors_at_once_never_promise_the_same_twice(lab, placement, wish, cpu):
    """Placement would agree to both: it is the host's row that decides."""
    agent = SimulatedAgent(lab.transport, "host-one", devices=1)
    agent.cpu_milli = cpu
    lab.look(agent)
    overcommit(lab, agent, compute_overcommit=300)
    (device,) = lab.devices(agent)
    other = Lab(lab.conf, lab.database, placement.client())
    other.close()
    claims = [lab.create(memory_mib=1, **wish) for _ in range(2)]
    lost = at_once(
        *(lambda by=by, c=c: by.bind([c], device.id) for by, c in zip((lab, other), claims, strict=True))
    )
    assert sorted(map(len, lost)) == [0, 1]
    (error,) = (each for found in lost for each in found.values())
    assert isinstance(error, errors.Conflict)
    assert sorted(states(lab, *claims)) == [GOING, WAITING]
    lab.check_books()


def test_programs_take_of_their_host_what_is_not_kept_for_workers(lab):
    agent = SimulatedAgent(lab.transport, "host-one", devices=1)
    agent.cpu_milli, agent.memory_mib = 4500, 8192
    lab.look(agent)
    wish = {"compute": 1, "cpu_milli": 2000, "host_memory_mib": 1024}
    claims = make(lab, wish, wish, {**wish, "cpu_milli": 1})
    assert states(lab, *claims) == [GOING, GOING, WAITING]
    said = lab.claim(claims[2]).state_reason
    assert said.startswith("0.001 cores of one host wanted; the host with most has 0 cores free")
    with pytest.raises(errors.Invalid, match=r"4\.001 cores of one host wanted; .* has 4 cores"):
        lab.create(compute=1, memory_mib=1, cpu_milli=4001)
    with pytest.raises(errors.Invalid, match="MiB of one host's memory wanted"):
        lab.create(compute=1, memory_mib=1, host_memory_mib=7169)
    lab.look(agent)
    lab.release(claims[0])
    lab.look(agent)
    assert states(lab, *claims[1:]) == [ClaimState.BOUND, GOING]


@pytest.mark.parametrize("trouble", ["disabled", "silent", "gone"])
def test_what_became_of_a_device_since_the_plan_counts(lab, trouble):
    agent = lab.agent(devices=1)
    claim = lab.create()
    (device,) = lab.devices(agent)
    chosen = "no-such-device" if trouble == "gone" else device.id
    if trouble == "disabled":
        lab.client.set_device_enabled(lab.ctxt, device.id, False, "")
    elif trouble == "silent":
        agent.devices.clear()
        agent.send()
    lost = lab.bind([claim], chosen)
    assert "not to be had any more" in str(lost[claim.id])
    assert lab.claim(claim).state == WAITING
    assert not lab.vgpus()
