"""Sphinx configuration of the API reference."""

project = "gpupool API reference"
author = "The gpupool developers"
project_copyright = "The gpupool developers"
extensions = ["openstackdocstheme", "os_api_ref"]
html_theme = "openstackdocs"
html_theme_options = {"sidebar_mode": "toc"}
openstackdocs_repo_name = "openstack/gpupool"
openstackdocs_auto_name = False
openstackdocs_use_storyboard = False
exclude_patterns: list[str] = []
pygments_style = "native"
