"""The ledger: the C that workers use and the Python that the agent uses, on the same file."""

import os
import re
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpupool.dataplane import device_state, device_time, ledger
from gpupool.model import errors

from .conftest import ENVIRONMENT, LEDGER, Compile

MIB = ledger.MIB
LIMITS = ledger.Limits(compute=25, memory_mib=512, host_mib=64)
SLOTS = 5


class Worker:
    """One process with a slot of a ledger."""

    def __init__(self, program: Path, path: Path, slot: int) -> None:
        self.process = subprocess.Popen(
            [program, path, str(slot)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
        )
        self.opened = self._answer()

    def ask(self, command: str) -> str:
        assert self.process.stdin
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture
def book(tmp_path: Path) -> ledger.Ledger:
    made = ledger.Ledger(tmp_path / "ledger")
    made.create(LIMITS, SLOTS)
    return made


@pytest.fixture
def start(compile_test: Compile, book: ledger.Ledger) -> Iterator[type[Worker]]:
    program = compile_test("ledger_worker", *LEDGER)
    workers = []

    def start(slot: int) -> Worker:
        workers.append(Worker(program, book.path, slot))
        return workers[-1]

    yield start
    for worker in workers:
        worker.kill()


def test_layout_is_the_same_in_c_and_python(compile_test: Compile) -> None:
    output = subprocess.check_output([compile_test("ledger_layout")], text=True, env=ENVIRONMENT)
    found = {line.split()[0]: [int(n) for n in line.split()[1:]] for line in output.splitlines()}
    assert found["magic"] == [ledger.MAGIC]
    assert found["version"] == [ledger.VERSION]
    assert found["slots_max"] == [ledger.SLOTS_MAX]
    assert found["sizes"] == [ledger.size_of(slots) for slots in (1, 64, ledger.SLOTS_MAX)]
    assert found["parts"] == [ledger.HEADER.size, ledger.SLOT.size, device_time.SIZE]
    assert found["ledger_file.magic"] == [0, 4]
    assert found["ledger_file.version"] == [4, 4]
    assert found["ledger_file.slots"] == [8, 4]
    assert found["ledger_file.lost"] == [ledger.LOST_OFFSET, 4]
    assert found["ledger_file.memory_limit"] == [ledger.LOST_OFFSET + 4, 8]
    assert found["ledger_file.compute"] == [ledger.LOST_OFFSET + 12, 4]
    assert found["ledger_file.host_limit"] == [ledger.LOST_OFFSET + 20, 8]
    assert found["ledger_file.frozen"] == [ledger.FROZEN_OFFSET, 4]
    assert found["device_state"] == [
        device_state.MAGIC,
        device_state.VERSION,
        device_state.LAYOUT.size,
    ]
    assert found["device_state.frozen"] == [device_state.FROZEN_OFFSET, 4]
    assert found["ledger_slot.memory"] == [0, 8]
    assert found["ledger_slot.busy_ns"] == [ledger.BUSY_OFFSET, 8]
    assert found["ledger_slot.pid"] == [ledger.PID_OFFSET, 4]
    assert found["ledger_slot.host_memory"] == [ledger.HOST_MEMORY_OFFSET, 8]
    assert found["ledger_slot.in_flight_ns"] == [ledger.IN_FLIGHT_OFFSET, 8]
    assert found["ledger_slot.ended_ns"] == [ledger.ENDED_OFFSET, 8]
    assert found["ledger_time.debt_ns"] == [0, 8]
    assert found["ledger_time.debt_at_ns"] == [8, 8]
    assert found["ledger_time.busy"] == [16, device_time.SIZE - 16]
    assert [found[f"timeline.{name}"] for name in ("until", "floor", "count")] == [
        [0, 8],
        [8, 8],
        [16, 8],
    ]
    assert found["timeline.gaps"] == [32, device_time.GAPS_MAX * 16]


def test_sessions_share_the_memory_of_their_vgpu(start, book):
    one, two = start(0), start(1)
    assert one.ask(f"take {300 * MIB}") == "1"
    assert two.ask(f"take {300 * MIB}") == "0"
    assert two.ask(f"take {212 * MIB}") == "1"
    assert two.ask("take 1") == "0"
    assert one.ask("memory") == f"0 {512 * MIB}"
    assert one.ask(f"give {100 * MIB}") == "ok"
    assert two.ask("memory") == f"{100 * MIB} {512 * MIB}"
    assert book.usage(0).memory_mib == 200
    assert book.usage(1).memory_mib == 212


def test_a_part_of_a_mib_counts_as_one(start, book):
    assert start(0).ask("take 1") == "1"
    assert book.usage(0).memory_mib == 1


@pytest.mark.parametrize("size", [512 * MIB + 1, 2**63, 2**64 - 1])
def test_more_than_the_limit_is_refused(start, size):
    worker = start(0)
    assert worker.ask(f"take {size}") == "0"
    assert worker.ask(f"take {512 * MIB}") == "1"
    assert worker.ask(f"take {size}") == "0"


def test_giving_too_much_leaves_nothing_negative(start, book):
    worker = start(0)
    worker.ask("take 5")
    worker.ask("give 6")
    assert book.usage(0).memory_mib == 0
    assert worker.ask("memory") == f"{512 * MIB} {512 * MIB}"


def test_a_killed_worker_leaks_nothing_even_with_no_agent(start):
    dead, alive = start(0), start(1)
    dead.ask(f"take {512 * MIB}")
    assert alive.ask("take 1") == "0"
    dead.kill()
    assert alive.ask(f"take {512 * MIB}") == "1"


def test_workers_killed_at_any_moment_block_nobody(start, book):
    alive = start(0)
    for round_ in range(20):
        churning = start(1)
        assert churning.ask("churn") == "churning"
        time.sleep(0.001 * (round_ % 5))
        churning.kill()
        assert alive.ask(f"take {512 * MIB}") == "1"
        assert alive.ask(f"give {512 * MIB}") == "ok"


def test_a_slot_has_one_worker(start, book):
    first = start(3)
    first.ask("take 7")
    assert start(3).opened == os.strerror(16)
    first.kill()
    assert book.usage(3).memory_mib == 1
    assert start(3).opened == "open"
    assert book.usage(3).memory_mib == 0


def test_threads_of_a_worker_keep_the_limit(compile_test, book):
    program = compile_test("ledger_threads", *LEDGER)
    subprocess.run([program, book.path], check=True, env=ENVIRONMENT)


def test_limits_can_change_under_a_worker(start, book):
    worker = start(0)
    assert worker.ask("compute") == "25"
    worker.ask(f"take {500 * MIB}")
    book.create(ledger.Limits(compute=50, memory_mib=100), SLOTS)
    assert worker.ask("compute") == "50"
    assert worker.ask("memory") == f"0 {100 * MIB}"
    assert worker.ask("take 1") == "0"


def test_lost_reaches_a_worker(start, book):
    worker = start(0)
    assert worker.ask("lost") == "0"
    book.set_lost()
    assert worker.ask("lost") == "1"
    book.create(LIMITS, SLOTS)
    assert worker.ask("lost") == "0"


def test_setting_the_same_limits_writes_nothing(book):
    before = book.path.stat().st_mtime_ns
    book.create(LIMITS, SLOTS)
    assert book.path.stat().st_mtime_ns == before


def test_clearing_a_slot_keeps_its_busy_time(start, book):
    worker = start(2)
    worker.ask(f"take {MIB}")
    worker.ask("busy 1234")
    worker.kill()
    book.clear(2)
    assert book.usage(2) == ledger.SlotUsage(memory_mib=0, busy_ns=1234)


def test_values_out_of_bounds_are_bounded(start, book):
    worker = start(0)
    content = bytearray(book.path.read_bytes())
    content[64:80] = b"\xff" * 16
    content[24:28] = b"\xff" * 4
    book.path.write_bytes(content)
    assert book.usage(0) == ledger.SlotUsage(memory_mib=512, busy_ns=ledger.BUSY_MAX)
    assert worker.ask("compute") == "100"
    assert worker.ask("memory") == f"0 {512 * MIB}"
    content[24:28] = bytes(4)
    book.path.write_bytes(content)
    assert worker.ask("compute") == "1"


def test_a_ledger_cut_short_is_no_ledger(book):
    assert book.sound()
    os.truncate(book.path, 100)
    assert not book.sound()
    with pytest.raises(errors.Invalid):
        book.usage(0)


@pytest.mark.parametrize("content", [b"", b"x" * 5000, bytes(ledger.size_of(64))])
def test_what_is_no_ledger_is_refused(compile_test, tmp_path, content):
    path = tmp_path / "other"
    path.write_bytes(content)
    with pytest.raises(errors.Invalid, match=re.escape(f"{path}: not a ledger")):
        ledger.Ledger(path).usage(0)
    worker = Worker(compile_test("ledger_worker", *LEDGER), path, 0)
    assert worker.opened == os.strerror(22)
    worker.kill()


def test_a_slot_out_of_range_is_refused(start, book):
    assert start(SLOTS - 1).opened == "open"
    assert start(SLOTS).opened == os.strerror(22)
    with pytest.raises(errors.Invalid, match="slot 5; allowed: 0 to 4"):
        book.usage(SLOTS)
    with pytest.raises(errors.Invalid, match="slot 5; allowed: 0 to 4"):
        book.clear(SLOTS)


@pytest.mark.parametrize("slots", [1, ledger.SLOTS_MAX])
def test_a_ledger_has_the_slots_it_was_made_with(compile_test, tmp_path, slots):
    made = ledger.Ledger(tmp_path / "made")
    made.create(LIMITS, slots)
    made.create(LIMITS, 7)
    assert made.slots() == len(made.usages()) == slots
    last = Worker(compile_test("ledger_worker", *LEDGER), made.path, slots - 1)
    assert last.ask(f"take {3 * MIB}") == "1"
    assert made.usage(slots - 1).memory_mib == 3
    last.kill()
    with pytest.raises(errors.Invalid, match=f"slots; allowed: 1 to {ledger.SLOTS_MAX}"):
        ledger.Ledger(tmp_path / "other").create(LIMITS, ledger.SLOTS_MAX + 1)


def test_what_the_file_says_of_its_slots_is_read_once(start, book):
    worker = start(0)
    content = bytearray(book.path.read_bytes())
    content[8:12] = b"\xff" * 4
    book.path.write_bytes(content)
    assert not book.sound()
    assert worker.ask(f"take {512 * MIB}") == "1"
    assert worker.ask("take 1") == "0"
    assert start(1).opened == os.strerror(22)


def test_sessions_share_the_host_memory_of_their_vgpu(start, book):
    one, two = start(0), start(1)
    assert one.ask(f"take_host {60 * MIB}") == "1"
    assert two.ask(f"take_host {5 * MIB}") == "0"
    assert two.ask(f"take {512 * MIB}") == "1"
    assert book.usage(0) == ledger.SlotUsage(memory_mib=0, busy_ns=0, host_mib=60)
    assert one.ask(f"give_host {MIB}") == "ok"
    assert two.ask(f"take_host {5 * MIB}") == "1"
    one.kill()
    assert two.ask(f"take_host {59 * MIB}") == "1"
    two.kill()
    book.clear(1)
    assert book.usage(1) == ledger.SlotUsage(memory_mib=0, busy_ns=0)


def test_a_ledger_of_before_an_upgrade_goes_on(compile_test, tmp_path):
    old = ledger.Ledger(tmp_path / "old")
    header = struct.pack("<IIIIQI36x", ledger.MAGIC, 2, 64, 0, 512 * MIB, 25)
    old.path.write_bytes(header.ljust(64 * 65 + 1024, b"\0"))
    worker = Worker(compile_test("ledger_worker", *LEDGER), old.path, 63)
    assert worker.ask(f"take {512 * MIB}") == "1"
    assert worker.ask(f"take_host {2**40}") == "1"
    assert old.sound()
    assert old.slots() == 64
    old.create(LIMITS, SLOTS)
    assert worker.ask("take_host 1") == "0"
    assert old.usage(63) == ledger.SlotUsage(memory_mib=512, busy_ns=0, host_mib=64)
    worker.kill()


def test_removing_twice_is_removing_once(book):
    book.remove()
    book.remove()
    assert not book.path.exists()
