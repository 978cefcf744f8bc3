"""The faults. Each breaks something, and mends it at the end of its ``with`` block."""

import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass

from tests.faults.clients import Canary
from tests.faults.service import Service, wait
from tests.faults.stack import CANARY_HOST, CLOCK_SETTLE, CONDUCTORS, Stack

HOUR, YEAR = 3600, 365 * 24 * 3600
_STEPS = (-10 * YEAR, -HOUR, -30, 30, HOUR, 10 * YEAR)
# Seconds that a fault lasts; a clock is set right before it is believed.
SHORT, LONG, SET = (0.5, 4.0), (4.0, 15.0), (4.0, CLOCK_SETTLE - 8.0)
_UP = 240
Break = Callable[[], AbstractContextManager[object]]


@dataclass(frozen=True)
class Fault:
    """A kind of fault: what it breaks, for how long, and how. Two of one ``target`` do not meet."""

    kind: str
    target: str
    seconds: tuple[float, float]
    breaks: Break

    def run(self, rnd: random.Random) -> None:
        """Break it, wait, mend it."""
        with self.breaks():
            time.sleep(rnd.uniform(*self.seconds))


def kinds(stack: Stack, canary: Canary, rnd: random.Random) -> list[Fault]:
    """Return every fault that this machine lets us make."""
    found = []
    for name, service in stack.services.items():
        for verb, seconds in (("kill", SHORT), ("kill long", LONG), ("stop", SHORT), ("freeze", LONG)):
            breaks = _frozen if verb == "freeze" else _stopped if verb == "stop" else _killed
            found.append(Fault(f"{verb} {name}", name, seconds, _of(breaks, stack, service)))
        if name != "rabbitmq":
            found.append(Fault(f"set clock of {name}", name, SET, _of(_clock_set, stack, name, rnd)))
    for name in stack.proxies:
        modes = ("cut", "hold", "slow") if "messages" in name else ("cut", "hold", "slow", "lose")
        found += [
            Fault(f"{mode} {name}", name, LONG, _of(_bad_line, stack, name, mode)) for mode in modes
        ]
    for host in stack.hosts:
        reinstalled = _of(_reinstalled, stack, stack.services[host])
        found.append(Fault(f"reinstall {host}", host, SHORT, reinstalled))
    for host, disk in stack.disks.items():
        found.append(Fault(f"fill disk of {host}", host, LONG, _of(_full_disk, disk)))
    both = [stack.services[name] for name in CONDUCTORS]
    found.append(Fault("kill both conductors", "conductors", LONG, _of(_killed, stack, *both)))
    alone = _of(_leader_without_messages, stack, canary)
    found.append(Fault("leader without messages", "conductors", LONG, alone))
    hung = _of(_hung_driver, stack, canary)
    found.append(Fault("hang driver call", CANARY_HOST, LONG, hung))
    found.append(Fault("kill worker", "workers", SHORT, _of(_worker, stack, signal.SIGKILL, rnd)))
    found.append(Fault("freeze worker", "workers", LONG, _of(_worker, stack, signal.SIGSTOP, rnd)))
    return found


def meet(one: Fault, other: Fault) -> bool:
    """Return whether two faults break the same."""
    conductors = {"conductors", *CONDUCTORS}
    return one.target == other.target or {one.target, other.target} <= conductors


def _of(breaks: Callable[..., AbstractContextManager[object]], *arguments: object) -> Break:
    return lambda: breaks(*arguments)


def _start(stack: Stack, *services: Service) -> None:
    for service in services:
        service.start()
    for service in services:
        answers = {"rabbitmq": stack.rabbitmq_answers, "placement": stack.placement_answers}
        answers["mariadb"] = lambda: bool(stack.query("SELECT 1"))
        if service.name in answers:
            wait(answers[service.name], _UP, f"{service.name} answers")


@contextmanager
def _killed(stack: Stack, *services: Service) -> Iterator[None]:
    for service in services:
        service.kill()
    yield
    _start(stack, *services)


@contextmanager
def _stopped(stack: Stack, service: Service) -> Iterator[None]:
    if not service.stop():
        raise AssertionError(f"{service.name} did not end at SIGTERM")
    yield
    _start(stack, service)


@contextmanager
def _frozen(_stack: Stack, service: Service) -> Iterator[None]:
    service.signal(signal.SIGSTOP)
    yield
    service.signal(signal.SIGCONT)


@contextmanager
def _reinstalled(stack: Stack, service: Service) -> Iterator[None]:
    """A host that loses its disks and processes; an operator admits its new key."""
    workers = stack.workers(service.name)
    service.kill()
    for pid in workers:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    stack.empty(service.name)
    yield
    service.start()
    stack.admit(service.name, _UP)


@contextmanager
def _clock_set(stack: Stack, name: str, rnd: random.Random) -> Iterator[None]:
    stack.clocks[name].set(rnd.choice(_STEPS))
    yield
    stack.clocks[name].set(0)


@contextmanager
def _bad_line(stack: Stack, name: str, mode: str) -> Iterator[None]:
    stack.proxies[name].set(mode)
    yield
    stack.proxies[name].set("pass")


@contextmanager
def _full_disk(disk: os.PathLike[str]) -> Iterator[None]:
    path = os.path.join(disk, ".fill")
    with suppress(OSError), open(path, "wb", buffering=0) as file:
        file.write(bytes(shutil.disk_usage(disk).free))
        while True:
            file.write(bytes(512))
    yield
    os.unlink(path)


@contextmanager
def _worker(stack: Stack, number: signal.Signals, rnd: random.Random) -> Iterator[None]:
    """A worker is sent a signal, if there is one."""
    found = sorted(stack.workers())
    pid = rnd.choice(found) if found else 0
    with suppress(ProcessLookupError):
        if pid:
            os.kill(pid, number)
    yield
    with suppress(ProcessLookupError):
        if pid and number == signal.SIGSTOP:
            os.kill(pid, signal.SIGCONT)


@contextmanager
def _hung_driver(stack: Stack, canary: Canary) -> Iterator[None]:
    """A call about one device never returns; the host's other devices are of use all the same."""
    stack.set_nvidia("hang")
    yield
    canary.sing(_UP)
    stack.set_nvidia("ok")


@contextmanager
def _leader_without_messages(stack: Stack, canary: Canary) -> Iterator[None]:
    """A conductor that can't reach RabbitMQ is there first; the other one has to do the work."""
    cut, whole = (stack.services[name] for name in CONDUCTORS)
    cut.kill()
    whole.kill()
    stack.proxies[f"messages of {cut.name}"].set("cut")
    cut.start()
    time.sleep(max(SHORT))
    whole.start()
    yield
    canary.sing(_UP)
    stack.proxies[f"messages of {cut.name}"].set("pass")
