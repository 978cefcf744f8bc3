"""Microsoft's Philly trace: jobs with arrival, duration, GPUs and (virtual) cluster.

The file names no users and says nothing of a cluster's size; both are the caller's to choose.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpupool.allocator.capacities import DeviceCapacity, HostCapacity
from gpupool.allocator.demand import Demand
from gpupool.model import errors
from gpupool.model.claim import Layout
from gpupool.replay.columns import Columns, Row, read
from gpupool.replay.job import Job
from gpupool.replay.lines import BadLines

COLUMNS = Columns(needed=("timestamp", "duration", "num_gpus", "cluster"))
ALL = "all"
DAY = 86400
WEEK = 7 * DAY
HOST_DEVICES = 8
# What a simulated cluster may have.
DEVICES_MAX = 999_999
WHOLE = 100


@dataclass(frozen=True, kw_only=True)
class Record:
    """One job of the file; times in seconds, ``number`` is its line."""

    number: int
    arrives: float
    runs: float
    gpus: int
    cluster: str

    @property
    def device_seconds(self) -> float:
        """How long it keeps how many devices."""
        return self.runs * self.gpus


def read_jobs(path: Path, bad: BadLines) -> list[Record]:
    """Return the jobs of a file by arrival; raises Invalid."""
    records = []
    for row in read(path, COLUMNS, bad):
        with bad.skipped():
            records.append(_record(row))
    if not records:
        raise errors.Invalid(f"{path}: no line after the columns' names can be read")
    return sorted(records, key=lambda record: (record.arrives, record.number))


def _record(row: Row) -> Record:
    return Record(
        number=row.line,
        arrives=row.time("timestamp"),
        runs=row.number("duration"),
        gpus=row.integer("num_gpus", least=1, most=1024),
        cluster=row.name("cluster"),
    )


def of_cluster(records: Sequence[Record], name: str | None) -> tuple[str, list[Record]]:
    """Return a cluster's name and jobs; ``all`` for every cluster's, None for the one with most gangs.

    A gang is a job of several devices: where all claims are alike no order of them is better than
    another. Raises Invalid for a name that is not there.
    """
    clusters = sorted({record.cluster for record in records})
    if name is None:
        gangs = [record.cluster for record in records if record.gpus > 1] or clusters
        name = max(clusters, key=gangs.count)
    elif name not in (ALL, *clusters):
        raise errors.Invalid(f"cluster is {name!r}; allowed: {', '.join((*clusters, ALL))}")
    return name, [record for record in records if name in (ALL, record.cluster)]


def busiest_week(records: Sequence[Record]) -> list[Record]:
    """Return the jobs of the seven days, from a midnight on, that asked for most device-seconds."""
    asked: dict[int, float] = {}
    for record in records:
        day = int(record.arrives // DAY)
        asked[day] = asked.get(day, 0.0) + record.device_seconds
    first = max(sorted(asked), key=lambda day: sum(asked.get(day + ahead, 0.0) for ahead in range(7)))
    return [record for record in records if 0 <= record.arrives - first * DAY < WEEK]


def days(records: Sequence[Record]) -> float:
    """Return over how many days, from midnight to midnight, jobs came."""
    return records[-1].arrives // DAY - records[0].arrives // DAY + 1


def load(records: Sequence[Record], devices: int, over: float) -> float:
    """Return what the jobs ask for over what ``devices`` have in so many days."""
    return sum(record.device_seconds for record in records) / (devices * over * DAY)


def sized(records: Sequence[Record], wanted: float, over: float) -> int:
    """Return how many devices, in whole hosts, make that load at most; the largest job fits.

    Raises Invalid when that is more than can be simulated.
    """
    devices = max(load(records, 1, over) / wanted, *(record.gpus for record in records))
    if devices > DEVICES_MAX:
        raise errors.Invalid(
            f"for a load of {wanted:g} the jobs need {devices:.0f} devices; allowed: {DEVICES_MAX}"
        )
    return int(-(-devices // HOST_DEVICES)) * HOST_DEVICES


def capacities(devices: int, host_devices: int = HOST_DEVICES) -> list[HostCapacity]:
    """Return ``devices`` free devices, ``host_devices`` a host; the last host may have fewer."""
    return [
        _host(number, min(host_devices, devices - number * host_devices))
        for number in range(-(-devices // host_devices))
    ]


def jobs(
    records: Iterable[Record], projects: int = 1, time_limit: float | None = None, same_host: bool = True
) -> list[Job]:
    """Return what comes to the queue, from 0 seconds on.

    Jobs are dealt to ``projects`` projects in turn, by cluster if there are several clusters.
    ``time_limit`` is how many times its run time a job may run by its own word, None for no word. With
    ``same_host`` the devices of a job that fits a host have to be on one.
    """
    chosen = list(records)
    begun = min((record.arrives for record in chosen), default=0.0)
    return [
        Job(
            id=f"{record.number:08}",
            project=f"{record.cluster}/{number % projects}",
            demand=_demand(record.gpus, same_host),
            arrives=record.arrives - begun,
            runs=record.runs,
            time_limit=None if time_limit is None else record.runs * time_limit,
        )
        for number, record in enumerate(chosen)
    ]


def _demand(gpus: int, same_host: bool) -> Demand:
    return Demand(
        count=gpus,
        compute=WHOLE,
        memory_mib=0,
        layout=Layout.PACK,
        same_host=same_host and gpus <= HOST_DEVICES,
    )


def _host(number: int, devices: int) -> HostCapacity:
    name = f"host-{number:04}"
    return HostCapacity(
        name=name,
        devices=tuple(
            DeviceCapacity(
                device_id=f"{name}/{slot:02}",
                compute_total=WHOLE,
                compute_limit=WHOLE,
                memory_total=0,
                memory_limit=0,
            )
            for slot in range(devices)
        ),
    )
