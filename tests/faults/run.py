"""A run: faults one after the other or several at once, by a seed, and what came of them."""

import json
import random
import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.faults import checks
from tests.faults.clients import ENDED, Canary, Clients
from tests.faults.faults import Fault, kinds, meet
from tests.faults.service import wait
from tests.faults.stack import Stack


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is done.

    ``faults``: how many, at random, ``at_once`` at a time at most. ``only``: kinds that have one of
    these words in their names; with ``each``, each of them once, in order. ``bound_seconds``: until a
    canary claim is bound after the end of faults.
    """

    folder: Path
    seed: int = 1
    faults: int = 40
    at_once: int = 1
    only: tuple[str, ...] = ()
    each: bool = False
    clients: int = 4
    hosts: int = 2
    bound_seconds: float = 60
    quiet_seconds: float = 120
    # So many rounds of faults pass between two looks at the books.
    books_every: int = 10


@dataclass
class Result:
    """What came of it. ``recovery``: by kind the seconds until a claim was bound after the end."""

    seed: int
    faults: int = 0
    recovery: dict[str, list[float]] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    claims: int = 0
    programs: int = 0
    looks: int = 0

    def lines(self) -> list[str]:
        """Return a report."""
        said = [f"seed {self.seed}: {self.faults} faults, {len(self.broken)} things broken"]
        said.append(f"{self.claims} claims, {self.programs} programs, {self.looks} looks at invariants")
        times = [each for found in self.recovery.values() for each in found]
        if times:
            said.append(
                f"a claim was bound after the end of faults: median {statistics.median(times):.1f} s, "
                f"most {max(times):.1f}, over ten {sum(each > 10 for each in times)} times"
            )
        slowest = sorted(self.recovery.items(), key=lambda pair: -max(pair[1]))
        said += [f"  {kind}: {', '.join(f'{each:.1f}' for each in found)}" for kind, found in slowest]
        return said + [f"BROKEN {each}" for each in self.broken]


class Run:
    """One run, on services of its own."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._random = random.Random(options.seed)
        self._stack = Stack(options.folder, options.hosts)
        self._clients = Clients(self._stack, options.seed, options.clients)
        self._watch = checks.Watch(self._stack)
        self._canary = Canary(self._stack)
        self._tickets: set[str] = set()
        self.result = Result(options.seed)

    def run(self) -> Result:
        """Do it all; raises Missing when a service is not installed."""
        try:
            self._stack.start()
            self._say(f"started in {self._options.folder}")
            self._canary.sing(self._options.bound_seconds)
            self._watch.start()
            self._clients.start()
            for number, together in enumerate(self._plan(), 1):
                self._round(together)
                if number % self._options.books_every == 0:
                    self._quiet()
            self._quiet()
            self._end()
        finally:
            self._clients.stop()
            self._watch.stop()
            self._stack.close()
        self._collect()
        return self.result

    def _say(self, text: str) -> None:
        line = f"{time.strftime('%H:%M:%S')} {text}"
        print(line, flush=True)
        with (self._options.folder / "run.log").open("a") as log:
            log.write(line + "\n")

    def _broken(self, text: str) -> None:
        self.result.broken.append(text)
        self._say(f"BROKEN {text}")

    def _plan(self) -> list[list[Fault]]:
        """Return rounds of faults that happen at once."""
        words = self._options.only
        found = kinds(self._stack, self._canary, self._random)
        found = [each for each in found if not words or _named(each, words)]
        if self._options.each:
            return [[fault] for fault in found]
        rounds: list[list[Fault]] = []
        left = self._options.faults
        while left > 0:
            together: list[Fault] = []
            for _ in range(self._random.randint(1, min(self._options.at_once, left))):
                fault = self._random.choice(found)
                if not any(meet(fault, each) for each in together):
                    together.append(fault)
            left -= len(together)
            rounds.append(together)
        return rounds

    def _round(self, together: Sequence[Fault]) -> None:
        name = " + ".join(fault.kind for fault in together)
        threads = [threading.Thread(target=self._make, args=(fault,)) for fault in together]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.result.faults += len(together)
        try:
            spent = self._canary.sing(self._options.bound_seconds)
        except TimeoutError as exc:
            self._broken(f"after {name}: {exc}")
            return
        self.result.recovery.setdefault(name, []).append(round(spent, 1))
        self._say(f"{name}: a claim was bound after {spent:.1f} s")

    def _make(self, fault: Fault) -> None:
        try:
            fault.run(random.Random(self._random.random()))
        except Exception as exc:
            self._broken(f"{fault.kind}: {exc!r}")

    def _quiet(self) -> None:
        """Compare the books while clients rest."""
        self._clients.rest()
        self._tickets |= {row["ticket"] for row in self._query("SELECT ticket FROM gpupool.attachments")}
        self._settle("the books")
        for promise in list(self._clients.promises):
            if promise.state not in ENDED:
                self._clients.look(promise)
        self._clients.go_on()

    def _settle(self, what: str) -> None:
        wrong: list[str] = []

        def right() -> bool:
            wrong[:] = checks.books(self._stack)
            return not wrong

        try:
            wait(right, self._options.quiet_seconds, what)
        except TimeoutError:
            for each in wrong:
                self._broken(f"{what}: {each}")

    def _query(self, statement: str) -> list[dict[str, str]]:
        return self._stack.query(statement)

    def _end(self) -> None:
        """Release everything; nothing may be left anywhere."""
        self._clients.stop()
        ended = ", ".join(f"'{state}'" for state in ENDED)
        left = f"SELECT id, project_id, state FROM gpupool.claims WHERE state NOT IN ({ended})"

        def none() -> bool:
            rows = self._query(left)
            for row in rows:
                if row["state"] != "releasing":
                    self._stack.call("DELETE", f"/v1/claims/{row['id']}", project=row["project_id"])
            return not rows

        try:
            wait(none, self._options.quiet_seconds, "everything is released")
        except TimeoutError as exc:
            self._broken(f"{exc}: {self._query(left)}")
        self._settle("after all was released")
        held = self._query("SELECT consumer_id FROM placement.allocations")
        if held:
            self._broken(f"Placement holds {held} after all was released")

    def _collect(self) -> None:
        result = self.result
        result.broken += [*self._clients.broken, *sorted(self._watch.broken)]
        result.broken += checks.logs(self._stack, self._tickets)
        result.claims, result.programs = len(self._clients.promises), self._clients.programs
        result.looks = self._watch.looks
        (self._options.folder / "result.json").write_text(json.dumps(asdict(result), indent=1))


def _named(fault: Fault, words: Sequence[str]) -> bool:
    return any(word in fault.kind for word in words)
