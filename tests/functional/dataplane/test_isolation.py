"""Workers of different vGPUs: nothing that runs in one gets at another, and nothing of it stays.

The reference device's kernels are host code, so a kernel is all that a hostile tenant needs.
"""

import errno
import os
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gpupool.dataplane import c_flags, paths, worker
from gpupool.dataplane.worker import Sandbox
from testbed.local_agent import LocalAgent, Vgpu
from tests.functional.dataplane.raw_client import ARENA_AT, NUMBERS, RawClient
from tests.markers import needs_root

pytestmark = needs_root
SHARED = [Path("/tmp/gpupool-probe"), Path("/dev/shm/gpupool-probe")]
HERE = Path(__file__).parent
MODULE, FUNCTION = (1 << 24) | 1, (1 << 24) | 2
SESSIONS = 20
DENIED, HIDDEN, UNKNOWN = errno.EPERM, errno.ENOENT, errno.ENOSYS
EXPECTED = {
    **dict.fromkeys(("mem", "maps", "environ", "cmdline", "status", "fd"), HIDDEN),
    **dict.fromkeys(("ptrace", "process_vm_readv", "process_vm_writev", "pidfd"), DENIED),
    **dict.fromkeys(("kill", "tgkill"), DENIED),
    **dict.fromkeys(("shm_open", "shmget", "msgget", "semget", "mq_open"), DENIED),
    **dict.fromkeys(("file in /tmp", "file in /dev/shm", "folder"), DENIED),
    **dict.fromkeys(("socket", "unix socket", "setuid", "dumpable", "mount", "unshare"), DENIED),
    **dict.fromkeys(("fork", "execve"), DENIED),
    "passwd": HIDDEN,
    # To standard output and error: they are an end of a pipe that can only be read.
    "write": errno.EBADF,
    # Folders can't be opened at all.
    **dict.fromkeys(("hosts", "process list", "sys"), DENIED),
}
# What a deny list leaves: files, within folders of the worker's own or that are read-only to its user.
NVIDIA = EXPECTED | {
    "file in /tmp": 0,
    "file in /dev/shm": 0,
    "folder": errno.EEXIST,
    "shm_open": 0,
    "passwd": 0,
    "hosts": errno.EACCES,
    "process list": 0,
    "sys": 0,
}


