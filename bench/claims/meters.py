"""What a stretch of time has cost: processor time, statements, requests, messages, by who."""

import os
import re
import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.claims.stack import ACCOUNTS, Stack
from testbed.rabbitmq import HOME

TICK = os.sysconf("SC_CLK_TCK")
OTHERS = "(not of this bench)"
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What the counters say at one time; all but the time only grow.

    ``cpu``: seconds by group of processes. ``statements``: (SELECT, others, commits) by account.
    ``requests``: bytes of Placement's request log. ``messages``: that RabbitMQ took.
    ``agents``: what the simulated agents did.
    """

    at: float
    cpu: Mapping[str, float]
    statements: Mapping[str, Counter[str]]
    requests: int
    messages: int
    agents: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request to Placement; ``spent`` in ms."""

    at: float
    what: str
    status: int
    spent: float


def read(stack: Stack, end: bool = False) -> Reading:
    """Read all counters at the begin or the ``end`` of a stretch.

    What RabbitMQ has counted takes half a second to ask, which is left outside of the stretch.
    """
    messages = 0 if end else _messages(stack)
    at, used = time.time(), cpu(stack.groups)
    return Reading(
        at=at,
        cpu=used,
        statements=_statements(stack),
        requests=stack.requests().stat().st_size,
        agents=stack.agents.ask(),
        messages=_messages(stack) if end else messages,
    )


def cpu(groups: Mapping[str, Iterable[int]]) -> dict[str, float]:
    """Return the seconds that each group, its leaders and all of their sessions, has computed.

    What other processes of the machine computed is there too.
    """
    group_of = {pid: name for name, pids in groups.items() for pid in pids}
    seconds = dict.fromkeys([*groups, OTHERS], 0.0)
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        name = group_of.get(int(path.parent.name)) or group_of.get(int(fields[3]))
        if name:
            seconds[name] += sum(map(int, fields[11:15])) / TICK
    # user, nice, system, (idle, iowait,) irq, softirq, steal
    machine = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    used = sum(int(each) for index, each in enumerate(machine[:8]) if index not in (3, 4)) / TICK
    seconds[OTHERS] = used - sum(seconds.values())
    return seconds


def requests(stack: Stack, begin: Reading, end: Reading) -> list[Request]:
    """Return the requests that Placement has answered between two readings."""
    with stack.requests().open("rb") as file:
        file.seek(begin.requests)
        lines = file.read(end.requests - begin.requests).decode().splitlines()
    found = []
    for line in lines:
        at, method, path, status, spent = line.split()
        what = f"{method} {_UUID.sub('{uuid}', path)}"
        found.append(Request(at=float(at), what=what, status=int(status), spent=float(spent)))
    return found


def _statements(stack: Stack) -> dict[str, Counter[str]]:
    rows = stack.query(
        "SELECT user, select_commands, update_commands, other_commands, commit_transactions"
        " FROM information_schema.user_statistics"
    )
    names = ("selects", "updates", "others", "commits")
    counted = {row[0]: Counter(dict(zip(names, map(int, row[1:]), strict=True))) for row in rows}
    return {account: counted.get(account, Counter()) for account in ACCOUNTS}


def _messages(stack: Stack) -> int:
    command: list[Any] = [HOME / "rabbitmqctl", "-q", "eval", "rabbit_global_counters:overview()."]
    done = subprocess.run(
        command, env=stack.rabbit.environment, capture_output=True, text=True, check=True
    )
    return sum(map(int, re.findall(r"messages_received_total => (\d+)", done.stdout)))
