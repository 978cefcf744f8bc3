"""What a program's loader and fork do around the runtime."""

import subprocess

from tests.functional.dataplane.conftest import HERE


def test_a_program_may_unload_the_library_and_have_much_thread_local_data(agent, tmp_path):
    program = tmp_path / "loading"
    subprocess.run(["gcc", "-O1", "-pthread", HERE / "loading.c", "-o", program, "-ldl"], check=True)
    done = subprocess.run(
        [program],
        env=agent().program_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def test_children_of_a_busy_program_start_anew(agent, run):
    """Another thread takes the runtime's locks all the while."""
    assert run(agent(), "forks")["children"] == [[0, "CUDA_ERROR_INVALID_VALUE"]] * 20
