"""The order of the code: imports go one way, and what only one place may do stands in that place only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import vpcctl_lib

ROOT = Path(vpcctl_lib.__file__).parent
LAYERS = (
    "errors frozen",
    "addressing conntrack decision_tree interrupts keeper lookup model named_file namelock naming netns "
    "quantities routing run sayings splits syscalls sysctls users visible",
    "answers audit codec comparison crew documents files filter_rules firewalls forwarders guarding "
    "host interpreter keepers kernel logs operations policy graph processes report resolvers resources rules "
    "ruleset saved_rules spare topology_file trust unit upkeep upkeep_file variants verdicts ways webserver",
    "blueprint inspection kept ledger packets plan policy_rules reach rebuild record rehearsal rivals "
    "rule_order schedule store step strays tracked transaction union workloads",
    "managers sandbox",
    "cli",
)
"""From the bottom to the top, packages as one; a module imports from its own layer and from those below."""

LONGEST_MODULE, LONGEST_FUNCTION = 400, 50
FILES = sorted(ROOT.rglob("*.py"))
NAMES = {file: str(file.relative_to(ROOT)) for file in FILES}

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


def unit(file: Path) -> str:
    """The module or package that a file belongs to, such as `run` or `cli`."""
    return file.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(file: Path) -> set[str]:
    """The absolute names of all that the file imports, wherever in it."""
    found = set()
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{NAMES[file]}:{node.lineno}: import by absolute name"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def units_imported(file: Path) -> set[str]:
    """The units of this program that the file imports."""
    paths = ([*name.split("."), "__version__"] for name in imported(file))
    return {path[1] for path in paths if path[0] == "vpcctl_lib"} - {"__version__"}


def layer(name: str) -> int:
    found = [number for number, names in enumerate(LAYERS) if name in names.split()]
    assert len(found) == 1, f"give {name} a place in LAYERS"
    return found[0]


def calls(file: Path) -> Iterator[tuple[str, int, ast.Call]]:
    """Every call, by what is written before its parenthesis."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node.lineno, node


def functions(file: Path) -> list[Function]:
    return [node for node in ast.walk(tree(file)) if isinstance(node, Function)]


@pytest.mark.parametrize("file", [file for file in FILES if file.parent != ROOT or file.stem != "__init__"],
                         ids=NAMES.__getitem__)
def test_imports_go_one_way(file: Path) -> None:
    upward = [name for name in units_imported(file) if layer(name) > layer(unit(file))]
    assert not upward, f"{NAMES[file]} imports {upward} from a layer above its own"


def test_no_two_modules_import_each_other() -> None:
    graph: dict[str, set[str]] = {}
    for file in FILES:
        graph.setdefault(unit(file), set()).update(units_imported(file) - {unit(file)})
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' -> '.join(error.args[1])}")


def test_every_layer_names_modules_that_are_there() -> None:
    units = {unit(file) for file in FILES} - {"__init__"}
    assert {name for names in LAYERS for name in names.split()} == units


def users(*modules: str) -> set[str]:
    return {NAMES[file] for file in FILES for name in imported(file) if name.split(".")[0] in modules}


KEEPER = {"keeper/keeper.py", "keeper/program.py"}
"""The first process of each workload: a program of its own, which starts the workload's."""


def test_only_run_starts_processes() -> None:
    assert users("subprocess", "multiprocessing", "pty") == {"run.py"}
    starters = ("os.system", "os.popen", "os.fork", "os.exec", "os.spawn", "os.posix_spawn", "os._exit")
    starting = {NAMES[file] for file in FILES for name, _, _ in calls(file) if name.startswith(starters)}
    assert starting == {"run.py"} | KEEPER


def test_nothing_goes_through_a_shell() -> None:
    found = [f"{NAMES[file]}:{line}" for file in FILES for _, line, call in calls(file)
             for keyword in call.keywords if keyword.arg == "shell"]
    assert not found


def test_only_the_command_line_prints() -> None:
    # The web server is a program of its own, run by its text in a subnet: what it writes is its log.
    allowed = {"webserver.py"} | {name for name in NAMES.values() if name.startswith("cli/")}
    printing = {NAMES[file] for file in FILES for name, _, _ in calls(file)
                if name == "print" or name.startswith(("click.", "sys.stdout.", "sys.stderr."))}
    assert printing <= allowed
    assert users("click", "rich") <= allowed


def test_within_the_command_line_only_output_prints() -> None:
    # The root echoes click's own help for a group without a command.
    printing = {NAMES[file] for file in FILES for name, _, _ in calls(file)
                if name in ("print", "click.echo", "click.secho")}
    assert printing <= {"cli/output.py", "cli/__init__.py"}


def test_only_the_command_line_exits() -> None:
    exiting = {NAMES[file] for file in FILES for name, _, _ in calls(file)
               if name in ("sys.exit", "exit", "quit", "SystemExit")}
    assert exiting == {"cli/__init__.py", "keeper/__main__.py"}


@pytest.mark.parametrize("file", FILES, ids=NAMES.__getitem__)
def test_a_module_fits_a_room(file: Path) -> None:
    assert len(file.read_text().splitlines()) < LONGEST_MODULE
    assert ast.get_docstring(tree(file)), "says in its first lines what it is for"
    too_long = {function.name: length for function in functions(file)
                if (length := (function.end_lineno or 0) - function.lineno + 1) >= LONGEST_FUNCTION}
    assert not too_long


def documented(body: list[ast.stmt]) -> Iterator[ast.ClassDef | Function]:
    """What others may use: public functions, classes and their public methods, no __dunder__."""
    for node in body:
        if isinstance(node, (ast.ClassDef, Function)) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from documented(node.body)


@pytest.mark.parametrize("file", FILES, ids=NAMES.__getitem__)
def test_everything_public_is_documented(file: Path) -> None:
    assert not [node.name for node in documented(tree(file).body) if not ast.get_docstring(node)]


@pytest.mark.parametrize("file", FILES, ids=NAMES.__getitem__)
def test_every_function_is_typed(file: Path) -> None:
    for function in functions(file):
        arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        untyped = [one.arg for one in arguments if one.annotation is None and one.arg not in ("self", "cls")]
        assert not untyped, f"{function.name}: {untyped}"
        assert function.returns is not None, f"{function.name} says what it returns"
