"""The worker's sandbox: what is refused, and what goes on working."""

import platform
import signal
import subprocess

import pytest

from .conftest import ENVIRONMENT, Compile


@pytest.fixture(params=["reference", "nvidia"])
def run(request, compile_test: Compile):
    # AddressSanitizer has calls of its own that are not a worker's; the filter is what is tested here.
    program = compile_test("sandbox_test", "sandbox.c", "filter.c", flags=("-fsanitize=undefined",))

    def run(end: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program, request.param, end], check=False, capture_output=True, text=True, env=ENVIRONMENT
        )

    return run


def test_what_is_denied_and_what_works(run):
    ended = run("return")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "done\n", "")


def test_abort_still_ends_the_process(run):
    assert run("abort").returncode == -signal.SIGABRT


@pytest.mark.skipif(platform.machine() != "x86_64", reason="x32 calls exist on x86_64 only")
def test_the_other_call_table_is_no_way_out(run):
    assert run("x32").returncode == -signal.SIGSYS
