"""The order of the code: imports go one way, and what only one place may do stands in that place only."""

from __future__ import annotations

import ast
import importlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import get_args

import pytest

from tests.rooms import FILES, NAMES, ROOMS, ROOT, circle, imported, inside, nodes, rooms, table, tree
from vpcctl_lib.resources import Resource, links
from vpcctl_lib.resources.operation import Operation

pytestmark = pytest.mark.beside("code")

MAP = ROOT.parent / "docs/architecture.md"
LONGEST_MODULE, LONGEST_FUNCTION = 400, 50

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def calls(file: Path) -> list[tuple[str, int, ast.Call]]:
    """Every call, by what is written before its parenthesis."""
    return [(ast.unparse(node.func), node.lineno, node) for node in nodes(file) if isinstance(node, ast.Call)]


def parsed(text: str) -> list[ast.AST]:
    return [*ast.walk(ast.parse(text))]


def functions(file: Path) -> list[Function]:
    return [node for node in nodes(file) if isinstance(node, Function)]


def test_imports_between_rooms_go_one_way() -> None:
    assert sorted(rooms()) == ROOMS
    assert not circle(rooms())


@pytest.mark.parametrize("name", ROOMS)
def test_imports_within_a_room_go_one_way(name: str) -> None:
    assert not circle(inside(name))


def test_a_circle_is_found() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}}) in ("a -> b -> c -> a", "b -> c -> a -> b",
                                                            "c -> a -> b -> c", "a -> c -> b -> a",
                                                            "c -> b -> a -> c", "b -> a -> c -> b")


def test_the_map_of_rooms_is_that_of_the_code() -> None:
    """With VPCCTL_REWRITE_GOLDEN the map is drawn anew."""
    text = MAP.read_text()
    head, begin, rest = text.partition("| floor | room |")
    drawn, end, tail = rest.partition("\n\n")
    assert begin
    assert end
    wanted = "\n".join(table())
    if os.environ.get("VPCCTL_REWRITE_GOLDEN"):
        MAP.write_text(head + wanted + end + tail)
    assert begin + drawn == wanted or os.environ.get("VPCCTL_REWRITE_GOLDEN")


def users(*modules: str) -> set[str]:
    return {NAMES[file] for file in FILES for name in imported(file) if name.split(".")[0] in modules}


KEEPER = {"keeper/keeper.py", "keeper/program.py"}
"""The first process of each workload: a program of its own, which starts the workload's."""


def test_only_run_starts_processes() -> None:
    assert users("subprocess", "multiprocessing", "pty") == {"kernel/run.py"}
    starters = ("os.system", "os.popen", "os.fork", "os.exec", "os.spawn", "os.posix_spawn", "os._exit")
    starting = {NAMES[file] for file in FILES for name, _, _ in calls(file) if name.startswith(starters)}
    assert starting == {"kernel/run.py"} | KEEPER


def test_nothing_goes_through_a_shell() -> None:
    found = [f"{NAMES[file]}:{line}" for file in FILES for _, line, call in calls(file)
             for keyword in call.keywords if keyword.arg == "shell"]
    assert not found


def test_only_the_command_line_prints() -> None:
    # The web server is a program of its own, run by its text in a subnet: what it writes is its log.
    allowed = {"workloads/relay.py", "workloads/sniffer.py", "workloads/webserver.py", "flows/collector.py"}
    allowed |= {name for name in NAMES.values() if name.startswith("cli/")}
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
    plugins = {f"cli/{name}.py" for name in ("cni", "docker", "netavark")}
    assert exiting == {"cli/__init__.py", "keeper/__main__.py", *plugins}


def test_a_module_fits_a_room() -> None:
    lines = {NAMES[file]: len(file.read_text().splitlines()) for file in FILES}
    assert not {name: length for name, length in lines.items() if length >= LONGEST_MODULE}
    assert not [NAMES[file] for file in FILES if not ast.get_docstring(tree(file))], "says what it is for"
    lengths = {f"{NAMES[file]}: {function.name}": (function.end_lineno or 0) - function.lineno + 1
               for file in FILES for function in functions(file)}
    assert not {name: length for name, length in lengths.items() if length >= LONGEST_FUNCTION}


