"""What the build reads of a linked file's needs, and what it refuses."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from gpupool.agent import cdi
from gpupool.dataplane import build, c_flags, libc_needs, paths

PORTABLE_H = build.NATIVE / "portable" / "libc.h"
# A C library of our own making: its functions by the version that they came with.
FUNCTIONS = {
    "first": "GLIBC_2.2.5",
    "same": "GLIBC_2.17",
    "later": "GLIBC_2.34",
    "latest": "GLIBC_2.101",
    "relative": "GLIBC_ABI_DT_RELR",
    "__own": "GLIBC_2.2.5",
    "other": "GCC_3.0",
}


def linked(folder: Path, name: str, code: str, *flags: str) -> Path:
    source, made = folder / f"{name}.c", folder / f"{name}.so"
    source.write_text(code)
    command = ["gcc", "-shared", "-nostdlib", "-fPIC", "-fno-stack-protector", source, "-o", made]
    subprocess.run([*command, *flags], check=True)
    return made


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a function that links a library which calls functions of ``FUNCTIONS``."""
    folder = tmp_path_factory.mktemp("libc")
    versions = folder / "versions"
    versions.write_text(
        "".join(
            f"{version} {{ global: {name}; }};\n"
            for name, version in FUNCTIONS.items()
            if name != "__own"
        ).replace("first;", "first; __own;")
    )
    code = "".join(f"void {name}(void) {{}}\n" for name in FUNCTIONS)
    libc = linked(folder, "libc", code, f"-Wl,--version-script={versions}", "-Wl,-soname,libc.so.6")

    def make(*called: str, weak: str = "") -> Path:
        names = [*called, *([weak] if weak else [])]
        declared = "".join(
            f"void {name}(void){' __attribute__((weak))' * (name == weak)};\n" for name in names
        )
        calls = " ".join(f"{name}();" for name in names)
        return linked(
            folder, "-".join(["user", *names]), f"{declared}void run(void) {{ {calls} }}\n", libc
        )

    return make


def test_names_and_versions_are_read(made):
    needs = libc_needs.read(made("first", "later", weak="__own"))
    assert needs.libraries == ("libc.so.6",)
    assert set(needs.versions) == {"GLIBC_2.2.5", "GLIBC_2.34"}
    assert {(one.name, one.version, one.weak) for one in needs.symbols} == {
        ("first", "GLIBC_2.2.5", False),
        ("later", "GLIBC_2.34", False),
        ("__own", "GLIBC_2.2.5", True),
    }


@pytest.mark.parametrize(
    ("called", "reasons"),
    [
        (["first", "same", "other"], []),
        (["first", "later", "latest"], ["GLIBC_2.101 for latest", "GLIBC_2.34 for later"]),
        (["relative"], ["GLIBC_ABI_DT_RELR for relative"]),
    ],
)
def test_a_glibc_lacks_what_came_later(made, called, reasons):
    assert sorted(libc_needs.read(made(*called)).beyond_glibc("2.17")) == reasons


def test_releases_are_compared_as_numbers(made):
    assert libc_needs.read(made("first", "same", "latest", "later")).newest == "GLIBC_2.101"


def test_musl_lacks_what_is_glibcs_own(made):
    assert libc_needs.read(made("first", "__own")).beyond_musl() == ["musl does not have __own"]
    assert libc_needs.read(made("first", weak="__own")).beyond_musl() == []


@pytest.mark.parametrize(
    "name", ["ld-linux-x86-64.so.2", "libgcc_s.so.1", "libmystery.so.6", "libstdc++.so.6"]
)
def test_musl_is_no_other_library(name):
    reason = [f"musl does not have {name}"]
    assert libc_needs.Needs(62, ("libc.so.6", name), (), ()).beyond_musl() == reason


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\n", b"\x7fELF\x01\x01" + bytes(64)])
def test_what_is_no_elf_file_is_refused(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(libc_needs.NotElfError):
        libc_needs.read(path)


@pytest.mark.parametrize("limit", ["", "2", "new", "2.17x"])
def test_a_limit_that_is_no_release_is_refused(made, limit):
    command = [sys.executable, libc_needs.__file__, made("first"), f"--glibc={limit}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "allowed: a version such as 2.17" in done.stderr


def test_every_older_version_that_is_named_exists(tmp_path):
    names = re.findall(r"^OLD\((\w+)\);$", PORTABLE_H.read_text(), re.MULTILINE)
    assert len(names) > 20
    uses = "".join(f"extern char {name}[];\nvoid *use_{name} = {name};\n" for name in names)
    made = linked(
        tmp_path,
        "all",
        uses,
        *c_flags.PORTABLE_CFLAGS,
        "-Wl,-z,defs",
        *c_flags.libraries_once_apart(),
        "-lc",
    )
    needs = libc_needs.read(made)
    assert needs.beyond_glibc(c_flags.OLDEST_GLIBC) == []
    assert {"libpthread.so.0", "libdl.so.2"} <= set(needs.libraries)


def test_what_enters_containers_loads_with_every_c_library(native):
    spec = cdi.spec("id", Path("/ticket"), Path("/run/session.sock"))
    mounted = [Path(mount["hostPath"]) for mount in spec["devices"][0]["containerEdits"]["mounts"]]
    built = {path.relative_to(paths.LIB) for path in mounted if path.is_relative_to(paths.LIB)}
    assert built == {Path("runtime/libcuda.so.1"), Path("gpupool-doctor")}
    for path in built:
        needs = libc_needs.read(native / path)
        assert needs.beyond_glibc(c_flags.OLDEST_GLIBC) + needs.beyond_musl() == []
        assert {"libpthread.so.0", "libdl.so.2"} <= set(needs.libraries)
