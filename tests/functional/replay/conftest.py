"""The command as an operator calls it, and small traces."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gpupool.cmd import replay

NODES = "sn,cpu_milli,memory_mib,gpu,model\n" + "".join(
    f"node-{number},32000,65536,{4 if number < 6 else 0},{'T4' if number < 3 else 'A10'}\n"
    for number in range(8)
)
# Shares that do not fill a device side by side, whole devices, and programs without any.
SIZES = [(1, 810), (1, 330), (1, 1000), (2, 1000), (1, 460), (0, 0), (1, 810), (4, 1000)]
PODS = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec\n" + "".join(
    f"pod-{number},{1000 * (number % 5)},1024,{count},{milli},{spec if count else ''}\n"
    for number in range(24)
    for count, milli in [SIZES[number % len(SIZES)]]
    for spec in ["" if number % 9 else "A10|T4"]
)
# Two days: gangs hold up the small jobs that come after them, if these let them.
KINDS = [("small", 1, 7000), ("mixed", 4, 20000), ("mixed", 1, 600), ("small", 1, 9000)]
KINDS += [("mixed", 16, 5000), ("mixed", 1, 600)]
JOBS = "timestamp,duration,num_gpus,gpu_time,cluster\n" + "".join(
    f"2017-10-0{2 + number // 24} {number % 24:02}:00:00,{seconds},{gpus},0,{cluster}\n"
    for number in range(48)
    for cluster, gpus, seconds in [KINDS[number % len(KINDS)]]
)


@dataclass(frozen=True)
class Called:
    """What a call of the command came to."""

    code: int
    out: str
    err: str

    @property
    def found(self) -> dict[str, Any]:
        """The object it printed, and nothing else."""
        loaded: dict[str, Any] = json.loads(self.out)
        return loaded


class Command:
    """Calls gpupool-replay in this process; ``folder`` has the traces."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys
        self.nodes, self.pods, self.jobs = folder / "n.csv", folder / "p.csv", folder / "j.csv"
        for path, content in ((self.nodes, NODES), (self.pods, PODS), (self.jobs, JOBS)):
            path.write_text(content)

    def __call__(self, *arguments: object) -> Called:
        code = replay.main([str(argument) for argument in arguments])
        return Called(code, *self._capsys.readouterr())

    def openb(self, *arguments: object) -> Called:
        return self("openb", "--nodes", self.nodes, "--pods", self.pods, *arguments)

    def philly(self, *arguments: object) -> Called:
        return self("philly", "--jobs", self.jobs, *arguments)


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(tmp_path, capsys)
