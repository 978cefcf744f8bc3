"""Changes modules bit by bit and runs their tests: what no test notices is printed as a diff.

    tools/mutate.py MODULE... [--tests PATH...]

MODULE is a file of gpupool, as gpupool/model/states.py; PATH has the tests that hold it, by default
those of its package. Needs mutmut (the extra ``mutation``), which changes numbers, strings, operators,
arguments and assignments; besides, a call or a branch is left out. Works on a copy of the working tree,
prints a diff for each survivor, and ends with 1 when there is one.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import libcst as cst
from mutmut import __main__ as mutmut
from mutmut import configuration
from mutmut.mutation import mutators
from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.diff_apply import get_diff_for_mutant

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("gpupool", "testbed", "tests", "bench", "etc", "pyproject.toml")
TESTS = {
    "allocator": ["tests/unit/allocator"],
    "conductor": ["tests/unit/conductor", "tests/functional/conductor"],
    "model": ["tests/unit/model"],
}
CONFIG = """
[tool.mutmut]
source_paths = ["gpupool"]
only_mutate = {modules}
also_copy = {copied}
pytest_add_cli_args = ["-p", "no:cacheprovider", "--hypothesis-seed=0"]
pytest_add_cli_args_test_selection = {tests}
"""
# As mutmut knows them by the exit statuses of its tests.
KILLED = {"killed", "timeout", "caught by type check"}


def without_statement(node: cst.Expr) -> Iterator[cst.CSTNode]:
    """Leave out a call; a docstring is none."""
    if not isinstance(node.value, cst.BaseString):
        yield cst.Pass()


def without_branch(node: cst.If) -> Iterator[cst.CSTNode]:
    """Never go into a branch."""
    yield node.with_changes(test=cst.Name("False"))


def copy_to(folder: Path, modules: list[str], tests: list[str]) -> None:
    """Copy the files of the working tree that tests need, and tell mutmut what to change."""
    listed = ["git", "ls-files", "-co", "--exclude-standard", "-z", "--", *COPIED]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    copied = [name for name in COPIED if name != "gpupool"]
    with (folder / "pyproject.toml").open("a") as config:
        config.write(CONFIG.format(modules=modules, copied=copied, tests=tests))


def default_tests(modules: list[str]) -> list[str]:
    """Return where the tests of the modules' packages are."""
    packages = {Path(module).parts[1] for module in modules}
    unknown = packages - TESTS.keys()
    if unknown:
        raise SystemExit(f"name the tests of {sorted(unknown)} by --tests; known: {sorted(TESTS)}")
    return [path for package in sorted(packages) for path in TESTS[package]]


def report(modules: list[str]) -> int:
    """Print what survived, and how many did not; return the number of survivors."""
    counts: Counter[str] = Counter()
    for module in modules:
        results = SourceFileMutationData(path=module)
        results.load()
        for name, status in results.exit_code_by_key.items():
            word = mutmut.status_by_exit_code[status]
            counts[word] += 1
            if word not in KILLED:
                print(f"# {word}\n{get_diff_for_mutant(name, path=module)}")
    print(", ".join(f"{word}: {count}" for word, count in sorted(counts.items())))
    return sum(count for word, count in counts.items() if word not in KILLED)


def main() -> None:
    """Run mutmut on a copy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("modules", nargs="+", metavar="MODULE")
    parser.add_argument("--tests", nargs="+", metavar="PATH")
    options = parser.parse_args()
    missing = [module for module in options.modules if not (ROOT / module).is_file()]
    if missing:
        raise SystemExit(f"no such modules: {missing}; allowed are files, as gpupool/model/states.py")
    tests = options.tests or default_tests(options.modules)
    mutators.mutation_operators += [(cst.Expr, without_statement), (cst.If, without_branch)]
    with tempfile.TemporaryDirectory(prefix="gpupool-mutation-") as folder:
        copy_to(Path(folder), options.modules, tests)
        os.chdir(folder)
        configuration.reset_config()
        # In the order of one process: tests of several at once would be timed wrongly.
        mutmut.run.callback(mutant_names=(), max_children=1)
        sys.exit(bool(report(options.modules)))


if __name__ == "__main__":
    main()
