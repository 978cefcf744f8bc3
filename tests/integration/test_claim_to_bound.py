"""The bench of claims runs, at a tiny scale, and counts what was done; nothing is timed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SMALL = ("--hosts", "8x4,4x2", "--claims", "12", "--rate", "20,0", "--warm-up", "0", "--idle", "0")
QUICK = ("--placement-processes", "1", "--not-durable")


@pytest.fixture(scope="module")
def figures():
    command = [sys.executable, "-W", "ignore", "bench/claim_to_bound.py", "--json", *SMALL, *QUICK]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if "is not installed" in done.stderr:
        pytest.skip(done.stderr.splitlines()[-1])
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def test_every_claim_is_bound(figures):
    assert (figures["setting"]["hosts"], figures["setup"]["devices"]) == (6, 40)
    assert [run["claims"]["offered_per_s"] for run in figures["runs"]] == [20, 0]
    for claims in (run["claims"] for run in figures["runs"]):
        assert (claims["claims"], claims["bound"], claims["refused"]) == (12, 12, {})
        assert claims["claim_to_bound"]["p50_ms"] > 0


def test_every_stage_is_seen(figures):
    for stages in (run["stages"] for run in figures["runs"]):
        for name in ("queued to allocating", "allocating to binding", "binding to bound"):
            assert stages[name]["p99_ms"] >= 0


def test_what_was_done_is_counted(figures):
    costs = figures["runs"][0]["costs"]
    assert any(kind.startswith("POST /allocations") for kind in figures["runs"][0]["requests"])
    assert costs["agents"]["looks"] > 0
    assert costs["agents"]["reports"] > 0
    # A claim is asked for and answered by messages.
    assert costs["messages_each"] > 2
    assert costs["statements_each"]["gpupool"]["selects"] > 0
    computing = ("rabbitmq", "mariadb", "placement", "conductors", "agents", "load")
    assert all(costs["cpu"][name]["seconds"] > 0 for name in computing)
