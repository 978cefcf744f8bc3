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
def podman(tmp_path, host):  # noqa: F811
    """Return a function that runs a command in a container with a CDI device."""
    bindings = pytest.importorskip("cuda.bindings", reason="the demo extra is not installed")
    packages = Path(bindings.__path__[0]).parents[1]
    stdlib = Path(sysconfig.get_path("stdlib"))
    python = Path(sys.executable).resolve()
    root = tmp_path / "root"
    for folder in ("proc", "sys", "dev", "etc", "run", "tmp", "usr/lib64"):
        (root / folder).mkdir(parents=True)
    extensions = [*packages.glob("cuda/bindings/**/*.so"), *stdlib.glob("lib-dynload/*.so")]
    for library in libraries(python, *extensions):
        (root / library.parent.relative_to("/")).mkdir(parents=True, exist_ok=True)
        shutil.copy(library, root / library.relative_to("/"))
    conf = tmp_path / "containers.conf"
    conf.write_text(CONTAINERS_CONF)
    mounts = [f"--volume={path}:{path}:ro" for path in (python, stdlib, packages, PROGRAM)]
    storage = [
        "--storage-driver=vfs",
        f"--root={tmp_path}/storage",
        f"--runroot={host.state}/run",
    ]  # 50 characters at most

    def start(device: str, *command: str) -> "subprocess.Popen[str]":
        environment = ["--env", f"PYTHONPATH={packages}"]
        options = ["--rm", "--network=none", f"--device={device}", *environment, *mounts]
        return subprocess.Popen(
            ["podman", *storage, "run", *options, "--rootfs", root, python, *command],
            env={**os.environ, "CONTAINERS_CONF": str(conf)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


@pytest.fixture
def wanted(host: Host) -> str:  # noqa: F811
    """Have an agent make a container's attachment; return its CDI device."""
    host.conf.set_override("cdi_path", str(CDI), "agent")
    one = vgpu(1)
    container = dataclasses.replace(
        attachment(1, one, kind=AttachmentKind.CONTAINER), id=str(uuid.uuid4())
    )
    host.conductor.want(1, [one], [container])
    manager = AgentManager(host.conf, host.conductor)
    manager.start()
    host.managers.append(manager)
    host.wait_converged(1)
    yield host.conductor.reported().attachments[0].cdi_device
    host.conductor.want(2)
    manager.look()
    host.wait_converged(2)
    assert not (CDI / f"gpupool.org-vgpu_{container.id}.json").exists()


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
