"""The NVIDIA driver: what it reports of devices that answer."""

import pytest

from gpupool.model import errors
from gpupool.model.device import SharingMode
from gpupool.model.report import DeviceReport
from gpupool.model.states import DeviceHealth

from .conftest import A2, GIB, H200, eventually

NO_LIBRARY = "NVML Shared Library Not Found"


def test_devices_are_reported_as_nvml_lists_them(hardware, driver):
    hardware(H200 + A2)
    one, two = driver.run().discover()
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
    assert driver.run().discover()[0].memory_mib == 0


def test_no_driver_means_no_devices_said_once(hardware, driver, caplog):
    hardware("down\n")
    assert driver.run().discover() == []
    calls = len(hardware.numbers("calls"))
    eventually(lambda: len(hardware.numbers("calls")) > calls + 2, "three more looks")
    assert driver.discover() == []
    assert caplog.text.count("Driver Not Loaded") == 1
    hardware(A2)
    driver.wait_for_keys("GPU-2")


def test_no_library_means_no_devices(hardware, driver, monkeypatch, caplog):
    """Where this runs on a host with NVML, there may be devices: then there is nothing to show."""
    (hardware.folder / "libnvidia-ml.so.1").write_text("no library")
    assert driver.run().discover() == []
    assert NO_LIBRARY in caplog.text


def test_a_mig_device_is_left_out_said_once(hardware, driver, caplog):
    hardware(H200.replace("|off|", "|on|") + A2)
    assert [one.key for one in driver.run().discover()] == ["GPU-2"]
    assert caplog.text.count("GPU-1 is left out: MIG is enabled") == 1


def test_a_lost_device_is_reported_as_failed_and_comes_back(hardware, driver, caplog):
    hardware(H200 + A2)
    driver.run()
    hardware(H200 + A2.replace("|ok", "|15"))
    driver.wait_for(GPU_1="ok", GPU_2="failed")
    assert driver.reasons() == {"GPU-1": "", "GPU-2": "GPU is lost"}
    assert "NVIDIA device 1 does not answer: GPU is lost" in caplog.text
    hardware(H200 + A2)
    driver.wait_for(GPU_1="ok", GPU_2="ok")
    assert driver.reasons() == {"GPU-1": "", "GPU-2": ""}


@pytest.mark.parametrize(
    ("trouble", "said", "over"),
    [
        (A2.replace("|ok", "|15"), "device 0 does not answer", {"GPU_2": "failed"}),
        (A2.replace("|none|", "|on|"), "GPU-2 is left out", {}),
    ],
)
def test_what_is_in_trouble_again_is_said_again(hardware, driver, caplog, trouble, said, over):
    hardware(A2)
    driver.run()
    for _ in range(2):
        hardware(trouble)
        driver.wait_for(**over)
        hardware(A2)
        driver.wait_for(GPU_2="ok")
    assert caplog.text.count(said) == 2


def test_a_device_taken_out_is_no_longer_listed(hardware, driver):
    hardware(H200 + A2)
    driver.run()
    hardware(A2)
    driver.wait_for_keys("GPU-2")
    with pytest.raises(errors.NotFound, match="GPU-1"):
        driver.open("GPU-1")


def test_nvml_that_stops_answering_fails_its_devices_until_it_answers(hardware, driver):
    hardware(A2)
    driver.run()
    hardware("down\n")
    driver.wait_for(GPU_2="failed")
    hardware(A2)
    driver.wait_for(GPU_2="ok")


def test_what_changes_is_told(hardware, driver):
    hardware(A2)
    driver.run()
    before = driver.news
    hardware(A2.replace("|ok", "|15"))
    driver.wait_for(GPU_2="failed")
    eventually(lambda: driver.news > before, "news")


def test_a_worker_sees_its_device_alone(hardware, driver):
    hardware(H200 + A2)
    driver.run()
    handle = driver.open("GPU-2")
    assert (str(handle.library), handle.ordinal) == ("libcuda.so.1", 0)
    assert handle.environment == {
        "CUDA_VISIBLE_DEVICES": "GPU-2",
        "CUDA_CACHE_DISABLE": "1",
        "GPUPOOL_CLEAR_MEMORY": "1",
    }
    assert (handle.granule, handle.memory_in_host) == (2 << 20, False)


def test_a_reserve_holds_some_contexts(hardware, drivers):
    hardware(A2)
    handle = drivers(reserved_mib=1100, context_mib=500, worker_mib=300).run().open("GPU-2")
    assert (handle.context_mib, handle.contexts, handle.worker_mib) == (500, 2, 300)


def test_memory_is_not_cleared_twice_where_the_operator_relies_on_the_driver(hardware, drivers):
    hardware(A2)
    handle = drivers(clear_memory=False).run().open("GPU-2")
    assert "GPUPOOL_CLEAR_MEMORY" not in handle.environment


def test_a_library_given_by_path_brings_its_folder(hardware, drivers):
    hardware(A2)
    handle = drivers(library="/opt/nvidia/lib/libcuda.so.1").run().open("GPU-2")
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
    """They are known when the driver is ready: a report without them would change devices."""
    hardware(linked(*links))
    assert tuple(one.link_group for one in driver.run().discover()) == groups


def test_a_device_that_fails_keeps_its_links(hardware, driver):
    hardware(linked("A", "A"))
    driver.run()
    hardware(linked("A", "A").replace("ok|A", "15|A", 1))
    driver.wait_for(GPU_1="failed", GPU_2="ok")
    assert [one.link_group for one in driver.discover()] == ["GPU-1", "GPU-1"]


def test_a_device_that_mig_cuts_links_nothing(hardware, driver):
    hardware(linked("A", "AB", "B").replace("GPU-2|NVIDIA V|1073741824|0|none", "GPU-2|X|0|0|on"))
    found = [(one.key, one.link_group) for one in driver.run().discover()]
    assert found == [("GPU-1", ""), ("GPU-3", "")]


def test_two_that_say_they_are_the_same_are_listed_once(hardware, driver):
    hardware(A2 + A2)
    assert driver.run().health() == {"GPU-2": DeviceHealth.OK}
