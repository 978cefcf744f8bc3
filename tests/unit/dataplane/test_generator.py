"""What the generator writes: the same from the same table, and all of it."""

import ctypes
import os
import subprocess
import sys

import pytest

from gpupool.dataplane import build, paths
from gpupool.dataplane.api.body import Answer
from gpupool.dataplane.api.cuda.table import CALLS, REFERENCE, UNSUPPORTED, reason
from gpupool.dataplane.api.entry import LOCAL, call
from gpupool.dataplane.api.types import Flags, in_
from gpupool.dataplane.generator import write as generator
from gpupool.dataplane.generator.bodies import body
from gpupool.dataplane.generator.protocol_page import structures
from gpupool.dataplane.generator.symbols import symbols
from tests.functional.dataplane.call_arguments import structure


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("generated")
    generator.write(folder)
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_run_as_a_program_it_writes_the_same(written, tmp_path):
    """In a process of its own, by path, as the package build runs it; hash seeds differ."""
    program = build.HERE / "generator" / "write.py"
    subprocess.run([sys.executable, "-I", program, tmp_path / "out"], check=True)
    assert {path.name: path.read_text() for path in (tmp_path / "out").iterdir()} == written


def test_the_build_knows_every_file_that_is_made(written):
    text = (build.NATIVE / "meson.build").read_text()
    assert {name for name in written if not name.endswith(".rst") and f"'{name}'" not in text} == set()


def test_it_says_what_it_is_made_of(tmp_path):
    program, out, depfile = build.HERE / "generator" / "write.py", tmp_path / "out", tmp_path / "out.d"
    subprocess.run([sys.executable, program, out, depfile], check=True)
    made, modules = depfile.read_text().split(": ")
    assert made == str(out / "gpupool_messages.h")
    folders = (build.HERE / "api", build.HERE / "generator")
    written_by_hand = {str(path) for folder in folders for path in folder.rglob("*.py")}
    assert written_by_hand <= set(modules.split())


def test_what_does_not_change_is_not_written_again(tmp_path):
    generator.write(tmp_path)
    for path in tmp_path.iterdir():
        os.utime(path, (0, 0))
    (tmp_path / "worker_driver.h").write_text("of another table")
    generator.write(tmp_path)
    assert (tmp_path / "worker_driver.h").read_text() != "of another table"
    assert {path.name for path in tmp_path.iterdir() if path.stat().st_mtime} == {"worker_driver.h"}


