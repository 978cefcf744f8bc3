"""An agent whose devices hang: it reports on time, and everything of the other devices goes on."""

import threading

import pytest

from gpupool.agent import process, supervisor
from gpupool.dataplane.handshake import Kind
from tests.unit.drivers.conftest import A2, H200, Hardware, frozen, library

from .stand_in import attachment, eventually, vgpu

__all__ = ["frozen", "library"]
GOOD, BAD = vgpu(1, device="GPU-1"), vgpu(2, device="GPU-2")
HUNG = A2.replace("|ok", "|hang")


@pytest.fixture
def hardware(host, library, tmp_path, monkeypatch):
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    host.conf.set_override("drivers", ["nvidia"], "agent")
    return Hardware(tmp_path, library)


def health(host):
    return {each.key: str(each.health) for each in host.conductor.reported().devices}


def test_devices_are_in_the_first_report(host, hardware):
    hardware(H200 + A2)
    reports = []
    report_host = host.conductor.report_host
    host.conductor.report_host = lambda ctxt, report: reports.append(report) or report_host(ctxt, report)
    host.conductor.want(1)
    host.start()
    host.wait_converged(1)
    assert [each.key for each in reports[0].devices] == ["GPU-1", "GPU-2"]


def test_a_device_that_hangs_keeps_nothing_else(host, hardware):
    """While its call has not returned: that takes for ever, as far as this test goes."""
    host.conf.set_override("driver_timeout", 3600, "agent")
    hardware(H200 + A2)
    host.conductor.want(1, [GOOD, BAD])
    manager = host.start()
    host.wait_converged(1)
    hardware(H200 + HUNG)
    # Another look begins every second, and does not end.
    watch = manager._inventory._drivers[0]._devices[1]
    looks = watch._process._asked
    eventually(lambda: watch._process._asked > looks, "a look that hangs")
    host.conductor.want(2, [vgpu(3, device="GPU-1"), vgpu(4, device="GPU-2")])
    manager.converge()
    report = host.conductor.reported()
    assert {each.id: each.error for each in report.vgpus} == {
        vgpu(3).id: "",
        vgpu(4).id: "",
    }
    assert health(host) == {"GPU-1": "ok", "GPU-2": "ok"}


def test_a_device_that_went_on_hanging_is_failed_says_why_and_comes_back(host, hardware):
    hardware(H200 + A2)
    host.conductor.want(1, [BAD])
    manager = host.start()
    host.wait_converged(1)
    for watch in manager._inventory._drivers[0]._watches():
        watch.timeout = 2.0
    hardware(H200 + HUNG)
    # The drivers have it reported at once.
    eventually(lambda: health(host) == {"GPU-1": "ok", "GPU-2": "failed"}, "the failure")
    report = host.conductor.reported()
    said = "a call of the vendor's library has not returned for 2 s"
    assert [each.health_reason for each in report.devices] == ["", said]
    # A vGPU that is there stays.
    assert [each.error for each in report.vgpus] == [""]
    host.conductor.want(2, [BAD, GOOD, vgpu(3, device="GPU-2")])
    manager.converge()
    made = {each.id: (each.error, each.host_fault) for each in host.conductor.reported().vgpus}
    assert made == {
        BAD.id: ("", False),
        GOOD.id: ("", False),
        vgpu(3).id: (f"device GPU-2 is failed: {said}", True),
    }
    hardware(H200 + A2)
    eventually(lambda: health(host) == {"GPU-1": "ok", "GPU-2": "ok"}, "the recovery")


def test_an_agent_that_starts_while_a_device_hangs_reports_the_others(host, hardware):
    host.conf.set_override("driver_timeout", 2, "agent")
    hardware(H200 + HUNG)
    host.conductor.want(1, [GOOD])
    host.start()
    host.wait_converged(1)
    eventually(lambda: health(host) == {"GPU-1": "ok"})
    eventually(lambda: not any(each.error for each in host.conductor.reported().vgpus), "the vGPU")


def test_an_agent_that_stops_does_not_wait_for_a_call_that_hangs(host, hardware):
    host.conf.set_override("driver_timeout", 3600, "agent")
    hardware(H200 + HUNG)
    host.conductor.want(1)
    host.start()
    stopped = threading.Thread(target=host.stop)
    stopped.start()
    stopped.join(20)
    assert not stopped.is_alive()


def test_workers_that_do_not_end_are_waited_for_together_and_once(host, frozen, monkeypatch):
    """As on a device that hangs: by turns, a host with twenty of them would not report for a minute."""
    vgpus = [vgpu(number, compute=1, memory_mib=16) for number in range(1, 5)]
    attachments = [attachment(number, each) for number, each in enumerate(vgpus, start=1)]
    host.conf.set_override("report_interval", 3600, "agent")
    host.conductor.want(1, vgpus, attachments)
    manager = host.start()
    host.wait_converged(1)
    for each in attachments:
        program = host.program(each)
        assert program.hello(Kind.OPEN).error == 0
        assert program.wait_ready() == 0
    eventually(lambda: len(host.worker_pids()) == 4 and all(host.worker_pids()))
    frozen(*host.worker_pids())
    waits, wait = [], process.wait
    monkeypatch.setattr(
        process, "wait", lambda pidfds, seconds: (waits.append(seconds), wait(pidfds, seconds))[1]
    )
    host.conductor.want(2)
    manager.converge()
    assert len(host.conductor.reported().vgpus) == 4
    manager.converge()
    assert max(waits) <= supervisor.KILL_SECONDS
    assert sum(waits) < 2 * supervisor.KILL_SECONDS
    frozen.thaw()
    eventually(lambda: not host.session_records(), "the workers' end")
    manager.converge()
    assert not host.conductor.reported().vgpus
