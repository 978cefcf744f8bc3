"""What others do to a claim in the very moment when its conductor waits for Placement."""

import threading

import pytest

from gpupool.conductor.claims import health
from gpupool.db import hosts
from gpupool.db.api import Database
from gpupool.model import errors
from gpupool.model.claim import ClaimChange, ClaimHealth
from gpupool.model.states import ClaimState, HostState
from gpupool.placement.errors import NoCapacity
from testbed import databases
from tests.functional.conductor.lab import Lab, new_conf
from tests.functional.conductor.test_crash import make_old


@pytest.fixture
def meanwhile(lab, monkeypatch):
    """Return a function: what it is given happens once, just before or after the next allocation."""
    client = lab.made.placement
    real = client.set_allocations

    def arrange(happening, *, after=False):
        def set_allocations(body):
            monkeypatch.setattr(client, "set_allocations", real)
            if after:
                real(body)
            happening()
            if not after:
                real(body)

        monkeypatch.setattr(client, "set_allocations", set_allocations)

    return arrange


@pytest.fixture
def on_mariadb(placement):
    """A lab whose writers don't simply take turns, as those of SQLite do."""
    try:
        with databases.mariadb() as server:
            database = Database.from_url(server.create_database("gpupool"))
            database.upgrade()
            lab = Lab(new_conf(), database, placement.client())
            yield lab
            lab.close()
            database.close()
    except databases.Missing as exc:
        pytest.skip(str(exc))


def test_a_host_that_comes_back_is_healthy_whatever_the_reconciler_writes(on_mariadb, monkeypatch):
    lab = on_mariadb
    agent = lab.agent()
    claim = lab.bound(agent)
    host = lab.host(agent)
    with lab.database.writer() as session:
        hosts.update(session, host.id, state=HostState.DOWN)
    said = health._health
    back = threading.Thread(target=agent.send)

    def slow(*args):
        monkeypatch.undo()
        back.start()
        back.join(timeout=1)
        return said(*args)

    monkeypatch.setattr(health, "_health", slow)
    lab.made.claim_repairs.write_health()
    back.join()
    assert lab.host(agent).state == HostState.UP
    assert lab.claim(claim).health == ClaimHealth.OK


@pytest.mark.parametrize("after", [False, True])
def test_released_and_gone_meanwhile(lab, meanwhile, after):
    agent = lab.agent()
    claim = lab.create(count=2)

    def happening():
        lab.release(claim)
        agent.look()
        lab.made.flush.flush(tuple)
        assert lab.claim(claim).state == ClaimState.RELEASED

    meanwhile(happening, after=after)
    lab.serve_all()
    assert lab.claim(claim).state == ClaimState.RELEASED
    assert not lab.allocated()
    lab.check_books([agent])


@pytest.mark.parametrize("after", [False, True])
def test_released_meanwhile_and_gone_later(lab, meanwhile, after):
    agent = lab.agent()
    claim = lab.create(count=2)
    meanwhile(lambda: lab.release(claim), after=after)
    lab.serve_all()
    assert lab.claim(claim).state == ClaimState.RELEASING
    lab.look(agent)
    assert lab.claim(claim).state == ClaimState.RELEASED
    assert not lab.allocated()
    lab.check_books([agent])


def test_a_change_that_matters_not(lab, meanwhile):
    agent = lab.agent()
    claim = lab.create()
    meanwhile(lambda: lab.client.update_claim(lab.ctxt, claim.id, ClaimChange(name="new")))
    lab.serve()
    lab.look(agent)
    bound = lab.claim(claim)
    assert (bound.state, bound.name) == (ClaimState.BOUND, "new")
    lab.check_books([agent])


@pytest.mark.parametrize("after", [False, True])
def test_taken_for_dead_and_undone_meanwhile(lab, meanwhile, after):
    """The other conductor is faster in everything; this one must not disturb what it made."""
    # It takes no reports: the conductor that takes the first one has the host's providers to write.
    other = lab.another()
    agent = lab.agent()
    claim = lab.create(count=2)

    def happening():
        make_old(lab, claim)
        other.reconcile()
        other.serve()
        agent.look()
        assert lab.claim(claim).state == ClaimState.BOUND

    meanwhile(happening, after=after)
    lab.serve_all()
    assert lab.claim(claim).state == ClaimState.BOUND
    lab.settle(agent)
    assert lab.claim(claim).state == ClaimState.BOUND
    lab.check_books([agent])


def test_one_that_can_not_be_given_back_does_not_keep_the_others_of_its_batch(lab, monkeypatch):
    """Of two claims one is released and gone meanwhile and one refused, and then Placement goes away."""
    agent = lab.agent()
    gone, refused = lab.create(), lab.create()
    allocations = lab.made.allocations
    allocate_all, deallocate = allocations.allocate_all, allocations.deallocate

    def away(vgpu_id):
        raise errors.Unavailable("away")

    def slow(orders):
        monkeypatch.undo()
        allocate_all([order for order in orders if order.key == gone.id])
        lab.release(gone)
        # Not lab.look: this conductor's queue did not begin this batch, and would take it for left.
        agent.look()
        lab.made.flush.flush(tuple)
        allocate_all([order for order in orders if order.key == gone.id])
        monkeypatch.setattr(allocations, "deallocate", away)
        return {refused.id: NoCapacity("no room")}

    monkeypatch.setattr(allocations, "allocate_all", slow)
    device, _ = lab.devices(agent)
    assert lab.bind([gone, refused], device.id).keys() == {refused.id}
    assert lab.claim(gone).state == ClaimState.RELEASED
    assert lab.claim(refused).state == ClaimState.QUEUED
    monkeypatch.setattr(allocations, "deallocate", deallocate)
    assert lab.allocated()
    lab.settle(agent)
    lab.check_books([agent])


def test_released_in_the_moment_of_the_reconcilers_repair(lab, meanwhile):
    agent = lab.agent()
    claim = lab.bound(agent)
    lab.made.allocations.deallocate(lab.vgpus()[0].id)

    def happening():
        lab.release(claim)
        agent.look()
        lab.serve()

    meanwhile(happening)
    lab.reconcile()
    assert lab.claim(claim).state == ClaimState.RELEASED
    assert not lab.allocated()


def test_a_claim_that_went_on_while_it_was_to_be_undone_keeps_what_it_has(lab, monkeypatch):
    """A slow conductor is taken for dead: it goes on right after the other has asked Placement."""
    agent = lab.agent()
    claim = lab.create(count=2)
    device_ids = tuple(device.id for device in lab.devices(agent))
    choice = lab.choice(claim, *device_ids)
    (planned,) = lab.made.binding.reserve([choice]).planned
    make_old(lab, claim)
    allocations = lab.made.allocations
    asked = allocations.get_allocation

    def slow(vgpu_id):
        found = asked(vgpu_id)
        monkeypatch.undo()
        allocations.allocate_all([planned.order()])
        lab.made.binding.hand_over([planned])
        agent.look()
        return found

    monkeypatch.setattr(allocations, "get_allocation", slow)
    lab.made.claim_repairs.end_allocating()
    assert lab.claim(claim).state == ClaimState.BOUND
    lab.check_books([agent])
