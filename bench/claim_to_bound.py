"""From a request for a claim to a bound claim: how many a second, how long each, where the time goes.

``python bench/claim_to_bound.py [--hosts 8x617,4x54,2x518,1x24] [--claims N] [--rate PER_SECOND,...]``.
RabbitMQ, MariaDB, Placement (on MariaDB, several processes) and the conductors are real and started
here, in a temporary folder; the agents are simulated, but every message they send and get is real. The
default hosts are as many and as large as those of Alibaba's openb cluster: 6,212 devices.

Claims are due at random times, ``--rate`` a second, and counted from when they were due until whoever
reads the database sees them bound. ``--rest`` makes them through the REST API instead of by message.
``--rate 0`` makes them as fast as ``--clients`` can. Each of several rates has ``--claims``; they stay.
All of it shares this machine's processors.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from bench.claims import meters, summary  # noqa: E402
from bench.claims.load import Record  # noqa: E402
from bench.claims.process import Failed, Process  # noqa: E402
from bench.claims.stack import Missing, Options, Stack  # noqa: E402

OPENB = "8x617,4x54,2x518,1x24"
Figures = dict[str, Any]


def hosts(form: str) -> dict[str, int]:
    """Return devices by host of ``DEVICESxHOSTS,...``, e.g. 8x2,1x3."""
    pairs = [part.split("x") for part in form.split(",")]
    sizes = [int(devices) for devices, count in pairs for _ in range(int(count))]
    return {f"host-{number:04}": devices for number, devices in enumerate(sizes)}


def rates(text: str) -> list[float]:
    """Return the rates of ``RATE,...``."""
    return [float(part) for part in text.split(",")]


def setting(text: str) -> tuple[tuple[str, str], str]:
    """Return group, name and value of GROUP.NAME=VALUE."""
    key, _, value = text.partition("=")
    group, _, name = key.partition(".")
    return (group, name), value


def arguments() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--hosts", type=hosts, default=hosts(OPENB), metavar="DEVICESxHOSTS,...")
    add("--claims", type=int, default=1500, help="of each rate")
    add("--rate", type=rates, default=[100.0], help="claims a second; 0: as fast as the clients can")
    add("--clients", type=int, default=32, help="claims asked for at once, at most")
    add("--hold", type=float, help="seconds after which a bound claim is released; default: never")
    add("--rest", action="store_true", help="through the REST API")
    add("--warm-up", type=int, default=100, help="claims made before, at a tenth of the rate or 10/s")
    add("--interval", type=int, default=60, help="seconds between two reports of a host")
    add("--idle", type=float, default=10, help="seconds to measure with nothing but reports")
    add("--conductors", type=int, default=2)
    add("--placement-processes", type=int, default=2)
    add("--placement-threads", type=int, default=2)
    add("--set", type=setting, action="append", default=[], metavar="GROUP.NAME=VALUE")
    add("--not-durable", action="store_true", help="MariaDB does not flush at every commit")
    add("--driver", default="pymysql", help="pymysql, or one that is installed besides: mysqldb")
    add("--patience", type=float, default=60, help="give up when nothing was bound for so long, s")
    add("--register-timeout", type=float, default=3600, help="seconds")
    add("--seed", type=int, default=1)
    add("--keep", type=Path, help="keep logs and results in this new folder")
    add("--json", action="store_true", help="print one JSON object")
    return parser


def options_of(given: argparse.Namespace) -> Options:
    """Return what is to be started."""
    return Options(
        hosts=given.hosts,
        interval=given.interval,
        conductors=given.conductors,
        placement_processes=given.placement_processes,
        placement_threads=given.placement_threads,
        api_processes=2 if given.rest else 0,
        durable=not given.not_durable,
        driver=given.driver,
        settings=dict(given.set),
    )


def say(text: str) -> None:
    """Tell a person who waits how far this is."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def wait(stack: Stack, what: str, wanted: int, count: Callable[[], int], seconds: float) -> float:
    """Wait until ``count`` is what is wanted; return the seconds it took."""
    begun = told = time.monotonic()
    while (now := count()) < wanted:
        stack.check()
        if time.monotonic() - begun > seconds:
            raise Failed(f"{now} of {wanted} {what} after {seconds} s")
        if time.monotonic() - told > 10:
            told = time.monotonic()
            say(f"{now} of {wanted} {what}")
        time.sleep(0.2)
    return time.monotonic() - begun


