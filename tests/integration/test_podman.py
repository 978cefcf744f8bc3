"""A container of podman's is given a vGPU by its CDI device, and nothing else of the host's devices.

No image registry is needed: the container's root is made of this machine's own Python and its libraries.
"""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import uuid
from pathlib import Path

import pytest

from gpupool.agent.manager import AgentManager
from gpupool.model.attachment import AttachmentKind
from tests.functional.agent import program
from tests.functional.agent.conftest import Host, host  # noqa: F401 a fixture
from tests.functional.agent.stand_in import attachment, eventually, vgpu

CDI = Path("/var/run/cdi")  # podman 4 looks nowhere else
PROGRAM = Path(program.__file__)
# A host whose root lacks CAP_SYS_RESOURCE can't raise the limits that podman asks for by default.
CONTAINERS_CONF = """
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=4096:4096"]
netns = "none"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""

pytestmark = [
    pytest.mark.skipif(not shutil.which("podman"), reason="podman is not installed"),
    pytest.mark.skipif(not shutil.which("runc"), reason="runc is not installed"),
    pytest.mark.skipif(os.geteuid() != 0, reason="CDI specs are read from a folder of root's"),
]


def libraries(*binaries: Path) -> set[Path]:
    """Return the shared libraries that these are linked with, all of libc, the dynamic linker."""
    output = subprocess.check_output(["ldd", *binaries], text=True)
    words = (word for line in output.splitlines() if not line.endswith(":") for word in line.split())
    linked = {Path(word) for word in words if word.startswith("/")}
    (libc,) = {path.parent for path in linked if path.name == "libc.so.6"}
    return linked | {
        libc / name for name in ("libdl.so.2", "libpthread.so.0", "librt.so.1", "libm.so.6")
    }


@pytest.fixture
def engine(tmp_path, host):  # noqa: F811
    """Return a function that runs a command in a container with a root folder and CDI devices."""
    conf = tmp_path / "containers.conf"
    conf.write_text(CONTAINERS_CONF)
    storage = [
        "--storage-driver=vfs",
        f"--root={tmp_path}/storage",
        f"--runroot={host.state}/run",
    ]  # 50 characters at most

    def start(root: Path, devices: str, *command: str, more=()) -> "subprocess.Popen[str]":
        wanted = [f"--device={device}" for device in devices.split()]
        options = ["--rm", "--network=none", *wanted, *more]
        return subprocess.Popen(
            ["podman", *storage, "run", *options, "--rootfs", root, *command],
            env={**os.environ, "CONTAINERS_CONF": str(conf)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def new_root(folder: Path, *folders: str) -> Path:
    """Make the root of a container."""
    for name in ("proc", "sys", "dev", "etc", "run", "tmp", *folders):
        (folder / name).mkdir(parents=True)
    return folder


@pytest.fixture
def podman(tmp_path, engine):
    """Return a function that runs Python in a container with one or more CDI devices."""
    bindings = pytest.importorskip("cuda.bindings", reason="the demo extra is not installed")
    packages = Path(bindings.__path__[0]).parents[1]
    stdlib = Path(sysconfig.get_path("stdlib"))
    python = Path(sys.executable).resolve()
    root = new_root(tmp_path / "root", "usr/lib64")
    extensions = [*packages.glob("cuda/bindings/**/*.so"), *stdlib.glob("lib-dynload/*.so")]
    for library in libraries(python, *extensions):
        (root / library.parent.relative_to("/")).mkdir(parents=True, exist_ok=True)
        shutil.copy(library, root / library.relative_to("/"))
    mounts = [f"--volume={path}:{path}:ro" for path in (python, stdlib, packages, PROGRAM)]

    def start(devices: str, *command: str) -> "subprocess.Popen[str]":
        more = ["--env", f"PYTHONPATH={packages}", *mounts]
        return engine(root, devices, str(python), *command, more=more)

    return start


@pytest.fixture
def wanted(host: Host) -> str:  # noqa: F811
    """Make a container's attachment by an agent; return its CDI device."""
    yield from attached(host, vgpu(1))


