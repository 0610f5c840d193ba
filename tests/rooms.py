"""The map of the code, read from its imports: rooms, what they hold, and who leads where."""

from __future__ import annotations

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import vpcctl_lib

ROOT = Path(vpcctl_lib.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
NAMES = {file: str(file.relative_to(ROOT)) for file in FILES}
Graph = dict[str, set[str]]


@cache
def tree(file: Path) -> ast.Module:
    """The file, parsed once for all tests."""
    return ast.parse(file.read_text())


@cache
def nodes(file: Path) -> tuple[ast.AST, ...]:
    """All that is in the file, found once for all tests: that takes longer than to parse it."""
    return tuple(walk(tree(file)))


def walk(top: ast.AST) -> list[ast.AST]:
    """What `ast.walk` finds, in its order and faster; without whether a name is read or written."""
    found = [top]
    for node in found:
        for field in node._fields:
            inner = getattr(node, field, None)
            if isinstance(inner, list):
                found += [one for one in inner if isinstance(one, ast.AST)]
            elif isinstance(inner, ast.AST) and not isinstance(inner, ast.expr_context):
                found.append(inner)
    return found


@cache
def imported(file: Path) -> frozenset[str]:
    """The absolute names of all that the file imports, wherever in it."""
    found = set()
    for node in nodes(file):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{NAMES[file]}:{node.lineno}: import by absolute name"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)


def module(file: Path) -> str:
    """The dotted name below the package, such as `kernel.run`; that of a package for its `__init__`."""
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(name: str) -> str:
    """The first word: a folder, or a module at the top."""
    return name.partition(".")[0]


ROOMS = sorted({room(name) for name in map(module, FILES) if name})


@cache
def leads() -> Graph:
    """For each module those that it imports; for the package itself nothing."""
    modules = {module(file): file for file in FILES}
    return {name: {found for one in imported(file) if (found := _module_of(one, modules)) and found != name}
            for name, file in modules.items() if name}


def _module_of(name: str, modules: dict[str, Path]) -> str:
    """The module that an absolute name leads to; empty for what is not ours."""
    top, _, rest = name.partition(".")
    if top != ROOT.name:
        return ""
    return rest if rest in modules else rest.rpartition(".")[0]


def rooms() -> Graph:
    """For each room those that it leads to."""
    found: Graph = {}
    for name, others in leads().items():
        found.setdefault(room(name), set()).update(room(other) for other in others)
    return {name: others - {name} for name, others in found.items()}


def inside(name: str) -> Graph:
    """For each module of a room those of the same room that it imports."""
    return {one: {other for other in others if room(other) == name}
            for one, others in leads().items() if room(one) == name}


def circle(graph: Graph) -> str:
    """The first circle that is found, in words; empty where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return " -> ".join(error.args[1])
    return ""


def floors() -> dict[str, int]:
    """How high each room lies: one above the highest of those that it leads to."""
    found: dict[str, int] = {}
    below = rooms()
    for name in TopologicalSorter(below).static_order():
        found[name] = 1 + max((found[other] for other in below[name]), default=0)
    return found


def table() -> list[str]:
    """The rooms from the top to the bottom, as docs/architecture.md has them."""
    height, below = floors(), rooms()
    ordered = sorted(height, key=lambda name: (-height[name], name))
    return ["| floor | room | what it holds | modules | leads to |", "|---|---|---|---|---|",
            *(f"| {height[name]} | {_shown(name)} | {_purpose(name)} | {_members(name)} | "
              f"{', '.join(sorted(below[name])) or '–'} |" for name in ordered)]


def _shown(name: str) -> str:
    return f"`{name}/`" if (ROOT / name).is_dir() else f"`{name}.py`"


def _purpose(name: str) -> str:
    file = ROOT / name / "__init__.py" if (ROOT / name).is_dir() else ROOT / f"{name}.py"
    first_line = (ast.get_docstring(tree(file)) or "").partition("\n")[0]
    return first_line.rstrip(".").replace("|", "\\|")


def _members(name: str) -> str:
    return " ".join(f"`{path.stem}`" for path in sorted((ROOT / name).glob("*.py"))
                    if not path.stem.startswith("__"))
