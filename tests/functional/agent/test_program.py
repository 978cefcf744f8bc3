"""Unmodified programs on a vGPU of an agent: the real runtime, worker and reference device."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gpupool.agent import uids
from gpupool.dataplane import paths
from gpupool.dataplane.ledger import Ledger
from tests.markers import needs_root

from .stand_in import TIMEOUT, attachment, eventually, vgpu

PROGRAM = Path(__file__).with_name("program.py")
KERNELS = PROGRAM.parents[3] / "testbed" / "kernels.c"
DEVICE_UNAVAILABLE = 46
OUT_OF_MEMORY = 2
ONE, TWO = vgpu(1), vgpu(2, memory_mib=100, device="ref-1")


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    image = tmp_path_factory.mktemp("kernels") / "kernels.so"
    flags = ["-O2", "-shared", "-fPIC", f"-I{paths.REFERENCE_INCLUDE}"]
    subprocess.run(["gcc", *flags, KERNELS, "-o", image], check=True)
    return image


@pytest.fixture
def manager(host):
    pytest.importorskip("cuda.bindings", reason="the demo extra is not installed")
    host.conductor.want(1, [ONE, TWO], [attachment(1, ONE, TWO), attachment(2, TWO)])
    manager = host.start()
    host.wait_converged(1)
    return manager


def start(manager, wanted, *arguments, **environment):
    (reported,) = (one for one in manager.host_report().attachments if one.id == wanted.id)
    return subprocess.Popen(
        [sys.executable, PROGRAM, *arguments],
        # The ticket is not reported: who may use the attachment adds it.
        env={
            "PATH": os.environ["PATH"],
            "GPUPOOL_TICKET": wanted.ticket,
            **reported.environment,
            **environment,
        },
        stdout=subprocess.PIPE,
        text=True,
    )


def sessions(manager, count):
    """Return the sessions once there are so many: a program may work before its agent lists it."""
    eventually(lambda: len(manager.host_report().sessions) == count)
    return manager.host_report().sessions


def outcome(program):
    output, _ = program.communicate(timeout=3 * TIMEOUT)
    assert program.returncode == 0
    return json.loads(output.splitlines()[-1])


def test_a_program_sees_its_claim_as_its_device(host, manager):
    assert outcome(start(manager, attachment(1, ONE, TWO), "report")) == {
        "count": 2,
        "total_mib": 512,
        "free_mib": 16,
        "too_much": OUT_OF_MEMORY,
        "allocated": 0,
        "copied": True,
    }
    eventually(lambda: not host.session_records())


def test_two_programs_share_a_vgpus_memory(host, manager):
    looping = start(manager, attachment(2, TWO), "loop")
    assert looping.stdout.readline() == "looping\n"
    (session,) = sessions(manager, 1)
    assert (session.vgpu_id, session.program_pid) == (TWO.id, looping.pid)
    assert outcome(start(manager, attachment(2, TWO), "report"))["total_mib"] == 100
    looping.kill()
    looping.communicate()
    eventually(lambda: not host.session_records())
    assert [one.memory_used_mib for one in manager.host_report().vgpus] == [0, 0]


def test_each_rank_of_a_program_lands_on_a_vgpu_of_its_own(host, manager):
    """As launchers of distributed programs start them; one is told its device by the vGPU's id."""
    wanted = attachment(1, ONE, TWO)
    ranks = [
        start(manager, wanted, "loop", CUDA_VISIBLE_DEVICES=device)
        for device in ("0", "1", f"GPU-{TWO.id}")
    ]
    for one in ranks:
        assert one.stdout.readline() == "looping\n"
    used = {one.program_pid: one.vgpu_id for one in sessions(manager, 3)}
    assert [used[one.pid] for one in ranks] == [ONE.id, TWO.id, TWO.id]
    for one in ranks:
        one.kill()
        one.communicate()


def test_a_program_whose_vgpu_goes_gets_device_lost(host, manager):
    program = start(manager, attachment(2, TWO), "loop")
    assert program.stdout.readline() == "looping\n"
    host.conductor.want(2, [ONE], [])
    manager.look()
    assert outcome(program) == {"error": DEVICE_UNAVAILABLE}


