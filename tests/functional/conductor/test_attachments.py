"""Attachments: a claim made usable on the host of its vGPUs."""

import uuid
from dataclasses import replace

import pytest

from gpupool.conductor.claims import attachments as conductor_attachments
from gpupool.db import attachments
from gpupool.model import errors
from gpupool.model.attachment import AttachmentKind, AttachmentRequest
from gpupool.model.states import AttachmentState, ClaimState


def attach(lab, claim, host=None, attachment_id=None):
    request = AttachmentRequest(claim_id=claim.id, kind=AttachmentKind.PROCESS, host=host)
    return lab.client.create_attachment(lab.ctxt, attachment_id or str(uuid.uuid4()), request)


def stored(lab):
    with lab.database.reader() as session:
        return attachments.list_(session)


def test_an_attachment_becomes_ready_and_goes(lab):
    agent = lab.agent()
    claim = lab.bound(agent, count=2)
    attachment = attach(lab, claim)
    assert attachment.state == AttachmentState.PENDING
    agent.look()
    (ready,) = stored(lab)
    assert ready.state == AttachmentState.READY
    assert ready.environment == {
        "GPUPOOL_TICKET": ready.ticket,
        "GPUPOOL_SOCKET": f"/run/{ready.id}/session.sock",
    }
    assert ready.cdi_device == f"gpupool.org/vgpu={attachment.id}"
    spec = agent.attachments[attachment.id]
    assert spec.vgpu_ids == tuple(vgpu.id for vgpu in lab.vgpus(claim_id=claim.id))
    lab.client.delete_attachment(lab.ctxt, attachment.id)
    assert stored(lab)[0].state == AttachmentState.REMOVING
    lab.client.delete_attachment(lab.ctxt, attachment.id)
    agent.look()
    assert not agent.attachments
    assert not stored(lab)
    with pytest.raises(errors.NotFound, match=attachment.id):
        lab.client.delete_attachment(lab.ctxt, attachment.id)


def test_tickets_are_in_no_message_and_differ(lab):
    claim = lab.bound(lab.agent())
    assert {attach(lab, claim).ticket for _ in range(3)} == {""}
    tickets = {attachment.ticket for attachment in stored(lab)}
    assert len(tickets) == 3
    assert all(len(ticket) >= 32 for ticket in tickets)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"environment": {"BASH_ENV": "/tmp/x"}}, "has 'BASH_ENV'; allowed: GPUPOOL_SOCKET, GPUPOOL_T"),
        ({"environment": {"LD_PRELOAD": "/tmp/x.so"}}, "has 'LD_PRELOAD'; allowed"),
        ({"environment": {"GPUPOOL_SOCKET": "run/x"}}, "allowed: one absolute path"),
        ({"environment": {"LD_LIBRARY_PATH": "/a:/b"}}, "allowed: one absolute path"),
        ({"environment": {"LD_LIBRARY_PATH": "/a/../b"}}, "allowed: one absolute path"),
        ({"environment": {"LD_LIBRARY_PATH": "/a\nb"}}, "allowed: one absolute path"),
        ({"environment": {"LD_LIBRARY_PATH": "/" + 4096 * "a"}}, "allowed: one absolute path"),
        ({"cdi_device": "nvidia.com/gpu=all"}, "cdi_device is 'nvidia.com/gpu=all'; allowed: gpupool"),
    ],
)
def test_a_host_has_programs_given_nothing_but_what_they_need(lab, said, why):
    agent = lab.agent()
    attach(lab, lab.bound(agent))
    agent.apply(agent.send())
    report = agent.report()
    forged = replace(report.attachments[0], **said)
    with pytest.raises(errors.Invalid, match=why):
        agent.send(replace(report, attachments=(forged,)))
    assert [each.state for each in stored(lab)] == [AttachmentState.PENDING]


def test_a_ticket_that_a_host_reports_is_not_believed(lab):
    agent = lab.agent()
    attach(lab, lab.bound(agent))
    agent.apply(agent.send())
    report = agent.report()
    said = {"GPUPOOL_SOCKET": "/run/s", "GPUPOOL_TICKET": "another"}
    agent.send(replace(report, attachments=(replace(report.attachments[0], environment=said),)))
    (attachment,) = stored(lab)
    assert attachment.environment == {**said, "GPUPOOL_TICKET": attachment.ticket}


def test_the_same_message_twice_makes_one_attachment(lab):
    claim = lab.bound(lab.agent())
    attachment_id = str(uuid.uuid4())
    assert attach(lab, claim, None, attachment_id) == attach(lab, claim, None, attachment_id)
    assert len(stored(lab)) == 1


