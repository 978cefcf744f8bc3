"""The build of the C, in a copy of the data plane: what is built again, and what is refused."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gpupool.dataplane import build

DOCTOR = "gpupool-doctor"
MARK = '__attribute__((used)) static const char mark[] = "a mark of {}";\n'


class Copy:
    """A copy of the data plane's sources, of which only the smallest target is built."""

    def __init__(self, folder: Path) -> None:
        self.output = folder / "output"
        self.made = self.output / DOCTOR
        self.package = folder / "gpupool" / "dataplane"
        shutil.copytree(build.HERE, self.package, ignore=shutil.ignore_patterns("lib", "__pycache__"))
        self.doctor = self.package / "native" / "doctor"

    def start(self) -> "subprocess.Popen[str]":
        command = [sys.executable, self.package / "build.py", "--only", DOCTOR, "--output", self.output]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace"
        )

    def build(self) -> tuple[int, str, str]:
        """Return the exit status and what was printed."""
        done = self.start()
        output, error = done.communicate()
        return done.returncode, output, error

    def compiled(self) -> dict[str, int]:
        """Return when each object file was made, nanoseconds."""
        return {path.name: path.stat().st_mtime_ns for path in self.output.rglob("*.o")}


def compiled_from(source: str, files: dict[str, int]) -> str:
    (name,) = [one for one in files if one.endswith(f"{source.replace('/', '_')}.o")]
    return name


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    made = Copy(tmp_path_factory.mktemp("build"))
    code, output, error = made.build()
    assert (code, output.splitlines()[-1].split()[:2]) == (0, [DOCTOR, "needs"]), error
    return made


def test_nothing_is_made_again_without_a_change(copy: Copy) -> None:
    before = copy.compiled(), copy.made.stat().st_ino
    assert copy.build() == (0, "", "")
    assert (copy.compiled(), copy.made.stat().st_ino) == before


def test_a_changed_file_alone_is_compiled_again(copy: Copy) -> None:
    before = copy.compiled()
    with (copy.doctor / "main.c").open("a") as file:
        file.write(MARK.format("change"))
    assert copy.build()[0] == 0
    after = copy.compiled()
    assert {name for name in after if after[name] != before[name]} == {
        compiled_from("doctor/main.c", after)
    }
    assert b"a mark of change" in copy.made.read_bytes()


def test_an_added_file_is_built_in_and_a_removed_one_is_not(copy: Copy) -> None:
    added = copy.doctor / "added.c"
    added.write_text(MARK.format("addition"))
    assert copy.build()[0] == 0
    assert b"a mark of addition" in copy.made.read_bytes()
    added.unlink()
    assert copy.build()[0] == 0
    assert b"a mark of addition" not in copy.made.read_bytes()


def test_two_builds_at_once_both_end_well(copy: Copy) -> None:
    with (copy.doctor / "main.c").open("a") as file:
        file.write(MARK.format("two").replace("mark[", "two["))
    both = [copy.start(), copy.start()]
    assert [one.communicate()[1] for one in both] == ["", ""]
    assert [one.returncode for one in both] == [0, 0]
    assert b"a mark of two" in copy.made.read_bytes()


def test_what_is_missing_is_made_again(copy: Copy) -> None:
    copy.made.unlink()
    assert copy.build()[0] == 0
    assert copy.made.exists()


def test_a_file_with_a_warning_ends_the_build_and_the_old_program_stays(copy: Copy) -> None:
    before = copy.made.read_bytes()
    wrong = copy.doctor / "wrong.c"
    wrong.write_text("int unannounced(void) { return 1; }\n")
    code, output, _ = copy.build()
    wrong.unlink()
    assert code == 1
    assert "no previous prototype" in output
    assert copy.made.read_bytes() == before


def test_the_build_leaves_nothing_that_needs_too_much(copy: Copy) -> None:
    before = copy.made.read_bytes()
    counting = copy.doctor / "counting.c"
    counting.write_text(
        "extern int __sched_cpucount(unsigned long, const void *);\n"
        "int count(const void *set);\n"
        "int count(const void *set) { return __sched_cpucount(8, set); }\n"
    )
    code, output, error = copy.build()
    counting.unlink()
    assert code == 1
    reason = "more than there is in glibc 2.17 and musl:\n  musl does not have __sched_cpucount\n"
    assert f"{DOCTOR} needs {reason}" in output + error
    assert copy.made.read_bytes() == before


def test_editors_are_told_how_each_file_is_compiled(native: Path) -> None:
    commands = json.loads((build.ensure() / build.WORK / "compile_commands.json").read_text())
    told = {(Path(one["directory"]) / one["file"]).resolve() for one in commands}
    assert {path for target in build.TARGETS for path in build.sources(target)} <= told
    assert told == set(build.NATIVE.rglob("*.c"))


@pytest.mark.parametrize("name", ["meson", "ninja"])
def test_a_missing_tool_is_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    others = tmp_path / "others"
    others.mkdir()
    for tool in {"meson", "ninja"} - {name}:
        (others / tool).symlink_to(os.path.realpath(sys.executable))
    monkeypatch.setenv("PATH", str(others))
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(others))
    with pytest.raises(build.BuildToolMissingError, match=f"{name} is missing.*pip install {name}"):
        build.ensure(tmp_path / "output")
