"""The reference driver."""

import pytest

import gpupool.conf
from gpupool.dataplane import paths
from gpupool.drivers.reference import ReferenceDriver
from gpupool.model import errors


@pytest.fixture
def conf():
    conf = gpupool.conf.new(files=[])
    conf.set_override("devices", 3, "reference")
    conf.set_override("memory_mib", 1000, "reference")
    conf.set_override("compute_units", 4, "reference")
    return conf


@pytest.fixture
def driver(conf):
    return ReferenceDriver(conf)


def test_devices_say_that_they_are_simulated(driver):
    found = driver.discover()
    assert [one.key for one in found] == ["ref-0", "ref-1", "ref-2"]
    assert {(one.memory_mib, one.reserved_mib, one.simulated) for one in found} == {(1000, 0, True)}
    assert {(one.link_group, one.extends_memory) for one in found} == {("", False)}
    assert found[0].traits == ("CUSTOM_GPUPOOL_GPUPOOL_REFERENCE", "CUSTOM_GPUPOOL_MODE_SHARED")


@pytest.mark.parametrize(
    ("groups", "reported"),
    [
        (["a", "a"], ["a", "a", ""]),
        (["", "a", "b", "b"], ["", "a", "b"]),
    ],
)
def test_devices_are_linked_as_the_operator_says(conf, driver, groups, reported):
    conf.set_override("link_groups", groups, "reference")
    assert [one.link_group for one in driver.discover()] == reported


def test_a_worker_opens_its_device_by_ordinal(driver):
    handle = driver.open("ref-2")
    assert (handle.library, handle.ordinal) == (paths.REFERENCE, 2)
    assert handle.environment == {
        "REFCUDA_DEVICES": "3",
        "REFCUDA_MEMORY_MIB": "1000",
        "REFCUDA_COMPUTE_UNITS": "4",
    }


@pytest.mark.parametrize("key", ["ref-3", "ref-", "", "GPU-1"])
def test_an_unknown_device_is_not_found(driver, key):
    with pytest.raises(errors.NotFound, match=r"no reference device .*; there are 3"):
        driver.open(key)
