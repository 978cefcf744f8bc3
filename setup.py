"""Adds the C of the data plane to the package build; everything else is in pyproject.toml."""

import runpy
from pathlib import Path

import setuptools
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py
from setuptools.dist import Distribution

HERE = Path(__file__).parent


class BuildNative(build_py):
    """Builds native/ beside the Python modules, in the source tree when the install is editable."""

    def run(self) -> None:
        """Copy the modules, then build the C."""
        super().run()
        native = runpy.run_path(str(HERE / "gpupool" / "dataplane" / "build.py"))
        if self.editable_mode:
            native["ensure"]()
        else:
            native["build"](Path(self.build_lib) / "gpupool" / "dataplane" / "lib")


class PlatformWheel(bdist_wheel):
    """The C is loaded by path, not by a Python: one wheel serves every Python of a platform."""

    def get_tag(self) -> tuple[str, str, str]:
        """Return the tag of the wheel."""
        return "py3", "none", super().get_tag()[2]


class NativeDistribution(Distribution):
    """Not pure Python."""

    def has_ext_modules(self) -> bool:
        """Return that there is something compiled."""
        return True


setuptools.setup(
    cmdclass={"build_py": BuildNative, "bdist_wheel": PlatformWheel},
    distclass=NativeDistribution,
)
