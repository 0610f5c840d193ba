"""What is broken, and how: each place of a module's syntax tree that an operator here can change."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

Functions = ast.FunctionDef | ast.AsyncFunctionDef
Changed = tuple[ast.AST, ast.AST | None]
SWAPPED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr, ast.LShift: ast.RShift, ast.RShift: ast.LShift}
RENAMED = {"any": "all", "all": "any", "min": "max", "max": "min", "sorted": "list", "reversed": "list"}


@dataclass(frozen=True)
class Mutant:
    """One change: where it is, what stands there, and what takes its place (nothing: it is dropped)."""

    path: str
    function: str
    line: int
    last_line: int
    number: int
    was: str
    becomes: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line} {self.function}: {self.was}  →  {self.becomes or '(dropped)'}"

    @property
    def name(self) -> tuple[str, str, str, str]:
        """What stays the same when lines above it come or go."""
        module = Path(self.path).with_suffix("")
        return f"{module.parent.name}/{module.name}", self.function, self.was, self.becomes


def mutants(path: Path) -> list[Mutant]:
    """All mutants of the functions of this module, in the order of its text."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = []
    for number, (name, node, becomes) in enumerate(_sites(tree)):
        was, after = (_text(one) if one is not None else "" for one in (node, becomes))
        line: int = node.lineno  # type: ignore[attr-defined]
        last: int = node.end_lineno  # type: ignore[attr-defined]
        found.append(Mutant(str(path), name, line, last, number, was, after))
    return found


def mutated(mutant: Mutant) -> ast.Module:
    """The module with this change."""
    tree = ast.parse(Path(mutant.path).read_text(encoding="utf-8"))
    for number, (_, node, becomes) in enumerate(_sites(tree)):
        if number == mutant.number:
            changed = _Replacement(node, becomes).visit(tree)
            return ast.fix_missing_locations(changed)  # type: ignore[no-any-return]
    raise LookupError(f"{mutant} is not there")


def _text(node: ast.AST) -> str:
    """Its code in one line; of an exception's handler its first statement."""
    shown = ast.ExceptHandler(node.type, None, node.body[:1]) if isinstance(node, ast.ExceptHandler) else node
    return " ".join(ast.unparse(shown).split())


class _Replacement(ast.NodeTransformer):
    """Puts one node in the place of another.

    A statement that is dropped stays where it never runs: the function keeps its kind and its variables.
    """

    def __init__(self, old: ast.AST, new: ast.AST | None) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        if node is not self.old:
            return self.generic_visit(node)
        new = self.new
        if new is None:
            new = ast.If(ast.Constant(False), [node], [])  # type: ignore[list-item]
        return ast.copy_location(new, node)


def _sites(tree: ast.Module) -> Iterator[tuple[str, ast.AST, ast.AST | None]]:
    """The name of the function, the node, and what takes its place."""
    for name, function in _functions(tree, ""):
        for statement in function.body:
            for node in _nodes(statement):
                yield from ((name, was, becomes) for was, becomes in _changes(node))


def _functions(tree: ast.AST, prefix: str) -> Iterator[tuple[str, Functions]]:
    """The outermost functions: what is inside them is part of them."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Functions):
            yield prefix + node.name, node
        elif isinstance(node, ast.ClassDef):
            yield from _functions(node, f"{prefix}{node.name}.")
        else:
            yield from _functions(node, prefix)


def _nodes(node: ast.AST) -> Iterator[ast.AST]:
    """All below that mean something at run time: no types, and of what is refused or said no words."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return
    yield node
    if isinstance(node, ast.Raise) or _is_error(node) or _is_strict(node):
        return
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list") or isinstance(node, ast.JoinedStr):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _nodes(child)