def test_the_id_of_another_claim_s_attachment_is_refused(lab):
    """Its ticket is not for whoever knows the id."""
    agent = lab.agent()
    mine, other = lab.bound(agent), lab.bound(agent)
    attachment = attach(lab, other)
    with pytest.raises(errors.Conflict, match=f"attachment id {attachment.id} is taken"):
        attach(lab, mine, None, attachment.id)


def test_a_host_has_no_more_attachments_than_it_can_report(lab, monkeypatch):
    """A report that lists more is refused as a whole: with many claims one project got a host down."""
    monkeypatch.setattr(conductor_attachments, "MOST_OF_HOST", 3)
    agent, elsewhere = lab.agent(), lab.agent()
    claims = [lab.bound(agent, host=agent.host) for _ in range(2)]
    made = [attach(lab, claims[number % 2]) for number in range(3)]
    with pytest.raises(errors.Conflict, match=f"host {agent.host} has 3 attachments"):
        attach(lab, claims[1])
    attach(lab, lab.bound(elsewhere, host=elsewhere.host))
    lab.client.delete_attachment(lab.ctxt, made[0].id)
    agent.look()
    attach(lab, claims[1])


def test_a_claim_has_no_more_attachments_than_allowed(lab):
    lab.conf.set_override("max_attachments_per_claim", 3, group="conductor")
    agent = lab.agent()
    claim, other = lab.bound(agent), lab.bound(agent)
    made = [attach(lab, claim) for _ in range(3)]
    with pytest.raises(
        errors.Conflict, match=f"claim {claim.id} has 3 attachments; allowed: .* 3.*delete"
    ):
        attach(lab, claim)
    assert attach(lab, claim, None, made[0].id).id == made[0].id
    attach(lab, other)
    lab.client.delete_attachment(lab.ctxt, made[0].id)
    with pytest.raises(errors.Conflict):
        attach(lab, claim)  # It is on its host still.
    agent.look()
    attach(lab, claim)


def test_only_a_bound_claim_can_be_attached(lab):
    agent = lab.agent()
    claim = lab.create()
    with pytest.raises(errors.Conflict, match="is queued; only a bound claim"):
        attach(lab, claim)
    lab.serve()
    with pytest.raises(errors.Conflict, match="is binding; only a bound claim"):
        attach(lab, claim)
    lab.look(agent)
    lab.release(claim)
    with pytest.raises(errors.Conflict, match="is releasing; only a bound claim"):
        attach(lab, claim)
    assert not stored(lab)


def test_an_attachment_of_no_claim_is_not_found(lab):
    request = AttachmentRequest(claim_id="no-such", kind=AttachmentKind.PROCESS)
    with pytest.raises(errors.NotFound, match="claim no-such not found"):
        lab.client.create_attachment(lab.ctxt, str(uuid.uuid4()), request)


def test_an_attachment_is_on_the_host_of_the_vgpus(lab):
    agent, other = lab.agent(), lab.agent()
    claim = lab.bound(agent, host=agent.host)
    with pytest.raises(errors.Invalid, match=f"host is {other.host}; allowed: {agent.host}, where"):
        attach(lab, claim, host=other.host)
    assert attach(lab, claim, host=agent.host).host_id == lab.host(agent).id
    assert attach(lab, claim, host=lab.host(agent).id).host_id == lab.host(agent).id


def test_a_host_that_is_down_takes_none(lab):
    agent = lab.agent()
    claim = lab.bound(agent)
    lab.silence(agent)
    lab.serve()
    with pytest.raises(errors.Conflict, match=f"host {agent.host} is down"):
        attach(lab, claim)


def test_a_host_may_refuse_and_then_do(lab):
    agent = lab.agent()
    claim = lab.bound(agent)
    attach(lab, claim)
    agent.apply(agent.send())
    # The vGPU is fine: only the attachment is refused.
    report = agent.report()
    refused = [type(each)(**{**vars(each), "error": "no room in /run"}) for each in report.attachments]
    agent.send(type(report)(**{**vars(report), "attachments": tuple(refused)}))
    (failed,) = stored(lab)
    assert (failed.state, failed.state_reason) == (AttachmentState.FAILED, "no room in /run")
    agent.look()
    (ready,) = stored(lab)
    assert (ready.state, ready.state_reason) == (AttachmentState.READY, "")


def test_attachments_go_with_their_claim(lab):
    agent = lab.agent()
    claim = lab.bound(agent)
    attach(lab, claim)
    agent.look()
    lab.release(claim)
    lab.look(agent)
    assert lab.claim(claim).state == ClaimState.RELEASED
    assert not stored(lab)
    assert not agent.attachments
