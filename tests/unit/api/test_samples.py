"""The sample files in etc/ are what oslo's generators print of the code as it is now."""

import configparser
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from gpupool import conf

ROOT = Path(__file__).parents[3]
ETC = ROOT / "etc" / "gpupool"


@pytest.fixture
def tool(tmp_path):
    """Return a function that runs one of oslo's tools with the entry points of pyproject.toml.

    They stand first in the path, so that those of an older installation do not count.
    """
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    entry_points = configparser.ConfigParser(delimiters=("=",))
    entry_points.optionxform = str
    entry_points.read_dict({name: group for name, group in declared.items() if name.startswith("oslo.")})
    metadata = tmp_path / "gpupool-0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: gpupool\nVersion: 0\n")
    with (metadata / "entry_points.txt").open("w") as file:
        entry_points.write(file)
    environment = {
        **os.environ,
        "PYTHONPATH": f"{tmp_path}:{ROOT}",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }

    def run(name, *args):
        command = [str(Path(sys.executable).parent / name), *args]
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def sections(text):
    """Return the lines of a sample file by section, less what is empty."""
    found = {}
    name = ""
    for line in text.splitlines():
        name = line if line.startswith("[") else name
        found.setdefault(name, []).append(line)
    return {name: [line for line in lines if line] for name, lines in found.items()}


def test_config_sample_has_our_options(tool, tmp_path):
    output = tmp_path / "sample"
    generator = ETC / "gpupool-config-generator.conf"
    tool("oslo-config-generator", "--config-file", str(generator), "--output-file", str(output))
    generated = sections(output.read_text())
    stored = sections((ETC / "gpupool.conf.sample").read_text())
    assert stored.keys() == generated.keys()
    # What the libraries say of their options changes with them, not with us.
    ours = [f"[{group}]" for group, _ in conf.list_opts() if group != "placement"]
    assert {name: stored[name] for name in ours} == {name: generated[name] for name in ours}


def test_policy_sample_is_up_to_date(tool, tmp_path):
    output = tmp_path / "sample"
    generator = ETC / "gpupool-policy-generator.conf"
    tool("oslopolicy-sample-generator", "--config-file", str(generator), "--output-file", str(output))
    assert (ETC / "policy.yaml.sample").read_text() == output.read_text()


def test_operators_can_check_their_policy(tool, tmp_path):
    changed = tmp_path / "policy.yaml"
    changed.write_text('"gpu-pool:pools:get": "rule:reader_api"\n')
    config = tmp_path / "gpupool.conf"
    config.write_text(f"[oslo_policy]\npolicy_file = {changed}\n")
    redundant = tool("oslopolicy-list-redundant", "--namespace", "gpupool", "--config-file", str(config))
    assert "gpu-pool:pools:get" in redundant
