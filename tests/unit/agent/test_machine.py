"""What a host says that programs may take of it."""

import os

import gpupool.conf
from gpupool.agent.machine import Machine


def test_a_host_that_is_told_nothing_gives_all_there_is():
    found = Machine.of(gpupool.conf.new(files=[]))
    assert found.cpu_milli == 1000 * len(os.sched_getaffinity(0))
    with open("/proc/meminfo") as file:
        total = next(int(line.split()[1]) for line in file if line.startswith("MemTotal:"))
    assert found.memory_mib == total // 1024


def test_an_operator_keeps_some_back():
    conf = gpupool.conf.new(files=[])
    conf.set_override("cpu_milli", 1500, "agent")
    conf.set_override("memory_mib", 0, "agent")
    assert Machine.of(conf) == Machine(cpu_milli=1500, memory_mib=0)