def _is_error(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id.endswith("Error")


def _is_strict(node: ast.AST) -> bool:
    """That both are as long is asserted, not computed with."""
    return isinstance(node, ast.keyword) and node.arg == "strict"


def _changes(node: ast.AST) -> Iterator[Changed]:
    for kind, change in OPERATORS:
        if isinstance(node, kind):
            yield from change(node)


def _statement(node: ast.stmt) -> Iterator[Changed]:
    yield node, None


def _decided(node: ast.If | ast.IfExp | ast.While) -> Iterator[Changed]:
    if not isinstance(node.test, ast.Constant):
        for value in (True, False):
            if not (isinstance(node, ast.While) and value):
                yield node.test, ast.Constant(value)


def _filtered(node: ast.comprehension) -> Iterator[Changed]:
    yield from ((test, ast.Constant(True)) for test in node.ifs)


def _operand(node: ast.BoolOp) -> Iterator[Changed]:
    for place in range(len(node.values)):
        rest = node.values[:place] + node.values[place + 1:]
        yield node, rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)


def _compared(node: ast.Compare) -> Iterator[Changed]:
    for place, one in enumerate(node.ops):
        other = SWAPPED[type(one)]()
        ops = [*node.ops[:place], other, *node.ops[place + 1:]]
        yield node, ast.Compare(node.left, ops, node.comparators)


def _counted(node: ast.BinOp) -> Iterator[Changed]:
    if type(node.op) in SWAPPED and not isinstance(node.left, ast.Constant | ast.JoinedStr):
        yield node, ast.BinOp(node.left, SWAPPED[type(node.op)](), node.right)
        yield node, node.left
        if not isinstance(node.op, ast.Sub):
            yield node, node.right


def _not(node: ast.UnaryOp) -> Iterator[Changed]:
    if isinstance(node.op, ast.Not):
        yield node, node.operand


def _constant(node: ast.Constant) -> Iterator[Changed]:
    if isinstance(node.value, bool):
        yield node, ast.Constant(not node.value)
    elif isinstance(node.value, int):
        yield node, ast.Constant(node.value + 1)
    elif isinstance(node.value, str):
        yield node, ast.Constant(f"{node.value}~")


def _shorter(node: ast.Tuple | ast.List | ast.Set) -> Iterator[Changed]:
    if isinstance(getattr(node, "ctx", ast.Load()), ast.Load) and len(node.elts) > 1:
        for place in range(len(node.elts)):
            changed = deepcopy(node)
            del changed.elts[place]
            yield node, changed


def _key_less(node: ast.Dict) -> Iterator[Changed]:
    for place in range(len(node.keys)):
        changed = deepcopy(node)
        del changed.keys[place], changed.values[place]
        yield node, changed


def _called(node: ast.Call) -> Iterator[Changed]:
    name = node.func.id if isinstance(node.func, ast.Name) else ""
    for place, one in enumerate(node.keywords):
        if not _is_strict(one):
            yield node, ast.Call(node.func, node.args, node.keywords[:place] + node.keywords[place + 1:])
    if name in RENAMED:
        kept = [] if name == "sorted" else node.keywords
        yield node, ast.Call(ast.Name(RENAMED[name], ast.Load()), node.args, kept)


def _handled(node: ast.ExceptHandler) -> Iterator[Changed]:
    yield node, ast.ExceptHandler(node.type, node.name, [ast.Raise()])


OPERATORS: tuple[tuple[type[ast.AST] | tuple[type[ast.AST], ...], Callable[..., Iterator[Changed]]], ...] = (
    ((ast.Expr, ast.AugAssign, ast.Raise, ast.Continue, ast.Break, ast.Delete), _statement),
    ((ast.If, ast.IfExp, ast.While), _decided), (ast.comprehension, _filtered), (ast.BoolOp, _operand),
    (ast.Compare, _compared), (ast.BinOp, _counted), (ast.UnaryOp, _not), (ast.Constant, _constant),
    ((ast.Tuple, ast.List, ast.Set), _shorter), (ast.Dict, _key_less), (ast.Call, _called),
    (ast.ExceptHandler, _handled))
