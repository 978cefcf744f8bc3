"""The agent makes a host have what is wanted: vGPUs and attachments, again and again."""

import json
import stat
import struct
import threading
from pathlib import Path

import pytest

from gpupool.agent import record
from gpupool.agent.manager import AgentManager
from gpupool.dataplane import ledger
from gpupool.dataplane.handshake import Kind
from gpupool.dataplane.ledger import Ledger, Limits
from gpupool.model import errors
from gpupool.model.attachment import AttachmentKind
from gpupool.model.report import DesiredState
from tests.markers import needs_root

from .stand_in import HOST, TICKET, attachment, configuration, eventually, vgpu


def snapshot(host):
    """Everything on disk, with the inodes: what is made anew shows."""
    return {
        str(path): (path.stat().st_ino, path.stat().st_mtime_ns if path.is_file() else 0)
        for path in host.state.rglob("*")
        if path.parent != host.state
    }


def limits(host, spec):
    """Return the percent and MiB that workers read in the vGPU's ledger; see native/worker/ledger.h."""
    memory, compute = struct.unpack_from("<QI", (host.folders.ledgers / spec.id).read_bytes(), 16)
    return compute, memory >> 20


def test_many_vgpus_cost_a_listing_of_their_folders_no_more_often(host, monkeypatch):
    host.conf.set_override("report_interval", 3600, "agent")
    names, listed = record.names, []

    def count(folder):
        listed.append(threading.get_ident())  # the agent's own thread may look, too
        return names(folder)

    monkeypatch.setattr(record, "names", count)
    manager = host.start()
    counts = []
    for number in (1, 30):
        vgpus = [vgpu(each, compute=1, memory_mib=1) for each in range(number)]
        host.conductor.want(number, vgpus, [attachment(each, one) for each, one in enumerate(vgpus)])
        manager.converge()
        listed.clear()
        manager.converge()
        counts.append(listed.count(threading.get_ident()))
    assert counts[0] == counts[1]


def test_what_was_told_is_made_before_the_next_report(host):
    host.conductor.want(1)
    manager = host.start()
    host.wait_converged(1)
    # The conductor knows no more than this host does: only what was told has the vGPU.
    told = DesiredState(host=HOST, generation=2, vgpus=(vgpu(1),))
    manager.look(told)
    host.wait_converged(2)
    assert [each.id for each in host.conductor.reported().vgpus] == [vgpu(1).id]
    host.conductor.want(2, told.vgpus)
    manager.look(DesiredState(host=HOST, generation=1))
    manager.converge()
    assert [each.id for each in manager.host_report().vgpus] == [vgpu(1).id]


def test_what_was_told_before_the_first_answer_is_asked_for(host):
    manager = host.start()
    manager.look(DesiredState(host=HOST, generation=2, vgpus=(vgpu(1),)))
    manager.converge()
    assert manager.host_report().vgpus == ()
    host.conductor.want(3)
    manager.look(DesiredState(host=HOST, generation=2, vgpus=(vgpu(1),)))
    host.wait_converged(3)
    assert manager.host_report().vgpus == ()


def test_what_a_killed_agent_did_not_finish_is_deleted(host):
    one, kept = attachment(1, vgpu(1)), host.folders.cdi / ".other.partial"
    host.folders.make()
    unfinished = [
        host.folders.ledgers / f".{vgpu(2).id}",
        host.folders.sessions / f".{vgpu(3).id}.json.partial",
        host.folders.cdi / f".gpupool.org-vgpu_{one.id}.json.partial",
    ]
    (host.folders.attachments / one.id).touch()
    for path in (*unfinished, kept):
        path.touch()
    host.conductor.want(1)
    host.start()
    host.wait_converged(1)
    assert not [path for path in unfinished if path.exists()]
    assert kept.exists()


