"""Each vGPU's workers are in a control group of their own, where the host allows it."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gpupool.agent import cgroups, confinement, process
from gpupool.agent.cgroups import Legacy, Unified
from gpupool.agent.inventory import Inventory
from gpupool.dataplane import worker
from gpupool.dataplane.handshake import Kind

from .stand_in import attachment, eventually, vgpu

ONE, TWO = vgpu(1, memory_mib=100, sessions=3), vgpu(2)
FIRST, SECOND = attachment(1, ONE), attachment(2, TWO)


@pytest.fixture
def folder(host, request):
    """The folder of the agent's groups by memory, of a host whose agent makes them."""
    probe = cgroups.find(f"gpupool-test-{os.getpid()}")
    if probe is None:
        pytest.skip("no control groups that this process may make")
    probe.close()
    host.conf.set_override("cgroups", True, "agent")
    host.conf.set_override("report_interval", 3600, "agent")
    named = confinement.Confinement(host.conf, host.folders, None)
    groups = cgroups.find(named.name)
    yield groups.folders()["memory"]
    host.close()
    groups.close()
    assert not groups.folders()["memory"].exists()


def opened(host, wanted):
    program = host.program(wanted)
    assert program.hello(Kind.OPEN).error == 0
    assert program.wait_ready() == 0
    return program


def members(group):
    return sorted(map(int, (group / "cgroup.procs").read_text().split()))


def limit(group):
    file = group / "memory.max"
    file = file if file.exists() else group / "memory.limit_in_bytes"
    return int(file.read_text()) >> 20


def test_workers_are_in_the_group_of_their_vgpu(host, folder):
    host.conductor.want(1, [ONE, TWO], [FIRST, SECOND])
    manager = host.start()
    host.wait_converged(1)
    programs = [opened(host, one) for one in (FIRST, FIRST, SECOND)]
    eventually(lambda: len(manager.host_report().sessions) == 3)
    sessions = manager.host_report().sessions
    for one, count in ((ONE, 2), (TWO, 1)):
        workers = sorted(each.worker_pid for each in sessions if each.vgpu_id == one.id)
        assert len(workers) == count
        assert members(folder / one.id) == workers
    assert os.getpid() not in members(folder / ONE.id)
    # 16 and 64 for each session, twice its memory shared, and its memory, which is the host's here.
    assert limit(folder / ONE.id) == 3 * 16 + 200 + 3 * 64 + 100
    for program in programs:
        program.close()
    eventually(lambda: not host.session_records())
    host.conductor.want(2, [TWO], [SECOND])
    manager.converge()
    manager.converge()
    assert [path.name for path in folder.iterdir() if path.is_dir()] == [TWO.id]


def test_memory_that_a_program_keeps_of_a_vgpu_that_is_gone_counts_for_its_project(host, folder):
    """A ring is the program's as long as it likes; what the worker wrote there is the agent's memory."""
    ours, again, others = (vgpu(number, project=name) for number, name in ((1, "p"), (2, "p"), (3, "q")))
    ask = [attachment(number, one) for number, one in enumerate((ours, again, others), 1)]
    host.conf.set_override("vgpu_host_memory_mib", 64, "agent")
    host.conductor.want(1, [ours, others], [ask[0], ask[2]])
    manager = host.start()
    host.wait_converged(1)
    ring = os.memfd_create("ring")
    written = f"open('{folder / ours.id}/cgroup.procs', 'w').write('0'); import os; "
    written += f"os.write({ring}, bytes(80 << 20))"
    subprocess.run([sys.executable, "-c", written], pass_fds=[ring], check=True)
    opened(host, ask[0]).close()
    eventually(lambda: not host.session_records())
    host.conductor.want(2, [again, others], [ask[1], ask[2]])
    manager.converge()
    refused = host.program(ask[1]).hello(Kind.OPEN)
    assert refused.error
    assert "MiB of this host's memory of sessions whose vGPUs are gone" in refused.message
    opened(host, ask[2]).close()
    host.conductor.want(3, [ours, again, others], [ask[1], ask[2]])
    manager.converge()
    opened(host, ask[1]).close()  # what is there again is within its own bounds
    host.conductor.want(4, [again, others], [ask[1], ask[2]])
    os.close(ring)
    eventually(lambda: manager.converge() or not (folder / ours.id).exists())
    opened(host, ask[1])


