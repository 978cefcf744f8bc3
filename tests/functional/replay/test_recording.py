"""gpupool-manage recording writes what gpupool-replay recording reads."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from gpupool.cmd import manage
from gpupool.db import claims, devices, hosts, pools
from gpupool.db.api import Database
from gpupool.model.claim import Qos
from gpupool.model.pool import PolicyName, Pool
from gpupool.model.states import ClaimState, DeviceHealth
from gpupool.replay import recording, recording_run
from gpupool.replay.lines import BadLines
from gpupool.replay.queueing import Queueing
from gpupool.replay.report import KEYS
from tests.functional.db import make
from tests.functional.replay.conftest import Command

BEGUN = datetime(2026, 11, 1)


def hours(number: float) -> datetime:
    return BEGUN + timedelta(hours=number)


class Operator:
    """One pool's database, and the command that records it."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        url = f"sqlite:///{folder}/gpupool.db"
        self.database = Database.from_url(url)
        self.database.upgrade()
        self.file, self.conf, self._capsys = folder / "pool.jsonl", folder / "gpupool.conf", capsys
        self.conf.write_text(f"[database]\nconnection = {url}\n")

    def configure(self, text: str) -> None:
        """Add to the configuration."""
        self.conf.write_text(self.conf.read_text() + text)

    def record(self, *arguments: str) -> tuple[int, str]:
        """Return the exit code and standard error; standard output goes to ``file``."""
        code = manage.main(["--config-file", str(self.conf), "recording", "--pool", "gpus", *arguments])
        out, err = self._capsys.readouterr()
        self.file.write_text(out)
        return code, err


@pytest.fixture
def operator(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Operator]:
    operator = Operator(tmp_path, capsys)
    yield operator
    operator.database.close()


def store_pool(session: Session) -> Pool:
    pool = pools.create(session, make.pool(name="gpus", policy=PolicyName.BEST_FIT))
    host = hosts.create(session, make.host(pool, cpu_milli=16000, memory_mib=65536))
    for number in range(2):
        devices.create(session, make.device(host, key=f"gpu-{number}", memory_mib=8192))
    return pool


def store_claim(session: Session, pool: Pool, number: float, **fields: Any) -> None:
    """One that came after ``number`` hours, waited an hour and ran for five."""
    times = {"created_at": hours(number), "bound_at": hours(number + 1), "ended_at": hours(number + 6)}
    state = {"state": ClaimState.RELEASED}
    claims.create(session, make.claim(pool, name="secret", **{**state, **times, **fields}))


def test_from_the_database_to_the_answer(operator: Operator, command: Command) -> None:
    """Five claims an hour apart of 81 % for five hours each, on two devices."""
    with operator.database.writer() as session:
        pool = store_pool(session)
        for number in range(5):
            store_claim(session, pool, number, compute=81)
    assert operator.record() == (0, "")
    found = command("recording", operator.file, "--json", "--oversubscribe", 1.7).found
    assert set(KEYS) <= set(found)
    rows = {row["name"]: row for row in found["rows"]}
    assert list(rows) == ["recorded", "replayed", "otherwise"]
    assert [rows["recorded"][f"{what}_mean_s"] for what in ("waiting", "completion")] == [3600, 6 * 3600]
    # 0, 0, 3, 3, 6 hours of waiting: nothing fits beside 81 %; but two of them on one of 170 %.
    assert rows["replayed"]["waiting_mean_s"] == 12 / 5 * 3600
    assert rows["otherwise"]["waiting_mean_s"] == 1 / 5 * 3600
    assert found["completion_mean_s"] == rows["otherwise"]["completion_mean_s"]
    assert found["completion_ratio"] == pytest.approx(found["completion_mean_s"] / (6 * 3600))
    rules = "policy best-fit, order fair, local, reservations 1, half-life 168 h"
    assert found["assumptions"]["replayed"] == f"{rules}, compute 100 %"
    assert "slices best effort, compute 170 %" in found["assumptions"]["otherwise"]


def test_devices_of_a_disabled_host_are_recorded_as_out_of_use(operator: Operator) -> None:
    with operator.database.writer() as session:
        pool = store_pool(session)
        host = hosts.create(session, make.host(pool, enabled=False))
        devices.create(session, make.device(host, key="ok"))
    assert operator.record() == (0, "")
    read = recording.read(operator.file, BadLines())
    assert {device.host for device in read.devices if not device.usable} == {host.name}
    assert sum(device.usable for device in read.devices) == 2


