"""Several batches under way: the queue goes on deciding, and no device is changed from two sides."""

import threading
import time

import pytest

from gpupool.model.claim import Tier
from gpupool.model.states import ClaimState
from tests.functional.conductor.lab import Lab

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
    made = Gate(lab.made.allocations, monkeypatch)
    yield made
    for event in made.held.values():
        event.set()


def on(lab, agent, **wishes):
    return lab.create(compute=5, memory_mib=16, tier=Tier.LOCAL, host=agent.host, **wishes)


def serve(lab):
    """Begin a pass in a thread; return that."""
    serving = threading.Thread(target=lab.conductor.tick)
    serving.start()
    return serving


def ended(serving):
    serving.join(PATIENCE)
    return not serving.is_alive()


def begin(lab, gate, claim):
    """Begin a pass that waits for Placement's word about a claim; return what ends with it."""
    gate.hold(claim)
    serving = serve(lab)
    gate.await_begun(claim)
    return serving


def await_answer(lab, claim):
    """Wait until Placement has said what becomes of a claim."""
    until = time.monotonic() + PATIENCE
    while claim.id in lab.made.queue.under_way():
        assert time.monotonic() < until
        time.sleep(0.01)


def states(lab, *claims):
    return [lab.claim(claim).state for claim in claims]


def test_the_queue_decides_while_placement_is_asked(lab, gate):
    slow_host, other_host = lab.agent(), lab.agent()
    slow = on(lab, slow_host)
    serving = begin(lab, gate, slow)
    other = on(lab, other_host)
    # The new claim woke the queue.
    assert ended(serving)
    serving = serve(lab)
    gate.await_begun(other)
    assert lab.claim(slow).state == ClaimState.ALLOCATING
    gate.open(slow)
    assert ended(serving)
    assert states(lab, slow, other) == [ClaimState.BINDING] * 2
    lab.settle(slow_host, other_host)
    lab.check_books([slow_host, other_host])


def test_what_is_on_its_way_is_not_given_away_again(lab, gate):
    agent = lab.agent(devices=1)
    first = lab.create(compute=60)
    serving = begin(lab, gate, first)
    second = lab.create(compute=60)
    assert ended(serving)
    serving = serve(lab)
    gate.open(first)
    assert ended(serving)
    assert states(lab, first, second) == [ClaimState.BINDING, ClaimState.QUEUED]
    assert gate.begun == [{first.id}]
    lab.settle(agent)
    lab.check_books([agent])


def test_a_host_is_in_one_batch_at_a_time_and_keeps_no_other_from_starting(lab, gate):
    agent, other_host = lab.agent(), lab.agent()
    first = on(lab, agent)
    serving = begin(lab, gate, first)
    second, third = on(lab, agent), on(lab, other_host)
    assert ended(serving)
    serving = serve(lab)
    gate.await_begun(third)
    assert lab.claim(second).state == ClaimState.QUEUED
    gate.open(first)
    assert ended(serving)
    assert gate.begun == [{first.id}, {third.id}, {second.id}]
    assert states(lab, first, second, third) == [ClaimState.BINDING] * 3
    lab.settle(agent, other_host)
    lab.check_books([agent, other_host])


def agree_after_giving_back(lab, gate, claim, allocations, monkeypatch):
    """Let Placement agree to a claim right after ``allocations`` have given back what it held."""
    deallocate_all = allocations.deallocate_all

    def and_agree(orders):
        said = deallocate_all(orders)
        gate.open(claim)
        await_answer(lab, claim)
        return said

    monkeypatch.setattr(allocations, "deallocate_all", and_agree)


def test_what_is_released_on_its_way_is_not_given_back_before_placement_has_agreed(
    lab, gate, monkeypatch
):
    serve_pools = lab.made.queue.serve

    def and_open():
        gate.open(claim)
        return serve_pools()

    agent = lab.agent()
    claim = on(lab, agent)
    serving = begin(lab, gate, claim)
    lab.release(claim)
    # The host says that it has nothing of it, which wakes the queue.
    agent.look()
    assert ended(serving)
    agree_after_giving_back(lab, gate, claim, lab.made.allocations, monkeypatch)
    monkeypatch.setattr(lab.made.queue, "serve", and_open)
    lab.serve_all()
    lab.serve()
    assert lab.claim(claim).state == ClaimState.RELEASED
    assert not lab.allocated()
    lab.check_books([agent])


