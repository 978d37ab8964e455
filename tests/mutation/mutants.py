"""The mutants of a source file: each one small change inside a function."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import CodeType
from typing import Any

ROOT = Path(__file__).parents[2]
ROOMS = ("maths", "training", "checks", "kernels")

_COMPILING = ("cache", "cpus", "jit", "lowering", "storage")
"""Modules of the kernels that serve to compile and keep them, and are tested with the JIT."""

_INSTEAD: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Break: ast.Continue,
    ast.Continue: ast.Break,
}

_AT_DEFINITION = ("decorator_list", "args", "returns", "annotation")
"""Parts of a function or an assignment that do not run when the function does."""


@dataclass(frozen=True)
class Mutant:
    """The change of one node of a file: its `number`-th, in the order of `_changes`."""

    file: str
    number: int
    function: str
    line: int
    statement: int
    change: str

    @property
    def room(self) -> str:
        """The package of the file."""
        return Path(self.file).parts[1]

    @property
    def name(self) -> str:
        """What stays the same while lines move: "kernels.tiles.copy: `a + b` -> `a - b`"."""
        module = ".".join(Path(self.file).with_suffix("").parts[1:])
        return f"{module}.{self.function}: {self.change}"


def files(room: str) -> list[str]:
    """The room's source files, relative to the project's folder."""
    found = (path.relative_to(ROOT) for path in ROOT.glob(f"fcbackends/{room}/*.py"))
    return sorted(str(path) for path in found if path.stem not in _COMPILING)


def mutants(file: str) -> list[Mutant]:
    """All mutants of a file."""
    found = []
    for number, change in enumerate(_changes(ast.parse((ROOT / file).read_text()))):
        line = getattr(change.node, "lineno", change.statement)
        found.append(
            Mutant(file, number, change.function, line, change.statement, _described(change))
        )
    return found


def mutated(mutant: Mutant) -> dict[CodeType, CodeType]:
    """The code objects that the change concerns, and those that take their place."""
    source = (ROOT / mutant.file).read_text()
    tree = ast.parse(source)
    for number, change in enumerate(_changes(tree)):
        if number == mutant.number:
            change.make()
            break
    name = str(ROOT / mutant.file)
    # The module's own features of the language, and not those of this one.
    both = (compile(code, name, "exec", dont_inherit=True) for code in (source, tree))
    return dict(_pairs(*both))


def _pairs(old: CodeType, new: CodeType) -> Iterator[tuple[CodeType, CodeType]]:
    if old != new:
        yield old, new
        inner = ([c for c in code.co_consts if isinstance(c, CodeType)] for code in (old, new))
        for both in zip(*inner, strict=True):
            yield from _pairs(*both)


@dataclass(frozen=True)
class _Change:
    parent: ast.AST
    field: str
    index: int | None
    node: Any
    new: Any
    function: str
    statement: int

    def make(self) -> None:
        """Put the new node in the old one's place."""
        if self.index is None:
            setattr(self.parent, self.field, self.new)
        else:
            getattr(self.parent, self.field)[self.index] = self.new
        if not isinstance(self.node, ast.operator | ast.cmpop | ast.boolop):
            ast.fix_missing_locations(ast.copy_location(self.new, self.node))


def _changes(
    node: ast.AST, names: tuple[str, ...] = (), runs: bool = False, statement: int = 0
) -> Iterator[_Change]:
    """The changes of what is in a node, where that is in a function, which `runs` when called."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        names = (*names, node.name)
        runs = runs or isinstance(node, ast.FunctionDef)
    for field, value in list(ast.iter_fields(node)):
        if field in _AT_DEFINITION and isinstance(node, ast.FunctionDef | ast.AnnAssign):
            continue
        several = isinstance(value, list)
        for index, child in enumerate(value if several else [value]):
            if not isinstance(child, ast.AST):
                continue
            inside = child.lineno if isinstance(child, ast.stmt) else statement
            if runs:
                place = index if several else None
                for new in _instead(field, child):
                    yield _Change(node, field, place, child, new, ".".join(names), inside)
            yield from _changes(child, names, runs, inside)


def _instead(field: str, node: Any) -> Iterator[ast.AST]:
    """What may stand in a node's place."""
    if type(node) in _INSTEAD:
        yield _INSTEAD[type(node)]()
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        is_bool = isinstance(node.value, bool)
        yield ast.Constant(not node.value if is_bool else node.value + 1)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        yield node.operand
    elif isinstance(node, ast.Call) and len(node.args) > 1:
        first, second, *rest = node.args
        in_any_order = isinstance(node.func, ast.Name) and node.func.id in ("min", "max")
        if not (in_any_order or any(isinstance(a, ast.Starred) for a in (first, second))):
            yield ast.Call(node.func, [second, first, *rest], node.keywords)
    elif isinstance(node, ast.Return) and not _is_no(node.value):
        # What is left out stays in sight of the compiler: the closure is the same.
        yield ast.Return(_never(node.value))
    elif isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant | ast.Yield):
        yield ast.Expr(_never(node.value))
    elif isinstance(node, ast.AugAssign | ast.Raise | ast.Delete) or (
        isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute | ast.Subscript)
    ):
        yield ast.If(ast.List([], ast.Load()), [node], [])
    if field == "test" and not isinstance(node, ast.Compare | ast.BoolOp | ast.UnaryOp):
        yield ast.UnaryOp(ast.Not(), node)


def _is_no(value: ast.expr | None) -> bool:
    return value is None or (isinstance(value, ast.Constant) and value.value in (None, False))


def _never(value: ast.expr) -> ast.expr:
    return ast.IfExp(ast.List([], ast.Load()), value, ast.Constant(None))


def _described(change: _Change) -> str:
    """The change as text: of the smallest expression or the statement that shows it."""
    old, new = change.node, change.new
    if isinstance(old, ast.Return):
        new = ast.Return(ast.Constant(None))
    elif isinstance(old, ast.stmt) and not isinstance(old, ast.Break | ast.Continue):
        new = ast.Pass()
    elif not isinstance(old, ast.stmt | ast.Call) and not hasattr(change.parent, "body"):
        old = change.parent
        whole = copy.deepcopy(old)
        replace(change, parent=whole, new=copy.deepcopy(change.new)).make()
        new = whole
    return f"`{ast.unparse(old)}` -> `{ast.unparse(new)}`"
