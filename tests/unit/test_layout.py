"""The import rules of the layout (architecture page, "Layout")."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "gpupool"
# What a part may import of ours, besides itself.
ALLOWED = {
    "model": set(),
    "conf": set(),
    "allocator": {"model"},
    "db": {"model", "conf"},
    "placement": {"model", "conf"},
    "rpc": {"model", "conf"},
    "dataplane": {"model", "conf"},
    "drivers": {"model", "conf", "dataplane"},
    "policies": {"model"},
    "conductor": {"model", "conf", "db", "placement", "rpc", "allocator"},
    "agent": {"model", "conf", "rpc", "drivers", "dataplane"},
    "api": {"model", "conf", "db", "rpc", "policies"},
    "client": set(),
    "demo": set(),
    "replay": {"model", "allocator"},
}
# The conductor's rooms, and the files above them; each may use those of a lower number, and all others,
# which are below the rooms.
CONDUCTOR = {
    "providers": 1,
    "capacity": 2,
    "claims": 3,
    "hosts": 4,
    "scheduling": 4,
    "repairs": 5,
    "manager": 6,
    "assembly": 7,
    "service": 8,
}
# Entry points, and the cloud of one machine, compose everything.
FREE = {"cmd", "standalone"}


def names_imported(path: Path) -> set[str]:
    """Return what the module at ``path`` imports, each with its module; nothing by a relative name."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def imported(path: Path) -> set[str]:
    """Return the parts of gpupool that the module at ``path`` imports."""
    nodes = ast.walk(ast.parse(path.read_text()))
    relative = [node for node in nodes if isinstance(node, ast.ImportFrom) and node.level]
    assert not relative, f"{path}: relative import"
    return {name.split(".")[1] for name in names_imported(path) if name.startswith("gpupool.")}


def test_every_part_has_a_rule() -> None:
    parts = {path.parent.name for path in ROOT.glob("*/*.py")}
    assert parts == set(ALLOWED) | FREE


@pytest.mark.parametrize("part", sorted(ALLOWED))
def test_a_part_imports_only_what_it_may(part: str) -> None:
    found = {
        f"{path.relative_to(ROOT)} imports gpupool.{name}"
        for path in (ROOT / part).rglob("*.py")
        for name in imported(path) - ALLOWED[part] - {part}
    }
    assert not found


def graph() -> dict[str, set[str]]:
    """Return which modules of ours each module imports, for types only too."""
    paths = {path.relative_to(ROOT.parent).with_suffix(""): path for path in ROOT.rglob("*.py")}
    modules = {".".join(name.parts).removesuffix(".__init__"): path for name, path in paths.items()}
    found: dict[str, set[str]] = {module: set() for module in modules}
    for module, path in modules.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found[module] |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                full = {f"{node.module}.{alias.name}" for alias in node.names}
                found[module] |= {each if each in modules else node.module for each in full}
    return {module: names & modules.keys() - {module} for module, names in found.items()}


def circle(imports: dict[str, set[str]]) -> list[str]:
    """Return modules that import each other in a circle, none if there is no such."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as exc:
        return list(exc.args[1])
    return []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}})
    assert not circle(graph())


def test_the_conductors_rooms_use_only_those_below_them() -> None:
    upward = set()
    for module, names in graph().items():
        for name in names:
            of, used = (each.split(".")[1:3] for each in (module, name))
            if of[0] == used[0] == "conductor" and len(used) > 1 and of[1:] != used[1:]:
                least = CONDUCTOR.get(used[1], 0)
                if least and CONDUCTOR.get(of[1] if len(of) > 1 else "", 0) <= least:
                    upward.add(f"{module} imports {name}")
    assert not upward


def long_functions(path: Path) -> list[str]:
    """Return the functions of 50 lines and more in the module at ``path``."""
    return [
        f"{path.relative_to(ROOT)}:{node.name}"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno >= 50
    ]


def test_files_and_functions_stay_short() -> None:
    """Over 500 lines a file, or 50 a function, asks for a reason; today nothing has one."""
    paths = list(ROOT.rglob("*.py"))
    assert not [str(path) for path in paths if path.read_text().count("\n") > 500]
    assert not [name for path in paths for name in long_functions(path)]


# What is no part of the product: which of these folders each may import.
BESIDE = {"bench": {"testbed"}, "testbed": set(), "tests": {"bench", "testbed"}}


@pytest.mark.parametrize("folder", sorted(BESIDE))
def test_benches_and_the_test_bed_import_nothing_of_tests(folder: str) -> None:
    found = {
        f"{path.relative_to(ROOT.parent)} imports {name}"
        for path in (ROOT.parent / folder).rglob("*.py")
        for name in names_imported(path)
        if name.split(".")[0] in BESIDE.keys() - BESIDE[folder] - {folder}
    }
    assert not found


def test_no_file_has_marks_that_a_merge_left() -> None:
    """Of shell scripts and pages nothing else reads that."""
    marks = ("<" * 7 + " ", ">" * 7 + " ")
    folders = ("api-ref", "bench", "doc", "etc", "gpupool", "releasenotes", "testbed", "tests", "tools")
    paths = [path for folder in folders for path in (ROOT.parent / folder).rglob("*") if path.is_file()]
    paths += [path for path in ROOT.parent.iterdir() if path.is_file()]
    found = {
        str(path)
        for path in paths
        if path.suffix not in {".pyc", ".so"}
        and any(line.startswith(marks) for line in path.read_text(errors="replace").splitlines())
    }
    assert not found


def test_each_migration_follows_the_one_before() -> None:
    """Two that were made at once have the same number: no database can be made then."""
    paths = sorted((ROOT / "db" / "migrations" / "versions").glob("[0-9]*.py"))
    found = [
        tuple(
            ast.literal_eval(node.value)
            for node in ast.parse(path.read_text()).body
            if isinstance(node, ast.Assign)
            and getattr(node.targets[0], "id", "") in {"revision", "down_revision"}
        )
        for path in paths
    ]
    numbers = [path.name[:4] for path in paths]
    assert found == list(zip(numbers, [None, *numbers], strict=False))
