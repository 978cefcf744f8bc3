"""The machine an agent runs on: what programs may take of it besides devices."""

import os
from dataclasses import dataclass

from oslo_config import cfg

MIB = 1 << 20


@dataclass(frozen=True)
class Machine:
    """Processors in thousandths of a core, and memory in MiB, that programs may claim."""

    cpu_milli: int
    memory_mib: int

    @classmethod
    def of(cls, conf: cfg.ConfigOpts) -> "Machine":
        """Return what ``[agent]`` says, and where it says nothing, what there is.

        Of processors that is what the agent may run on: workers and programs run nowhere else.
        """
        cpu_milli, memory_mib = conf.agent.cpu_milli, conf.agent.memory_mib
        return cls(
            1000 * len(os.sched_getaffinity(0)) if cpu_milli is None else cpu_milli,
            _memory_mib() if memory_mib is None else memory_mib,
        )


def _memory_mib() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // MIB
