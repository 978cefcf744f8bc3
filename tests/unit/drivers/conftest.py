"""The real pynvml over a simulated NVML (simulated_nvml.c), in the driver's real processes."""

import logging
import os
import shutil
import subprocess
import time
import uuid
from contextlib import suppress
from pathlib import Path

import pytest

import gpupool.conf
from gpupool.drivers import nvidia, watch
from gpupool.model.states import DeviceHealth

TIMEOUT = 30
GIB = 1 << 30
H200 = f"GPU-1|NVIDIA H200|{140 * GIB}|{GIB}|off|ok\n"
A2 = f"GPU-2|NVIDIA A2|{16 * GIB}|0|none|ok\n"


def eventually(condition, what="it"):
    """Wait until ``condition`` holds; the time is for a machine that is busy, not a measurement."""
    deadline = time.monotonic() + TIMEOUT
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.02)
    return found


def is_alive(pid):
    """Tell whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    path = tmp_path_factory.mktemp("nvml") / "libnvidia-ml.so.1"
    source = Path(__file__).with_name("simulated_nvml.c")
    command = ["gcc", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", source, "-o", path]
    subprocess.run(command, check=True)
    return path


class Hardware:
    """The simulated devices of one host."""

    def __init__(self, folder, library):
        self.folder = folder
        shutil.copy(library, folder)

    def __call__(self, text):
        """Be these devices from now on: all at once, as processes look at any time."""
        new = self.folder / "new"
        new.write_text(text)
        new.replace(self.folder / "hardware")

    def numbers(self, name):
        """Return the processes that a file of the simulation lists."""
        with suppress(FileNotFoundError):
            return [int(line) for line in (self.folder / name).read_text().split()]
        return []


@pytest.fixture
def hardware(library, tmp_path, monkeypatch):
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    made = Hardware(tmp_path, library)
    made("")
    return made


class Driver(nvidia.NvidiaDriver):
    """The driver, with words for what tests wait for.

    Calls may take ``timeout`` seconds once each device was looked at, and ``first_timeout`` before:
    processes have to start on a busy machine.
    """

    def __init__(self, conf, timeout, first_timeout):
        super().__init__(conf)
        self._timing = {"timeout": first_timeout, "interval": 0.05}
        self.timeout = timeout
        self.news = 0

    def run(self):
        self.start(self.count)
        eventually(self.ready, "a first look at every device")
        self.set_timeout(self.timeout)
        return self

    def set_timeout(self, seconds):
        """Let calls take no longer from now on."""
        for each in self._watches():
            each.timeout = seconds

    def tell(self, changed):
        """Call this, from now on, when there is news."""
        self._changed = changed

    def count(self):
        self.news += 1

    def lost(self, index):
        """Return how many processes of a device were lost in a row."""
        return self._devices[index].lost

    def all_answer(self):
        return not any(each.lost for each in self._watches())

    def look(self, index):
        self._devices[index].hurry()

    def pids(self):
        return [each.pid for each in self._watches()]

    def health(self):
        return {one.key: one.health for one in self.discover()}

    def reasons(self):
        return {one.key: one.health_reason for one in self.discover()}

    def wait_for(self, **health):
        wanted = {key.replace("_", "-"): DeviceHealth(value) for key, value in health.items()}
        eventually(lambda: self.health() == wanted, f"{wanted} after {self.health()}")

    def wait_for_keys(self, *keys):
        eventually(lambda: [one.key for one in self.discover()] == list(keys), f"devices {keys}")

    def pid(self, index):
        return self._devices[index].pid


def new_driver(timeout=TIMEOUT, first_timeout=TIMEOUT, **options):
    conf = gpupool.conf.new(files=[])
    conf.set_override("reserved_mib", 500, "nvidia")
    for name, value in options.items():
        conf.set_override(name, value, "nvidia")
    return Driver(conf, timeout, first_timeout)


@pytest.fixture
def drivers(hardware, monkeypatch, caplog):
    """Return a function that makes drivers; every process of theirs must end with them."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(watch, "BACKOFF", 0.05)
    monkeypatch.setattr(watch, "BACKOFF_MAX", 0.2)
    made = []

    def make(**options):
        made.append(new_driver(**options))
        return made[-1]

    yield make
    for driver in made:
        driver.stop()
    for pid in hardware.numbers("calls") + hardware.numbers("forked"):
        eventually(lambda pid=pid: not is_alive(pid) or pid == os.getpid(), f"the end of process {pid}")


@pytest.fixture
def frozen():
    """Yield a function that has the kernel hold processes, which then can't even be killed."""
    folder = Path(f"/sys/fs/cgroup/freezer/gpupool-test-{uuid.uuid4().hex[:8]}")
    try:
        folder.mkdir()
    except OSError as exc:
        pytest.skip(f"no freezer of cgroup version 1 here: {exc}")

    def freeze(*pids):
        for each in pids:
            (folder / "cgroup.procs").write_text(str(each))
        (folder / "freezer.state").write_text("FROZEN")
        eventually(lambda: (folder / "freezer.state").read_text() == "FROZEN\n")

    def thaw():
        (folder / "freezer.state").write_text("THAWED")

    freeze.thaw = thaw
    yield freeze
    thaw()
    eventually(lambda: not (folder / "cgroup.procs").read_text())
    folder.rmdir()


@pytest.fixture
def driver(drivers):
    return drivers()