def register(stack: Stack, seconds: float) -> Figures:
    """Start the agents; return how long it took until database and Placement had every device."""
    wanted = sum(stack.options.hosts.values())
    before = meters.cpu(stack.groups)
    stack.start_agents()
    known = wait(stack, "devices known", wanted, lambda: stack.count("gpupool.devices"), seconds)
    traits, providers = "placement.resource_provider_traits", "DISTINCT resource_provider_id"
    more = wait(stack, "devices in Placement", wanted, lambda: stack.count(traits, providers), seconds)
    after = meters.cpu(stack.groups)
    return {
        "devices": wanted,
        "devices known after, s": round(known, 1),
        "in Placement after, s": round(known + more, 1),
        "processor time, s": {name: round(after[name] - before.get(name, 0), 1) for name in after},
    }


def idle(stack: Stack, seconds: float) -> Figures:
    """Return what ``seconds`` without any claim cost, for each report."""
    begin = meters.read(stack)
    time.sleep(seconds)
    end = meters.read(stack, end=True)
    return summary.costs(begin, end, end.agents["reports"] - begin.agents["reports"])


def load(stack: Stack, given: argparse.Namespace, **changes: Any) -> Process:
    """Return a load that is ready to make claims."""
    asked = ("claims", "clients", "patience", "hold")
    return stack.load({key: getattr(given, key) for key in asked} | changes)


def measure(stack: Stack, given: argparse.Namespace) -> Figures:
    """Return all figures of one run."""
    begun = time.monotonic()
    say("starting RabbitMQ, MariaDB, Placement and conductors")
    stack.start()
    setup: Figures = {"services up after, s": round(time.monotonic() - begun, 1)}
    say("the agents begin to report")
    setup |= register(stack, given.register_timeout)
    say(f"registered: {setup}")
    quiet = idle(stack, given.idle)
    if given.warm_up:
        load(stack, given, claims=given.warm_up, rate=max(given.rate[0] / 10, 10), seed=-1).ask()
    average = os.getloadavg()[0]
    return {
        "setting": _setting(given) | {"load average before": round(average, 2)},
        "setup": setup,
        "idle": quiet,
        "runs": [
            measure_rate(stack, given, rate, given.seed + number)
            for number, rate in enumerate(given.rate)
        ],
    }


def measure_rate(stack: Stack, given: argparse.Namespace, rate: float, seed: int) -> Figures:
    """Return the figures of claims that come at one rate."""
    main_load = load(stack, given, rate=rate, seed=seed)
    say(f"{given.claims} claims, {rate:g} a second")
    begin = meters.read(stack)
    records = [Record(**each) for each in main_load.ask()]
    end = meters.read(stack, end=True)
    stack.check()
    found = summary.claims(records, rate)
    return {
        "claims": found,
        "stages": {"due to seen bound": found["claim_to_bound"]} | summary.stages(records, stack.logs()),
        "costs": summary.costs(begin, end, found["bound"]),
        "requests": summary.requests(meters.requests(stack, begin, end), found["bound"]),
    }


def _setting(given: argparse.Namespace) -> Figures:
    shown = {key: value for key, value in vars(given).items() if key not in ("hosts", "set", "json")}
    return {
        "hosts": len(given.hosts),
        "devices": sum(given.hosts.values()),
        **{key.replace("_", "-"): str(value) for key, value in shown.items() if value is not None},
        "settings": {".".join(key): value for key, value in given.set},
        "processors": os.cpu_count(),
    }


def run(given: argparse.Namespace, folder: Path) -> Figures:
    """Start all in ``folder``, measure, and end all."""
    stack = Stack(folder, options_of(given))
    try:
        return measure(stack, given)
    finally:
        stack.close()


def main() -> int:
    """Measure and print; 1 when it could not be measured, saying why."""
    given = arguments().parse_args()
    # Whatever ends this, what it started ends too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        if given.keep:
            given.keep.mkdir(parents=True)
            figures = run(given, given.keep.resolve())
        else:
            with tempfile.TemporaryDirectory(prefix="gpupool-") as name:
                figures = run(given, Path(name))
    except (Missing, Failed) as exc:
        print(exc, file=sys.stderr)
        return 1
    print(json.dumps(figures) if given.json else summary.text(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
