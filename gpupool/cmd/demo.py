"""``gpupool-demo``: the whole way from a claim to a running program, shown and checked step by step.

Everything runs for real but the devices, which are simulated on the CPU.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gpupool.demo.shell import BIN, Endpoints, Shell
from gpupool.demo.steps import Demo

START_TIMEOUT = 60
STOP_TIMEOUT = 30


def main() -> int:
    """Run the demo; return 0 when every check held."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    began = time.monotonic()
    print("gpupool on this machine alone, with devices that are simulated on the CPU.")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with tempfile.TemporaryDirectory(prefix="gpupool-demo-") as folder:
        state_dir = Path(folder)
        try:
            with service(state_dir) as endpoints:
                shell = Shell(endpoints)
                Demo(shell).run()
        except (OSError, subprocess.SubprocessError) as exc:
            print(f"The demo cannot go on: {exc}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("\nStopped, and all that it started.", file=sys.stderr)
            return 128 + signal.SIGINT
        shell.title("Stop; nothing is left running")
        shell.check(not running(state_dir), "no process of this demo is left")
    seconds = time.monotonic() - began
    if shell.failed:
        print(f"\n{shell.failed} checks FAILED, after {seconds:.0f} s.")
        return 1
    print(f"\nEverything is as it should be; it took {seconds:.0f} s.")
    return 0


@contextmanager
def service(state_dir: Path) -> Iterator[Endpoints]:
    """Start gpupool-standalone; yield where it listens; stop it."""
    command = [str(BIN / "gpupool-standalone"), "--port", "0", "--state-dir", str(state_dir)]
    command += ["--cdi-dir", str(state_dir / "cdi")]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        try:
            yield wait_until_ready(process, state_dir / "endpoints.json")
        finally:
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()


def wait_until_ready(process: "subprocess.Popen[bytes]", endpoints: Path) -> Endpoints:
    """Return where the service listens; it writes that down when it is ready. Raises OSError."""
    end = time.monotonic() + START_TIMEOUT
    while not endpoints.exists():
        if process.poll() is not None:
            raise OSError(f"gpupool-standalone ended with exit code {process.returncode}")
        if time.monotonic() > end:
            raise OSError(f"gpupool-standalone was not ready after {START_TIMEOUT} s")
        time.sleep(0.1)
    return Endpoints(**json.loads(endpoints.read_text()))


def running(state_dir: Path) -> list[int]:
    """Return the processes of this demo besides this one: by command line and by open files."""
    processes = [path for path in Path("/proc").glob("[0-9]*") if int(path.name) != os.getpid()]
    return [int(process.name) for process in processes if uses(process, str(state_dir))]


def uses(process: Path, folder: str) -> bool:
    """Return whether a process, by its folder in /proc, names ``folder`` or has a file of it open."""
    try:
        if folder in (process / "cmdline").read_bytes().decode(errors="replace"):
            return True
        return any(str(opened.readlink()).startswith(folder) for opened in (process / "fd").iterdir())
    except OSError:
        # It has ended, or is somebody else's.
        return False


if __name__ == "__main__":
    sys.exit(main())
