"""Sessions that are to end: what a host is told, and when it is believed."""

from dataclasses import replace

import pytest

from gpupool.db import session_ends, sessions
from gpupool.model import errors
from gpupool.model.states import HostState
from testbed.simulated_agent import session_report


def opened(lab, agent):
    """Return two sessions of a new claim on a host that has reported them."""
    claim = lab.bound(agent, host=agent.host)
    attachment = lab.attach(claim)
    lab.look(agent)
    (vgpu,) = lab.vgpus(claim_id=claim.id)
    made = tuple(session_report(attachment, vgpu, number) for number in (1, 2))
    report(agent, made)
    return made


def report(agent, listed):
    """Report these sessions of a host; return which it is to end."""
    return agent.send(replace(agent.report(), sessions=tuple(listed))).ended_sessions


def known(lab):
    with lab.database.reader() as session:
        return [
            {one.id for one in found} for found in (sessions.list_(session), session_ends.list_(session))
        ]


def test_a_host_is_told_to_end_a_session_until_it_shows_that_it_did(lab):
    agent = lab.agent()
    ended, other = opened(lab, agent)
    before = lab.host(agent).generation
    lab.client.delete_session(lab.ctxt, ended.id)
    assert lab.host(agent).generation == before + 1
    assert known(lab) == [{ended.id, other.id}, {ended.id}]
    # A report from before it was told proves nothing, whatever it lists.
    for listed in ([other], [ended, other]):
        assert report(agent, listed) == (ended.id,)
    agent.apply(agent.send(replace(agent.report(), sessions=(ended, other))))
    assert agent.generation == before + 1
    # Its worker does not end at once.
    assert report(agent, [ended, other]) == (ended.id,)
    assert known(lab)[1] == {ended.id}
    assert report(agent, [other]) == ()
    assert known(lab) == [{other.id}, set()]
    with pytest.raises(errors.NotFound, match=f"session {ended.id} not found"):
        lab.client.delete_session(lab.ctxt, ended.id)


def test_ending_a_session_again_changes_nothing(lab):
    agent = lab.agent()
    ended, _ = opened(lab, agent)
    lab.client.delete_session(lab.ctxt, ended.id)
    generation = lab.host(agent).generation
    lab.client.delete_session(lab.ctxt, ended.id)
    assert lab.host(agent).generation == generation


def test_a_silent_host_is_told_when_it_comes_back(lab):
    agent = lab.agent()
    ended, other = opened(lab, agent)
    lab.silence(agent)
    lab.serve()
    assert lab.host(agent).state == HostState.DOWN
    lab.client.delete_session(lab.ctxt, ended.id)
    assert known(lab)[1] == {ended.id}
    assert report(agent, [ended, other]) == (ended.id,)
    assert lab.host(agent).state == HostState.UP


def test_what_another_host_says_of_a_session_counts_for_nothing(lab):
    agent, liar = lab.agent(), lab.agent()
    ended, other = opened(lab, agent)
    lab.client.delete_session(lab.ctxt, ended.id)
    for listed in ([], [ended]):
        assert report(liar, listed) == ()
        liar.look()
    assert known(lab) == [{ended.id, other.id}, {ended.id}]
    # Nor does a host that counts generations of its own.
    agent.generation = 1000
    assert report(agent, [other]) == (ended.id,)
    assert known(lab)[1] == {ended.id}


def test_a_host_that_is_forgotten_has_nothing_to_end(lab):
    agent = lab.agent()
    ended, _ = opened(lab, agent)
    (vgpu,) = lab.vgpus()
    lab.client.release_claim(lab.ctxt, vgpu.claim_id)
    lab.client.delete_session(lab.ctxt, ended.id)
    lab.silence(agent)
    lab.serve()
    lab.reconcile()
    lab.client.delete_host(lab.ctxt, lab.host(agent).id)
    assert known(lab) == [set(), set()]
