"""``gpupool-standalone``: the whole of gpupool in one process.

API, conductor, Placement and one agent per host: the same parts that run as services in a cloud, on
SQLite and in-process messages. All state is in one folder. Hosts and devices are simulated, unless
--driver nvidia asks for this machine's GPUs.
"""

import logging
import signal
import sys
import threading
from types import FrameType

from oslo_config import cfg

from gpupool.cmd import output
from gpupool.cmd.service import one_line
from gpupool.model import errors
from gpupool.standalone import options, state_folder
from gpupool.standalone.errors import CannotStart
from gpupool.standalone.options import Options
from gpupool.standalone.service import Standalone, check_built

LOG = logging.getLogger(__name__)
# What keeps this from starting, and is no fault in its code.
EXPECTED = (CannotStart, errors.GpupoolError, OSError, cfg.Error)


def main() -> int:
    """Run until a signal; return 0 then, 1 when it cannot start."""
    given = options.parse(__doc__)
    try:
        with state_folder.locked(given.state_dir):
            _run(given)
    except (CannotStart, OSError, cfg.Error) as exc:
        print(
            f"gpupool-standalone: {state_folder.fullness(given.state_dir)}{one_line(exc)}",
            file=sys.stderr,
        )
        return 1
    except Exception as exc:
        # Any: once oslo.log is set up, nothing that ends Python is shown on the terminal.
        why = f"{state_folder.fullness(given.state_dir)}{output.reason(exc)}"
        print(f"gpupool-standalone: {why}; {given.log_file} says more", file=sys.stderr)
        return 1
    return 0


def _run(given: Options) -> None:
    stop = _stop_signal()
    check_built()
    standalone = Standalone(given)
    try:
        standalone.start()
        _greet(standalone.api_url, given)
        stop.wait()
        print("Stopping ...", flush=True)
    except EXPECTED as exc:
        LOG.error("cannot start: %s", exc)
        raise
    except Exception:
        LOG.exception("this ends gpupool-standalone")
        raise
    finally:
        standalone.stop()


def _greet(api_url: str, given: Options) -> None:
    """Say where this listens and what to try."""
    what = f"{_count(given.hosts, 'host')}, {_count(given.devices, 'device')} on each"
    print(
        f"""\
gpupool runs on this machine: {what if given.simulated else "its GPUs"}.
  API    {api_url} (whoever reaches it is administrator)
  state  {given.state_dir}
  log    {given.log_file}

Try, in another terminal:
  export OS_AUTH_TYPE=none OS_ENDPOINT={api_url}
  openstack gpu device list
  openstack gpu claim create --name mine --compute 25 --memory-mib 512 --wait
  openstack gpu run --claim mine -- PROGRAM
  openstack gpu claim delete mine

Ctrl-C stops all of it; the next start goes on from there.""",
        flush=True,
    )


def _count(number: int, noun: str) -> str:
    return f"{number} simulated {noun}{'' if number == 1 else 's'}"


def _stop_signal() -> threading.Event:
    """Return what is set when somebody wants this to end, also while it still starts."""
    stop = threading.Event()

    def take(_signum: int, _frame: FrameType | None) -> None:
        stop.set()

    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, take)
    return stop


if __name__ == "__main__":
    sys.exit(main())