def test_other_users_are_not_told_which_attachments_there_are(host):
    one = vgpu(1)
    host.folders.run.mkdir()
    (host.folders.run / "attachments").mkdir(mode=0o755)  # as an earlier version made it
    host.conductor.want(1, [one], [attachment(1, one)])
    host.start()
    host.wait_converged(1)
    assert stat.S_IMODE((host.folders.run / "attachments").stat().st_mode) == 0o711
    assert stat.S_IMODE(host.folders.run_of(attachment(1, one).id).stat().st_mode) == 0o755
    # The kernel shows everybody at which paths there are sockets.
    assert attachment(1, one).id not in Path("/proc/net/unix").read_text()


def test_vgpus_and_attachments_come_and_go(host):
    one, two = vgpu(1), vgpu(2, compute=50, memory_mib=100, device="ref-1")
    host.conductor.want(3, [one, two], [attachment(1, one), attachment(2, two)])
    manager = host.start()
    host.wait_converged(3)
    reported = host.conductor.reported()
    assert [(each.id, each.error) for each in reported.vgpus] == [(one.id, ""), (two.id, "")]
    assert limits(host, two) == (50, 100)
    assert {each.id for each in reported.attachments} == {attachment(1, one).id, attachment(2, two).id}
    assert stat.S_ISSOCK(host.folders.socket(attachment(1, one).id).stat().st_mode)

    host.conductor.want(4, [two], [attachment(2, two)])
    manager.look()
    host.wait_converged(4)
    assert [each.id for each in host.conductor.reported().vgpus] == [two.id]
    assert not host.folders.run_of(attachment(1, one).id).exists()

    host.conductor.want(5)
    manager.look()
    host.wait_converged(5)
    for folder in (host.folders.ledgers, host.folders.attachments, host.folders.cdi):
        assert not list(folder.iterdir())


def test_the_report_says_what_the_host_is(host):
    host.conductor.want(1)
    host.start()
    host.wait_converged(1)
    reported = host.conductor.reported()
    assert (reported.host, reported.hypervisor_hostname, reported.pool) == (
        "host-a",
        "host-a",
        "default",
    )
    assert [(one.key, one.simulated) for one in reported.devices] == [("ref-0", True), ("ref-1", True)]


def test_the_same_desired_state_twice_changes_nothing(host):
    one = vgpu(1)
    container = attachment(2, one, kind=AttachmentKind.CONTAINER)
    host.conductor.want(1, [one], [attachment(1, one), container])
    manager = host.start()
    host.wait_converged(1)
    before = snapshot(host)
    for _ in range(3):
        manager.converge()
    assert snapshot(host) == before


def test_a_process_is_given_its_environment(host):
    one = vgpu(1)
    host.conductor.want(1, [one], [attachment(1, one)])
    host.start()
    host.wait_converged(1)
    (reported,) = host.conductor.reported().attachments
    socket = host.folders.socket(reported.id)
    assert reported.environment["GPUPOOL_SOCKET"] == str(socket)
    # The ticket is secret, and the conductor has it.
    assert reported.environment.keys() == {"GPUPOOL_SOCKET", "LD_LIBRARY_PATH"}
    assert reported.environment["LD_LIBRARY_PATH"].endswith("/lib/runtime")
    assert reported.cdi_device is None
    assert not list(host.folders.cdi.iterdir())


def test_a_container_is_given_a_cdi_device(host):
    one = vgpu(1)
    wanted = attachment(1, one, kind=AttachmentKind.CONTAINER)
    host.conductor.want(1, [one], [wanted])
    manager = host.start()
    host.wait_converged(1)
    (reported,) = host.conductor.reported().attachments
    assert (reported.environment, reported.cdi_device) == ({}, f"gpupool.org/vgpu={wanted.id}")
    (path,) = host.folders.cdi.iterdir()
    assert json.loads(path.read_text())["devices"][0]["name"] == wanted.id
    ticket = host.folders.tickets / wanted.id
    for made in (path, ticket):
        made.unlink()  # somebody cleans up too much
        manager.converge()
        assert made.exists()


