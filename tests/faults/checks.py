"""What holds at any moment (``Watch``), when all is quiet (``books``), and of what was logged."""

import re
import threading
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress

import pymysql

from tests.faults.clients import ENDED
from tests.faults.stack import DEVICE_MIB, Row, Stack

_VGPUS = """SELECT v.id, v.claim_id, v.device_id, v.compute, v.memory_mib, v.`index`, h.name AS host,
    c.state AS claim_state FROM gpupool.vgpus v JOIN gpupool.hosts h ON h.id = v.host_id
    JOIN gpupool.claims c ON c.id = v.claim_id"""
_HELD = """SELECT a.consumer_id AS id, p.uuid AS device_id, r.name AS class, a.used
    FROM placement.allocations a JOIN placement.resource_providers p ON p.id = a.resource_provider_id
    JOIN placement.resource_classes r ON r.id = a.resource_class_id"""
_COMPUTE, _MEMORY = "CUSTOM_GPUPOOL_COMPUTE", "CUSTOM_GPUPOOL_MEMORY_MIB"
_LIMITS = {_COMPUTE: 100, _MEMORY: DEVICE_MIB}
# Claims that are nowhere for long.
_ON_THEIR_WAY = ("allocating", "binding", "releasing")
# Lines that our services must not write: see the page on logging.
_FORBIDDEN = re.compile(r"Traceback \(most recent|\[SQL: |\[parameters: |secret-of-|guest:guest@")


class Watch:
    """Looks all the time at what must hold whatever is broken; ``broken`` says what did not."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.broken: set[str] = set()
        self.looks = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(1):
            with suppress(pymysql.MySQLError, OSError):
                self.broken |= set(self._look())
                self.looks += 1

    def _look(self) -> Iterable[str]:
        rows = self._stack.query(_VGPUS)
        granted = [{**row, "class": _COMPUTE, "used": row["compute"]} for row in rows]
        granted += [{**row, "class": _MEMORY, "used": row["memory_mib"]} for row in rows]
        yield from _over("the database", granted)
        yield from _over("Placement", self._stack.query(_HELD))
        for row in rows:
            if row["claim_state"] in ("queued", *ENDED):
                yield f"claim {row['claim_id']} is {row['claim_state']} and has a vGPU"


def _over(where: str, rows: list[Row]) -> Iterable[str]:
    used: Counter[tuple[str, str]] = Counter()
    for row in rows:
        used[row["device_id"], row["class"]] += row["used"]
    for (device, kind), amount in used.items():
        if amount > _LIMITS[kind]:
            yield f"{where} grants {amount} of {_LIMITS[kind]} {kind} of device {device}"


def books(stack: Stack) -> list[str]:
    """Return where database, Placement and hosts differ while nobody does anything."""
    rows = stack.query(_VGPUS)
    wanted = {(row["id"], row["device_id"], _COMPUTE): row["compute"] for row in rows}
    wanted |= {(row["id"], row["device_id"], _MEMORY): row["memory_mib"] for row in rows}
    held = {(row["id"], row["device_id"], row["class"]): row["used"] for row in stack.query(_HELD)}
    wrong = [
        f"Placement and the database differ in {each}" for each in sorted(wanted.items() ^ held.items())
    ]
    on_way = ", ".join(f"'{state}'" for state in _ON_THEIR_WAY)
    for row in stack.query(f"SELECT id, state FROM gpupool.claims WHERE state IN ({on_way})"):
        wrong.append(f"claim {row['id']} is {row['state']} still")
    for host in stack.query("SELECT * FROM gpupool.hosts"):
        wrong += _of_host(stack, host, {row["id"] for row in rows if row["host"] == host["name"]})
    for device in stack.query("SELECT * FROM gpupool.devices WHERE health != 'ok'"):
        wrong.append(f"device {device['key']} is {device['health']}")
    return wrong


def _of_host(stack: Stack, host: Row, wanted: set[str]) -> Iterable[str]:
    name = host["name"]
    if host["state"] != "up" or host["generation"] != host["applied_generation"]:
        applied = f"{host['applied_generation']} of {host['generation']} applied"
        yield f"host {name} is {host['state']}, {applied}"
    yield from _differ(f"vGPUs of {name}", wanted, _names(stack, name, "ledgers"))
    ours = f"SELECT id FROM gpupool.{{}} WHERE host_id = '{host['id']}'"
    for what in ("attachments", "sessions"):
        known = {row["id"] for row in stack.query(ours.format(what))}
        yield from _differ(f"{what} of {name}", known, _names(stack, name, what))


def _names(stack: Stack, host: str, what: str) -> set[str]:
    return {path.name for path in (stack.state_of(host) / what).iterdir() if path.name[0] != "."}


def _differ(what: str, wanted: set[str], found: set[str]) -> Iterable[str]:
    if wanted != found:
        yield f"{what}: too many {sorted(found - wanted)}, too few {sorted(wanted - found)}"


def logs(stack: Stack, tickets: Iterable[str]) -> list[str]:
    """Return what was logged that should not have been."""
    wrong = []
    known = set(tickets)
    for name in stack.services.keys() - {"rabbitmq", "mariadb", "placement"}:
        text = stack.services[name].log.read_text(errors="replace")
        found = Counter(_FORBIDDEN.findall(text))
        wrong += [f"the log of {name} has {times} x {each}" for each, times in found.items()]
        wrong += [f"the log of {name} has a ticket" for ticket in known if ticket in text]
    return wrong
