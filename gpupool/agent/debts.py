"""What projects owe devices of this host: device time beyond the share of vGPUs that are gone.

A vGPU's workers keep its debt in its ledger, which goes with the vGPU. What is left of it then waits
here for the project's next vGPU on that device, whose ledger starts with it: else a claim could be
deleted and made anew after each long kernel. While no vGPU pays, the debt falls with time as it would
have in the claim that made it, also after a larger one had taken it over for a while. It does not fall
faster while the device idles: a share is a limit, on an idle device too. Other vGPUs of the project,
which were there before, do not pay.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from gpupool.agent import process, record
from gpupool.dataplane import device_time
from gpupool.model.report import VgpuSpec

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Debt:
    """What one vGPU left: ``debt_ns`` of device time at ``at_ns`` of CLOCK_MONOTONIC.

    ``compute`` is the share that pays. ``taken_by`` is the vGPU that is being made with it.
    """

    device_key: str
    project_id: str
    compute: int
    debt_ns: int
    at_ns: int
    taken_by: str = ""

    def left(self, now_ns: int) -> int:
        """Return what is left of it."""
        return device_time.left(self.debt_ns, self.compute, now_ns - self.at_ns)


@dataclass(frozen=True, kw_only=True)
class Book:
    """The debts of this boot, by vGPU and device that left them: noted twice, one is still one."""

    boot_id: str = ""
    debts: dict[str, Debt] = field(default_factory=dict)
    # By vGPU the share at which debts were made that it took over; what it leaves falls no faster.
    shares: dict[str, int] = field(default_factory=dict)


class Debts:
    """The debts of this host, in a file; for one thread.

    While the file can't be written they are in memory only: nobody waits for a full disk.
    """

    def __init__(self, path: Path, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._path = path
        self._clock_ns = clock_ns
        self._book = Book()
        self._writable = True

    @property
    def now_ns(self) -> int:
        """CLOCK_MONOTONIC, by which debts fall."""
        return self._clock_ns()

    def start(self, vgpu_ids: Collection[str]) -> bool:
        """Read what an earlier agent left; ``vgpu_ids`` exist. Return whether it was one of this boot.

        The clock of another boot says nothing, so its debts are forgotten.
        """
        boot_id = process.boot_id()
        found = record.read(self._path, Book)
        same = found is not None and found.boot_id == boot_id
        debts = found.debts if found and same else {}
        shares = found.shares if found and same else {}
        # The agent may have been killed right after it made the vGPU that takes a debt over.
        kept = {name: one for name, one in debts.items() if one.taken_by not in vgpu_ids}
        taken = [one for name, one in debts.items() if name not in kept]
        late = {
            taker: self._share([one for one in taken if one.taken_by == taker])
            for taker in {one.taken_by for one in taken}
        }
        there = {name: share for name, share in {**shares, **late}.items() if name in vgpu_ids}
        self._write(Book(boot_id=boot_id, debts=kept, shares=there))
        return same

    def note(self, vgpu_id: str, spec: VgpuSpec, debt_ns: int) -> None:
        """Remember what a vGPU owes that is about to be removed."""
        shares = dict(self._book.shares)
        share = min(spec.compute, shares.pop(vgpu_id, spec.compute))
        self._book = replace(self._book, shares=shares)
        if not spec.project_id or not debt_ns:
            return  # a conductor of before projects were told; or nothing to remember
        left = Debt(
            device_key=spec.device_key,
            project_id=spec.project_id,
            compute=share,
            debt_ns=debt_ns,
            at_ns=self.now_ns,
        )
        self._change({**self._book.debts, f"{vgpu_id} {spec.device_key}": left})
        LOG.info("vGPU %s leaves its project a debt of %d ms of device time", vgpu_id, debt_ns // 10**6)

    def take(self, spec: VgpuSpec) -> int:
        """Return what a new vGPU starts with, in ns of device time; ``taken`` when it exists."""
        owed = self._owed_for(spec)
        if owed:
            marked = {name: replace(one, taken_by=spec.id) for name, one in owed.items()}
            self._change({**self._book.debts, **marked})
        return min(sum(one.left(self.now_ns) for one in owed.values()), device_time.DEBT_MAX)

    def taken(self, spec: VgpuSpec) -> None:
        """Forget what the new vGPU took over: its ledger has it now."""
        owed = self._owed_for(spec)
        if owed:
            shares = {**self._book.shares, spec.id: self._share(owed.values())}
            self._book = replace(self._book, shares=shares)
            self._change({name: one for name, one in self._book.debts.items() if name not in owed})

    def _share(self, debts: Iterable[Debt]) -> int:
        """Return the share of several debts: the mean by what is left of each, rounded up."""
        left = [(one.left(self.now_ns), one.compute) for one in debts]
        total = sum(debt for debt, _ in left)
        return -(-sum(debt * share for debt, share in left) // total) if total else 100

    def _owed_for(self, spec: VgpuSpec) -> dict[str, Debt]:
        return {
            name: one
            for name, one in self._book.debts.items()
            if spec.project_id and (one.device_key, one.project_id) == (spec.device_key, spec.project_id)
        }

    def _change(self, debts: dict[str, Debt]) -> None:
        now_ns = self.now_ns
        unpaid = {name: one for name, one in debts.items() if one.left(now_ns)}
        self._write(replace(self._book, debts=unpaid))

    def _write(self, book: Book) -> None:
        self._book = book
        try:
            # Of this boot.
            record.write(self._path, book, durable=False)
            self._writable = True
        except OSError as exc:
            if self._writable:
                LOG.error("the debts of projects can't be written down: %s", exc)
            self._writable = False