def test_what_is_recorded(operator: Operator) -> None:
    with operator.database.writer() as session:
        pool = store_pool(session)
        [host] = hosts.list_(session)
        devices.create(session, make.device(host, key="off", enabled=False))
        devices.create(session, make.device(host, key="broken", health=DeviceHealth.FAILED))
        store_claim(session, pool, 0, qos=Qos.BEST_EFFORT)
        store_claim(session, pool, 1, ended_at=None, state=ClaimState.BOUND)
        store_claim(session, pool, 2, bound_at=None, ended_at=None, state=ClaimState.QUEUED)
        make.stored_claim(session)
    assert operator.record() == (0, "")
    read = recording.read(operator.file, BadLines())
    assert (read.pool.name, read.pool.policy) == ("gpus", PolicyName.BEST_FIT)
    assert [(each.cpu_milli, each.memory_mib) for each in read.hosts] == [(15500, 64512)]
    assert {(device.host, device.product) for device in read.devices} == {(host.name, "reference")}
    assert sorted(device.usable for device in read.devices) == [False, False, True, True]
    assert all("CUSTOM_A" in device.traits for device in read.devices)
    assert [each.created_at for each in read.claims] == [hours(0), hours(1), hours(2)]
    assert read.claims[0].qos == Qos.BEST_EFFORT
    assert "secret" not in operator.file.read_text()


CONFIGURED = """
[queue]
half_life = 3600
project_weights = a:2.5
backfill = false
reservations = 3
min_run_time = 7
project_min_run_times = a:60
[allocator]
mix_window = 50
reserved_cpu_milli = 250
reserved_memory_mib = 99999
"""


def test_what_the_service_goes_by_is_recorded(operator: Operator) -> None:
    """By its configuration; of hosts without devices nothing is kept."""
    operator.configure(CONFIGURED)
    with operator.database.writer() as session:
        pool = store_pool(session)
        hosts.create(session, make.host(pool, name="bare", cpu_milli=4000, memory_mib=1024))
    assert operator.record() == (0, "")
    read = recording.read(operator.file, BadLines())
    assert recording_run.own(read.pool) == Queueing(
        policy=PolicyName.BEST_FIT,
        half_life=3600,
        project_weights={"a": 2.5},
        backfill=False,
        reservations=3,
        min_run_time=7,
        project_min_run_times={"a": 60},
        mix_window=50,
    )
    rooms = {each.name: (each.cpu_milli, each.memory_mib) for each in read.hosts}
    assert rooms.pop("bare") == (4000, 1024)
    assert list(rooms.values()) == [(15750, 0)]


def test_what_the_pool_says_itself_goes_before_the_configuration(operator: Operator) -> None:
    operator.configure(CONFIGURED)
    with operator.database.writer() as session:
        pools.update(session, store_pool(session).id, min_run_time=900)
    assert operator.record() == (0, "")
    own = recording_run.own(recording.read(operator.file, BadLines()).pool)
    assert (own.min_run_time, own.project_min_run_times) == (900, {"a": 60})


def test_defaults_are_those_of_the_service(operator: Operator) -> None:
    """Of a recording that does not say, and of a replay that was told nothing."""
    with operator.database.writer() as session:
        pools.create(session, make.pool(name="gpus"))
    operator.record()
    read = recording.read(operator.file, BadLines())
    assert recording_run.own(read.pool) == Queueing()
    assert recording.PoolRecord(name="gpus", recorded_at=read.pool.recorded_at) == read.pool


def test_what_is_kept_for_workers_no_replayed_program_has(operator: Operator, command: Command) -> None:
    """Of two cores half a one is kept: the second program that takes one waits for the first."""
    with operator.database.writer() as session:
        pool = pools.create(session, make.pool(name="gpus"))
        host = hosts.create(session, make.host(pool, cpu_milli=2000, memory_mib=65536))
        devices.create(session, make.device(host, memory_mib=8192))
        for number in range(2):
            store_claim(session, pool, 0, compute=30, cpu_milli=1000, bound_at=hours(5 * number))
    operator.record()
    rows = {row["name"]: row for row in command("recording", operator.file, "--json").found["rows"]}
    assert rows["replayed"]["waiting_mean_s"] > 0


def test_days(operator: Operator) -> None:
    with operator.database.writer() as session:
        pool = store_pool(session)
        store_claim(session, pool, 0)
        store_claim(session, pool, 1, ended_at=None)
    assert operator.record("--days", "0") == (0, "")
    assert len(recording.read(operator.file, BadLines()).claims) == 1


def test_pools_that_are_not_there(operator: Operator) -> None:
    assert operator.record() == (1, "gpupool-manage: pool gpus not found\n")