def test_a_worker_that_takes_more_than_its_vgpu_may_is_ended_and_no_other(host, folder, monkeypatch):
    """What a worker does whose client has taken it over: it takes memory and charges nobody for it."""
    taker = host.state / "taker"
    taker.write_text(
        f"#!{sys.executable}\nimport sys\nsys.stdin.read()\n"
        "held = []\nwhile True:\n    held.append(bytearray(b'x') * (1 << 20))\n"
    )
    taker.chmod(0o755)
    host.conductor.want(1, [ONE, TWO], [FIRST, SECOND])
    manager = host.start()
    host.wait_converged(1)
    opened(host, SECOND)
    eventually(lambda: len(manager.host_report().sessions) == 1)
    spawn = worker.spawn
    monkeypatch.setattr(worker, "spawn", lambda spec, _: spawn(spec, taker))
    victim = host.program(FIRST)
    assert victim.hello(Kind.OPEN).error == 0
    victim.wait_hung_up()
    eventually(lambda: len(manager.host_report().sessions) == 1)
    (stays,) = manager.host_report().sessions
    assert stays.vgpu_id == TWO.id
    assert process.start_of(stays.worker_pid)


def test_an_agent_without_vgpus_leaves_nothing(host, folder):
    host.conductor.want(1, [ONE], [FIRST])
    manager = host.start()
    host.wait_converged(1)
    assert (folder / ONE.id).exists()
    host.conductor.want(2)
    manager.converge()
    assert not folder.exists()
    host.conductor.want(3, [ONE], [FIRST])
    manager.converge()
    assert (folder / ONE.id).exists()


def test_groups_are_found_again(host, folder):
    host.conductor.want(1, [ONE, TWO], [FIRST, SECOND])
    host.start()
    host.wait_converged(1)
    stays = opened(host, FIRST)
    eventually(lambda: all(host.worker_pids()))
    (worker,) = host.worker_pids()
    host.stop()
    assert members(folder / ONE.id) == [worker]
    assert not (folder / TWO.id).exists()
    (folder / "left-by-a-crash").mkdir()
    manager = host.start()
    manager.converge()
    assert members(folder / ONE.id) == [worker]
    opened(host, FIRST)
    assert len(members(folder / ONE.id)) == 2
    assert (folder / TWO.id).exists()
    assert not (folder / "left-by-a-crash").exists()
    stays.close()


@pytest.mark.parametrize("before", [False, True])
def test_a_worker_found_again_is_put_into_its_group(host, folder, before):
    """Its agent was killed before it did that.

    One of ``before`` there were groups may hold far more than is allowed now, and is left alone.
    """
    host.conductor.want(1, [ONE], [FIRST])
    host.start()
    host.wait_converged(1)
    stays = opened(host, FIRST)
    eventually(lambda: all(host.worker_pids()))
    (worker,) = host.worker_pids()
    host.stop()
    (folder.parent / "cgroup.procs").write_text(str(worker))
    assert members(folder / ONE.id) == []
    if before:
        (path,) = host.folders.sessions.glob("[!.]*")
        path.write_text(json.dumps({**json.loads(path.read_text()), "ring_mib": 0}))
    host.start()
    assert members(folder / ONE.id) == ([] if before else [worker])
    stays.close()