def test_a_containers_ticket_is_for_every_user_of_it_and_nobody_else_of_the_host(host):
    one = vgpu(1)
    wanted = attachment(1, one, kind=AttachmentKind.CONTAINER)
    host.conductor.want(1, [one], [wanted, attachment(2, one)])
    manager = host.start()
    host.wait_converged(1)
    (ticket,) = host.folders.tickets.iterdir()
    assert (ticket.name, ticket.read_text()) == (wanted.id, f"{TICKET}\n")
    assert stat.S_IMODE(ticket.stat().st_mode) == 0o444
    assert stat.S_IMODE(host.folders.tickets.stat().st_mode) == 0o700
    host.stop()
    mounted = ticket.stat().st_ino  # by a container
    manager = host.start()
    host.wait_converged(1)
    assert ticket.stat().st_ino == mounted
    host.conductor.want(2, [one], [])
    manager.look()
    host.wait_converged(2)
    assert not list(host.folders.tickets.iterdir())


@pytest.mark.parametrize("kind", AttachmentKind)
def test_a_sockets_folder_stays_over_a_restart(host, kind):
    """A container holds the folder itself, and programs the path."""
    one = vgpu(1)
    wanted = attachment(1, one, kind=kind)
    host.conductor.want(1, [one], [wanted])
    host.start()
    host.wait_converged(1)
    path = host.folders.socket(wanted.id)
    folder, before = path.parent.stat().st_ino, path.stat().st_ino
    host.stop()
    host.start()
    host.wait_converged(1)
    assert path.parent.stat().st_ino == folder
    assert path.stat().st_ino != before
    assert len(host.program(wanted).hello(Kind.VGPUS).devices) == 1


def test_a_vgpu_on_a_device_that_is_not_here_is_reported_as_an_error(host):
    good, bad = vgpu(1), vgpu(2, device="ref-7")
    host.conductor.want(1, [good, bad], [])
    manager = host.start()
    host.wait_converged(1)
    found = {each.id: each.error for each in host.conductor.reported().vgpus}
    assert found == {good.id: "", bad.id: "this host has no device ref-7"}
    host.conductor.want(2, [good], [])
    manager.look()
    host.wait_converged(2)
    assert [each.id for each in host.conductor.reported().vgpus] == [good.id]


def test_an_older_desired_state_is_ignored(host, caplog):
    one = vgpu(1)
    host.conductor.want(5, [one], [])
    manager = host.start()
    host.wait_converged(5)
    host.conductor.want(4)
    manager.converge()
    assert [each.id for each in manager.host_report().vgpus] == [one.id]
    assert "desired state 4 is older than 5" in caplog.text


def test_without_a_conductor_everything_stays(host, caplog):
    one = vgpu(1)
    host.conductor.want(1, [one], [attachment(1, one)])
    manager = host.start()
    host.wait_converged(1)
    before = snapshot(host)
    host.conductor.vanish()
    manager.converge()
    manager.converge()
    assert snapshot(host) == before
    assert caplog.text.count("keeping everything as it is") == 1


def test_a_restart_without_a_conductor_serves_what_there_was(host):
    one = vgpu(1)
    host.conductor.want(7, [one], [attachment(1, one)])
    host.start()
    host.wait_converged(7)
    host.stop()
    host.conductor.vanish()
    report = host.start().host_report()
    assert report.generation == 7
    assert [each.id for each in report.vgpus] == [one.id]
    assert host.program(attachment(1, one)).hello(1).devices[0].memory_mib == 512


def test_a_ledger_of_before_an_upgrade_serves_on(host):
    """Its workers live, and have mapped it: it must not be made anew."""
    one = vgpu(1)
    host.folders.make()
    path = host.folders.ledgers / one.id
    header = struct.pack("<IIIIQI36x", ledger.MAGIC, 2, 64, 0, 512 * ledger.MIB, 25)
    path.write_bytes(header.ljust(64 * 65 + 1024, b"\0"))
    before = path.stat().st_ino
    host.conductor.want(1, [one], [attachment(1, one)])
    host.start()
    host.wait_converged(1)
    program = host.program(attachment(1, one))
    assert program.hello(Kind.OPEN).error == 0
    assert program.wait_ready() == 0
    assert path.stat().st_ino == before


