"""What code reads from outside of itself, and how such values are written down."""

from __future__ import annotations

import ast
import builtins
import dataclasses
import dis
import enum
import importlib.util
import re
import types
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, cast
from zoneinfo import ZoneInfo

from creta._guards import is_tuple, untyped
from creta._resolver import resolver

Function = ast.FunctionDef | ast.AsyncFunctionDef

_ATOMS = (bool, int, float, str, bytes, Decimal, date, datetime, time, timedelta, timezone, ZoneInfo)
_READS = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")


def captured(function: Any) -> dict[str, Any]:
    """Names that a function's code takes from its module or an enclosing function, with their values."""
    own = function.__globals__
    found: dict[str, Any] = {name: own[name] for name in free_names(function.__code__) if name in own}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            found[name] = cell.cell_contents
        except ValueError:
            continue
    return found


def free_names(code: types.CodeType) -> set[str]:
    """Names that code, and the code inside it, looks up in its module."""
    names = {str(i.argval) for i in dis.get_instructions(code) if i.opname in _READS}
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= free_names(constant)
    return names


def changed_globals(code: types.CodeType) -> set[str]:
    """Names of its module that code assigns or deletes when it runs."""
    names = {
        str(i.argval) for i in dis.get_instructions(code) if i.opname in ("STORE_GLOBAL", "DELETE_GLOBAL")
    }
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= changed_globals(constant)
    return names


def reads(node: ast.AST, name: str) -> set[str]:
    """How far code reads a name: `RATE`, or `helpers.RATE` and `helpers.clean` for `helpers`.

    A name that only the compiled code shows stands for itself.
    """
    found: set[str] = set()

    def visit(inner: ast.AST) -> None:
        written = _dotted(inner)
        if written is None:
            for child in ast.iter_child_nodes(inner):
                visit(child)
        elif written.partition(".")[0] == name:
            found.add(written)

    visit(node)
    return found or {name}


def _dotted(node: ast.AST) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (inner := _dotted(node.value)) is not None:
        return f"{inner}.{node.attr}"
    return None


