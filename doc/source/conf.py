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

# The protocol is what the API table says today.
with TemporaryDirectory() as folder:
    generator.write(Path(folder))
    page = Path(folder, "protocol.rst").read_text()
Path(__file__).with_name("contributor").joinpath("protocol.rst").write_text(page)
