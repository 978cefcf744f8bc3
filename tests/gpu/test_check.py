"""The GPU check as a test, where there is a GPU."""

import subprocess
import sys
from pathlib import Path

import pytest

CHECK = Path(__file__).parent / "check.py"
NO_GPU = 77


@pytest.mark.timeout(1800)
def test_programs_work_through_gpupool() -> None:
    ended = subprocess.run([sys.executable, CHECK], capture_output=True, text=True, check=False)
    if ended.returncode == NO_GPU:
        pytest.skip(ended.stdout.strip())
    assert ended.returncode == 0, ended.stdout + ended.stderr
