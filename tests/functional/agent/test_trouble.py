"""A host in trouble: full disks, too few open files. Nothing else suffers."""

import errno
import os
import resource
import socket
from pathlib import Path

import pytest

from gpupool.agent import process, record
from gpupool.dataplane import handshake, paths, worker
from gpupool.dataplane.handshake import Error, Kind
from gpupool.model.report import DesiredState

from .stand_in import HOST, attachment, eventually, vgpu

ONE, TWO = vgpu(1), vgpu(2)
FIRST, SECOND = attachment(1, ONE), attachment(2, TWO)


@pytest.fixture
def quiet(host):
    """A host whose agent converges at its start and when told, and then counts its reports."""
    host.conf.set_override("report_interval", 3600, "agent")
    host.reports = []
    report_host = host.conductor.report_host

    def count(ctxt, report):
        host.reports.append(report)
        return report_host(ctxt, report)

    host.conductor.report_host = count
    return host


def opened(host, wanted=FIRST):
    program = host.program(wanted)
    assert program.hello(Kind.OPEN).error == 0
    assert program.wait_ready() == 0
    return program


def full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_what_cannot_be_made_is_tried_once_a_round(quiet):
    quiet.conductor.want(1, [ONE], [FIRST])
    quiet.folders.make()
    in_the_way = quiet.folders.run_of(FIRST.id)
    in_the_way.touch()
    manager = quiet.start()
    quiet.wait_converged(1)
    (reported,) = quiet.conductor.reported().attachments
    assert "File exists" in reported.error
    quiet.reports.clear()
    manager.converge()
    assert len(quiet.reports) == 1
    in_the_way.unlink()
    manager.converge()
    assert len(quiet.reports) == 3
    assert not quiet.reports[-1].attachments[0].error


def test_an_attachment_without_its_marker_can_be_removed(quiet, monkeypatch):
    touch = Path.touch
    monkeypatch.setattr(
        Path, "touch", lambda self, *a, **k: full() if self.name == FIRST.id else touch(self, *a, **k)
    )
    quiet.conductor.want(1, [ONE], [FIRST])
    manager = quiet.start()
    quiet.wait_converged(1)
    assert "No space left" in quiet.conductor.reported().attachments[0].error
    quiet.conductor.want(2, [ONE])
    manager.converge()
    assert not quiet.conductor.reported().attachments
    assert quiet.conductor.reported().generation == 2


def test_a_full_disk_does_not_keep_what_is_taken_away(quiet, monkeypatch, caplog):
    quiet.conductor.want(1, [ONE], [FIRST])
    manager = quiet.start()
    quiet.wait_converged(1)
    program = opened(quiet)
    monkeypatch.setattr(record, "write_json", full)
    quiet.conductor.want(2)
    manager.converge()
    program.wait_hung_up()
    assert not quiet.conductor.reported().vgpus
    assert "the desired state can't be written down" in caplog.text
    # The old one would bring the vGPU back at a restart.
    assert not quiet.folders.desired.exists()
    monkeypatch.undo()
    manager.converge()
    assert quiet.folders.desired.exists()


def test_one_that_cannot_be_removed_keeps_no_other(quiet, monkeypatch, caplog):
    quiet.conductor.want(1, [ONE, TWO], [FIRST, SECOND])
    manager = quiet.start()
    quiet.wait_converged(1)
    unlink = Path.unlink
    stuck = {quiet.folders.ledgers / ONE.id, quiet.folders.attachments / FIRST.id}
    monkeypatch.setattr(
        Path, "unlink", lambda self, *a, **k: full() if self in stuck else unlink(self, *a, **k)
    )
    quiet.conductor.want(2)
    manager.converge()
    assert [one.id for one in quiet.conductor.reported().vgpus] == [ONE.id]
    assert [one.id for one in quiet.conductor.reported().attachments] == [FIRST.id]
    assert f"{ONE.id} can't be removed" in caplog.text
    stuck.clear()
    manager.converge()
    assert not quiet.conductor.reported().vgpus
    assert not quiet.conductor.reported().attachments


def test_a_record_that_cannot_be_deleted_yet_stops_no_watching(quiet, monkeypatch):
    quiet.conductor.want(1, [ONE], [FIRST])
    manager = quiet.start()
    quiet.wait_converged(1)
    first, second = opened(quiet), opened(quiet)
    unlink = Path.unlink
    monkeypatch.setattr(
        Path,
        "unlink",
        lambda self, *a, **k: full() if self.parent == quiet.folders.sessions else unlink(self, *a, **k),
    )
    first.close()
    eventually(lambda: len(manager.host_report().sessions) == 1, "the end of the first session")
    second.close()
    eventually(lambda: not manager.host_report().sessions, "the end of the second session")
    assert len(quiet.session_records()) == 2
    opened(quiet)
    assert sorted(one["slot"] for one in quiet.session_records()) == [0, 1, 2]
    monkeypatch.undo()
    manager.converge()
    assert len(quiet.session_records()) == 1


