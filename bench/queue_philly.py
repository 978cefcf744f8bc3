"""What fair share with back-fill does to completion times, over first come first served.

``python bench/queue_philly.py --jobs FILE [--load RATIO...] [--projects N...] [--gangs N]``, with the
CSV of Microsoft's Philly trace: the busiest week of every cluster that has at least so many jobs of
several devices in it. The file says neither how large a cluster was nor who came: sizes are by load
(what is asked for over what there is), jobs are dealt to projects in turn. Run times are known to the
queue exactly, two times too long, or not at all. The figure is the mean completion time over that of
first come first served. What ``gpupool-replay philly --busiest-week`` does by itself is the marked
line, for which 0.7 at most is aimed at.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from gpupool.model import errors  # noqa: E402
from gpupool.replay import philly, philly_run  # noqa: E402
from gpupool.replay.lines import BadLines  # noqa: E402
from gpupool.replay.philly_run import Settings  # noqa: E402
from gpupool.replay.queueing import FAIR, FIFO  # noqa: E402
from gpupool.replay.report import Values  # noqa: E402

TARGET = 0.7


def clusters(path: Path, gangs: int) -> list[str]:
    """Return the clusters with so many jobs of several devices in their busiest weeks, most first."""
    records = philly.read_jobs(path, BadLines())
    found = {}
    for name in {record.cluster for record in records}:
        week = philly.busiest_week(philly.of_cluster(records, name)[1])
        found[name] = sum(record.gpus > 1 for record in week)
    return sorted(
        (name for name in found if found[name] >= gangs), key=lambda name: (-found[name], name)
    )


def replay(path: Path, cluster: str, load: float, projects: int) -> tuple[int, dict[str, Values]]:
    """Return the devices, and what came out by how well run times are known."""
    found: dict[str, Values] = {}
    devices = 0
    for name, limit, orders in (("exact", 1.0, (FIFO, FAIR)), ("x2", 2.0, (FIFO, FAIR))):
        settings = Settings(
            jobs=path,
            cluster=cluster,
            busiest_week=True,
            load=load,
            projects=projects,
            time_limit=limit,
            orders=orders,
        )
        report, _ = philly_run.run(settings, BadLines())
        devices = int(str(report.assumptions["devices"]))
        found[FIFO], found[name] = report.rows[FIFO], report.rows[FAIR]
        found["none"] = report.rows[f"{FAIR}, no time limits"]
    return devices, found


def table(given: argparse.Namespace) -> Iterator[str]:
    """Yield the lines, each when it was measured."""
    yield f"{'':42} first come first served   ratio of completion times by"
    yield f"{'':42} mean times, s             what is known of run times"
    titles = f"{'wait':>9} {'completion':>12}   {'exact':>7} {'x2':>7} {'none':>7}"
    yield f"{'cluster':<10} {'load':>6} {'devices':>8} {'projects':>9} {'':5} {titles}"
    usual = philly.of_cluster(philly.read_jobs(given.jobs, BadLines()), None)[0]
    for cluster in clusters(given.jobs, given.gangs):
        for load in given.load:
            for projects in given.projects:
                devices, found = replay(given.jobs, cluster, load, projects)
                first = found[FIFO]
                what = f"{cluster:<10} {load:6.2f} {devices:8} {projects:9}"
                times = f"{first['waiting_mean_s']:9.0f} {first['completion_mean_s']:12.0f}"
                ratios = " ".join(
                    f"{found[name]['completion_ratio']:7.3f}" for name in ("exact", "x2", "none")
                )
                mark = "  <-" if (cluster, load, projects) == (usual, philly_run.LOAD, 1) else ""
                yield f"{what} {'':5} {times}   {ratios}{mark}"


def main() -> int:
    """Measure and print the table; return 1 when the file does not fit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=Path, required=True)
    parser.add_argument("--load", type=float, nargs="+", default=[0.8, philly_run.LOAD, 1.0])
    parser.add_argument("--projects", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--gangs", type=int, default=30)
    try:
        for line in table(parser.parse_args()):
            print(line, flush=True)
    except errors.GpupoolError as exc:
        print(exc, file=sys.stderr)
        return 1
    print(f"aimed at: {TARGET} at most on the marked line")
    return 0


if __name__ == "__main__":
    sys.exit(main())
