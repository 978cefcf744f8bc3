"""Records the system calls that workers make once they are in their sandbox: what its allow list needs.

    tools/record_syscalls.py [PYTEST ARGUMENTS]

Runs the tests of the data plane (or those named) with workers under strace, which leaves the sandbox's
filter out, so that calls that it denies are seen too. Prints each call, how often it was made and with
which arguments, for calls whose arguments the filter looks at. Compare with ``allowed`` in
gpupool/dataplane/native/worker/sandbox.c. Needs strace and root. What the kernels of the reference
device call is host code of the tests; what belongs into the list is to be decided, not copied.

For another driver, run its own tests: those of tests/gpu on a host with its devices.
"""

import collections
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TESTS = ("tests/functional/dataplane",)
# Calls of which the filter looks at an argument, and the argument's place.
WATCHED = {"prctl": 0, "fcntl": 1, "openat": 2, "clone": 0, "mmap": 3, "memfd_create": 1, "madvise": 2}
WRAPPER = """\
#!/bin/sh
exec strace -D -f -qq -e inject=seccomp:retval=0 -o {folder}/$$.trace {worker} "$@"
"""
CALL = re.compile(r"^\d+ +(\w+)\((.*)")


def _record(folder: Path, arguments: list[str]) -> None:
    """Run the tests with a build whose worker is started under strace."""
    native = folder / "native"
    subprocess.run([sys.executable, "-m", "gpupool.dataplane.build", "--output", native], check=True)
    worker = native / "gpupool-worker"
    real = worker.rename(native / "worker")
    worker.write_text(WRAPPER.format(folder=folder, worker=real))
    worker.chmod(0o755)
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(arguments or TESTS)],
        env={**os.environ, "GPUPOOL_TEST_NATIVE": str(native)},
        check=False,
        cwd=ROOT,
    )


def _count(trace: Path, counts: collections.Counter[str]) -> None:
    """Count the calls of one worker, of all its threads, after it has entered the sandbox."""
    entered = False
    for line in trace.read_text(errors="replace").splitlines():
        found = CALL.match(line)
        if not found:
            continue
        name, arguments = found.groups()
        if entered:
            counts[_named(name, arguments)] += 1
        entered = entered or name == "seccomp"


def _named(name: str, arguments: str) -> str:
    place = WATCHED.get(name)
    if place is None:
        return name
    values = re.sub(r'"[^"]*"', '""', arguments).split(", ")
    return f"{name} {values[place].rstrip(') ').split(')')[0]}" if place < len(values) else name


def main() -> None:
    """Record, then print the calls."""
    counts: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o711)
        _record(folder, sys.argv[1:])
        traces = list(folder.glob("*.trace"))
        for trace in traces:
            _count(trace, counts)
    print(f"{len(traces)} workers")
    for call, count in sorted(counts.items()):
        print(f"{count:9} {call}")


if __name__ == "__main__":
    main()
