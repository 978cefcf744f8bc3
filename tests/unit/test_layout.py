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


# Folders that are no part of the product: which of these each may import.
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


# Of other libraries: what has no public edge. Of ours: files whose tests are still to be written anew.
PRIVATE_OF_OTHERS = {
    *("os._exit", "parser._actions", "tokens._token_data", "kept._handle"),
    *("Transport._send", "transport._driver", "_driver._exchange_manager"),
    *("_fair_semaphore", "client._rate_semaphore", "limit._SDK_CONNECTION"),
}
PRIVATE_STILL = {
    "tests/functional/agent/test_drivers.py",
    "tests/functional/agent/test_parts.py",
    "tests/functional/agent/test_program.py",
    "tests/functional/agent/test_sessions.py",
    "tests/functional/conductor/lab.py",
    "tests/functional/conductor/test_claims.py",
    "tests/functional/conductor/test_defragmenting.py",
    "tests/functional/conductor/test_devices.py",
    "tests/functional/conductor/test_hostile_reports.py",
    "tests/functional/conductor/test_hosts.py",
    "tests/functional/conductor/test_keys.py",
    "tests/functional/conductor/test_leader.py",
    "tests/functional/conductor/test_lost_devices.py",
    "tests/functional/conductor/test_outages.py",
    "tests/functional/conductor/test_queue_faults.py",
    "tests/functional/conductor/test_races.py",
    "tests/functional/conductor/test_reasons.py",
    "tests/functional/conductor/test_reconciler.py",
    "tests/functional/conductor/test_views.py",
    "tests/functional/conductor/test_wishes.py",
    "tests/functional/db/test_manage.py",
    "tests/functional/placement/conftest.py",
    "tests/functional/placement/test_allocations.py",
    "tests/functional/placement/test_embedded.py",
    "tests/functional/placement/test_provider_tree.py",
    "tests/functional/rpc/test_contexts.py",
    "tests/integration/test_leadership.py",
    "tests/unit/drivers/test_hangs.py",
    "tests/unit/quota/test_claim_again.py",
}
# Of named tuples and ctypes' structures, which are public in spite of their names.
PUBLIC = {"_asdict", "_fields", "_fields_", "_replace"}


def is_private(name: object) -> bool:
    """Tell whether ``name``, or the last of several with dots, begins with one underscore."""
    last = name.rpartition(".")[2] if isinstance(name, str) else ""
    return last.startswith("_") and not last.startswith("__") and last not in PUBLIC


def privates(path: Path) -> set[str]:
    """Return what the module at ``path`` uses that is another's own, by name or in text."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            whose = ast.unparse(node.value).rpartition(".")[2]
            found |= {f"{whose}.{node.attr}"} - {f"{own}.{node.attr}" for own in OWN}
        elif isinstance(node, ast.ImportFrom):
            found |= {alias.name for alias in node.names if is_private(alias.name)}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("getattr", "setattr")):
            texts = [each.value for each in node.args if isinstance(each, ast.Constant)]
            whose = ast.unparse(node.args[0]).rpartition(".")[2]
            found |= {f"{whose}.{text}" for text in texts if is_private(text)}
    return found - PRIVATE_OF_OTHERS


OWN = ("self", "cls", "super()")


def test_tests_use_nothing_of_another_objects_own() -> None:
    """What a test needs, an operator may need too: it gets a public way, or is seen by behaviour."""
    tests = ROOT.parent / "tests"
    paths = [*tests.rglob("*.py"), *(ROOT.parent / "testbed").rglob("*.py")]
    found = {str(path.relative_to(tests.parent)): names for path in paths if (names := privates(path))}
    assert {path: names for path, names in found.items() if path not in PRIVATE_STILL} == {}
    assert PRIVATE_STILL - found.keys() == set(), "these use none any more: take them off the list"


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
