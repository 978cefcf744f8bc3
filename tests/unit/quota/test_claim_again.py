"""A claim that is deleted and made anew gets no more than one that stays; on a simulated clock."""

import subprocess
from pathlib import Path

import pytest

import gpupool.conf
from gpupool.agent import debts, process
from gpupool.agent.folders import Folders
from gpupool.agent.inventory import Inventory
from gpupool.agent.vgpus import Vgpus
from gpupool.dataplane import device_time
from gpupool.model.report import VgpuSpec

from .conftest import ENVIRONMENT, LEDGER, SANITIZE, Compile

MS = 10**6
SECOND = 1000 * MS


class Host:
    """The vGPUs of one agent, with a clock that only running programs move."""

    def __init__(self, folder: Path, program: Path) -> None:
        self.now_ns = 5 * SECOND
        self.busy_ns = 0
        self._program = program
        self._conf = gpupool.conf.new(files=[])
        self._conf.set_override("drivers", ["reference"], "agent")
        self._conf.set_override("devices", 2, "reference")
        self._folders = Folders(folder, folder / "run", folder / "cdi")
        self._folders.make()
        self.restart_agent()

    def restart_agent(self) -> None:
        inventory = Inventory(self._conf)
        inventory.refresh()
        self.vgpus = Vgpus(self._folders, inventory, None, 1 << 20)
        self.vgpus._debts = debts.Debts(self._folders.debts, lambda: self.now_ns)
        self.vgpus.start(lambda _: False)

    def run(self, spec: VgpuSpec, kernel_ns: int, kernels: int = 1) -> int:
        """Let a program run kernels in the vGPU; return the ns it waited at the gate for one."""
        path = self.vgpus.ledger(spec.id).path
        command = [self._program, path, str(kernel_ns), "1", str(self.now_ns), str(kernels)]
        busy, wall, waited = map(int, subprocess.check_output(command, env=ENVIRONMENT).split())
        self.now_ns += wall
        self.busy_ns += busy
        return waited


def _spec(number: int, compute: int = 1, project: str = "p", device: str = "ref-0") -> VgpuSpec:
    return VgpuSpec(
        id=f"v{number}",
        claim_id=f"c{number}",
        device_key=device,
        compute=compute,
        memory_mib=64,
        generation=1,
        project_id=project,
    )


@pytest.fixture
def host(compile_test: Compile, tmp_path: Path) -> Host:
    flags = (*SANITIZE, "-Wl,--wrap=clock_gettime,--wrap=nanosleep")
    return Host(tmp_path, compile_test("arbiter_clock", "arbiter.c", *LEDGER, flags=flags))


def _claim_again_and_again(host: Host, project: str, times: int = 20) -> float:
    """Return which part of the device a claim of 1 % got that is made anew after each kernel of 1 s."""
    began = host.now_ns
    for number in range(times):
        spec = _spec(number, project=project)
        host.vgpus.make(spec)
        host.run(spec, SECOND)
        host.vgpus.remove(spec.id)
    return host.busy_ns / (host.now_ns - began)


def test_a_claim_made_anew_gets_its_share_only(host):
    assert _claim_again_and_again(host, "p") < 0.011


def test_without_projects_a_claim_made_anew_gets_the_device(host):
    """What the test above is about: a conductor of before tells no project."""
    assert _claim_again_and_again(host, "") > 0.9


def test_a_debt_falls_with_time_at_the_share_it_was_made_at(host):
    host.vgpus.make(_spec(1, compute=10))
    host.run(_spec(1), SECOND)
    host.vgpus.remove("v1")
    host.now_ns += 5 * SECOND
    host.vgpus.make(_spec(2, compute=50))
    # 0.9 s were owed, 0.5 s of them fell away, 50 % pays the rest in 0.8 s.
    assert host.run(_spec(2), MS) == pytest.approx(0.8 * SECOND, abs=0.05 * SECOND)


