"""Run faults against services of one's own: ``python -m tests.faults --seed 3 --faults 50``."""

import argparse
import signal
import sys
import tempfile
from pathlib import Path

from testbed.rabbitmq import Missing
from tests.faults.run import Options, Run


def _parse() -> Options:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", type=int, default=40, help="how many, at random (%(default)s)")
    parser.add_argument(
        "--at-once", type=int, default=2, help="how many at a time at most (%(default)s)"
    )
    parser.add_argument(
        "--only", action="append", default=[], help="words of kinds, such as 'mariadb'; repeat for more"
    )
    parser.add_argument("--each", action="store_true", help="each kind once, one after the other")
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--hosts", type=int, default=3, help="beside the canary's (%(default)s)")
    parser.add_argument("--folder", type=Path, help="where logs and result go (a new one in /tmp)")
    given = parser.parse_args()
    return Options(
        folder=(given.folder or Path(tempfile.mkdtemp(prefix="gpupool-faults-"))).absolute(),
        seed=given.seed,
        faults=given.faults,
        at_once=1 if given.each else given.at_once,
        only=tuple(given.only),
        each=given.each,
        clients=given.clients,
        hosts=given.hosts,
    )


def main() -> int:
    """Return 0, 1 when something was broken, 2 when a service is not installed."""
    # So that all it has started ends with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        result = Run(_parse()).run()
    except Missing as exc:
        print(exc, file=sys.stderr)
        return 2
    print("\n".join(result.lines()))
    return 1 if result.broken else 0


if __name__ == "__main__":
    sys.exit(main())