@pytest.mark.parametrize("trouble", [FileNotFoundError("no worker"), BlockingIOError("no pid")])
def test_a_worker_that_cannot_be_started_is_no_hung_up_program(quiet, monkeypatch, caplog, trouble):
    quiet.conductor.want(1, [ONE], [FIRST])
    quiet.start()
    quiet.wait_converged(1)

    def spawn(*_):
        raise trouble

    monkeypatch.setattr(worker, "spawn", spawn)
    program = quiet.program(FIRST)
    assert program.hello(Kind.OPEN).error == 0
    assert program.wait_ready() == Error.DEVICE_UNAVAILABLE
    program.wait_hung_up()
    errors = [one.message for one in caplog.records if one.levelname == "ERROR"]
    assert any(f"the worker can't be started: {trouble}" in message for message in errors)
    assert not quiet.session_records()


def test_why_a_worker_could_not_start_is_logged_cut_and_escaped(quiet, monkeypatch, caplog):
    monkeypatch.setattr(paths, "REFERENCE", Path("/no/lib\ncuda.so"))
    quiet.conductor.want(1, [ONE], [FIRST])
    quiet.start()
    quiet.wait_converged(1)
    program = quiet.program(FIRST)
    assert program.hello(Kind.OPEN).error == 0
    assert program.wait_ready() != 0
    eventually(lambda: not quiet.session_records())
    eventually(lambda: "ended: it could not be started (status 1); gpupool-worker " in caplog.text)
    assert "device library: /no/lib\n" not in caplog.text


@pytest.mark.parametrize(
    ("module", "function"), [(record, "write_json"), (handshake, "make_ring")], ids=["record", "ring"]
)
def test_what_a_session_needs_and_cannot_have_is_a_refusal(quiet, monkeypatch, caplog, module, function):
    quiet.conductor.want(1, [ONE], [FIRST])
    quiet.start()
    quiet.wait_converged(1)
    monkeypatch.setattr(module, function, full)
    refused = quiet.program(FIRST).hello(Kind.OPEN)
    assert refused.error == Error.DEVICE_UNAVAILABLE
    assert "No space left on device" in refused.message
    assert "no session can be opened" in caplog.text
    monkeypatch.undo()
    assert not quiet.session_records()
    opened(quiet)


def test_a_session_goes_on_though_its_worker_cannot_be_written_down(quiet, monkeypatch):
    quiet.conductor.want(1, [ONE], [FIRST])
    quiet.start()
    quiet.wait_converged(1)
    write, count = record.write_json, []

    def second_fails(path, content, **more):
        count.append(path)
        return full() if len(count) >= 2 else write(path, content, **more)

    monkeypatch.setattr(record, "write_json", second_fails)
    program = opened(quiet)
    eventually(lambda: len(count) >= 2)
    monkeypatch.undo()
    quiet.stop()
    (session,) = quiet.start().host_report().sessions
    assert process.start_of(session.worker_pid)
    program.close()
    eventually(lambda: not quiet.session_records())


def test_a_socket_at_which_accepting_fails_is_tried_again(quiet, monkeypatch, caplog):
    quiet.conductor.want(1, [ONE, TWO], [FIRST, SECOND])
    quiet.start()
    quiet.wait_converged(1)
    failed = []

    def fail(self):
        failed.append(self)
        raise MemoryError if len(failed) % 2 else OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(socket.socket, "accept", fail)
    program = quiet.program(FIRST)
    eventually(lambda: len(failed) >= 4)
    monkeypatch.undo()
    assert program.hello(Kind.OPEN).error == 0
    opened(quiet, SECOND)
    assert "accept failed: [Errno 24] Too many open files" in caplog.text


@pytest.fixture
def open_files():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield lambda soft: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, before[1]))
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_an_agent_takes_all_the_open_files_it_may_have(quiet, open_files):
    open_files(256)
    quiet.conductor.want(1)
    quiet.start()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft == hard


def test_an_agent_without_open_files_reports_what_it_has(quiet, open_files):
    quiet.conductor.want(1, [ONE], [FIRST])
    manager = quiet.start()
    quiet.wait_converged(1)
    before = manager.host_report()
    open_files(len(os.listdir("/proc/self/fd")))
    holes = []
    try:
        while True:
            holes.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        report = manager.host_report()
    for descriptor in holes:
        os.close(descriptor)
    assert [one.id for one in report.vgpus] == [one.id for one in before.vgpus]
    assert report.attachments == before.attachments


def test_more_attachments_than_open_files_say_so_and_recover(quiet, open_files):
    many = [attachment(number, ONE) for number in range(3, 43)]
    quiet.conductor.want(1, [ONE, TWO], [SECOND])
    manager = quiet.start()
    quiet.wait_converged(1)
    program = opened(quiet, SECOND)
    reports = []
    wanted = DesiredState(host=HOST, generation=2, vgpus=(ONE, TWO), attachments=(SECOND, *many))
    # The stand-in's own files would be too many.
    quiet.conductor.report_host = lambda ctxt, report: reports.append(report) or wanted
    open_files(len(os.listdir("/proc/self/fd")) + 20)
    manager.converge()
    assert len(reports) == 2
    reported = reports[-1].attachments
    failed = [one for one in reported if one.error]
    assert len(reported) == 41
    assert 0 < len(failed) < 40
    assert "Too many open files" in failed[0].error
    # Nobody else's vGPU or session is touched.
    assert not any(one.error for one in reports[-1].vgpus)
    assert [one.attachment_id for one in reports[-1].sessions] == [SECOND.id]
    open_files(resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    manager.converge()
    assert not any(one.error for one in manager.host_report().attachments)
    program.close()
