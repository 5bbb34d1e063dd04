"""Points before every statement of the code under test, so that a thread may be overtaken there.

The functions keep their identity; while a fine world runs they have other code: the same statements
with a call before each. (A trace function could not do this: greenlets must not switch in one.)
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType

from fastsched import backlog, context, engine, executor, interrupt, node, pool, waiters, writer

MODULES = (backlog, context, engine, executor, interrupt, node, pool, waiters, writer)
_CALL = "_point_of_simulation"


class _Points(ast.NodeTransformer):
    """Puts a call before every statement of every function."""

    def visit_FunctionDef(self, function: ast.FunctionDef) -> ast.FunctionDef:
        self.generic_visit(function)
        start = 1 if ast.get_docstring(function) is not None else 0
        function.body[start:] = _with_points(function.body[start:])
        return function


def _with_points(body: list[ast.stmt]) -> list[ast.stmt]:
    dense: list[ast.stmt] = []
    for statement in body:
        for name in ("body", "orelse", "finalbody"):
            inner = getattr(statement, name, None)
            if inner and not isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
                setattr(statement, name, _with_points(inner))
        call = ast.Expr(ast.Call(ast.Name(_CALL, ast.Load()), [], []))
        dense += [] if isinstance(statement, (ast.Nonlocal, ast.Global)) else [call]
        dense.append(statement)
    return dense


def _codes() -> dict[FunctionType, tuple[CodeType, CodeType]]:
    """The functions of the modules, with their code and their code with points."""
    codes = {}
    for module in MODULES:
        tree = _Points().visit(ast.parse(Path(module.__file__ or "").read_text()))
        compiled = compile(ast.fix_missing_locations(tree), module.__file__ or "", "exec")
        dense = {code.co_qualname: code for code in _nested(compiled)}
        for function in _functions(module):
            code = dense.get(function.__qualname__)
            if code is not None and code.co_freevars == function.__code__.co_freevars:
                codes[function] = (function.__code__, code)
    return codes


def _nested(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _nested(constant)


def _functions(module: ModuleType) -> Iterator[FunctionType]:
    """The functions of a module and of its classes, properties too."""
    for item in list(vars(module).values()):
        if getattr(item, "__module__", None) != module.__name__:
            continue
        if inspect.isfunction(item):
            yield inspect.unwrap(item)
        elif inspect.isclass(item):
            for member in vars(item).values():
                if isinstance(member, property):
                    member = member.fget
                if inspect.isfunction(member) and member.__module__ == module.__name__:
                    yield inspect.unwrap(member)


_CODES = _codes()  # now, before any test has put something in the place of a function


def enter_points(point: Callable[[], None]) -> None:
    """From now on the modules call `point` before every statement."""
    for module in MODULES:
        vars(module)[_CALL] = point
    for function, (_, dense) in _CODES.items():
        function.__code__ = dense


def leave_points() -> None:
    for function, (plain, _) in _CODES.items():
        function.__code__ = plain