def bound_by_imports(node: ast.AST, package: str) -> Iterator[tuple[str, str, str | None]]:
    """For each name that an import inside of `node` binds: itself, the module, which of its names it is."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Import):
            for alias in inner.names:
                source = alias.name if alias.asname else alias.name.partition(".")[0]
                yield alias.asname or source, source, None
        elif isinstance(inner, ast.ImportFrom):
            source = "." * inner.level + (inner.module or "")
            if inner.level:
                try:
                    source = importlib.util.resolve_name(source, package)
                except ImportError:
                    continue
            for alias in inner.names:
                yield alias.asname or alias.name, source, alias.name


def defaults(function: Any, node: Function) -> Iterator[tuple[str, Any]]:
    """Parameters whose default the text does not say, or that is no constant, with their values."""
    plain = [*node.args.posonlyargs, *node.args.args]
    expressions = dict(zip([a.arg for a in plain[::-1]], node.args.defaults[::-1], strict=False))
    expressions |= {a.arg: e for a, e in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True) if e}
    code, given = function.__code__, function.__defaults__ or ()
    names = code.co_varnames[: code.co_argcount]
    values: dict[str, Any] = dict(zip(names[::-1], given[::-1], strict=False))
    values.update(function.__kwdefaults__ or {})
    for name, value in sorted(values.items()):
        if not _says(expressions.get(name), value):
            yield name, value


def _says(expression: ast.expr | None, value: Any) -> bool:
    """Whether the text of a default is the default."""
    if expression is None:
        return False
    try:
        said = ast.literal_eval(expression)
    except (ValueError, TypeError, SyntaxError):
        return False
    text = literal(value, [])
    return text is not None and literal(said, []) == text


def decorators(node: Function, names: Mapping[str, Any]) -> Iterator[ast.expr]:
    """The decorators of a function other than `@resolver`."""
    return (one for one in node.decorator_list if not _is_resolver(one, names))


def _is_resolver(decorator: ast.expr, names: Mapping[str, Any]) -> bool:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    written = _dotted(called) or ""
    return names.get(written) is resolver or written.rpartition(".")[2] == "resolver"


class _WithoutDocstrings(ast.NodeTransformer):
    def _bare(self, node: Any) -> Any:
        self.generic_visit(node)
        if ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        return node

    visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = _bare


def stripped(node: Function | ast.ClassDef, names: Mapping[str, Any]) -> ast.AST:
    """A copy of a definition without docstrings and `@resolver`, given the names of its module."""
    copy: Any = _WithoutDocstrings().visit(_copied(node))
    copy.decorator_list = [d for d in copy.decorator_list if not _is_resolver(d, names)]
    bare: ast.AST = ast.fix_missing_locations(copy)
    return bare


def _copied(node: ast.AST) -> ast.AST:
    return ast.parse(ast.unparse(node)).body[0]


class _WithoutAnnotations(ast.NodeTransformer):
    def __init__(self) -> None:
        self.names: set[str] = set()

    def _taken(self, annotation: ast.expr | None) -> None:
        for inner in ast.walk(annotation) if annotation is not None else ():
            if isinstance(inner, ast.Name):
                self.names.add(inner.id)

    def visit_arg(self, node: ast.arg) -> ast.arg:
        self._taken(node.annotation)
        node.annotation = None
        return node

    def _bare(self, node: Any) -> Any:
        self._taken(node.returns)
        node.returns = None
        return self.generic_visit(node)

    visit_FunctionDef = visit_AsyncFunctionDef = _bare

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        self._taken(node.annotation)
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)


def reached(node: ast.ClassDef) -> tuple[ast.ClassDef, set[str]]:
    """A class statement without annotations, and the names that stood in these."""
    transformer = _WithoutAnnotations()
    bare: Any = ast.fix_missing_locations(transformer.visit(_copied(node)))
    return bare, transformer.names


def identity(value: Any) -> str | None:
    """Where a module, class or function is defined.

    Empty for what only type checkers read, `None` for values.
    """
    if type(value).__module__ == "typing" or isinstance(value, types.GenericAlias | types.UnionType):
        return ""
    if isinstance(value, types.ModuleType):
        return value.__name__
    if type(value).__name__ == "ufunc":
        return f"numpy.{value.__name__}"
    known = types.FunctionType | types.BuiltinFunctionType
    if isinstance(value, type | known) or (callable(value) and hasattr(value, "__wrapped__")):
        name = getattr(value, "__qualname__", getattr(value, "__name__", type(value).__name__))
        return f"{getattr(value, '__module__', None) or builtins.__name__}.{name}"
    return None


def literal(value: Any, classes: list[type]) -> str | None:
    """Python text that makes the value again, the same for equal values; `None` when there is none.

    The classes that the text names are added to `classes`.
    """
    if value is None or value is Ellipsis or type(value) in _ATOMS:
        return repr(value)
    cls: Any = untyped(type(value))  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(value, enum.Enum):
        classes.append(cls)
        return f"{cls.__name__}.{value.name}"
    if isinstance(value, re.Pattern):
        pattern = untyped(value)  # pyright: ignore[reportUnknownArgumentType]
        return f"re.compile({pattern.pattern!r}, {pattern.flags})"
    if cls is tuple:
        items = [literal(item, classes) for item in value]
        return None if None in items else f"({', '.join(map(str, items))}{',' if len(items) == 1 else ''})"
    if is_tuple(value) and hasattr(cls, "_fields"):
        return _made(cls, zip(cls._fields, value, strict=True), classes)
    if cls is frozenset:
        texts = [literal(item, classes) for item in value]
        return None if None in texts else f"frozenset({{{', '.join(sorted(map(str, texts)))}}})"
    if isinstance(value, types.MappingProxyType):
        mapping = cast("dict[Any, Any]", value)
        pairs = [(literal(key, classes), literal(item, classes)) for key, item in mapping.items()]
        if any(None in pair for pair in pairs):
            return None
        return f"MappingProxyType({{{', '.join(f'{key}: {item}' for key, item in pairs)}}})"
    if dataclasses.is_dataclass(value) and cls.__dataclass_params__.frozen:
        fields = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
        return _made(cls, fields, classes)
    return None


def _made(cls: Any, members: Any, classes: list[type]) -> str | None:
    classes.append(cls)
    texts = [(name, literal(value, classes)) for name, value in members]
    if any(text is None for _, text in texts):
        return None
    return f"{cls.__name__}({', '.join(f'{name}={text}' for name, text in texts)})"
