"""Several batches under way: the queue goes on deciding, and no device is changed from two sides."""

import threading
from dataclasses import replace

import pytest

from gpupool.model.claim import Tier
from gpupool.model.states import ClaimState

PATIENCE = 30


class Gate:
    """Lets requests for allocations through, but those of held claims only when it is opened."""

    def __init__(self, allocations, monkeypatch):
        self.held = {}
        self.begun = []
        self._changed = threading.Condition()
        real = allocations.allocate_all

        def allocate_all(orders):
            keys = {order.key for order in orders}
            with self._changed:
                self.begun.append(keys)
                self._changed.notify_all()
            for key in keys & self.held.keys():
                assert self.held[key].wait(PATIENCE)
            return real(orders)

        monkeypatch.setattr(allocations, "allocate_all", allocate_all)

    def hold(self, claim):
        self.held[claim.id] = threading.Event()

    def open(self, claim):
        self.held[claim.id].set()

    def await_begun(self, claim):
        with self._changed:
            assert self._changed.wait_for(lambda: claim.id in set().union(*self.begun), PATIENCE)


@pytest.fixture
def gate(lab, monkeypatch):
    made = Gate(lab.parts.allocations, monkeypatch)
    yield made
    for event in made.held.values():
        event.set()


def on(lab, agent, **wishes):
    return lab.create(compute=5, memory_mib=16, tier=Tier.LOCAL, host=agent.host, **wishes)


def begin(lab, gate, claim):
    """Have a pass begin that waits for Placement's word about a claim; return what ends with it."""
    gate.hold(claim)
    serving = threading.Thread(target=lab.conductor.tick)
    serving.start()
    gate.await_begun(claim)
    return serving


def test_the_queue_decides_while_placement_is_asked(lab, gate):
    slow_host, other_host = lab.agent(), lab.agent()
    slow = on(lab, slow_host)
    serving = begin(lab, gate, slow)
    other = on(lab, other_host)
    # The new claim woke the queue.
    serving.join(PATIENCE)
    assert not serving.is_alive()
    serving = threading.Thread(target=lab.conductor.tick)
    serving.start()
    gate.await_begun(other)
    assert lab.claim(slow).state == ClaimState.ALLOCATING
    gate.open(slow)
    serving.join(PATIENCE)
    assert [lab.claim(each).state for each in (slow, other)] == [ClaimState.BINDING] * 2
    lab.settle(slow_host, other_host)
    lab.check_books([slow_host, other_host])


def test_what_is_on_its_way_is_not_given_away_again(lab, gate):
    agent = lab.agent(devices=1)
    first = lab.create(compute=60)
    serving = begin(lab, gate, first)
    second = lab.create(compute=60)
    serving.join(PATIENCE)
    serving = threading.Thread(target=lab.conductor.tick)
    serving.start()
    gate.open(first)
    serving.join(PATIENCE)
    assert [lab.claim(each).state for each in (first, second)] == [ClaimState.BINDING, ClaimState.QUEUED]
    assert gate.begun == [{first.id}]
    lab.settle(agent)
    lab.check_books([agent])


def test_a_host_is_in_one_batch_at_a_time(lab, gate):
    agent = lab.agent()
    first = on(lab, agent)
    serving = begin(lab, gate, first)
    second = on(lab, agent)
    serving.join(PATIENCE)
    serving = threading.Thread(target=lab.conductor.tick)
    serving.start()
    serving.join(0.2)
    assert gate.begun == [{first.id}]
    assert lab.claim(second).state == ClaimState.QUEUED
    gate.open(first)
    serving.join(PATIENCE)
    lab.settle(agent)
    assert gate.begun == [{first.id}, {second.id}]
    assert [lab.claim(each).state for each in (first, second)] == [ClaimState.BOUND] * 2


def reserve(lab, agent):
    """Have an operator reserve all of a host's devices, in Placement."""
    for device in lab.devices(agent):
        inventories, generation = lab.parts.placement.inventories(device.id)
        held = {name: replace(each, reserved=each.total) for name, each in inventories.items()}
        lab.parts.placement.set_inventories(device.id, held, generation)


def test_what_is_refused_late_waits_again(lab, gate):
    slow_host, other_host = lab.agent(), lab.agent()
    slow = on(lab, slow_host)
    serving = begin(lab, gate, slow)
    other = on(lab, other_host)
    serving.join(PATIENCE)
    reserve(lab, slow_host)
    gate.open(slow)
    lab.serve()
    assert [lab.claim(each).state for each in (slow, other)] == [ClaimState.QUEUED, ClaimState.BINDING]
    assert "Placement refused" in lab.claim(slow).state_reason
    # The reconciler writes what the devices are to be.
    lab.reconcile()
    lab.conductor._served._pools[slow.pool_id]._refused.clear()
    lab.settle(slow_host, other_host)
    assert [lab.claim(each).state for each in (slow, other)] == [ClaimState.BOUND] * 2
    lab.check_books([slow_host, other_host])


def test_a_conductor_that_stops_ends_what_is_under_way(lab, gate):
    agent = lab.agent()
    claim = on(lab, agent)
    serving = begin(lab, gate, claim)
    lab.conductor._served.nudge()
    serving.join(PATIENCE)
    stopping = threading.Thread(target=lab.conductor.stop)
    stopping.start()
    stopping.join(0.2)
    assert stopping.is_alive()
    gate.open(claim)
    stopping.join(PATIENCE)
    assert lab.claim(claim).state == ClaimState.BINDING
