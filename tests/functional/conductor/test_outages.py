"""What a conductor does while something that it needs is away, and with what it left by that."""

import uuid

import amqp
import kombu
import oslo_messaging
import pytest

from gpupool.conductor.claims import binding, moving
from gpupool.model import errors
from gpupool.model.states import ClaimState, HostState
from gpupool.rpc import transport
from gpupool.rpc.agent import AgentClient
from tests.functional.conductor.lab import Lab
from tests.functional.conductor.test_queue_faults import unreachable  # noqa: F401

LIBRARIES = [
    kombu.exceptions.OperationalError("Server unexpectedly closed connection"),
    amqp.exceptions.RecoverableConnectionError("connection already closed"),
    ConnectionResetError(104, "Connection reset by peer"),
    TimeoutError("timed out"),
    oslo_messaging.MessageDeliveryFailure("Unable to connect to AMQP server"),
    oslo_messaging.MessagingTimeout("no answer"),
]


@pytest.mark.parametrize("error", LIBRARIES, ids=lambda error: type(error).__name__)
def test_errors_of_the_libraries_beneath_are_outages(lab, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(oslo_messaging.Transport, "_send", fail)
    with pytest.raises(errors.Unavailable) as caught:
        lab.client.echo(lab.ctxt, "token")
    assert caught.value.service == "messages"
    with pytest.raises(errors.Unavailable):
        lab.client.wake_queue(lab.ctxt)
    with pytest.raises(errors.Unavailable):
        lab.client.release_claim(lab.ctxt, "no-such")


def test_what_is_no_outage_passes():
    with pytest.raises(KeyError), transport.reaching():
        raise KeyError("a bug")
    with pytest.raises(errors.Conflict), transport.reaching():
        raise errors.Conflict("an answer")


def test_a_call_waits_no_longer_than_its_time_for_a_broker_that_was_never_there(lab):
    class Driver:
        calls = 0

        def _get_reply_q(self):
            Driver.calls += 1
            raise ConnectionRefusedError

    queue = transport.ReplyQueue(type("Transport", (), {"_driver": Driver()})())
    for _ in range(2):
        with pytest.raises(errors.Unavailable):
            queue.wait(30)
    assert Driver.calls == 2


def test_a_broker_that_is_away_keeps_no_claim_from_going_on(lab, monkeypatch):
    """What Placement refused is queued again though hosts of others could not be told to look."""
    agent = lab.agent()
    first, second = lab.devices(agent)
    lab.reserve(second.id)
    going, refused = lab.create(devices=(first.id,)), lab.create(devices=(second.id,))

    def fail(*_, **__):
        raise kombu.exceptions.OperationalError("Server unexpectedly closed connection")

    monkeypatch.setattr(AgentClient, "look", fail)
    lab.serve()
    assert lab.claim(refused).state == ClaimState.QUEUED
    lab.look(agent)
    assert lab.claim(going).state == ClaimState.BOUND


def test_the_database_goes_between_placements_answer_and_the_hand_over(
    lab,
    unreachable,  # noqa: F811
    monkeypatch,
):
    agent = lab.agent()
    claim = lab.create()
    failed = unreachable(monkeypatch, binding._hand_over)
    lab.serve()
    assert failed
    # One pass later it is with its host.
    lab.serve()
    assert lab.claim(claim).state == ClaimState.BINDING
    lab.look(agent)
    assert lab.claim(claim).state == ClaimState.BOUND
    lab.check_books([agent])


@pytest.fixture
def dead(lab, database, placement):
    """Another conductor, which is dead as soon as it has done what the test says."""
    dead = Lab(lab.conf, database, placement.client())
    dead.close()
    return dead


@pytest.mark.parametrize("answered", [True, False])
def test_what_a_dead_conductor_was_binding_the_leader_ends(lab, dead, answered):
    agent = lab.agent()
    claim = lab.create()
    device = lab.devices(agent)[0]
    made = dead.made.binding.reserve([lab.choice(claim, device.id)])
    if answered:
        dead.made.allocations.allocate_all([each.order() for each in made.planned])
    # While it gives signs of life it is its own affair.
    for beat in range(10):
        lab.made.peers.look({lab.made.id: beat, dead.made.id: beat})
        lab.conductor.tick()
    assert lab.claim(claim).state == ClaimState.ALLOCATING
    # Its row stays as it was: a killed one deletes nothing.
    looks = 0
    while not lab.made.peers.gone(dead.made.id):
        looks += 1
        lab.made.peers.look({lab.made.id: 10 + looks, dead.made.id: 9})
    assert looks == 5
    lab.conductor.tick()
    assert lab.claim(claim).state == ClaimState.BINDING
    lab.look(agent)
    assert lab.claim(claim).state == ClaimState.BOUND
    lab.check_books([agent])


def test_what_is_on_its_way_is_not_ended_by_its_own_conductor(lab):
    agent = lab.agent()
    claim = lab.create()
    device = lab.devices(agent)[0]
    lab.made.binding.reserve([lab.choice(claim, device.id)])
    lab.made.abandoned.end({claim.id}, leads=True)
    assert lab.claim(claim).state == ClaimState.ALLOCATING
    lab.made.abandoned.end(set(), leads=False)
    assert lab.claim(claim).state == ClaimState.QUEUED


def test_while_placement_is_known_to_be_away_nothing_changes_and_nothing_is_asked(lab, placement):
    agent = lab.agent()
    leaving = lab.bound(agent)
    waiting = lab.create()
    up = [False]
    lab.made.dependencies.placement.answers = lambda: up[0]
    lab.release(leaving)
    agent.look()
    generations = {each.id: lab.claim(each).generation for each in (leaving, waiting)}
    placement.requests.clear()
    for _ in range(5):
        lab.serve()
        lab.reconcile()
    assert placement.requests == []
    assert {each.id: lab.claim(each).generation for each in (leaving, waiting)} == generations
    up[0] = True
    lab.serve()
    lab.look(agent)
    assert lab.claim(leaving).state == ClaimState.RELEASED
    assert lab.claim(waiting).state == ClaimState.BOUND


def test_hosts_are_not_silent_while_nobody_listens(lab):
    agent = lab.agent()
    lab.silence(agent)
    listens = [False]
    lab.made.dependencies.listens = lambda: listens[0]
    lab.conductor.watch()
    assert lab.host(agent).state == HostState.UP
    # What was counted before the outage is forgotten, too.
    listens[0] = True
    lab.conductor.watch()
    assert lab.host(agent).state == HostState.UP
    lab.silence(agent)
    lab.conductor.watch()
    assert lab.host(agent).state == HostState.DOWN


def test_who_can_not_do_the_work_does_not_lead(lab):
    lab.made.dependencies.missing = lambda: "the message service"
    lab.conductor.lead()
    waiting = lab.create()
    agent = lab.agent()
    assert lab.claim(waiting).state == ClaimState.QUEUED
    lab.made.dependencies.missing = lambda: ""
    lab.conductor.lead()
    lab.serve()
    lab.look(agent)
    assert lab.claim(waiting).state == ClaimState.BOUND


@pytest.mark.parametrize("how", ["gone", "outage"])
def test_a_move_that_nobody_ends_is_undone_in_the_next_run_of_the_reconciler(
    lab,
    dead,
    unreachable,  # noqa: F811
    monkeypatch,
    how,
):
    agent = lab.agent()
    claim = lab.bound(agent)
    (vgpu,) = lab.vgpus(claim_id=claim.id)
    other = next(each.id for each in lab.devices(agent) if each.id != vgpu.device_id)
    if how == "outage":
        unreachable(monkeypatch, moving.switch)
        with pytest.raises(errors.Unavailable):
            lab.made.moving.move(vgpu.id, other)
        assert len(lab.allocated()) == 2
    else:
        of_move = str(uuid.uuid4()), vgpu.id, other
        dead.made.transactions.commit(moving.plan, *of_move, dead.made.inventory)
        lab.made.peers.look({dead.made.id: 1})
        lab.reconcile()
        assert len(lab.moves()) == 1
        lab.made.peers.look({lab.made.id: 1})
    lab.reconcile()
    assert (lab.vgpus(), lab.moves()) == ([vgpu], [])
    lab.check_books([agent])