def test_it_needs_one_folder():
    done = subprocess.run(
        [sys.executable, build.HERE / "generator" / "write.py"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "usage: write.py OUTDIR" in done.stderr


def test_a_type_without_c_ends_the_build(tmp_path):
    """In a process of its own, as the package build runs it."""
    code = (
        "import sys; from gpupool.dataplane.api.cuda import table;"
        "from gpupool.dataplane.api.entry import *;"
        "from gpupool.dataplane.api.types import *;"
        "from gpupool.dataplane.api.body import *;"
        "odd = call('cuOdd', 2000, LOCAL, in_('odd', Number('long double')), body=Answer());"
        "table.CALLS += (odd,);"
        "from gpupool.dataplane.generator import write; sys.argv[1:] = [sys.argv[1]]; write.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("API table: argument odd of cuOdd has the type Number(c='long double'")
    assert "Traceback" not in done.stderr


def test_every_message_has_a_number_and_a_server(written):
    for number, message in enumerate(generator.messages(), 1):
        assert f"CALL_{message.name} = {number}," in written["gpupool_messages.h"]
        assert f"SERVICE_{message.name}(serve_{message.name})," in written["worker_dispatch.inc"]
        assert f"[CALL_{message.name}] = {{serve," in written["worker_services.h"]


def test_the_page_names_every_message_call_and_refused_name(written):
    page = written["protocol.rst"]
    assert all(
        f"\n{number} {message.name}\n" in page for number, message in enumerate(generator.messages(), 1)
    )
    assert all(f"``{symbol}`` ({since})" in page for call in CALLS for symbol, since in call.symbols)
    assert all(f"``{name}``" in page for name in UNSUPPORTED)


def test_the_users_page_names_every_call_and_why_others_are_refused(written):
    page = written["driver_calls.rst"]
    assert all(f"``{call.key}``" in page for call in CALLS)
    assert all(f"``{name}``" in page and f"\n{reason(name)}\n" in page for name in UNSUPPORTED)


def exported(library):
    """Return the names of the functions that a library exports."""
    printed = subprocess.run(
        ["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True
    )
    return {line.split()[-1] for line in printed.stdout.splitlines()}


def test_the_runtime_exports_every_symbol_and_nothing_else(native):
    wanted = {one.symbol for call in CALLS for one in symbols(call)}
    wanted |= {f"{name}{suffix}" for name in UNSUPPORTED for suffix in ("", "_v2", "_ptsz")}
    assert exported(native / paths.RUNTIME.relative_to(paths.LIB)) == wanted


def test_the_reference_device_exports_every_symbol_and_old_names_of_some(native):
    wanted = {one.symbol for call in REFERENCE for one in symbols(call)}
    more = exported(native / paths.REFERENCE.relative_to(paths.LIB)) - wanted
    assert more <= {symbol.removesuffix("_v2") for symbol in wanted}
    assert wanted <= exported(native / paths.REFERENCE.relative_to(paths.LIB))


@pytest.mark.parametrize("name", ["cuInit", "cuCtxGetCurrent"])
def test_the_runtime_loads_outside_a_session(native, name):
    code = f"import ctypes; print(ctypes.CDLL({str(native / 'runtime' / 'libcuda.so.1')!r}).{name}(0))"
    done = subprocess.run(
        [sys.executable, "-c", code], env={}, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) == {"cuInit": 100, "cuCtxGetCurrent": 3}[name]
    assert ctypes.sizeof(ctypes.c_void_p) == 8


def test_structures_are_those_of_the_c(tmp_path):
    """By their layouts: a member left out, or of another size, would move those behind it."""
    lines = ["#include <stddef.h>", '#include "cuda/cuda_abi.h"']
    for kind in structures(CALLS):
        lines.append(f'_Static_assert(sizeof({kind.c}) == {ctypes.sizeof(structure(kind))}, "size");')
        for name, *_ in structure(kind)._fields_:
            at = getattr(structure(kind), name).offset
            lines.append(f'_Static_assert(offsetof({kind.c}, {name}) == {at}, "{name}");')
    (tmp_path / "layout.c").write_text("\n".join(lines))
    subprocess.run(
        ["gcc", "-c", f"-I{build.NATIVE}", tmp_path / "layout.c", "-o", "/dev/null"], check=True
    )
    assert len(lines) > 40


@pytest.mark.parametrize("flags", range(32))
def test_flags_are_checked_by_what_the_table_says(flags, compiled_flags):
    """Of 1, 2 and 4 at most one; 8 is not supported; 16 does not exist."""
    several = (flags & 7).bit_count() > 1
    wanted = 1 if several or flags & 16 else 801 if flags & 8 else 0
    assert compiled_flags.runtime_cuOdd(flags) == wanted


@pytest.fixture(scope="module")
def compiled_flags(tmp_path_factory):
    """Return a library of a call with such flags."""
    flags = in_("flags", Flags(7, refused=8, exclusive=7))
    odd = call("cuOdd", 2000, LOCAL, flags, body=Answer())
    source = tmp_path_factory.mktemp("flags") / "odd.c"
    source.write_text('#include "cuda/cuda_abi.h"\n' + body(odd, {}))
    library = source.with_suffix(".so")
    command = ["gcc", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", f"-I{build.NATIVE}", source]
    subprocess.run([*command, "-o", library], check=True)
    return ctypes.CDLL(str(library))
