"""Agents in this process and in others, on reference devices, with real workers."""

import json
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from gpupool.agent import process
from gpupool.agent.folders import Folders
from gpupool.agent.manager import AgentManager

from .stand_in import TIMEOUT, Program, StandInConductor, configuration, eventually


class AgentProcess:
    """An agent in a process of its own, to be killed."""

    def __init__(self, state: Path, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.functional.agent.stand_in", state, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        assert self.process.stdout.readline() == "started\n"

    def kill(self) -> None:
        self.process.kill()
        self.wait()

    def wait(self) -> int:
        with self.process:
            return self.process.wait(TIMEOUT)


class Host:
    """One simulated host: its folders, its stand-in conductor, its agents, its programs."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.conf = configuration(state / "agent")
        self.folders = Folders.from_conf(self.conf)
        self.conductor = StandInConductor(state)
        self.managers: list[AgentManager] = []
        self.processes: list[AgentProcess] = []
        self.programs: list[Program] = []

    def use(self, **options: str) -> None:
        """Change options of [agent] before the first start."""
        for name, value in options.items():
            self.conf.set_override(name, value, "agent")
        self.folders = Folders.from_conf(self.conf)

    def start(self) -> AgentManager:
        manager = AgentManager(self.conf, self.conductor)
        manager.start()
        self.managers.append(manager)
        return manager

    def stop(self, end_sessions: bool = False) -> None:
        self.managers.pop().stop(end_sessions)

    def start_process(self, *arguments: str) -> AgentProcess:
        self.processes.append(AgentProcess(self.state, *arguments))
        return self.processes[-1]

    def program(self, attachment) -> Program:
        self.programs.append(Program(self.folders.socket(attachment.id)))
        return self.programs[-1]

    def session_records(self) -> list[dict]:
        found = []
        for path in self.folders.sessions.glob("[!.]*"):
            with suppress(FileNotFoundError):  # crossed out meanwhile
                found.append(json.loads(path.read_text()))
        return found

    def worker_pids(self) -> list[int]:
        return [record["worker_pid"] for record in self.session_records()]

    def wait_converged(self, generation: int) -> None:
        eventually(lambda: self.conductor.reported().generation == generation, "converging")

    def close(self) -> None:
        for program in self.programs:
            program.close()
        for running in self.processes:
            if running.process.poll() is None:
                running.kill()
        while self.managers:
            self.stop(end_sessions=True)
        for record in self.session_records():
            # Without an agent its worker ends by itself, as its program did.
            find = partial(process.find_by_argument, "--session", record["id"])
            eventually(lambda find=find: not find(), "a worker's end")


@pytest.fixture
def host(native: Path):
    # Not tmp_path: its names are too long for a socket's path.
    state = Path(tempfile.mkdtemp(prefix="gp-"))
    (state / "agent").mkdir()
    made = Host(state)
    yield made
    made.close()
    shutil.rmtree(state)