def test_what_another_conductor_gives_back_too_early_is_found_soon(lab, gate, placement, monkeypatch):
    """The report goes to that one, which does not know what is under way here."""
    agent = lab.agent()
    claim = on(lab, agent)
    serving = begin(lab, gate, claim)
    lab.release(claim)
    (row,) = lab.vgpus()
    hurried = set()
    monkeypatch.setattr(lab.made.rotation, "hurry", hurried.update)
    other = Lab(lab.conf, lab.database, placement.client())
    agree_after_giving_back(lab, gate, claim, other.made.allocations, monkeypatch)
    other.made.outbox.add([], [row])
    other.serve()
    other.close()
    assert ended(serving)
    assert not lab.vgpus()
    assert lab.allocated()
    assert row.device_id in hurried
    lab.reconcile()
    lab.check_books()


def test_what_is_refused_late_waits_again_and_is_not_asked_for_twice(lab, gate):
    slow_host, other_host = lab.agent(devices=1), lab.agent()
    (device,) = lab.devices(slow_host)
    slow = on(lab, slow_host)
    serving = begin(lab, gate, slow)
    other = on(lab, other_host)
    assert ended(serving)
    lab.reserve(device.id)
    gate.open(slow)
    lab.serve()
    assert states(lab, slow, other) == [ClaimState.QUEUED, ClaimState.BINDING]
    assert "Placement refused" in lab.claim(slow).state_detail
    assert sorted(gate.begun, key=list) == sorted([{slow.id}, {other.id}], key=list)


def test_what_another_holds_is_known_before_a_late_refusal_is_decided_about_again(lab, gate):
    agent = lab.agent(devices=1)
    (device,) = lab.devices(agent)
    large = lab.create(compute=60)
    serving = begin(lab, gate, large)
    small = lab.create(compute=30)
    assert ended(serving)
    lab.instance_on(device.id, 50)
    gate.open(large)
    lab.serve_all()
    lab.serve()
    assert states(lab, large, small) == [ClaimState.QUEUED, ClaimState.BINDING]
    assert "60 % of one device wanted" in lab.claim(large).state_reason
    assert gate.begun.count({large.id}) == 1


def test_that_placement_was_away_keeps_no_later_pass(lab, gate, placement):
    agent, other_host = lab.agent(), lab.agent()
    first = on(lab, agent)
    serving = begin(lab, gate, first)
    second = on(lab, other_host)
    assert ended(serving)
    placement.go("503 Service Unavailable")
    gate.open(first)
    await_answer(lab, first)
    placement.come_back()
    lab.serve()
    assert states(lab, first, second) == [ClaimState.BINDING] * 2


def test_a_batch_that_fails_by_a_mistake_keeps_nobody_and_goes_on_in_the_next_pass(lab, monkeypatch):
    def fail(*_):
        raise RuntimeError("a mistake")

    agent, other_host = lab.agent(), lab.agent()
    first = on(lab, agent)
    with monkeypatch.context() as patch:
        patch.setattr(lab.made.binding, "hand_over", fail)
        lab.serve()
        assert states(lab, first) == [ClaimState.ALLOCATING]
    second = on(lab, other_host)
    lab.serve()
    assert states(lab, first, second) == [ClaimState.BINDING] * 2
    lab.settle(agent, other_host)
    assert states(lab, first, second) == [ClaimState.BOUND] * 2
    lab.check_books([agent, other_host])


def test_a_conductor_that_stops_ends_what_is_under_way(lab, gate):
    agent = lab.agent()
    claim = on(lab, agent)
    serving = begin(lab, gate, claim)
    lab.made.queue.notify()
    assert ended(serving)
    stopping = threading.Thread(target=lab.conductor.stop)
    stopping.start()
    stopping.join(0.5)
    assert stopping.is_alive()
    gate.open(claim)
    assert ended(stopping)
    assert lab.claim(claim).state == ClaimState.BINDING
