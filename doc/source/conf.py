"""Sphinx configuration of the documentation."""

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