def _owe_and_take_over(host: Host) -> None:
    """Owe 9.9 s at 1 %, taken over by a vGPU of nearly the whole device."""
    host.vgpus.make(_spec(1))
    host.run(_spec(1), 10 * SECOND)
    host.vgpus.remove("v1")
    host.vgpus.make(_spec(2, compute=99))


@pytest.mark.parametrize("restarted", [False, True])
def test_a_debt_falls_no_faster_for_having_been_a_larger_claims_for_a_moment(host, restarted):
    _owe_and_take_over(host)
    if restarted:
        host.restart_agent()
        host.vgpus.make(_spec(2, compute=99))
    host.vgpus.remove("v2")
    host.now_ns += 10 * SECOND
    host.vgpus.make(_spec(3))
    assert host.run(_spec(3), MS) > 900 * SECOND


def test_a_debt_falls_no_faster_though_the_agent_is_killed_when_it_is_taken_over(host):
    host.vgpus._debts.taken = lambda spec: None
    _owe_and_take_over(host)
    host.restart_agent()
    host.vgpus.make(_spec(2, compute=99))
    host.vgpus.remove("v2")
    host.now_ns += 10 * SECOND
    host.vgpus.make(_spec(3))
    assert host.run(_spec(3), MS) > 900 * SECOND


def test_what_a_larger_claim_pays_of_a_debt_is_paid(host):
    _owe_and_take_over(host)
    host.now_ns += 11 * SECOND
    host.vgpus.remove("v2")
    host.vgpus.make(_spec(3))
    assert host.run(_spec(3), MS) == 0


def test_others_do_not_pay(host):
    standing = _spec(10)
    host.vgpus.make(standing)
    host.vgpus.make(_spec(1))
    host.run(_spec(1), SECOND)
    host.vgpus.remove("v1")
    for number, spec in enumerate((_spec(2, project="q"), _spec(3, device="ref-1"), standing)):
        host.vgpus.make(spec)
        assert host.run(spec, MS) == 0, number
    assert host.vgpus.make(_spec(4))
    assert host.run(_spec(4), MS) > 60 * SECOND


def test_a_vgpu_that_moves_to_another_device_and_back_owes_still(host):
    host.vgpus.make(_spec(1))
    host.run(_spec(1), SECOND)
    host.vgpus.remove("v1")
    host.vgpus.make(_spec(1, device="ref-1"))
    assert host.run(_spec(1), MS) == 0
    host.vgpus.remove("v1")
    host.vgpus.make(_spec(1))
    assert host.run(_spec(1), MS) > 60 * SECOND


def test_debts_outlive_the_agent(host):
    host.vgpus.make(_spec(1))
    host.run(_spec(1), SECOND)
    host.restart_agent()
    host.vgpus.make(_spec(1))  # as the desired state that was written down says
    host.vgpus.remove("v1")
    host.restart_agent()
    host.vgpus.make(_spec(2))
    assert host.run(_spec(2), MS) > 60 * SECOND


def test_a_debt_is_taken_over_once_though_the_agent_is_killed(host):
    host.vgpus.make(_spec(1))
    host.run(_spec(1), SECOND)
    host.vgpus.remove("v1")
    host.vgpus._debts.taken = lambda spec: None  # killed before
    host.vgpus.make(_spec(2))
    host.restart_agent()
    host.vgpus.make(_spec(3))
    assert host.run(_spec(3), MS) == 0
    assert host.run(_spec(2), MS) > 60 * SECOND


def test_a_debt_waits_for_the_next_when_its_taker_never_came_to_be(host):
    host.vgpus.make(_spec(1))
    host.run(_spec(1), SECOND)
    host.vgpus.remove("v1")
    assert host.vgpus._debts.take(_spec(2)) > 0
    host.restart_agent()
    host.vgpus.make(_spec(3))
    assert host.run(_spec(3), MS) > 60 * SECOND


