"""vGPUs that are parts of devices: the driver cuts them, and the agent keeps none that nobody wants."""

from dataclasses import replace

import pytest

from gpupool.dataplane.handshake import Kind
from gpupool.model.share import Part

from .stand_in import attachment, eventually, vgpu

ONE, TWO = (
    replace(vgpu(number, compute=28, memory_mib=1024), part=Part("2of7", place))
    for number, place in ((1, 0), (2, 2))
)


@pytest.fixture
def cut(host):
    host.conf.set_override("sharing_mode", "mig", "reference")
    return host


def found(manager, device="ref-0"):
    (driver,) = manager._inventory._drivers
    return driver.parts.found(device)


def errors_of(host):
    return {each.id: each.error for each in host.conductor.reported().vgpus}


def test_devices_say_that_they_are_cut(cut):
    cut.conductor.want(1)
    cut.start()
    cut.wait_converged(1)
    device, *_ = cut.conductor.reported().devices
    assert (device.product, device.sharing_mode, device.simulated) == ("reference-7", "mig", True)
    assert "CUSTOM_GPUPOOL_MODE_MIG" in device.traits


def test_parts_come_and_go_with_their_vgpus(cut):
    cut.conductor.want(1, [ONE, TWO])
    manager = cut.start()
    cut.wait_converged(1)
    assert errors_of(cut) == {ONE.id: "", TWO.id: ""}
    assert found(manager) == {ONE.part, TWO.part}
    cut.conductor.want(2, [TWO])
    manager.converge()
    assert found(manager) == {TWO.part}
    # Elsewhere on its device it is made anew.
    moved = replace(TWO, part=Part("2of7", 4), generation=3)
    cut.conductor.want(3, [moved])
    manager.converge()
    assert found(manager) == {moved.part}
    assert errors_of(cut) == {TWO.id: ""}


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (Part("2of7", 1), "part 2of7 at 1 of ref-0 lies over 2of7 at 0"),
        (Part("9of7", 0), "part is 9of7; device ref-0 can have: 1of7, 2of7, 3of7, 4of7, 7of7"),
        (Part("4of7", 4), "part 4of7 is to start at 4; allowed: 0 to 3"),
    ],
)
def test_a_part_that_can_not_be_says_why(cut, part, said):
    cut.conductor.want(1, [ONE, replace(TWO, part=part)])
    manager = cut.start()
    cut.wait_converged(1)
    assert errors_of(cut) == {ONE.id: "", TWO.id: said}
    assert found(manager) == {ONE.part}


def test_a_driver_that_makes_no_parts_says_so(host):
    host.conductor.want(1, [ONE])
    host.start()
    host.wait_converged(1)
    assert errors_of(host) == {ONE.id: "the driver of device ref-0 makes no parts"}


def test_after_a_restart_parts_are_there_again_and_nobody_s_are_removed(cut):
    cut.conductor.want(1, [ONE])
    cut.start()
    cut.wait_converged(1)
    cut.stop()
    manager = cut.start()
    assert found(manager) == {ONE.part}
    manager._inventory.cut("ref-1", TWO.part)
    manager.converge()
    assert (found(manager), found(manager, "ref-1")) == ({ONE.part}, frozenset())


def test_a_program_sees_its_part(cut):
    used = attachment(1, ONE)
    cut.conductor.want(1, [ONE], [used])
    manager = cut.start()
    cut.wait_converged(1)
    handle = manager._vgpus.open(ONE.id)
    assert handle.environment["REFCUDA_MEMORY_MIB"] == str(4096 * 2 // 7)
    eventually(lambda: cut.folders.socket(used.id).exists(), "a socket")
    program = cut.program(used)
    program.hello(Kind.OPEN)
    assert program.wait_ready() == 0
