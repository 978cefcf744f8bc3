"""gpupool-doctor says which libcuda programs find and which attachments."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gpupool.dataplane import build, c_flags
from testbed.local_agent import TICKET, Vgpu

IDS = ("8932f937-d72c-4106-c12f-20bd9faed9f6", "00112233-4455-6677-8899-aabbccddeeff")
OTHER = "NOT gpupool's runtime"


@pytest.fixture
def serving(agent):
    return agent(Vgpu(25, 64, id=IDS[0]), Vgpu(50, 512, id=IDS[1]))


@pytest.fixture
def examine(native, serving):
    """Return a function that runs the doctor where programs of the agent would run."""

    def examine(**environment):
        return subprocess.run(
            [native / "gpupool-doctor"],
            env=serving.program_environment() | environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return examine


def test_where_all_is_well_it_shows_what_programs_find(examine, serving, native):
    said = examine(CUDA_VISIBLE_DEVICES="1,0")
    assert said.stdout.splitlines()[:6] == [
        f"libcuda.so.1: {native}/runtime/libcuda.so.1: gpupool's runtime",
        "attachments: GPUPOOL_SOCKET and GPUPOOL_TICKET name them",
        f"  {serving.socket_path}: 2 vGPUs",
        'CUDA_VISIBLE_DEVICES: "1,0" shows 2',
        f"device 0: GPU-{IDS[1]}, 50 % compute, 512 MiB",
        f"device 1: GPU-{IDS[0]}, 25 % compute, 64 MiB",
    ]
    assert (said.returncode, said.stderr) == (0, "")
    assert serving.workers == []


def test_a_list_that_hides_all_devices_is_told(examine):
    said = examine(CUDA_VISIBLE_DEVICES="GPU-ff")
    assert said.returncode == 1
    assert 'CUDA_VISIBLE_DEVICES: "GPU-ff" shows 0\n' in said.stdout
    assert "GPU-ff is not one of this program's 2 devices" in said.stderr


def test_it_takes_no_arguments(native):
    said = subprocess.run(
        [native / "gpupool-doctor", "--help"], capture_output=True, text=True, check=False
    )
    assert (said.returncode, said.stdout) == (2, "")
    assert "says which libcuda.so.1 programs find here" in said.stderr


def test_another_libcuda_is_named_with_what_leads_to_it(examine, native, tmp_path):
    other = native / "refcuda" / "libcuda.so.1"
    said = examine(LD_LIBRARY_PATH=f"{tmp_path}:{other.parent}/:{native}/runtime")
    assert said.returncode == 1
    assert f"libcuda.so.1: {other}: {OTHER}\n  LD_LIBRARY_PATH leads to it;" in said.stdout
    said = examine(LD_PRELOAD=str(other))
    assert said.returncode == 1
    assert f"libcuda.so.1: {other}: {OTHER}\n  LD_PRELOAD names it;" in said.stdout
    assert "2 vGPUs" in said.stdout


def test_no_libcuda_at_all_and_one_that_does_not_load(examine, native, tmp_path):
    said = examine(LD_LIBRARY_PATH="")
    assert said.returncode == 1
    assert "libcuda.so.1: cannot be loaded: libcuda.so.1: cannot open shared object file" in said.stdout
    (tmp_path / "libcuda.so.1").write_text("no library")
    said = examine(LD_LIBRARY_PATH=str(tmp_path))
    assert said.returncode == 1
    assert f"cannot be loaded: {tmp_path}/libcuda.so.1: " in said.stdout


def test_an_attachment_that_is_gone_is_told_with_the_reason(examine, serving, tmp_path):
    serving.socket_path.unlink()
    said = examine()
    assert said.returncode == 1
    assert f"  {serving.socket_path}: cannot be used\n" in said.stdout
    assert "No such file" in said.stderr
    said = examine(GPUPOOL_SOCKET="", GPUPOOL_ATTACHMENTS=str(tmp_path / "none"))
    assert said.returncode == 1
    assert f"attachments: in {tmp_path}/none, as GPUPOOL_SOCKET is not set\n  none\n" in said.stdout


def test_what_running_processes_have_loaded_is_shown(examine, serving, start, native, tmp_path):
    other = tmp_path / "libcuda.so.1"
    shutil.copy(native / "refcuda" / "libcuda.so.1", other)
    well = start(serving, "idle")
    sleeper = subprocess.Popen(["sleep", "60"], env={"LD_PRELOAD": str(other)})
    while str(other) not in Path(f"/proc/{sleeper.pid}/maps").read_text():
        os.sched_yield()
    said = examine().stdout
    sleeper.kill()
    sleeper.wait()
    assert f"process {sleeper.pid} (sleep): {other}: {OTHER}\n" in said
    name = Path(f"/proc/{well.pid}/comm").read_text().strip()
    runtime = native / "runtime" / "libcuda.so.1"
    assert f"process {well.pid} ({name}): {runtime}: gpupool's runtime\n" in said
    # Workers have a libcuda of their own, and are no programs.
    assert f"process {serving.workers[0].pid} " not in said


def test_what_the_runtime_is_told_is_read_with_the_sanitizers(serving, native, tmp_path):
    made = tmp_path / "doctor"
    # Where it starts is for a build with no sanitizer, which has a start of its own.
    sources = [path for path in build.sources("gpupool-doctor") if path.parent.name != "portable"]
    command = ["gcc", *c_flags.compile_flags("address,undefined"), "-fno-sanitize-recover=all"]
    subprocess.run([*command, f"-I{build.NATIVE}", *sources, "-o", made], check=True)
    folder = tmp_path / "attachments"
    for name, ticket in (("a", f"{TICKET}\n"), ("b", ""), ("c", "x" * 1000), ("d", TICKET)):
        (folder / name).mkdir(parents=True)
        (folder / name / "ticket").write_text(ticket)
        (folder / name / "socket").symlink_to(serving.socket_path.parent)
    path = str(serving.socket_path)
    for variables, any_usable in (
        ({"GPUPOOL_SOCKET": "", "GPUPOOL_ATTACHMENTS": str(folder)}, True),
        ({"GPUPOOL_SOCKET": f"{path}:{path}:", "GPUPOOL_TICKET": f"{TICKET}::{TICKET}"}, True),
        ({"GPUPOOL_SOCKET": ":" * 100, "GPUPOOL_TICKET": ":" * 100}, False),
    ):
        environment = serving.program_environment() | variables | {"CUDA_VISIBLE_DEVICES": "1,0"}
        said = subprocess.run([made], env=environment, capture_output=True, text=True, check=False)
        assert "Sanitizer" not in said.stderr
        assert "runtime error" not in said.stderr
        assert said.returncode == 1
        assert "cannot be used\n" in said.stdout
        assert (f"device 1: GPU-{IDS[0]}" in said.stdout) is any_usable


def test_it_is_a_command_of_hosts(serving):
    said = subprocess.run(
        [sys.executable, "-m", "gpupool.dataplane.doctor"],
        env=serving.program_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    assert f"  {serving.socket_path}: 2 vGPUs\n" in said.stdout