def test_other_policies_and_orders(operator: Operator, command: Command) -> None:
    with operator.database.writer() as session:
        pool = store_pool(session)
        for number in range(9):
            store_claim(session, pool, number, compute=(81, 33, 100)[number % 3])
    operator.record()
    path, plot = command.folder / "out.csv", command.folder / "out.png"
    arguments = ("--policy", "fgd", "--remote", "--order", "fifo", "--csv", path, "--plot", plot)
    called = command("recording", operator.file, *arguments)
    assert called.code == 0
    assert "otherwise: policy fgd, order fifo, remote, compute 100 %" in called.out
    assert len(path.read_text().splitlines()) == 1 + 2 * 9
    assert plot.stat().st_size > 1000
    # Without any wish, only what the pool would do again.
    found = command("recording", operator.file, "--json").found
    assert [row["name"] for row in found["rows"]] == ["recorded", "replayed"]
    assert "otherwise" not in found["assumptions"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--half-life", 1), "order fair, local, reservations 3, half-life 1 h, no back-fill"),
        (("--reservations", 2), "order fair, local, reservations 2, half-life 0.5 h, no back-fill"),
        (("--order", "fifo"), "order fifo, local"),
    ],
)
def test_what_is_not_said_otherwise_is_the_pools_own(
    arguments: tuple[object, ...], said: str, operator: Operator, command: Command
) -> None:
    """And what is different, is so in words."""
    operator.configure("[queue]\nreservations = 3\nhalf_life = 1800\nbackfill = false\n")
    with operator.database.writer() as session:
        store_claim(session, store_pool(session), 0)
    operator.record()
    found = command("recording", operator.file, "--json", *arguments).found
    assert [row["name"] for row in found["rows"]] == ["recorded", "replayed", "otherwise"]
    assert found["assumptions"]["otherwise"] == f"policy best-fit, {said}, compute 100 %"
    assert found["assumptions"]["replayed"] != found["assumptions"]["otherwise"]


def test_what_is_lent_is_allocated_in_the_recording_and_in_its_replay(
    operator: Operator, command: Command
) -> None:
    """Two best-effort claims on one device of 200 %, for as long as they were there."""
    with operator.database.writer() as session:
        pool = pools.create(session, make.pool(name="gpus", compute_overcommit=200))
        devices.create(session, make.device(hosts.create(session, make.host(pool)), memory_mib=8192))
        for _ in range(2):
            fields = {"compute": 100, "qos": Qos.BEST_EFFORT, "bound_at": hours(0), "ended_at": None}
            store_claim(session, pool, 0, **fields)
    operator.record()
    rows = command("recording", operator.file, "--json").found["rows"]
    assert [row["allocated_percent"] for row in rows] == [200, 200]


def test_claims_that_never_start_make_no_order_look_good(operator: Operator, command: Command) -> None:
    """Under fifo a gang that has one device too few now is in everybody's way."""
    with operator.database.writer() as session:
        pool = store_pool(session)
        [host] = hosts.list_(session)
        devices.create(session, make.device(host, key="off", enabled=False))
        store_claim(session, pool, 0, compute=100)
        store_claim(session, pool, 0.5, compute=100, count=3)
        for number in range(1, 6):
            store_claim(session, pool, number, compute=50)
    operator.record()
    rows = command("recording", operator.file, "--json", "--order", "fifo").found["rows"]
    rows = {row["name"]: row for row in rows}
    assert rows["replayed"]["compared"] == 6
    fifo = rows["otherwise"]
    assert (fifo["completed"], fifo["never_started"], fifo["compared"]) == (1, 6, 1)
    # The one that ran: five hours, six with the hour that it waited when it was recorded.
    assert fifo["completion_ratio"] == pytest.approx(5 / 6)
    assert "claims that never started" in command("recording", operator.file).out


def test_an_empty_pool(operator: Operator, command: Command) -> None:
    with operator.database.writer() as session:
        pools.create(session, make.pool(name="gpus"))
    operator.record()
    found = command("recording", operator.file, "--json").found
    assert found["completed"] == 0
    assert found["waiting_mean_s"] is None


def test_files_that_are_refused(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(json.dumps({"kind": "pool", "name": "p"}) + "\n")
    called = command("recording", path)
    assert (called.code, called.out) == (1, "")
    assert called.err.startswith(f"gpupool-replay: {path} line 1: recorded_at is missing")


def test_who_reads_may_have_seen_enough(operator: Operator) -> None:
    with operator.database.writer() as session:
        store_pool(session)
    read, write = os.pipe()
    os.close(read)
    command = [Path(sys.executable).with_name("gpupool-manage"), "--config-file", operator.conf]
    with os.fdopen(write) as output:
        done = subprocess.run(
            [*command, "recording", "--pool", "gpus"],
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, "")
