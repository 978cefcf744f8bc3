"""gpupool-doctor: which libcuda.so.1 a program finds here, and which attachments.

A program of its own, in C, since it goes into containers, which may have no Python.
"""

import os
import sys

from gpupool.dataplane import paths


def main() -> None:
    """Become the program; return only when it is not there."""
    try:
        os.execv(paths.DOCTOR, [str(paths.DOCTOR), *sys.argv[1:]])  # noqa: S606
    except OSError as exc:
        sys.exit(f"gpupool-doctor: {paths.DOCTOR}: {exc.strerror}")


if __name__ == "__main__":
    main()