@pytest.fixture(scope="module")
def probe(tmp_path_factory) -> bytes:
    image = tmp_path_factory.mktemp("probe") / "probe.so"
    include = f"-I{paths.REFERENCE_INCLUDE}"
    command = ["gcc", "-O1", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", "-shared", "-fPIC", include]
    subprocess.run([*command, HERE / "isolation_probe.c", "-o", image], check=True)
    return image.read_bytes()


@pytest.fixture(scope="module")
def spy(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("spy")
    program = folder / "spy"
    command = ["gcc", *c_flags.compile_flags()]
    subprocess.run([*command, HERE / "isolation_spy.c", "-o", program], check=True)
    return program


@pytest.fixture
def tenants(agent):
    """Return agents of two tenants; the first has two vGPUs."""
    return agent(Vgpu(100, 64), ring_mib=8), agent(Vgpu(100, 64), ring_mib=8)


def run_probe(client: RawClient, image: bytes, other: int) -> dict[str, int]:
    """Run the probe in the client's worker against a process; return what came of each attempt."""
    client.memory[ARENA_AT : ARENA_AT + len(image)] = image
    client.send(NUMBERS["image_part"], struct.pack("<QQ", 0, len(image)))
    assert client.ask("module_load", struct.pack("<QQII", MODULE, len(image), 0, 0))[0] == 0
    assert client.ask("module_function", struct.pack("<QQ", MODULE, FUNCTION) + b"probe")[0] == 0
    _, reply = client.ask("memory_allocate", struct.pack("<QQ", 4096, 0))
    (out,) = struct.unpack("<Q", reply)
    parameters = struct.pack("<Qq", out, other)
    sizes = struct.pack("<QQ3I3IIIII", FUNCTION, 0, 1, 1, 1, 1, 1, 1, 0, 0, len(parameters), 0)
    client.send(NUMBERS["launch"], sizes + parameters)
    assert client.ask("cuCtxSynchronize")[0] == 0
    _, text = client.ask("copy_out_small", struct.pack("<QQQ", out, 2048, 0))
    lines = text.split(b"\0")[0].decode().splitlines()
    return {name: int(number) for name, _, number in (line.rpartition(" ") for line in lines)}


def fields(worker: "subprocess.Popen[bytes]") -> dict[str, str]:
    lines = Path(f"/proc/{worker.pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def test_a_workers_code_reaches_no_other_process_and_leaves_nothing(tenants, probe):
    ours, theirs = (RawClient(agent) for agent in tenants)
    sibling = RawClient(tenants[0])
    for other in (theirs.worker.pid, sibling.worker.pid, os.getpid(), 1):
        assert run_probe(RawClient(tenants[0]), probe, other) == EXPECTED
    assert theirs.hang_up() == ours.hang_up() == 0


def test_with_a_deny_list_other_processes_are_out_of_reach_too(agent, probe, tmp_path):
    tenants = [agent(Vgpu(100, 64), ring_mib=8, sandbox=Sandbox.NVIDIA) for _ in range(2)]
    theirs = RawClient(tenants[1])
    sibling = RawClient(tenants[0])
    for other in (theirs.worker.pid, sibling.worker.pid, os.getpid(), 1):
        client = RawClient(tenants[0])
        assert run_probe(client, probe, other) == NVIDIA
        assert client.hang_up() == 0
    assert not [path for path in SHARED if path.exists()]


def test_where_the_host_allows_no_namespaces_other_processes_are_out_of_reach_too(
    agent, native, probe, tmp_path
):
    without = tmp_path / "native"
    shutil.copytree(native, without)
    real = (without / "gpupool-worker").rename(without / "worker")
    (without / "gpupool-worker").write_text(
        f'#!/bin/sh\nexec setpriv --bounding-set=-sys_admin {real} "$@"\n'
    )
    (without / "gpupool-worker").chmod(0o755)
    uid = 2_099_980_000
    missing = worker.missing_isolation(Sandbox.REFERENCE, uid, without / "gpupool-worker")
    parts = ["IPC namespace", "network namespace", "mount namespace"]
    assert missing == [f"{part}: Operation not permitted" for part in parts]
    tenants = [agent(Vgpu(100, 64), ring_mib=8, native=without) for _ in range(2)]
    theirs = RawClient(tenants[1])
    sibling = RawClient(tenants[0])
    for other in (theirs.worker.pid, sibling.worker.pid, os.getpid(), 1):
        client = RawClient(tenants[0])
        found = run_probe(client, probe, other)
        # By Landlock what is not listed can't be opened, though it is seen.
        assert found == {
            name: errno.EACCES if number == HIDDEN else number for name, number in EXPECTED.items()
        }
        assert client.hang_up() == 0


def test_a_worker_has_a_user_of_its_vgpus_own_and_no_privilege(tenants):
    ours, sibling, theirs = RawClient(tenants[0]), RawClient(tenants[0]), RawClient(tenants[1])
    found = [fields(one.worker) for one in (ours, sibling, theirs)]
    assert found[0]["Uid"] == found[1]["Uid"] != found[2]["Uid"]
    for one in found:
        (uid,) = set(one["Uid"].split())
        assert set(one["Gid"].split()) == {uid} != {"0"}
        assert one["Groups"] == ""
        for capabilities in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(one[capabilities], 16) == 0
        assert (one["Seccomp"], one["NoNewPrivs"]) == ("2", "1")


def test_a_worker_has_namespaces_of_its_own(tenants):
    clients = [RawClient(agent) for agent in tenants]
    workers = [one.worker.pid for one in clients]
    for kind in ("mnt", "ipc", "net"):
        links = {os.readlink(f"/proc/{pid}/ns/{kind}") for pid in (os.getpid(), *workers)}
        assert len(links) == 3


def test_what_a_worker_sees_of_the_file_system_is_little_and_read_only(tenants):
    client = RawClient(tenants[0])
    root = Path(f"/proc/{client.worker.pid}/root")
    assert {path.name for path in root.iterdir()} <= {
        *("usr", "lib", "lib32", "lib64", "etc", "dev", "proc", "tmp")
    }
    assert [path.name for path in (root / "etc").iterdir()] == ["ld.so.cache"]
    assert sorted(path.name for path in (root / "dev").iterdir()) == ["null", "shm"]
    assert not [*(root / "tmp").iterdir(), *(root / "dev/shm").iterdir()]
    for place in ("", "tmp", "dev/shm", "usr/lib"):
        with pytest.raises(OSError, match="Read-only"):
            (root / place / "gpupool-test").touch()
    client.hang_up()


def test_what_a_kernel_prints_is_nobodys(tmp_path, native, probe):
    log = tmp_path / "log"
    with LocalAgent(native, log=log, ring_mib=8) as agent:
        run_probe(client := RawClient(agent), probe, 1)
        assert client.hang_up() == 0
    assert log.read_text() == ""


def test_nobody_but_root_gets_at_a_worker_from_its_start_on(tenants, spy):
    uids = set()
    for agent in tenants:
        with RawClient(agent) as client:
            uids.add(client.worker.uid)
    assert len(uids) == 2
    spies = [start_spy(spy, uid) for uid in uids]
    for _ in range(SESSIONS):
        client = RawClient(tenants[0])
        assert client.ask("cuCtxSynchronize")[0] == 0
        assert client.hang_up() == 0
    for one in spies:
        output, _ = one.communicate("", timeout=60)
        *got, summary = output.splitlines()
        assert got == []
        assert int(summary.split()[0]) >= SESSIONS


def test_a_program_that_its_user_cannot_read_is_out_of_reach_of_its_user(tmp_path, spy, monkeypatch):
    """An agent that is not root starts workers so. Anything that runs a while stands for the worker."""
    monkeypatch.setattr(paths, "WORKER", Path("/bin/sleep"))
    uid = 2_099_980_000
    program = worker.copy_unreadable(tmp_path / "program")
    os.chown(program, uid, uid)
    spying = start_spy(spy, uid)
    for _ in range(SESSIONS):
        assert start_as(uid, program, "0.01").wait() == 0
    output, _ = spying.communicate("", timeout=60)
    assert "got" not in output

    program.chmod(0o555)
    spying = start_spy(spy, uid)
    sleeping = start_as(uid, program, "60")
    assert f" of {sleeping.pid} " in spying.stdout.readline()
    spying.communicate("", timeout=60)
    sleeping.kill()
    sleeping.wait()


def start_spy(program: Path, uid: int) -> "subprocess.Popen[str]":
    spy = start_as(uid, program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert spy.stdout.readline() == "spying\n"
    return spy


def start_as(uid: int, program: Path, *arguments: str, **more: Any) -> "subprocess.Popen[Any]":
    """Start a program as a user who may be unable to reach its file."""
    descriptor = os.open(program, os.O_PATH)
    try:
        return subprocess.Popen(
            [f"/proc/self/fd/{descriptor}", *arguments],
            pass_fds=(descriptor,),
            user=uid,
            group=uid,
            extra_groups=[],
            cwd="/",
            **more,
        )
    finally:
        os.close(descriptor)


def test_root_can_start_no_worker_as_root(native):
    worker = native / "gpupool-worker"
    for user in ((), ("--uid", "0")):
        command = [worker, "--sandbox", "reference", *user, "--check"]
        ended = subprocess.run(command, check=False, capture_output=True, text=True)
        assert ended.returncode != 0
        assert "uid" in ended.stderr