def test_a_program_outlives_its_agent(host, manager):
    program = start(manager, attachment(2, TWO), "loop")
    assert program.stdout.readline() == "looping\n"
    host.stop()
    manager = host.start()
    assert [one.program_pid for one in sessions(manager, 1)] == [program.pid]
    assert program.poll() is None
    host.conductor.want(2)
    manager.look()
    assert outcome(program) == {"error": DEVICE_UNAVAILABLE}


def _debts(host):
    return list(json.loads(host.folders.debts.read_text())["debts"].values())


def test_a_kernel_that_runs_when_its_claim_goes_is_owed_by_the_next(host, manager, kernels):
    """Its worker is killed: nobody measures it to its end."""
    first, second = vgpu(3, compute=1, project="p"), vgpu(4, compute=1, project="p")
    host.conductor.want(2, [first], [attachment(3, first)])
    manager.look()
    host.wait_converged(2)
    program = start(manager, attachment(3, first), "hang", kernels)
    assert program.stdout.readline() == "hanging\n"
    began = time.monotonic_ns()
    time.sleep(0.3)
    ended = time.monotonic_ns()
    host.conductor.want(3)
    manager.look()
    host.wait_converged(3)
    assert outcome(program) == {"error": DEVICE_UNAVAILABLE}
    (debt,) = _debts(host)
    assert (debt["project_id"], debt["device_key"], debt["compute"]) == ("p", "ref-0", 1)
    assert debt["debt_ns"] > 0.98 * (ended - began)
    host.conductor.want(4, [second])
    manager.look()
    host.wait_converged(4)
    assert _debts(host) == []
    assert Ledger(host.folders.ledgers / second.id).debt_ns(1, time.monotonic_ns()) > 0


@needs_root
def test_workers_of_each_vgpu_run_as_a_user_of_their_own(host, manager):
    programs = [
        start(manager, attachment(2, TWO), "loop"),
        start(manager, attachment(1, ONE, TWO), "loop"),
    ]
    for program in programs:
        assert program.stdout.readline() == "looping\n"
    users = {}
    for session in sessions(manager, 2):
        status = Path(f"/proc/{session.worker_pid}/status").read_text()
        (user,) = set(re.search("Uid:(.*)", status)[1].split())
        assert int(user) in uids.parse(host.conf.agent.worker_uids)
        assert "CapEff:\t0000000000000000\n" in status
        assert "Seccomp:\t2\n" in status
        users[session.vgpu_id] = user
    assert len(set(users.values())) == len(users) == 2
    manager.stop(end_sessions=True)
    host.managers.clear()
    for program in programs:
        assert outcome(program) == {"error": DEVICE_UNAVAILABLE}


@needs_root
def test_a_vgpu_keeps_its_user_over_a_restart(host, manager):
    before = [manager._vgpus.worker_uid(one.id) for one in (ONE, TWO)]
    host.stop()
    manager = host.start()
    assert [manager._vgpus.worker_uid(one.id) for one in (ONE, TWO)] == before


@needs_root
def test_a_vgpu_whose_user_another_has_gets_a_new_one(host, manager):
    uid = manager._vgpus.worker_uid(TWO.id)
    entry = uids.REGISTRY / str(uid)
    entry.unlink()
    entry.symlink_to(host.folders.ledgers / ONE.id)
    program = start(manager, attachment(2, TWO), "loop")
    assert program.stdout.readline() == "looping\n"
    (session,) = sessions(manager, 1)
    status = Path(f"/proc/{session.worker_pid}/status").read_text()
    assert f"Uid:\t{manager._vgpus.worker_uid(TWO.id)}\t" in status
    assert manager._vgpus.worker_uid(TWO.id) != uid
    program.kill()
    program.communicate()


@needs_root
def test_a_vgpu_without_a_user_is_refused(host):
    uid = 2_099_999_999
    host.conf.set_override("worker_uids", f"{uid}-{uid}", "agent")
    host.conductor.want(1, [ONE, TWO], [attachment(1, ONE), attachment(2, TWO)])
    manager = host.start()
    host.wait_converged(1)
    first, second = sorted(manager.host_report().vgpus, key=lambda one: one.error)
    assert first.error == ""
    assert "no user is left for the workers of another vGPU" in second.error
    host.conductor.want(2, [ONE if second.id == ONE.id else TWO])
    manager.look()
    host.wait_converged(2)
    assert [one.error for one in manager.host_report().vgpus] == [""]
