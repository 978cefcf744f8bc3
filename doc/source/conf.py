"""Sphinx configuration of the documentation."""

from pathlib import Path
from tempfile import TemporaryDirectory

from gpupool.dataplane.generator import write as generator

project = "gpupool"
author = "The gpupool developers"
project_copyright = "The gpupool developers"
extensions = ["openstackdocstheme", "oslo_config.sphinxext", "oslo_policy.sphinxext"]
html_theme = "openstackdocs"
openstackdocs_repo_name = "openstack/gpupool"
openstackdocs_auto_name = False
openstackdocs_use_storyboard = False
exclude_patterns: list[str] = []
pygments_style = "native"

# What the API table says today: the protocol, and the driver calls that exist.
with TemporaryDirectory() as folder:
    generator.write(Path(folder))
    for part, name in (("contributor", "protocol.rst"), ("user", "driver_calls.rst")):
        Path(__file__).with_name(part).joinpath(name).write_text(Path(folder, name).read_text())
