"""Clients of the API: they make, use and release claims at random, and check what they were promised."""

import os
import random
import subprocess
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from gpupool.model import traits
from tests.faults.service import wait
from tests.faults.stack import CANARY_POOL, Stack

# Claims that one client has at most, and seconds between two of its requests.
_MOST, _PAUSE = 4, (0.2, 1.5)
ENDED = ("released", "expired", "failed")
# Seconds by which the database's clock and ours may differ, and a program may be held up.
_CLOCKS, _HELD_UP = 3, 90
Answer = dict[str, Any]


@dataclass
class Promise:
    """A claim as its client knows it."""

    id: str
    project: str
    body: Answer
    accepted: bool = False
    released: bool = False
    state: str = ""


class Clients:
    """Threads that are clients, from ``start`` to ``stop``; ``broken`` says what must not have been."""

    def __init__(self, stack: Stack, seed: int, count: int) -> None:
        self.stack = stack
        self.broken: list[str] = []
        self.promises: list[Promise] = []
        self.programs = 0
        self._stop = threading.Event()
        self._resting, self._going = threading.Event(), threading.Semaphore(count)
        self._count = count
        self._threads = [
            threading.Thread(target=self._run, args=(f"project-{n}", random.Random(f"{seed}-{n}")))
            for n in range(count)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def rest(self) -> None:
        """Return when every client has done what it was about; they do nothing until ``go_on``."""
        self._resting.set()
        for _ in range(self._count):
            self._going.acquire()

    def go_on(self) -> None:
        self._going.release(self._count)
        self._resting.clear()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    def _run(self, project: str, rnd: random.Random) -> None:
        own: list[Promise] = []
        while not self._stop.wait(rnd.uniform(*_PAUSE)):
            if not self._resting.is_set() and self._going.acquire(timeout=1):
                try:
                    self._step(project, rnd, own)
                finally:
                    self._going.release()

    def _step(self, project: str, rnd: random.Random, own: list[Promise]) -> None:
        live = [each for each in own if not each.released and each.state not in ENDED]
        what = rnd.choice(["create", "create", "release", "look", "run", "run"])
        if not live or (what == "create" and len(live) < _MOST):
            own.append(self._create(project, rnd))
        elif what in ("create", "release"):
            self.release(rnd.choice(live))
        elif what == "run":
            self._use(rnd.choice(live), rnd)
        else:
            self.look(rnd.choice(live))

    def _create(self, project: str, rnd: random.Random) -> Promise:
        body: Answer = {
            "id": str(uuid.UUID(int=rnd.getrandbits(128), version=4)),
            "compute": rnd.choice([rnd.randint(1, 30), rnd.randint(1, 100)]),
            "memory_mib": rnd.choice([16, 64, 256, 1024]),
            "count": rnd.choice([1, 1, 1, 2]),
            "priority": rnd.choice([50, rnd.randint(0, 100)]),
            "preemptible": rnd.random() < 0.3,
        }
        if rnd.random() < 0.3:
            body["lease_end"] = (datetime.now(UTC) + timedelta(seconds=rnd.randint(10, 90))).isoformat()
        if rnd.random() < 0.2:
            body["time_limit"] = rnd.randint(10, 90)
        promise = Promise(body["id"], project, body)
        self.promises.append(promise)
        for _ in range(rnd.choice([1, 3, 8])):
            status, answer = self._call(promise, "POST", "/v1/claims", body)
            if status == 201:
                promise.accepted, promise.state = True, answer["state"]
            if status == 409:
                self.broken.append(f"claim {promise.id}, made twice, was refused: {answer}")
            if status in (201, 400, 409):
                break
        return promise

    def look(self, promise: Promise) -> Answer:
        status, answer = self._call(promise, "GET", f"/v1/claims/{promise.id}")
        if status == 404 and promise.accepted:
            self.broken.append(f"claim {promise.id} was accepted and is gone")
        if status != 200:
            return {}
        promise.accepted, promise.state = True, answer["state"]
        if promise.released and answer["state"] not in ("releasing", *ENDED):
            self.broken.append(f"claim {promise.id} was released and is {answer['state']}")
        self._check_end(promise, answer)
        return answer

    def _check_end(self, promise: Promise, answer: Answer) -> None:
        """A lease ends by the machine's clock, whatever the services' clocks were set to meanwhile."""
        lease = promise.body.get("lease_end")
        if answer["state"] == "expired" and lease and "lease" in answer["state_reason"]:
            early = datetime.fromisoformat(lease) - datetime.now(UTC)
            if early > timedelta(seconds=_CLOCKS):
                self.broken.append(f"the lease of claim {promise.id} ended {early} too early")

    def release(self, promise: Promise) -> None:
        status, _ = self._call(promise, "DELETE", f"/v1/claims/{promise.id}")
        promise.released |= status == 202
        if status == 404 and promise.accepted:
            self.broken.append(f"claim {promise.id} was accepted and is gone when it is released")

    def _use(self, promise: Promise, rnd: random.Random) -> None:
        if self.look(promise).get("state") != "bound":
            return
        body = {"id": str(uuid.UUID(int=rnd.getrandbits(128), version=4)), "claim_id": promise.id}
        status, _ = self._call(promise, "POST", "/v1/attachments", {**body, "kind": "process"})
        made: Answer = {}

        def ready() -> bool:
            nonlocal made
            _, made = self._call(promise, "GET", f"/v1/attachments/{body['id']}")
            return made.get("state") == "ready"

        with suppress(TimeoutError):
            if status == 201:
                wait(ready, 20, "the attachment is ready")
                self._run_program(made, rnd.choice([1, 2, 8]))
            if rnd.random() < 0.7:
                self._call(promise, "DELETE", f"/v1/attachments/{body['id']}")

    def _run_program(self, attachment: Answer, seconds: int) -> None:
        """A program may lose its device at any time, but neither read what others wrote nor crash."""
        environment = {**os.environ, **attachment["environment"]}
        command = [str(self.stack.program), str(seconds)]
        self.programs += 1
        try:
            done = subprocess.run(
                command, env=environment, check=False, capture_output=True, timeout=_HELD_UP
            )
        except subprocess.TimeoutExpired:
            self.broken.append(f"a program of attachment {attachment['id']} hung for {_HELD_UP} s")
            return
        if done.returncode not in (0, 1):
            self.broken.append(
                f"a program of attachment {attachment['id']} ended with {done.returncode}"
            )

    def _call(self, promise: Promise, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        return self.stack.call(method, path, body, promise.project)


class Canary:
    """One claim in a pool of its own: whether the services are of use now."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    def sing(self, seconds: float) -> float:
        """Return after how many seconds a claim was bound; it is released again.

        Raises TimeoutError when it was not in ``seconds``.
        """
        claim_id = str(uuid.uuid4())
        size = {
            "compute": 1,
            "memory_mib": 16,
            "required_traits": [traits.trait("gpupool", "reference")],
        }
        body = {"id": claim_id, "pool": CANARY_POOL, "name": "canary", **size}
        path, begun = f"/v1/claims/{claim_id}", time.monotonic()
        wait(lambda: self._status("POST", "/v1/claims", body) == 201, seconds, "a claim is made")
        wait(lambda: self._state(path) == "bound", seconds, f"claim {claim_id} is bound")
        bound = time.monotonic() - begun
        wait(lambda: self._status("DELETE", path) in (202, 409), seconds, f"claim {claim_id} is let go")
        wait(lambda: self._state(path) == "released", 3 * seconds, f"claim {claim_id} is released")
        return bound

    def _status(self, method: str, path: str, body: Any = None) -> int:
        return self._stack.call(method, path, body, "canary", timeout=3)[0]

    def _state(self, path: str) -> str:
        state: str = self._stack.call("GET", path, None, "canary", timeout=3)[1]["state"]
        return state
