"""What every test may use."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

import gpupool.cmd  # noqa: F401 first: it chooses threads, as every entry point does
from gpupool.dataplane import build

# A busy machine is slow, which says nothing of what is tested.
hypothesis.settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--seeds",
        type=_seeds,
        metavar="FIRST-LAST",
        help="for a long run: tests marked with seeds(n) take these in place of the first n",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    marker = metafunc.definition.get_closest_marker("seeds")
    if marker:
        metafunc.parametrize("seed", metafunc.config.getoption("seeds") or range(*marker.args))


def _seeds(given: str) -> range:
    first, _, last = given.partition("-")
    return range(int(first), int(last or first) + 1)


@pytest.fixture(scope="session")
def native() -> Path:
    """Build the C of the data plane where it is older than its sources; return its folder.

    GPUPOOL_TEST_NATIVE names another build's folder, see tools/record_syscalls.py.
    """
    other = os.environ.get("GPUPOOL_TEST_NATIVE")
    return Path(other) if other else build.ensure()


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Iterator[None]:
    """Escape the halves of surrogate pairs that hostile input leaves in what a test logs or fails with.

    pytest-xdist can't send them, and ends the whole run.
    """
    return _sendable((yield))


def _sendable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, dict):
        return {_sendable(key): _sendable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_sendable, value))
    return value
