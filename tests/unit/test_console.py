"""Console scripts where the libraries of their roles are missing: one line each, no traceback."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SCRIPTS = PROJECT["scripts"]


def start(script: str, finder: str, *options: str) -> "subprocess.CompletedProcess[str]":
    """Run a console script as pip makes it, with ``finder`` run before."""
    module, _, function = SCRIPTS[script].partition(":")
    code = f"{finder}\nimport sys\nfrom {module} import {function}\nsys.exit({function}())"
    return subprocess.run(
        [sys.executable, *options, "-c", code, "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_without_libraries_names_its_extra(native: Path, script: str) -> None:
    done = start(script, "", "-S")
    if not SCRIPTS[script].startswith("gpupool.console:"):
        # It needs none.
        assert "Traceback" not in done.stderr
        return
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{script} needs gpupool[")
    extra = line.partition("[")[2].partition("]")[0]
    assert f": pip install 'gpupool[{extra}]' (there is no module " in line
    assert extra in PROJECT["optional-dependencies"]


@pytest.mark.parametrize(
    ("script", "module", "extra"),
    [
        ("gpupool-conductor", "sqlalchemy", "server"),
        ("gpupool-standalone", "cheroot", "standalone"),
        ("gpupool-standalone", "placement", "standalone"),
        ("gpupool-demo", "cuda", "demo"),
    ],
)
def test_a_script_of_another_role_s_libraries_names_its_extra(
    script: str, module: str, extra: str
) -> None:
    hide = f"import sys\nsys.modules[{module!r}] = None"
    done = start(script, hide)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"{script} needs gpupool[{extra}]: pip install ")
    assert "Traceback" not in done.stderr


def test_a_missing_module_of_gpupool_is_a_bug_and_shows_as_one() -> None:
    done = start("gpupool-conductor", "import sys\nsys.modules['gpupool.conductor'] = None")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
