"""Processes known by pid and start."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gpupool.agent import process


@pytest.fixture
def child():
    command = [sys.executable, "-c", "print(flush=True); input()", "--session", "abc"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as started:
        started.stdout.readline()  # its command line can be read once it runs
        yield started
        started.kill()


def test_a_process_has_one_start_and_none_when_it_ended(child):
    start = process.start_of(child.pid)
    assert start == process.start_of(child.pid)
    child.kill()
    pidfd = os.pidfd_open(child.pid)
    assert process.wait([pidfd], 10) == []
    assert process.ended(pidfd)
    assert process.start_of(child.pid) is None  # a zombie is no live worker
    assert process.hold(child.pid, start) is None
    os.close(pidfd)
    child.wait()
    assert process.start_of(child.pid) is None
    assert process.hold(child.pid, start) is None


def test_a_pid_with_another_start_is_another_process(child):
    assert process.hold(child.pid, "an-earlier-boot:1") is None


def test_what_can_not_be_looked_at_is_not_held(child, monkeypatch):
    before = os.listdir("/proc/self/fd")
    monkeypatch.setattr(process, "BOOT", Path("/not-there"))
    with pytest.raises(FileNotFoundError):
        process.hold(child.pid, "any")
    assert os.listdir("/proc/self/fd") == before


def test_waiting_tells_who_has_not_ended_and_killing_ends_it(child):
    pidfd = process.hold(child.pid, process.start_of(child.pid))
    assert process.wait([pidfd], 0) == [pidfd]
    assert not process.ended(pidfd)
    process.kill(pidfd)
    assert process.wait([pidfd], 10) == []
    child.wait()
    process.kill(pidfd)
    os.close(pidfd)


def test_a_process_is_found_by_its_command_line(child):
    assert process.find_by_argument("--session", "abc").pid == child.pid
    assert process.find_by_argument("--session", "ab") is None
    assert process.find_by_argument("session", "abc") is None
