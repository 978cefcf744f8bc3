"""The host of a claim's program: stored with the claim, and alone charged its CPU and memory."""

import pytest

from gpupool.conductor.capacity import snapshot
from gpupool.db import claims, hosts
from gpupool.model import errors
from gpupool.model.states import ClaimState, HostState


def free_cpu(lab, agent):
    host = lab.host(agent)
    with lab.database.reader() as session:
        inventory, conf = lab.made.inventory, lab.made.conf
        (room,) = snapshot.capacities(session, host.pool_id, inventory, conf, [host.id])
    return room.cpu_free


def with_cpu(lab):
    agent = lab.agent()
    agent.cpu_milli = 8000
    agent.look()
    return agent


def test_a_claim_has_its_programs_host_while_it_holds_something(lab):
    agent = with_cpu(lab)
    before = free_cpu(lab, agent)
    claim = lab.create(cpu_milli=1000)
    assert claim.program_host_id is None
    lab.serve()
    lab.look(agent)
    assert lab.claim(claim).program_host_id == lab.host(agent).id
    assert free_cpu(lab, agent) == before - 1000
    lab.release(claim)
    assert free_cpu(lab, agent) == before - 1000
    lab.look(agent)
    assert lab.claim(claim).state == ClaimState.RELEASED
    assert lab.claim(claim).program_host_id is None
    assert free_cpu(lab, agent) == before


def test_what_placement_refuses_has_no_host(lab):
    agent = with_cpu(lab)
    before = free_cpu(lab, agent)
    claim = lab.create(cpu_milli=1000)
    (device, *_) = lab.devices(agent)
    lab.instance_on(device.id, 90)
    assert lab.bind([claim], device.id)
    assert lab.claim(claim).state == ClaimState.QUEUED
    assert lab.claim(claim).program_host_id is None
    assert free_cpu(lab, agent) == before


def test_only_the_programs_host_is_charged(lab):
    here, there = (with_cpu(lab) for _ in range(2))
    free = free_cpu(lab, there)
    claim = lab.bound(here, host=here.host, cpu_milli=1000)
    # As with devices of other hosts than the program's.
    other = lab.host(there).id
    with lab.database.writer() as session:
        claims.update(session, claim.id, program_host_id=other)
    assert free_cpu(lab, there) == free_cpu(lab, here) - 1000 == free - 1000
    lab.settle(here, there)
    with lab.database.writer() as session:
        hosts.update(session, other, state=HostState.DOWN)
    with pytest.raises(errors.Conflict, match="still has the programs of 1 claims"):
        lab.made.hosts.delete(other)
