"""A host of which something ran out says so, takes nothing new, lets go what it has, and comes back.

The disks are real ones, small tmpfs; the limits are real ones of processes of their own.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from gpupool.agent.resources import MIB, Left
from gpupool.dataplane.handshake import Kind
from gpupool.model.attachment import AttachmentKind

from .stand_in import attachment, vgpu

ONE, TWO = vgpu(1), vgpu(2)
FIRST, SECOND = attachment(1, ONE), attachment(2, ONE, kind=AttachmentKind.CONTAINER)
FULL = "its state disk is full"


@pytest.fixture
def disk(host):
    """Return a function that mounts a small disk for all that the host's agent writes."""
    mounted = []

    def mount(options="size=1m"):
        where = host.state / "agent"
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", where]
        made = subprocess.run(command, check=False, capture_output=True, text=True)
        if made.returncode:
            pytest.skip(f"no tmpfs can be mounted here: {made.stderr.strip()}")
        mounted.append(where)
        host.conf.set_override("report_interval", 3600, "agent")
        return where

    yield mount
    host.close()
    for where in mounted:
        subprocess.run(["umount", "-l", where], check=True)


@contextmanager
def filled(where):
    """Fill the disk to its last byte."""
    path = where / ".fill"
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    yield
    path.unlink()


@contextmanager
def without_inodes(where):
    """Use up every file that the disk can have."""
    folder = where / "many"
    folder.mkdir()
    with suppress(OSError):
        for number in range(10**6):
            (folder / str(number)).touch()
    yield
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