def documented(body: list[ast.stmt]) -> Iterator[ast.ClassDef | Function]:
    """What others may use: public functions, classes and their public methods, no __dunder__."""
    for node in body:
        if isinstance(node, (ast.ClassDef, Function)) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from documented(node.body)


def test_everything_public_is_documented() -> None:
    assert not [f"{NAMES[file]}: {node.name}" for file in FILES for node in documented(tree(file).body)
                if not ast.get_docstring(node)]


def is_typed(function: Function) -> bool:
    """Whether each argument has a type, and what it returns."""
    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    typed = all(one.annotation is not None or one.arg in ("self", "cls") for one in arguments)
    return typed and function.returns is not None


def test_every_function_is_typed() -> None:
    assert not [f"{NAMES[file]}: {function.name}" for file in FILES for function in functions(file)
                if not is_typed(function)]


def asked(code: Iterable[ast.AST]) -> Iterator[ast.expr]:
    """The kinds that a module compares something's kind with, as they are written."""
    for node in code:
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("isinstance", "issubclass"):
            yield node.args[1]
        elif isinstance(node, ast.Compare):
            sides = (node.left, *node.comparators)
            if any(ast.unparse(side).startswith("type(") for side in sides):
                yield from sides
        elif isinstance(node, ast.MatchClass):
            yield node.cls


def kinds(expression: ast.expr, known: Mapping[str, object]) -> Iterator[type]:
    """The classes that an expression is made of; what is only known as the program runs is none."""
    for node in ast.walk(expression):
        found = known.get(node.id) if isinstance(node, ast.Name) else None
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found = getattr(known.get(node.value.id), node.attr, None)
        for one in found if isinstance(found, tuple) else get_args(found) or (found,):
            if isinstance(one, type):
                yield one


def concrete(code: Iterable[ast.AST], known: Mapping[str, object]) -> list[str]:
    """The kinds of resources and operations that a module asks for by name."""
    return [kind.__name__ for expression in asked(code) for kind in kinds(expression, known)
            if issubclass(kind, (Resource, Operation)) and kind not in (Resource, Operation)]