def test_a_group_that_could_not_be_made_is_made_later(host, folder, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    monkeypatch.setattr(cgroups.Cgroups, "make", fail)
    host.conductor.want(1, [ONE], [FIRST])
    manager = host.start()
    host.wait_converged(1)
    assert not folder.exists()
    monkeypatch.undo()
    manager.converge()
    assert limit(folder / ONE.id)


def test_groups_are_looked_for_before_any_process_is_started(host, monkeypatch):
    """With version 2 no group below one that holds processes works; the agent itself can move away."""
    order = []
    monkeypatch.setattr(confinement.Confinement, "start", lambda _: order.append("groups"))
    monkeypatch.setattr(Inventory, "start", lambda *_: order.append("processes"))
    host.start()
    assert order == ["groups", "processes"]


def test_a_group_that_cannot_be_used_keeps_no_session(host, folder, caplog):
    host.conductor.want(1, [ONE], [FIRST])
    manager = host.start()
    host.wait_converged(1)
    (folder / ONE.id).rmdir()
    opened(host, FIRST)
    eventually(lambda: manager.host_report().sessions)
    assert f"the control group of {ONE.id} is not as it should be" in caplog.text


def test_where_there_are_none_it_is_said_once(host, monkeypatch, caplog):
    monkeypatch.setattr(cgroups, "mounts", lambda: iter(()))
    host.conf.set_override("cgroups", True, "agent")
    host.conductor.want(1, [ONE], [FIRST])
    manager = host.start()
    host.wait_converged(1)
    opened(host, FIRST)
    manager.converge()
    said = [one for one in caplog.messages if "no control groups" in one]
    assert said == [
        "workers have no control groups, only what they charge bounds them: "
        "[Errno 95] no memory controller is mounted: '/sys/fs/cgroup'"
    ]


def unified(own, controllers="memory pids cpu io"):
    """Make a folder look like a group of version 2, as far as it is read."""
    os.makedirs(own, exist_ok=True)
    (own / "cgroup.controllers").write_text(controllers)
    (own / "cgroup.subtree_control").touch()


@pytest.mark.parametrize("inside", ["", "agent"])
def test_version_2_has_one_folder_below_the_agents_own(tmp_path, inside, monkeypatch):
    """In plain files: the kernel of a test's machine may have version 1 only."""
    unified(tmp_path)
    unified(tmp_path / inside)
    mkdir = Path.mkdir
    monkeypatch.setattr(Path, "mkdir", lambda self, *a, **k: mkdir(self, *a, **k) or unified(self))
    groups = Unified(tmp_path / inside, "gpupool-x")
    groups.make("vgpu", cgroups.Limits(memory_mib=300, tasks=99))
    made = tmp_path / "gpupool-x" / "vgpu"
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+memory +pids +cpu"
    assert (tmp_path / "gpupool-x/cgroup.subtree_control").read_text() == "+memory +pids +cpu"
    assert ((made / "memory.max").read_text(), (made / "pids.max").read_text()) == (str(300 << 20), "99")
    groups.add("vgpu", 17)
    assert (made / "cgroup.procs").read_text() == "17"
    assert groups.names() == {"vgpu"}


def test_version_2_an_agent_in_a_leaf_stays_there_beside_others(tmp_path, monkeypatch):
    """Workers of before an upgrade are above: if those that it starts were, too, it never had groups."""
    unified(tmp_path)
    unified(tmp_path / "agent")
    write = Path.write_text

    def busy(path, *arguments):
        if path.name == "cgroup.subtree_control":
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(path))
        return write(path, *arguments)

    monkeypatch.setattr(Path, "write_text", busy)
    with pytest.raises(OSError, match="busy"):
        Unified(tmp_path / "agent", "gpupool-x")
    assert not (tmp_path / "cgroup.procs").exists()


def test_version_2_without_memory_is_of_no_use(tmp_path):
    unified(tmp_path, "hugetlb")
    with pytest.raises(OSError, match="no memory controller"):
        Unified(tmp_path, "gpupool-x")


def test_version_1_needs_memory_alone(tmp_path):
    (tmp_path / "memory").mkdir()
    groups = Legacy({"memory": tmp_path / "memory", "pids": tmp_path / "not-there"}, "gpupool-x")
    assert list(groups.folders()) == ["memory"]
    with pytest.raises(PermissionError):
        Legacy({"memory": tmp_path / "not-there"}, "gpupool-x")
    with pytest.raises(OSError, match="no memory controller"):
        Legacy({"pids": tmp_path}, "gpupool-x")
