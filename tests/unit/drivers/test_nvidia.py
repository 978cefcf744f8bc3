"""The NVIDIA driver under the real pynvml, over a simulated NVML (simulated_nvml.c)."""

import ctypes
import logging
import subprocess
from pathlib import Path

import pynvml
import pytest

import gpupool.conf
from gpupool.drivers import nvidia
from gpupool.model import errors
from gpupool.model.device import SharingMode
from gpupool.model.report import DeviceReport
from gpupool.model.states import DeviceHealth

GIB = 1 << 30
H200 = f"GPU-1|NVIDIA H200|{140 * GIB}|{GIB}|off|ok\n"
A2 = f"GPU-2|NVIDIA A2|{16 * GIB}|0|none|ok\n"


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    path = tmp_path_factory.mktemp("nvml") / "libnvidia-ml.so.1"
    source = Path(__file__).with_name("simulated_nvml.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-Wall", "-Werror", source, "-o", path], check=True)
    return ctypes.CDLL(str(path))


@pytest.fixture
def hardware(library, tmp_path, monkeypatch):
    """Return a function that changes what is simulated."""
    path = tmp_path / "hardware"
    monkeypatch.setenv("SIMULATED_NVML", str(path))
    monkeypatch.setattr(pynvml, "nvmlLib", library)
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    path.write_text("")
    yield path.write_text
    library.nvmlShutdown()


@pytest.fixture
def driver(hardware):
    conf = gpupool.conf.new(files=[])
    conf.set_override("reserved_mib", 500, "nvidia")
    return nvidia.NvidiaDriver(conf)


def test_devices_are_reported_as_nvml_lists_them(hardware, driver):
    hardware(H200 + A2)
    one, two = driver.discover()
    assert one == DeviceReport(
        key="GPU-1",
        vendor="NVIDIA",
        product="NVIDIA H200",
        sharing_mode=SharingMode.SHARED,
        memory_mib=139 * 1024 - 500,
        reserved_mib=500,
        traits=(
            "CUSTOM_GPUPOOL_NVIDIA_H200",
            "CUSTOM_GPUPOOL_MODE_SHARED",
            "CUSTOM_GPUPOOL_COMPUTE_CAPABILITY_9_0",
            "CUSTOM_GPUPOOL_CUDA_13_0",
            "CUSTOM_GPUPOOL_DRIVER_580",
        ),
    )
    assert (two.key, two.memory_mib) == ("GPU-2", 16 * 1024 - 500)


def test_a_device_smaller_than_the_reserve_has_nothing_to_grant(hardware, driver):
    hardware(f"GPU-1|NVIDIA T|{1 << 20}|0|none|ok\n")
    assert driver.discover()[0].memory_mib == 0


def test_no_driver_means_no_devices_said_once(hardware, driver, caplog):
    hardware("down\n")
    assert driver.discover() == driver.discover() == []
    assert caplog.text.count("no NVIDIA devices") == 1
    hardware(A2)
    assert [one.key for one in driver.discover()] == ["GPU-2"]


def test_no_library_means_no_devices(monkeypatch, caplog):
    """Where this runs on a host with NVML, there may be devices: then there is nothing to show."""
    monkeypatch.setattr(pynvml, "nvmlLib", None)
    monkeypatch.setattr(ctypes, "CDLL", missing)
    monkeypatch.setattr(pynvml, "CDLL", missing)
    assert nvidia.NvidiaDriver(gpupool.conf.new(files=[])).discover() == []
    assert "no NVIDIA devices" in caplog.text


def missing(*_):
    raise OSError("no such library")


def test_a_mig_device_is_left_out_said_once(hardware, driver, caplog):
    hardware(H200.replace("|off|", "|on|") + A2)
    assert [one.key for one in driver.discover()] == ["GPU-2"]
    driver.discover()
    assert caplog.text.count("GPU-1 is left out: MIG is enabled") == 1


