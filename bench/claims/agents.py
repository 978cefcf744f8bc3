"""SIMULATION: the agents of many hosts in one process. The devices are made up, the messages are real.

``python -m bench.claims.agents '{"config": FILE, "hosts": {NAME: DEVICES}, "memory_mib": N,
"interval": SECONDS, "threads": N}'``. Each host reports as gpupool-agent does: at start, every
``interval`` seconds and when told to look, until its desired state is what it has; it converges at
once. Reports are signed, and calls of the product's own client. ``look`` is read from each host's own
queue by one connection for all: 1,213 RPC servers in one process would cost more than what is measured.

Every line read from standard input is answered with a line: what was done so far, as JSON.
"""

import heapq
import itertools
import json
import logging
import os
import sys
import threading
import time
from collections import Counter, deque
from dataclasses import replace
from pathlib import Path
from typing import Any

# Before oslo.messaging loads oslo.service, which would choose eventlet.
from oslo_service import backend

backend.init_backend(backend.BackendType.THREADING)

import kombu  # noqa: E402
import oslo_messaging  # noqa: E402
from oslo_config import cfg  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from gpupool import conf as gpupool_conf  # noqa: E402
from gpupool.model import errors, wire  # noqa: E402
from gpupool.model.envelope import Envelope  # noqa: E402
from gpupool.model.report import DesiredState, HostReport  # noqa: E402
from gpupool.rpc import agent as rpc  # noqa: E402
from gpupool.rpc import transport  # noqa: E402
from testbed.simulated_agent import SimulatedAgent  # noqa: E402

LOG = logging.getLogger(__name__)
# A host of the trace that the default hosts come from.
CPU_MILLI = 96_000
HOST_MEMORY_MIB = 393_216


class Host(SimulatedAgent):
    """One host with a processor and memory of its own; counts its reports."""

    counts: Counter[str] = Counter()

    def report(self) -> HostReport:
        """Return what this host has now."""
        Host.counts["reports"] += 1
        return replace(super().report(), cpu_milli=CPU_MILLI, memory_mib=HOST_MEMORY_MIB)


class Looks:
    """The hosts that have to look now, or later; each is given to one thread at a time."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._changed = threading.Condition()
        self._now: deque[str] = deque()
        self._queued: set[str] = set()
        self._busy: set[str] = set()
        self._later: list[tuple[float, str]] = []
        self._due: dict[str, float] = {}
        self._told: dict[str, DesiredState] = {}

    def add(self, host: str, told: DesiredState | None = None) -> None:
        """Let ``host`` look as soon as a thread is free, at what it was told if it was."""
        with self._changed:
            if told:
                self._told[host] = told
            if host not in self._queued:
                self._queued.add(host)
                self._now.append(host)
                self._changed.notify()

    def take(self) -> tuple[str, DesiredState | None]:
        """Wait for a host that has to look, and return it and what it was told since the last time."""
        with self._changed:
            while True:
                self._move_due()
                for _ in range(len(self._now)):
                    host = self._now.popleft()
                    if host not in self._busy:
                        self._queued.discard(host)
                        self._busy.add(host)
                        return host, self._told.pop(host, None)
                    self._now.append(host)
                self._changed.wait(self._pause())

    def done(self, host: str) -> None:
        """Note that ``host`` has looked, and have it look again after the interval."""
        with self._changed:
            self._busy.discard(host)
            self._due[host] = time.monotonic() + self._interval
            heapq.heappush(self._later, (self._due[host], host))
            if host in self._queued:
                self._changed.notify()

    def _pause(self) -> float | None:
        return max(self._later[0][0] - time.monotonic(), 0) if self._later else None

    def _move_due(self) -> None:
        while self._later and self._later[0][0] <= time.monotonic():
            due, host = heapq.heappop(self._later)
            # It may have looked since, and is due later.
            if due == self._due[host] and host not in self._queued:
                self._queued.add(host)
                self._now.append(host)


def follow(hosts: dict[str, Host], looks: Looks) -> None:
    """Let hosts look, one after the other, for ever."""
    while True:
        name, desired = looks.take()
        try:
            hosts[name].look(desired)
        except (errors.GpupoolError, oslo_messaging.MessagingException) as exc:
            Host.counts["errors"] += 1
            LOG.warning("host %s: %s", name, exc)
        finally:
            looks.done(name)


def listen(conf: cfg.ConfigOpts, hosts: dict[str, Host], looks: Looks, ready: threading.Event) -> None:
    """Read the queue of every host, as oslo.messaging names and makes it, for ever."""
    exchange = kombu.Exchange(
        f"{conf.control_exchange}.agents", "topic", durable=False, auto_delete=False
    )
    names = {f"{rpc.TOPIC}.{name}": name for name in hosts}
    queues = [
        kombu.Queue(name, exchange, routing_key=name, durable=False, auto_delete=False) for name in names
    ]

    def told(message: Any) -> None:
        Host.counts["looks"] += 1
        name = names[message.delivery_info["routing_key"]]
        sent = json.loads(message.payload["oslo.message"])["args"].get("message")
        looks.add(name, hosts[name].uplink.open(wire.load(Envelope, sent)) if sent else None)

    connection = kombu.Connection(conf.transport_url.replace("rabbit://", "amqp://"))
    with connection, connection.Consumer(queues, on_message=told, no_ack=True):
        ready.set()
        while True:
            connection.drain_events()


def make_hosts(options: dict[str, Any], messages: oslo_messaging.Transport) -> dict[str, Host]:
    """Return the hosts that the options name."""
    memory_mib = options["memory_mib"]
    return {
        name: Host(messages, name, devices=devices, memory_mib=memory_mib)
        for name, devices in options["hosts"].items()
    }


def answer() -> None:
    """Write a line of counts for every line read; end this process when there are no more."""
    for _ in sys.stdin:
        print(json.dumps(Host.counts), flush=True)
    os._exit(0)


def main() -> None:
    """Report until standard input ends."""
    options = json.loads(sys.argv[1])
    logging.basicConfig(level=logging.WARNING)
    conf = gpupool_conf.new(files=[options["config"]])
    messages = transport.get_transport(conf)
    # oslo.messaging warns of as many calls at once as there are threads.
    logging.getLogger("oslo_messaging").setLevel(logging.ERROR)
    hosts = make_hosts(options, messages)
    looks = Looks(options["interval"])
    ready = threading.Event()
    threading.Thread(target=listen, args=(conf, hosts, looks, ready), daemon=True).start()
    ready.wait()
    for name in hosts:
        looks.add(name)
    for _ in itertools.repeat(None, options["threads"]):
        threading.Thread(target=follow, args=(hosts, looks), daemon=True).start()
    answer()


if __name__ == "__main__":
    main()