def test_nothing_outside_asks_which_kind_a_resource_or_an_operation_is() -> None:
    for file in FILES:
        if not NAMES[file].startswith("resources/") and any(asked(nodes(file))):
            name = ".".join(file.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")
            assert not concrete(nodes(file), vars(importlib.import_module(name))), NAMES[file]


def test_only_who_reads_the_record_by_kind_selects_one() -> None:
    assert {NAMES[file] for file in FILES for name, _, _ in calls(file) if name.endswith(".among")} \
        == {"reach/intent.py"}


@pytest.mark.parametrize("line", [
    "isinstance(one, Veth)", "isinstance(one, Veth | int)", "isinstance(one, (int, Veth))",
    "isinstance(one, links.Veth)", "isinstance(one, CABLES)", "isinstance(one, EITHER)", "type(one) is Veth",
    "type(one) in (int, Veth)", "Veth is type(one)", "issubclass(type(one), Veth)",
    "match one:\n    case Veth():\n        pass",
])
def test_who_asks_for_a_kind_is_found(line: str) -> None:
    known = {"Veth": links.Veth, "links": links, "CABLES": (links.Veth,), "EITHER": links.Veth | int}
    assert concrete(parsed(line), known) == ["Veth"]
    assert not concrete(parsed(line), {**known, **dict.fromkeys(known, Resource)})


def askers(code: Iterable[ast.AST]) -> bool:
    """Whether a module has a runner ask a tool something."""
    return any(isinstance(node, ast.Attribute) and node.attr in ("ask", "ask_once")
               and ast.unparse(node.value).rstrip("()").lower().endswith("runner") for node in code)


def test_only_the_reader_asks_tools_about_the_kernel() -> None:
    # The others ask which tools there are, and what they can do; a sandbox makes the host that is then read.
    # Container runtimes are asked about their containers; a lesson looks names up as a machine's programs do.
    about_tools = {"kernel/containers.py", "kernel/variants.py", "kernel/guarding.py", "kernel/lookups.py",
                   "kernel/queueing.py",
                   "sandbox/links.py"}
    assert {NAMES[file] for file in FILES if askers(nodes(file))} == {"kernel/reader.py"} | about_tools


@pytest.mark.parametrize("line", ["self._runner.ask(argv)", "runner.ask_once(argv)", "Runner().ask(argv)",
                                  "partial(self.context.runner.ask, argv)"])
def test_who_asks_a_tool_is_found(line: str) -> None:
    assert askers(parsed(line))
    assert not askers(parsed("analyzer.ask(question)"))


def test_only_one_module_reads_processes() -> None:
    folders = {NAMES[file] for file in FILES for node in nodes(file)
               if isinstance(node, ast.Constant) and node.value == "/proc"}
    # A sandbox is joined by its first process; the others mount a /proc.
    assert folders == {"kernel/processes.py", "sandbox/joining.py", "sandbox/plan.py", "keeper/folders.py"}
    asked = {NAMES[file] for file in FILES if file.parent.name != "kernel"
             for name, _, _ in calls(file) if name in ("processes.recognise", "processes.by_namespace")}
    assert asked == {"workloads/members.py", "resources/programs.py"}, "who looks, asks the reader"


def files_named(code: Sequence[ast.AST]) -> Iterator[str]:
    """The files of the kernel that a module names, without what is said in passing."""
    said = {id(node.value) for node in code if isinstance(node, ast.Expr)}
    for node in code:
        if isinstance(node, ast.Constant) and id(node) not in said and isinstance(node.value, str):
            yield from re.findall(r"^/(?:proc|sys)/(?:sys|class|[a-z-]+/net|[0-9]+/net)\b[^ ]*", node.value)


def test_only_one_module_reads_settings_links_and_sockets_from_files() -> None:
    # Which boot it is, which namespace a thread is in, whether there is IPv6; what makes a sandbox or a
    # program's own /proc; which users there are.
    others = {"kernel/netns.py", "sandbox/links.py", "sandbox/refusal.py", "keeper/folders.py",
              "record/trust.py"}
    assert {NAMES[file] for file in FILES if any(files_named(nodes(file)))} == {"kernel/proc.py"} | others


READING_TEXT = ("startswith", "removeprefix", "partition", "split", "compile", "match", "fullmatch", "search",
                "findall", "finditer", "sub")


def read_for(code: Iterable[ast.AST], wanted: str) -> bool:
    """Whether text is taken apart by something that contains the wanted word; writing it is another thing."""
    for node in code:
        parts: list[ast.expr] = []
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in READING_TEXT:
            parts = node.args
        elif isinstance(node, ast.Compare):
            parts = [node.left, *node.comparators]
        if any(isinstance(one, ast.Constant) and isinstance(one.value, str) and wanted in one.value
               for part in parts for one in ast.walk(part)):
            return True
    return False


def test_only_one_module_takes_apart_what_iptables_save_prints() -> None:
    for wanted in ("-A", "is incompatible"):
        assert [NAMES[file] for file in FILES
                if wanted in file.read_text() and read_for(nodes(file), wanted)] == ["kernel/saves.py"]


@pytest.mark.parametrize("line", ['text.startswith("-A ")', 're.compile(rf"^-A {name}")', 'word == "-A"',
                                  'line.partition(" -A ")', '"-A" in words'])
def test_who_takes_apart_a_rule_is_found(line: str) -> None:
    assert read_for(parsed(line), "-A")
    assert not read_for(parsed('rules.append(f"-A {chain} {rule}")'), "-A")