def test_a_lost_device_is_reported_as_failed_and_comes_back(hardware, driver, caplog):
    hardware(H200 + A2)
    driver.discover()
    hardware(H200 + A2.replace("|ok", "|15"))
    with caplog.at_level(logging.WARNING):
        health = {one.key: one.health for one in driver.discover()}
    assert health == {"GPU-1": DeviceHealth.OK, "GPU-2": DeviceHealth.FAILED}
    assert "device 1 does not answer" in caplog.text
    hardware(H200 + A2)
    assert {one.health for one in driver.discover()} == {DeviceHealth.OK}


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (A2.replace("|ok", "|15"), "device 0 does not answer"),
        (A2.replace("|none|", "|on|"), "GPU-2 is left out"),
    ],
)
def test_what_is_in_trouble_again_is_said_again(hardware, driver, caplog, trouble, said):
    for _ in range(2):
        hardware(trouble)
        driver.discover()
        driver.discover()
        hardware(A2)
        driver.discover()
    assert caplog.text.count(said) == 2


def test_a_device_taken_out_is_no_longer_listed(hardware, driver):
    hardware(H200 + A2)
    driver.discover()
    hardware(A2)
    assert [one.key for one in driver.discover()] == ["GPU-2"]
    with pytest.raises(errors.NotFound, match="GPU-1"):
        driver.open("GPU-1")


def test_nvml_that_stops_answering_fails_its_devices_until_it_answers(hardware, driver):
    hardware(A2)
    driver.discover()
    hardware("down\n")
    for _ in range(2):
        assert [(one.key, one.health) for one in driver.discover()] == [("GPU-2", DeviceHealth.FAILED)]
    hardware(A2)
    assert [(one.key, one.health) for one in driver.discover()] == [("GPU-2", DeviceHealth.OK)]


def test_a_worker_sees_its_device_alone(hardware, driver):
    hardware(H200 + A2)
    driver.discover()
    handle = driver.open("GPU-2")
    assert (str(handle.library), handle.ordinal) == ("libcuda.so.1", 0)
    assert handle.environment == {"CUDA_VISIBLE_DEVICES": "GPU-2", "CUDA_CACHE_DISABLE": "1"}


def test_a_library_given_by_path_brings_its_folder(hardware):
    conf = gpupool.conf.new(files=[])
    conf.set_override("library", "/opt/nvidia/lib/libcuda.so.1", "nvidia")
    driver = nvidia.NvidiaDriver(conf)
    hardware(A2)
    driver.discover()
    handle = driver.open("GPU-2")
    assert str(handle.library) == "/opt/nvidia/lib/libcuda.so.1"
    assert handle.environment["LD_LIBRARY_PATH"] == "/opt/nvidia/lib"


def linked(*links):
    """Return the lines of devices named 1, 2, ... on these NVLink bridges."""
    lines = enumerate(links, start=1)
    return "".join(f"GPU-{number}|NVIDIA V|{GIB}|0|none|ok|{on}\n" for number, on in lines)


@pytest.mark.parametrize(
    ("links", "groups"),
    [
        (("", "", ""), ("", "", "")),
        (("A", "A", ""), ("GPU-1", "GPU-1", "")),
        (("A", "B", "A", "B"), ("GPU-1", "GPU-2", "GPU-1", "GPU-2")),
        (("A", "BC", "AB", "C", "D"), ("GPU-1", "GPU-1", "GPU-1", "GPU-1", "")),
        (("?", "?"), ("", "")),
    ],
)
def test_nvlink_makes_groups(hardware, driver, links, groups):
    hardware(linked(*links))
    assert tuple(one.link_group for one in driver.discover()) == groups


def test_a_device_that_mig_cuts_links_nothing(hardware, driver):
    hardware(linked("A", "AB", "B").replace("GPU-2|NVIDIA V|1073741824|0|none", "GPU-2|X|0|0|on"))
    assert [(one.key, one.link_group) for one in driver.discover()] == [("GPU-1", ""), ("GPU-3", "")]
