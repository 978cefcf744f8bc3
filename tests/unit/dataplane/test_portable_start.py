"""A program that starts as those do that enter containers: with the C library that is there."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from gpupool.dataplane import build, c_flags, libc_needs
from tests.markers import needs_root

MUSL = Path("/lib/ld-musl-x86_64.so.1")
CODE = """
#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv);
int main(int argc, char **argv)
{
    for (int index = 0; index < argc; index++)
        puts(argv[index]);
    puts(getenv("SAID"));
    return 3;
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    folder = tmp_path_factory.mktemp("start")
    source, made = folder / "program.c", folder / "program"
    source.write_text(CODE)
    flags = [*c_flags.compile_flags(), *c_flags.PORTABLE_CFLAGS, *c_flags.PORTABLE_PROGRAM]
    sources = [build.NATIVE / "portable" / "start.c", source]
    libraries = c_flags.libraries_once_apart()
    subprocess.run(["gcc", *flags, *sources, "-o", made, *libraries], check=True)
    return made


def run(*command, **more):
    variables = {"SAID": "something", "PATH": os.environ["PATH"], **more.pop("env", {})}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False, **more)
    return done.returncode, done.stdout.splitlines(), done.stderr


def inside(root: Path, *command: str):
    return run(*command, preexec_fn=lambda: os.chroot(root), cwd="/")


def test_it_asks_for_nothing_new(program):
    needs = libc_needs.read(program)
    assert needs.beyond_glibc(c_flags.OLDEST_GLIBC) + needs.beyond_musl() == []


def test_arguments_environment_and_exit_code_are_the_programs(program):
    arguments = ["", "two words", *map(str, range(100))]
    assert run(program, *arguments) == (3, [str(program), *arguments, "something"], "")


def test_it_is_found_by_a_relative_path_and_by_path(program):
    assert run("./program", cwd=program.parent) == (3, ["./program", "something"], "")
    code, output, _ = run(
        "sh", "-c", "program a", env={"PATH": f"{program.parent}:{os.environ['PATH']}"}
    )
    assert (code, output) == (3, [str(program), "a", "something"])


@needs_root
def test_it_starts_where_only_musl_is(program, tmp_path):
    if not MUSL.exists():
        pytest.skip(f"{MUSL} is not there (Debian: musl)")
    (tmp_path / "lib").mkdir()
    shutil.copy(MUSL, tmp_path / "lib")
    shutil.copy(program, tmp_path)
    assert inside(tmp_path, "/program", "a") == (3, ["/program", "a", "something"], "")


@needs_root
def test_it_says_so_where_no_c_library_is(program, tmp_path):
    shutil.copy(program, tmp_path)
    code, output, error = inside(tmp_path, "/program")
    assert (code, output) == (127, [])
    assert error == "this program needs glibc or musl, and their dynamic linkers are not here\n"
