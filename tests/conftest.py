"""What every test may use."""

from pathlib import Path

import pytest

import gpupool.cmd  # noqa: F401 first: it chooses threads, as every entry point does
from gpupool.dataplane import build


@pytest.fixture(scope="session")
def native() -> Path:
    """Build the C of the data plane where it is older than its sources; return its folder."""
    return build.ensure()
