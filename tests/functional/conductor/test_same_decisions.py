"""A stream of claims that went through the live service goes through the replay: the same decisions."""

import random
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gpupool.cmd import manage
from gpupool.model.claim import Claim, Layout
from gpupool.model.pool import PolicyName, PoolChange
from gpupool.replay import queueing, recording, recording_run
from gpupool.replay.lines import BadLines
from gpupool.replay.recording import ClaimRecord, Recording
from testbed.simulated_agent import SimulatedAgent
from tests.functional.conductor.lab import Lab

STEPS = 26
Devices = tuple[str, ...]


def wishes(generator: random.Random) -> dict[str, Any]:
    """Return what a claim asks for: mostly slices that do not fill a device side by side."""
    count = generator.choice((1, 1, 1, 2, 3))
    return {
        "count": count,
        "compute": generator.choice((20, 33, 46, 81, 100)),
        "memory_mib": generator.choice((256, 512, 1024)),
        "layout": generator.choice(tuple(Layout)),
        "priority": generator.choice((50, 50, 80)),
        "cpu_milli": generator.choice((0, 500, 1000)),
    }


class Stream:
    """What happened live: one thing a step, a step an hour of the recording."""

    def __init__(self, lab: Lab, agents: list[SimulatedAgent]) -> None:
        self.lab, self.agents = lab, agents
        self.now = datetime(2026, 11, 1)
        self.created: dict[str, Claim] = {}
        self.times: dict[str, dict[str, datetime]] = {}
        self.placed: dict[str, Devices] = {}

    def step(self, generator: random.Random) -> None:
        """Create a claim, or release one that has a place; let the service do what follows."""
        running = [each for each in sorted(self.placed) if "ended_at" not in self.times[each]]
        if running and generator.random() < 0.4:
            chosen = generator.choice([each for each in self.created if each in running])
            self.lab.release(self.created[chosen])
            self.times[chosen]["ended_at"] = self.now
        else:
            claim = self.lab.create(**wishes(generator))
            self.created[claim.id] = claim
            self.times[claim.id] = {"created_at": self.now}
        self.lab.serve()
        # Hosts let go of what is not wanted; then somebody else may have it.
        self.lab.look(*self.agents)
        self._look()
        self.now += timedelta(hours=1)

    def _look(self) -> None:
        rows: dict[str, list[tuple[int, str]]] = {}
        for vgpu in self.lab.vgpus():
            rows.setdefault(vgpu.claim_id, []).append((vgpu.index, vgpu.device_id))
        for claim_id, found in rows.items():
            if claim_id not in self.placed:
                self.times[claim_id]["bound_at"] = self.now
                self.placed[claim_id] = tuple(device_id for _, device_id in sorted(found))

    def record(self, path: Path) -> Recording:
        """Return what gpupool-manage writes, with the times of the steps."""
        untimed = {"bound_at": None, "ended_at": None}
        with self.lab.database.reader() as session:
            found = list(manage.records(session, self.lab.conf, "default", self.now, datetime.min))
        timed = [
            replace(each, **untimed | self.times[each.id]) if isinstance(each, ClaimRecord) else each
            for each in found
        ]
        path.write_text("\n".join(recording.lines(timed)))
        return recording.read(path, BadLines())


@pytest.mark.parametrize(
    ("policy", "hosts"),
    [("fgd", (1, 3)), ("fgd", (3, 2, 2)), ("best-fit", (3, 2)), ("pack", (2, 3)), ("spread", (1, 2, 3))],
)
def test_same_decisions(lab: Lab, tmp_path: Path, policy: str, hosts: tuple[int, ...]) -> None:
    """Each claim gets the same devices, or waits, at the same step: for CPU, too."""
    generator = random.Random(f"{policy} {hosts}")
    agents = [lab.agent(devices=number) for number in hosts]
    lab.client.update_pool(lab.ctxt, lab.host(agents[0]).pool_id, PoolChange(policy=PolicyName(policy)))
    for agent in agents:
        agent.cpu_milli = 1500
    lab.look(*agents)
    stream = Stream(lab, agents)
    for _ in range(STEPS):
        stream.step(generator)
    read = stream.record(tmp_path / "pool.jsonl")
    own = recording_run.own(read.pool)
    course = queueing.run(own, recording.capacities(read), recording.jobs(read))
    zero = recording.begun(read)
    live = {
        claim_id: (recording.seconds(stream.times[claim_id]["bound_at"]) - zero, found)
        for claim_id, found in stream.placed.items()
    }
    replayed = {
        outcome.job.id: (outcome.stays[0].begun, outcome.stays[0].plan.device_ids)
        for outcome in course.outcomes
        if outcome.stays
    }
    assert replayed == live
    waited = [
        each for each in replayed if stream.times[each]["bound_at"] > stream.times[each]["created_at"]
    ]
    assert waited, "or the queue had nothing to decide"
