"""A host's revision grows with every change of its room, and with nothing else."""

from contextlib import contextmanager
from dataclasses import replace

import pytest

from gpupool.model import errors
from gpupool.model.attachment import AttachmentKind, AttachmentRequest
from gpupool.model.pool import Pool
from gpupool.model.reason import Reason
from gpupool.model.states import DeviceHealth


@contextmanager
def revising(lab, agent, grows=True):
    before = lab.host(agent).revision
    yield
    assert (lab.host(agent).revision > before) == grows


def test_vgpus_that_come_and_go(lab):
    agent = lab.agent()
    claim = lab.create(count=2)
    with revising(lab, agent):
        lab.serve()
    with revising(lab, agent, grows=False):
        lab.look(agent)
        attachment = AttachmentRequest(claim_id=claim.id, kind=AttachmentKind.PROCESS)
        lab.client.create_attachment(lab.ctxt, "a" * 36, attachment)
        lab.look(agent)
        lab.release(claim)
    with revising(lab, agent):
        lab.look(agent)
    assert not lab.vgpus()


def test_what_is_undone(lab):
    agent = lab.agent()
    claim = lab.create()
    choice = lab.choice(claim, lab.devices(agent)[0].id)
    with revising(lab, agent):
        (planned,) = lab.made.binding.reserve([choice]).planned
    with revising(lab, agent):
        lab.made.binding.undo([(planned, Reason("tried only"))])


@pytest.mark.parametrize(
    "change",
    [
        {"memory_mib": 2048},
        {"traits": ("CUSTOM_NEW",)},
        {"health": DeviceHealth.FAILED},
        {"product": "Other Device"},
        {"link_group": "bridge-0"},
        {"extends_memory": True},
    ],
)
def test_devices_that_change(lab, change):
    agent = lab.agent()
    agent.devices["ref-0"] = replace(agent.devices["ref-0"], **change)
    with revising(lab, agent):
        agent.send()
    stored = lab.devices(agent)[0]
    assert {name: getattr(stored, name) for name in change} == change
    with revising(lab, agent, grows=False):
        agent.send()


def test_devices_that_come_and_go(lab):
    agent = lab.agent(devices=1)
    gone = agent.devices.pop("ref-0")
    with revising(lab, agent):
        agent.send()
    agent.devices["ref-1"] = replace(gone, key="ref-1")
    with revising(lab, agent):
        agent.send()


def test_what_the_operator_does(lab):
    agent = lab.agent()
    device, _ = lab.devices(agent)
    for enabled in (False, True):
        with revising(lab, agent):
            lab.client.set_device_enabled(lab.ctxt, device.id, enabled, "")
    pool = lab.client.create_pool(lab.ctxt, Pool(id="b" * 36, name="other"))
    with revising(lab, agent):
        lab.client.set_host_pool(lab.ctxt, lab.host(agent).id, pool.id)


def test_hosts_that_fall_silent_and_come_back(lab):
    agent = lab.agent()
    lab.silence(agent)
    with revising(lab, agent):
        lab.serve()
    with revising(lab, agent):
        agent.send()
    with revising(lab, agent, grows=False):
        agent.send()


@pytest.mark.parametrize("name", ["cpu_milli", "memory_mib"])
def test_what_a_host_has_for_programs(lab, name):
    agent = lab.agent()
    setattr(agent, name, 64_000)
    with revising(lab, agent):
        agent.send()
    assert getattr(lab.host(agent), name) == 64_000
    setattr(agent, name, -1)
    with pytest.raises(errors.Invalid, match=f"{name} is -1; allowed: 0 to"):
        agent.send()
