"""The arbiter, on a simulated clock: what share of wall time comes out."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from gpupool.dataplane import ledger

from .conftest import ENVIRONMENT, LEDGER, SANITIZE, Compile

US = 1000
MS = 1000 * US


@dataclass
class Outcome:
    busy: int
    wall: int
    longest_wait: int

    @property
    def percent(self) -> float:
        return 100 * self.busy / self.wall


@pytest.fixture
def simulate(compile_test: Compile, tmp_path: Path):
    flags = (*SANITIZE, "-Wl,--wrap=clock_gettime,--wrap=nanosleep")
    program = compile_test("arbiter_clock", "arbiter.c", *LEDGER, flags=flags)

    def simulate(compute: int, kernel_ns: int, batch: int = 1, lost: bool = False) -> Outcome:
        book = ledger.Ledger(tmp_path / "ledger")
        book.create(ledger.Limits(compute=compute, memory_mib=1), 1)
        if lost:
            book.set_lost()
        command = [program, book.path, str(kernel_ns), str(batch)]
        output = subprocess.check_output(command, text=True, env=ENVIRONMENT)
        outcome = Outcome(*map(int, output.split()))
        assert book.usage(0).busy_ns == outcome.busy
        return outcome

    return simulate


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("kernel_ns", [50 * US, 200 * US, MS, 20 * MS, 500 * MS])
def test_a_quarter_is_a_quarter(simulate, kernel_ns, batch):
    assert 24 <= simulate(25, kernel_ns, batch).percent <= 26


@pytest.mark.parametrize("compute", [1, 10, 50, 75, 99])
def test_other_shares(simulate, compute):
    assert simulate(compute, 5 * MS).percent == pytest.approx(compute, rel=0.06)


def test_the_whole_device_never_waits(simulate):
    assert simulate(100, MS, 8).longest_wait == 0


def test_a_lost_vgpu_never_waits(simulate):
    assert simulate(1, MS, lost=True).longest_wait == 0
