"""The normalised text of a resolver: what its fingerprint is made of (rule S28).

It is valid Python: the constants the function captures, the classes and functions of the project it uses,
then the function itself; without decorators of ours, docstrings, comments and formatting.
"""

from __future__ import annotations

import ast
import builtins
import dataclasses
import dis
import enum
import inspect
import re
import types
from collections.abc import Callable, Collection, Iterator
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, cast
from zoneinfo import ZoneInfo

from creta._entity import entity_info
from creta._errors import CretaError, Location
from creta._guards import is_tuple, untyped
from creta._resolver import resolver_info
from creta._source_text import class_node, function_node

_ATOMS = (bool, int, float, str, bytes, Decimal, date, datetime, time, timedelta, timezone, ZoneInfo)


def normalised(function: Callable[..., Any], modules: Collection[str]) -> str:
    """The text, given the names of the project's modules.

    Capturing what cannot be written down is an error.
    """
    constants: dict[str, str] = {}
    definitions: dict[str, str] = {}
    _collect(function, frozenset(modules), constants, definitions, function)
    own = definitions.pop(_key(function))
    lines = [f"{name} = {constants[name]}" for name in sorted(constants)]
    return "\n".join([*lines, *(definitions[key] for key in sorted(definitions)), own])


def _key(definition: Any) -> str:
    return f"{definition.__module__}.{definition.__qualname__}"


def _collect(
    function: Any,
    modules: frozenset[str],
    constants: dict[str, str],
    definitions: dict[str, str],
    resolver: Any,
) -> None:
    if _key(function) in definitions:
        return
    node = function_node(function)
    if node is None:
        raise _refused(
            resolver, f"the source of `{function.__name__}` is not available", "write it with `def` in a file"
        )
    definitions[_key(function)] = ast.unparse(_stripped(node))
    for name, value in _captured(function, node, modules):
        if inspect.isfunction(value) and value.__module__ in modules:
            _collect(value, modules, constants, definitions, resolver)
        elif isinstance(value, type) and value.__module__ in modules:
            _collect_class(value, definitions)
        elif not _is_library(value):
            constants[name] = _constant(value, name, resolver)


def _collect_class(cls: type, definitions: dict[str, str]) -> None:
    if entity_info(cls) is not None or _key(cls) in definitions:
        return
    _, line = inspect.getsourcelines(cls)
    node = class_node(Location(inspect.getfile(cls), line), cls.__name__)
    if node is not None:
        definitions[_key(cls)] = ast.unparse(node)


def _stripped(node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
    """The function without its docstring and without `@resolver`."""
    copy = type(node)(**{name: getattr(node, name) for name in node._fields})
    copy.decorator_list = [
        d for d in node.decorator_list if "resolver" not in ast.unparse(d).partition("(")[0]
    ]
    if ast.get_docstring(node) is not None:
        copy.body = node.body[1:] or [ast.Pass()]
    return ast.fix_missing_locations(copy)


def _captured(function: Any, node: ast.AST, modules: frozenset[str]) -> Iterator[tuple[str, Any]]:
    """Names that the body takes from its module or an enclosing function, with their values, sorted."""
    found: dict[str, Any] = {}
    for name in _global_names(function.__code__):
        if name in function.__globals__:
            found[name] = function.__globals__[name]
        elif not hasattr(builtins, name):
            continue
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            found[name] = cell.cell_contents
        except ValueError:
            continue
    for name, value in sorted(found.items()):
        if isinstance(value, types.ModuleType) and value.__name__ in modules:
            for attribute in sorted(_attributes(node, name)):
                if hasattr(value, attribute):
                    yield attribute, getattr(value, attribute)
        else:
            yield name, value


def _global_names(code: types.CodeType) -> set[str]:
    names = {i.argval for i in dis.get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _global_names(constant)
    return names


def _attributes(node: ast.AST, name: str) -> set[str]:
    return {
        inner.attr
        for inner in ast.walk(node)
        if isinstance(inner, ast.Attribute) and isinstance(inner.value, ast.Name) and inner.value.id == name
    }


def _is_library(value: Any) -> bool:
    """Whether it comes from an installed package, which the package lock covers."""
    return (
        isinstance(value, types.ModuleType | type | types.BuiltinFunctionType | types.FunctionType)
        or (callable(value) and hasattr(value, "__wrapped__"))
        or type(value).__module__ == "typing"
        or type(value).__name__ == "ufunc"
    )


def _constant(value: Any, name: str, resolver: Any) -> str:
    text = _literal(value)
    if text is None:
        kind = type(value).__name__
        if isinstance(value, list | dict | set | bytearray):
            raise _refused(
                resolver,
                f"`{resolver.__name__}` captures `{name}`, a {kind} that could change between calls",
                "make it a tuple, a `frozenset` or a `types.MappingProxyType`",
            )
        raise _refused(
            resolver,
            f"`{resolver.__name__}` captures `{name}`, a `{kind}`, which cannot travel with its code",
            "make it inside the function, or pass it as a feature",
        )
    return text


def _literal(value: Any) -> str | None:
    """Python text that makes the value again, the same for equal values; `None` when there is none."""
    if value is None or value is Ellipsis or isinstance(value, enum.Enum):
        return repr(value) if not isinstance(value, enum.Enum) else f"{type(value).__name__}.{value.name}"
    if type(value) in _ATOMS:
        return repr(value)
    if isinstance(value, re.Pattern):
        pattern = untyped(value)  # pyright: ignore[reportUnknownArgumentType]
        return f"re.compile({pattern.pattern!r}, {pattern.flags})"
    if is_tuple(value):
        items = [_literal(item) for item in value]
        return None if None in items else f"({', '.join(map(str, items))}{',' if len(items) == 1 else ''})"
    members: Any = value
    if isinstance(value, frozenset):
        texts = [_literal(item) for item in members]
        return None if None in texts else f"frozenset({{{', '.join(sorted(map(str, texts)))}}})"
    if isinstance(value, types.MappingProxyType):
        pairs = [(_literal(key), _literal(item)) for key, item in cast("dict[Any, Any]", value).items()]
        if any(None in pair for pair in pairs):
            return None
        return f"MappingProxyType({{{', '.join(f'{key}: {item}' for key, item in pairs)}}})"
    if dataclasses.is_dataclass(value) and not isinstance(value, type) and value.__dataclass_params__.frozen:  # type: ignore[attr-defined]  # pyright: ignore
        members = [(field.name, _literal(getattr(value, field.name))) for field in dataclasses.fields(value)]
        if any(text is None for _, text in members):
            return None
        return f"{type(value).__name__}({', '.join(f'{name}={text}' for name, text in members)})"
    return None


def _refused(resolver: Any, message: str, help: str) -> CretaError:
    info = resolver_info(resolver)
    code = resolver.__code__
    at = info.location if info else Location(code.co_filename, code.co_firstlineno)
    return CretaError("resolver/captures", message, help=help, location=at)
