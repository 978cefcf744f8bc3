"""What every test may use."""

from pathlib import Path

import pytest

from gpupool.dataplane import build


@pytest.fixture(scope="session")
def native() -> Path:
    """Build the C of the data plane where it is older than its sources; return its folder."""
    return build.ensure()