def test_what_is_not_wanted_is_found_after_a_restart(host):
    """Left by an agent that was killed between removing a vGPU from its plan and from its host."""
    one = vgpu(1)
    host.folders.make()
    Ledger(host.folders.ledgers / one.id).create(Limits(compute=25, memory_mib=512), 4)
    (host.folders.attachments / "left").touch()
    host.folders.run_of("left").mkdir()
    (host.folders.cdi / "gpupool.org-vgpu_left.json").write_text("{}")
    host.conductor.want(1)
    host.start()
    host.wait_converged(1)
    for folder in (host.folders.ledgers, host.folders.attachments, host.folders.cdi):
        assert not list(folder.iterdir())
    assert not host.folders.run_of("left").exists()


def test_a_half_written_plan_is_no_plan(host, caplog):
    host.folders.make()
    host.folders.desired.write_text('{"host": "host-')
    host.conductor.want(1, [vgpu(1)], [])
    host.start()
    host.wait_converged(1)
    assert "desired.json can't be read" in caplog.text


def test_limits_follow_what_is_wanted(host):
    host.conductor.want(1, [vgpu(1)], [])
    manager = host.start()
    host.wait_converged(1)
    host.conductor.want(2, [vgpu(1, compute=75, memory_mib=99)], [])
    manager.look()
    host.wait_converged(2)
    assert limits(host, vgpu(1)) == (75, 99)


def test_a_socket_that_was_swept_away_comes_back(host):
    one = vgpu(1)
    host.conductor.want(1, [one], [attachment(1, one)])
    manager = host.start()
    host.wait_converged(1)
    host.folders.socket(attachment(1, one).id).unlink()
    manager.converge()
    assert len(host.program(attachment(1, one)).hello(1).devices) == 1


def test_two_agents_do_not_share_a_state_folder(host):
    host.conductor.want(1)
    host.start()
    with pytest.raises(errors.Conflict, match="another agent uses"):
        AgentManager(host.conf, host.conductor).start()


def test_a_run_path_may_be_longer_than_a_sockets_address(host):
    one = vgpu(1)
    host.use(run_path=str(host.state / ("r" * 120)))
    host.conductor.want(1, [one], [attachment(1, one)])
    host.start()
    host.wait_converged(1)
    assert len(host.program(attachment(1, one)).hello(Kind.VGPUS).devices) == 1


def test_an_unknown_driver_is_refused(host):
    conf = configuration(host.state / "agent")
    conf.set_override("drivers", ["reference", "abacus"], "agent")
    with pytest.raises(errors.Invalid, match="drivers names abacus; allowed: nvidia, reference"):
        AgentManager(conf, host.conductor)


@needs_root
def test_worker_uids_that_are_accounts_are_refused(host):
    conf = configuration(host.state / "agent")
    conf.set_override("worker_uids", "65000-65999", "agent")
    with pytest.raises(errors.Invalid, match="worker_uids is 65000-65999, but 65534 is the user nobody"):
        AgentManager(conf, host.conductor)


def test_a_driver_that_fails_keeps_its_devices(host, monkeypatch, caplog):
    host.conductor.want(1)
    manager = host.start()
    host.wait_converged(1)
    monkeypatch.setattr("gpupool.drivers.reference.ReferenceDriver.discover", lambda self: 1 / 0)
    manager.converge()
    assert len(manager.host_report().devices) == 2
    eventually(lambda: "driver ReferenceDriver failed" in caplog.text)


def test_the_option_that_workers_no_longer_follow_is_named(host, caplog):
    host.conf.set_override("worker_user", "nobody", "agent")
    host.start()
    assert "[agent] worker_user has no effect" in caplog.text
