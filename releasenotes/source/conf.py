"""Sphinx configuration of the release notes."""

project = "gpupool release notes"
author = "The gpupool developers"
project_copyright = "The gpupool developers"
extensions = ["openstackdocstheme", "reno.sphinxext"]
html_theme = "openstackdocs"
openstackdocs_repo_name = "openstack/gpupool"
openstackdocs_auto_name = False
openstackdocs_use_storyboard = False