@pytest.fixture
def two(host: Host) -> str:  # noqa: F811
    """Make two attachments by an agent; return their CDI devices."""
    yield from attached(host, vgpu(1), vgpu(2, memory_mib=100, device="ref-1"))


def attached(host: Host, *vgpus):  # noqa: F811
    host.conf.set_override("cdi_path", str(CDI), "agent")
    containers = [
        dataclasses.replace(
            attachment(1, one, kind=AttachmentKind.CONTAINER), id=str(uuid.UUID(int=number, version=4))
        )
        for number, one in enumerate(vgpus, uuid.uuid4().int)
    ]
    host.conductor.want(1, vgpus, containers)
    manager = AgentManager(host.conf, host.conductor)
    manager.start()
    host.managers.append(manager)
    host.wait_converged(1)
    yield " ".join(one.cdi_device for one in host.conductor.reported().attachments)
    host.conductor.want(2)
    manager.look()
    host.wait_converged(2)
    assert not [one for one in containers if (CDI / f"gpupool.org-vgpu_{one.id}.json").exists()]


def finish(container: "subprocess.Popen[str]") -> dict:
    output, error = container.communicate(timeout=60)
    assert container.returncode == 0, error
    return json.loads(output.splitlines()[-1])


def test_a_container_uses_its_vgpu(podman, wanted):
    assert finish(podman(wanted, str(PROGRAM), "report")) == {
        "count": 1,
        "total_mib": 512,
        "free_mib": 16,
        "too_much": 2,
        "allocated": 0,
        "copied": True,
    }


# Runs a program without any variable of the container's, as a session over ssh or su does.
BARE = "import os, sys; os.execve(sys.argv[1], sys.argv[1:], {'PYTHONPATH': os.environ['PYTHONPATH']})"
# Prints the MiB of each device.
SIZES = """
import json
from cuda.bindings import driver
driver.cuInit(0)
count = driver.cuDeviceGetCount()[1]
print(json.dumps([driver.cuDeviceTotalMem(number)[1] >> 20 for number in range(count)]))
"""


def test_a_session_without_the_containers_environment_uses_its_vgpu(podman, wanted):
    python = str(Path(sys.executable).resolve())
    assert finish(podman(wanted, "-c", BARE, python, str(PROGRAM), "report"))["copied"]


def test_a_container_uses_both_of_its_attachments(podman, two):
    assert finish(podman(two, "-c", SIZES)) == [512, 100]


EXAMINE = """
import json, subprocess
said = subprocess.run(["/usr/bin/gpupool-doctor"], capture_output=True, text=True)
print(json.dumps([said.returncode, said.stdout, said.stderr]))
"""


def test_the_doctor_says_what_a_container_has(podman, two):
    code, output, error = finish(podman(two, "-c", EXAMINE))
    assert (code, error) == (0, "")
    assert "/libcuda.so.1: gpupool's runtime\n" in output
    ids = [device.partition("=")[2] for device in two.split()]
    for one in ids:
        assert f"  /run/gpupool/{one}/socket/session.sock: 1 vGPU\n" in output
    assert "device 1: GPU-00000002-0000-4000-8000-000000000000, 25 % compute, 100 MiB\n" in output


def test_no_device_node_enters(podman, wanted):
    with_vgpu = finish(podman(wanted, "-c", "import json, os; print(json.dumps(os.listdir('/dev')))"))
    usual = "full null zero random urandom tty console pts ptmx shm mqueue core fd stdin stdout stderr"
    assert set(with_vgpu) <= set(usual.split())


def test_a_container_whose_claim_goes_gets_device_lost(podman, wanted, host):  # noqa: F811
    container = podman(wanted, str(PROGRAM), "loop")
    assert container.stdout.readline() == "looping\n"
    host.conductor.want(2)
    host.managers[0].look()
    assert finish(container) == {"error": 46}
    eventually(lambda: not host.session_records())


def test_a_device_that_was_taken_away_is_refused(podman, wanted, host):  # noqa: F811
    host.conductor.want(2)
    host.managers[0].look()
    host.wait_converged(2)
    container = podman(wanted, "-c", "pass")
    _, error = container.communicate(timeout=60)
    assert container.returncode != 0
    assert "unresolvable CDI devices" in error