@contextmanager
def read_only(where):
    """Mount the disk anew in its own place, for reading only."""
    subprocess.run(["mount", "--bind", where, where], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", where], check=True)
    yield
    subprocess.run(["umount", where], check=True)


def opened(host):
    program = host.program(FIRST)
    assert program.hello(Kind.OPEN).error == 0
    assert program.wait_ready() == 0
    return program


def files(where):
    return {str(path.relative_to(where)) for path in where.rglob("*")} - {".fill"}


def test_a_full_disk_takes_nothing_new_keeps_what_is_there_and_leaves_no_trace(host, disk):
    where = disk()
    host.conductor.want(1, [ONE], [FIRST])
    manager = host.start()
    host.wait_converged(1)
    program = opened(host)
    before = files(where)
    with filled(where):
        # Some of these may find a place that was freed for the desired state.
        host.conductor.want(2, [ONE, *map(vgpu, range(2, 12))], [FIRST, SECOND])
        manager.converge()
        report = host.conductor.reported()
        assert report.generation == 2
        assert report.unable_reason == FULL
        failed = [each for each in report.vgpus if each.error]
        assert len(report.vgpus) == 11
        assert failed
        assert all(each.host_fault and "No space left" in each.error for each in failed)
        assert ONE.id not in {each.id for each in failed}
        assert not any(each.host_fault for each in report.vgpus if not each.error)
        assert len(report.sessions) == 1
        # Nothing is left of what could not be written. The desired state could, in room kept for that:
        # at a restart an older one would bring back what was removed.
        assert not [name for name in files(where) - before if Path(name).name.startswith(".")]
        assert len(json.loads((where / "desired.json").read_text())["vgpus"]) == 11
        second = opened(host)
        second.close()
        host.conductor.want(3, [], [])
        manager.converge()
        program.wait_hung_up()
        report = host.conductor.reported()
        assert (report.vgpus, report.attachments, report.sessions) == ((), (), ())
        assert report.unable_reason == FULL
    host.conductor.want(4, [TWO])
    manager.converge()
    assert host.conductor.reported().unable_reason == ""
    assert [each.error for each in host.conductor.reported().vgpus] == [""]


def test_the_room_that_is_kept_is_spent_and_comes_back(host, disk):
    where = disk()
    host.conductor.want(1, [ONE], [FIRST])
    manager = host.start()
    host.wait_converged(1)
    kept = (where / "reserve").stat().st_size
    assert 0 < kept <= MIB // 20
    with filled(where):
        programs = []
        while (program := host.program(FIRST)).hello(Kind.OPEN).error == 0:
            assert program.wait_ready() == 0
            programs.append(program)
        # Those that were opened have records: an agent that starts again finds them.
        assert len(manager.host_report().sessions) == len(programs) == len(host.session_records()) > 1
    manager.converge()
    assert (where / "reserve").stat().st_size == kept


def test_an_agent_starts_on_a_full_disk_and_serves_what_there_was(host, disk):
    where = disk()
    host.conductor.want(1, [ONE], [FIRST])
    host.start()
    host.wait_converged(1)
    opened(host)
    host.stop()
    with filled(where):
        report = host.start().host_report()
        assert [each.id for each in report.vgpus] == [ONE.id]
        assert len(report.sessions) == 1
        assert report.unable_reason == FULL


@pytest.mark.parametrize(
    ("options", "trouble", "said"),
    [
        ("size=8m,nr_inodes=200", without_inodes, "its state disk has no room for more files"),
        ("size=8m", read_only, "its state disk is read-only"),
    ],
)
def test_a_disk_without_inodes_or_read_only_is_said_so(host, disk, options, trouble, said):
    where = disk(options)
    host.conductor.want(1, [ONE])
    manager = host.start()
    host.wait_converged(1)
    assert manager.host_report().unable_reason == ""
    with trouble(where):
        assert said in manager.host_report().unable_reason
    assert manager.host_report().unable_reason == ""
    assert not (where / ".probe").exists()


def test_a_disk_that_became_read_only_takes_nothing_from_what_is_there(host, disk):
    where = disk()
    host.conductor.want(1, [ONE], [FIRST])
    manager = host.start()
    host.wait_converged(1)
    opened(host)
    with read_only(where):
        host.conductor.want(2, [ONE, TWO], [FIRST])
        manager.converge()
        report = host.conductor.reported()
        made = {each.id: (bool(each.error), each.host_fault) for each in report.vgpus}
        assert made == {ONE.id: (False, False), TWO.id: (True, True)}
        assert len(report.sessions) == 1
    manager.converge()
    assert not any(each.error for each in host.conductor.reported().vgpus)


def test_what_is_left_of_a_full_disk_is_kept_for_what_is_there(host, disk):
    """The host is unable before nothing is left: then sessions can be opened still."""
    where = disk("size=4m")
    host.conductor.want(1, [ONE], [FIRST])
    manager = host.start()
    host.wait_converged(1)
    found = os.statvfs(where)
    left = found.f_bavail * found.f_frsize
    (where / ".fill").write_bytes(bytes(left - 4 * MIB // 20 + 4096))
    assert manager.host_report().unable_reason == FULL
    opened(host)
    (where / ".fill").unlink()


def test_an_agent_without_open_files_says_so(host):
    host.conductor.want(1)
    manager = host.start()
    host.wait_converged(1)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    holes = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    try:
        while True:
            # A few are left: what is kept for sessions. At last none is left to look with.
            holes.append(os.open("/dev/null", os.O_RDONLY))
            if len(holes) % 300 == 299:
                few = holes[-1] > 1024 - 52
                assert ("it has no open files left" in manager.host_report().unable_reason) == few
    except OSError:
        assert "it has no open files left" in manager.host_report().unable_reason
        os.close(holes.pop())
        os.close(holes.pop())
        assert "it has no open files left" in manager.host_report().unable_reason
    finally:
        for descriptor in holes:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert manager.host_report().unable_reason == ""


# Uses up what it may, says what the host says of that, lets go, and says again.
PROBE = """
import json, os, resource, sys, threading
import gpupool.conf
from gpupool.agent.folders import Folders
from gpupool.agent.reserve import Reserve
from gpupool.agent.resources import Resources

state, what, group = sys.argv[1:]
conf = gpupool.conf.new(files=[])
for name in ("state_path", "run_path", "cdi_path"):
    conf.set_override(name, state, "agent")
if group:
    with open(group + "/cgroup.procs", "w") as file:
        file.write(str(os.getpid()))
if what == "user":
    resource.setrlimit(resource.RLIMIT_NPROC, (20, 20))
    os.setresuid(54321, 54321, 54321)
folders = Folders.from_conf(conf)
resources = Resources(conf, folders, Reserve(folders.state))
said = [resources.unable_reason()]
over, threads, taken = threading.Event(), [], []
if what == "memory":
    with open(group + "/memory.limit_in_bytes") as limit, open(group + "/memory.usage_in_bytes") as used:
        taken.append(bytearray(int(limit.read()) - int(used.read()) - (6 << 20)))
        taken[0][::4096] = bytes(len(taken[0][::4096]))
else:
    try:
        for _ in range(97):
            thread = threading.Thread(target=over.wait)
            thread.start()
            threads.append(thread)
    except RuntimeError:
        pass
said.append(resources.unable_reason())
over.set()
for thread in threads:
    thread.join()
taken.clear()
said.append(resources.unable_reason())
print(json.dumps(said))
"""


@contextmanager
def control_group(controller, **limits):
    """Yield a group of the first version of cgroups with these limits."""
    folder = Path(f"/sys/fs/cgroup/{controller}/gpupool-test-{uuid.uuid4().hex[:8]}")
    try:
        folder.mkdir()
    except OSError as exc:
        pytest.skip(f"no cgroup can be made here: {exc}")
    try:
        for name, value in limits.items():
            (folder / name.replace("__", ".")).write_text(str(value))
        yield folder
    finally:
        folder.rmdir()


@pytest.fixture
def short_path():
    """A folder that another user reaches; a socket's path is short."""
    with tempfile.TemporaryDirectory(prefix="gp-") as name:
        yield Path(name)


def probed(state, what, group=""):
    state.chmod(0o777)  # another user writes there
    command = [sys.executable, "-c", PROBE, state, what, group]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_a_user_who_may_start_no_more_threads_is_said_so(short_path):
    assert probed(short_path, "user") == ["", "it has no processes left", ""]


def test_a_group_that_may_have_no_more_processes_is_said_so(short_path):
    with control_group("pids", pids__max=100) as group:
        assert probed(short_path, "group", str(group)) == ["", "it has no processes left", ""]


def test_a_group_whose_memory_is_used_up_is_said_so(short_path):
    with control_group("memory", memory__limit_in_bytes=400 * MIB) as group:
        assert probed(short_path, "memory", str(group)) == [
            "",
            "its agent's memory limit is reached",
            "",
        ]


def test_what_ran_out_has_to_be_there_twice_before_it_counts_again():
    keep = 10 * MIB
    assert Left("disk", 1000 * MIB, keep - 1, keep).is_short(before=False)
    assert not Left("disk", 1000 * MIB, keep, keep).is_short(before=False)
    assert Left("disk", 1000 * MIB, 2 * keep - 1, keep).is_short(before=True)
    assert not Left("disk", 1000 * MIB, 2 * keep, keep).is_short(before=True)


def test_of_a_small_disk_a_twentieth_is_kept():
    assert Left("disk", 2 * MIB, 2 * MIB // 20 - 1, 32 * MIB).is_short(before=False)
    assert not Left("disk", 2 * MIB, 2 * MIB // 20, 32 * MIB).is_short(before=False)