def test_another_boot_owes_nothing(host, monkeypatch, tmp_path):
    host.vgpus.make(_spec(1))
    host.run(_spec(1), SECOND)
    _abandon(host, _spec(1), host.now_ns, host.now_ns + SECOND)
    host.now_ns += SECOND
    other = tmp_path / "boot_id"
    other.write_text("another\n")
    monkeypatch.setattr(process, "BOOT", other)
    host.restart_agent()
    host.vgpus.make(_spec(1))
    assert host.run(_spec(1), MS) == 0


def test_a_disk_that_cant_be_written_keeps_nobody(host, tmp_path):
    host.vgpus.make(_spec(1))
    host.run(_spec(1), SECOND)
    (tmp_path / "debts.json").unlink()
    (tmp_path / "debts.json").mkdir()
    host.vgpus.remove("v1")
    host.vgpus.make(_spec(2))
    assert host.run(_spec(2), MS) > 60 * SECOND


@pytest.mark.parametrize(
    "content", [b"\xff" * 1024, b"\x7f" * 1024, bytes(24) + b"\xff" * 1000, bytes(1024)]
)
def test_whatever_a_worker_wrote_is_bounded(content):
    wild = [(1, 2**64 - 1), (2**64 - 1, 1), (5, 4), (2**63, 2**64 - 1)] * 1024
    for compute in (0, 1, 100, 101):
        assert 0 <= device_time.debt(content, wild, max(compute, 1), 10 * SECOND) <= device_time.DEBT_MAX


def test_work_of_a_killed_worker_is_owed(host):
    """In flight for 2 s when its worker was seen dead, half of it beside work that was charged."""
    spec = _spec(1)
    host.vgpus.make(spec)
    began = host.now_ns
    host.run(spec, SECOND)
    killed = began + 2 * SECOND
    _abandon(host, spec, began, killed)
    host.now_ns = killed
    host.vgpus.remove("v1")
    host.vgpus.make(_spec(2))
    assert host.run(_spec(2), MS) == pytest.approx(198 * SECOND, rel=0.02)


def test_work_of_a_killed_worker_is_charged_to_the_sessions_that_follow(host):
    spec = _spec(1, compute=50)
    host.vgpus.make(spec)
    _abandon(host, spec, host.now_ns, host.now_ns + SECOND, slot=3)
    host.now_ns += SECOND
    assert host.run(spec, MS) == pytest.approx(SECOND, rel=0.05)
    assert host.run(spec, MS) < 10 * MS


def test_work_of_a_killed_worker_is_owed_though_a_session_in_its_place_never_began(host):
    """Its program left before it was welcome, or its worker found no room: nobody has charged for it."""
    spec = _spec(1, compute=50)
    host.vgpus.make(spec)
    _abandon(host, spec, host.now_ns, host.now_ns + SECOND)
    host.vgpus.ledger(spec.id).clear(1)
    host.now_ns += 60 * SECOND
    host.vgpus.ledger(spec.id).clear(1, host.now_ns)
    host.now_ns -= 59 * SECOND
    assert host.run(spec, MS) == pytest.approx(SECOND, rel=0.05)


def test_a_debt_outlives_a_claim_of_the_whole_device(host):
    """Which would be made for a moment, only to be rid of it."""
    host.vgpus.make(_spec(1))
    host.run(_spec(1), 10 * SECOND)
    host.vgpus.remove("v1")
    host.vgpus.make(_spec(2, compute=100))
    assert host.run(_spec(2, compute=100), MS) == 0
    host.vgpus.remove("v2")
    host.vgpus.make(_spec(3))
    assert host.run(_spec(3), MS) > 900 * SECOND


def _abandon(host: Host, spec: VgpuSpec, begin: int, end: int, slot: int = 1) -> None:
    ledger = host.vgpus.ledger(spec.id)
    content = bytearray(ledger.path.read_bytes())
    at = 64 + 64 * slot + 32
    content[at : at + 8] = begin.to_bytes(8, "little")
    ledger.path.write_bytes(content)
    ledger.clear(slot, end)
