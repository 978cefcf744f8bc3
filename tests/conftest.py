"""What every test may use."""

import os
from pathlib import Path

import pytest

import gpupool.cmd  # noqa: F401 first: it chooses threads, as every entry point does
from gpupool.dataplane import build


@pytest.fixture(scope="session")
def native() -> Path:
    """Build the C of the data plane where it is older than its sources; return its folder.

    GPUPOOL_TEST_NATIVE names another build's folder, see tools/record_syscalls.py.
    """
    other = os.environ.get("GPUPOOL_TEST_NATIVE")
    return Path(other) if other else build.ensure()
