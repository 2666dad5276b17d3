"""The normalised text of a resolver: what its fingerprint is made of (rule S28).

It is valid Python: what the function and all it uses capture, the classes and functions of the project among
that, then the function itself; without decorators of ours, docstrings, comments and formatting. A constant
stands under its name; where modules disagree about one, under each module's, and where functions of one
module do, under each place that reads it. What comes from elsewhere stands under the name that reads it:
`sqrt = imported('math.sqrt')`.
"""

from __future__ import annotations

import ast
import inspect
import sys
import types
from collections.abc import Callable, Collection, Iterator
from typing import Any

from creta._captures import (
    bound_by_imports,
    captured,
    changed_globals,
    decorators,
    defaults,
    free_names,
    identity,
    literal,
    reached,
    reads,
    stripped,
)
from creta._entity import entity_info
from creta._errors import CretaError, Location
from creta._guards import untyped
from creta._resolver import resolver_info
from creta._signature import read_signature
from creta._source_text import class_node, function_node
from creta._types import TypeSpec

_BLIND = ("eval", "exec", "globals", "__import__")
"""Builtins that reach what the code does not name."""

Captures = dict[str, dict[str, dict[str, str]]]
"""By name, by the module whose function reads it, and by the place that reads it: two modules may each have
their own `LIMIT`, and one module may read `rates.LIMIT` and `caps.LIMIT`."""


def normalised(function: Callable[..., Any], modules: Collection[str]) -> str:
    """The text, given the names of the project's modules.

    Capturing what cannot be written down is an error.
    """
    reader = _Reader(function, frozenset(modules))
    reader.function(function, function.__name__)
    info = resolver_info(function)
    if info is not None:
        signature = read_signature(info)
        for spec in [i.type for i in signature.inputs] + [o.type for o in signature.outputs]:
            reader.classes_of(spec)
    return reader.text()


class _Reader:
    """Follows what a resolver uses through the modules of its project."""

    def __init__(self, resolver: Any, modules: frozenset[str]) -> None:
        self._resolver = resolver
        self._modules = modules
        self._captures: Captures = {}
        self._defaults: dict[tuple[str, str], str] = {}
        self._definitions: dict[str, set[str]] = {}
        self._own = ""
        self._seen: dict[int, Any] = {}

    def text(self) -> str:
        """All that was found, in an order of its own."""
        lines: list[str] = []
        for name, by_module in sorted(self._captures.items()):
            texts = {text for places in by_module.values() for text in places.values()}
            if len(texts) == 1:
                lines.append(f"{name} = {texts.pop()}")
                continue
            for module, places in sorted(by_module.items()):
                if len(set(places.values())) == 1:
                    lines.append(f"{module}.{name} = {next(iter(places.values()))}")
                else:
                    lines += [
                        f"captured[{module!r}, {place!r}] = {text}" for place, text in sorted(places.items())
                    ]
        lines += [
            f"defaults[{place!r}, {name!r}] = {text}"
            for (place, name), text in sorted(self._defaults.items())
        ]
        texts_of = (sorted(self._definitions[key]) for key in sorted(self._definitions))
        return "\n".join([*lines, *(text for texts in texts_of for text in texts), self._own])

    def function(self, function: Any, path: str) -> None:
        """A function of the project; `path` is how the resolver reaches it."""
        if not self._first(function):
            return
        node = function_node(function)
        if node is None:
            raise self._refused(
                f"the source of `{function.__name__}` is not available", "write it with `def` in a file"
            )
        text = ast.unparse(stripped(node, function.__globals__))
        if function is self._resolver:
            self._own = text
        else:
            key = f"{_module(function)}.{function.__code__.co_qualname}"
            self._definitions.setdefault(key, set()).add(text)
        for name in sorted(changed_globals(function.__code__)):
            raise self._refused(
                f"`{function.__name__}` changes the global `{name}`: answers would depend on earlier calls",
                "return what it computes, and take what it needs as parameters",
            )
        for name in _BLIND:
            if name in free_names(function.__code__) and name not in function.__globals__:
                raise self._refused(
                    f"`{function.__name__}` calls `{name}`, which can reach what its code does not name",
                    "name what it needs",
                )
        module = _module(function)
        found = captured(function) | self._imports(node, module)
        self._use_all(node, found, module, path)
        for name, value in defaults(function, node):
            if isinstance(value, list | dict | set | bytearray):
                kind = type(value).__name__  # pyright: ignore[reportUnknownArgumentType]
                raise self._refused(
                    f"the default of `{name}` of `{function.__name__}` is a {kind} that could change",
                    "make it a tuple, a `frozenset` or a `types.MappingProxyType`, or `None`",
                )
            self._defaults[path, name] = self._written(value, name, module, f"{path}({name})")
        for decorator in decorators(node, function.__globals__):
            names = {
                name: function.__globals__[name]
                for name in free_names(compile(ast.Expression(decorator), "decorator", "eval"))
                if name in function.__globals__
            }
            self._use_all(decorator, names, module, path, is_decorator=True)

    def class_(self, cls: type, path: str) -> None:
        """A class of the project with its bases, and what its methods and members use."""
        if entity_info(cls) is not None or not self._first(cls):
            return
        try:
            _, line = inspect.getsourcelines(cls)
            node = class_node(Location(inspect.getfile(cls), line), cls.__name__)
        except (OSError, TypeError):
            node = None
        if node is None:
            raise self._refused(
                f"the source of the class `{cls.__name__}` is not available",
                "write it with `class` in a file",
            )
        own = vars(sys.modules[cls.__module__])
        bare, annotated = reached(node)
        self._definitions.setdefault(f"{cls.__module__}.{cls.__qualname__}", set()).add(
            ast.unparse(stripped(node, own))
        )
        names = free_names(compile(ast.Module([bare], []), "class", "exec", dont_inherit=True))
        names &= {inner.id for inner in ast.walk(bare) if isinstance(inner, ast.Name)}
        found = {name: own[name] for name in names if name in own}
        for member in vars(cls).values():
            method = getattr(member, "__func__", getattr(member, "fget", member))
            written_here = inspect.isfunction(method) and method.__code__.co_filename == inspect.getfile(cls)
            if written_here and method.__closure__:
                found |= {name: value for name, value in captured(method).items() if value is not cls}
        found |= self._imports(node, cls.__module__)
        found.pop(cls.__name__, None)
        self._use_all(bare, found, cls.__module__, path)
        for value in (own.get(name) for name in annotated):
            if isinstance(value, type) and self._is_ours(value.__module__):
                self.class_(value, f"{path}.{value.__name__}")
        for base in cls.__mro__[1:]:
            if self._is_ours(base.__module__):
                self.class_(base, f"{path}.{base.__name__}")

    def classes_of(self, spec: TypeSpec) -> None:
        """The user's classes in which values of a type travel."""
        if isinstance(spec.python, type) and self._is_ours(spec.python.__module__):
            self.class_(spec.python, spec.python.__name__)
        if spec.item is not None:
            self.classes_of(spec.item)
        for _, field, _ in spec.fields:
            self.classes_of(field)

    def _use_all(
        self, node: ast.AST, found: dict[str, Any], module: str, path: str, is_decorator: bool = False
    ) -> None:
        """What the names in `found` are, as far as the code of `node` follows them through modules."""
        for name, value in sorted(found.items()):
            for written in sorted(reads(node, name)):
                self._use(*self._follow(value, written), module, path, is_decorator)

    def _follow(self, value: Any, written: str) -> tuple[Any, str]:
        """Where a dotted name leads inside the project's modules, and how far it was read."""
        head, *rest = written.split(".")
        while rest and isinstance(value, types.ModuleType) and self._is_package(value.__name__):
            if not hasattr(value, rest[0]):
                break
            value, head = getattr(value, rest[0]), f"{head}.{rest.pop(0)}"
        return value, head

    def _use(self, value: Any, written: str, module: str, path: str, is_decorator: bool) -> None:
        if isinstance(value, types.ModuleType) and self._is_package(value.__name__):
            raise self._refused(
                f"`{self._resolver.__name__}` uses the module `{written}` without saying what of it",
                "write which of its names is meant, `module.name`",
            )
        if is_decorator and self._is_opaque(value):
            return
        name = written.rpartition(".")[2]
        text = self._written(value, name, module, f"{path}.{written}")
        at_home = f"imported({f'{module}.{name}'!r})"
        if text != at_home and text:
            self._captures.setdefault(name, {}).setdefault(module, {})[f"{path}.{written}"] = text

    def _is_opaque(self, value: Any) -> bool:
        """An object of a library of which nothing can be written down; as a decorator it may stay unknown."""
        mutable = isinstance(value, list | dict | set)
        ours = self._is_ours(type(value).__module__)  # pyright: ignore[reportUnknownArgumentType]
        return not mutable and not ours and identity(value) is None and literal(value, []) is None

    def _written(self, value: Any, name: str, module: str, path: str) -> str:
        """The text of a value, after collecting what it is made of; empty where there is nothing to say."""
        behind = list(self._behind(value))
        for function in behind:
            self.function(function, path)
        if isinstance(value, type) and self._is_ours(value.__module__):
            self.class_(value, path)
        known = identity(value)
        if known is not None:
            if "<locals>" in known and not behind and not isinstance(value, type):
                raise self._refused(
                    f"`{self._resolver.__name__}` captures `{name}`, which a library made with parameters "
                    "that are not known",
                    "make it inside the function",
                )
            return f"imported({known!r})" if known else ""
        classes: list[type] = []
        text = literal(value, classes)
        for cls in classes:
            if self._is_ours(cls.__module__):
                self.class_(cls, f"{path}.{cls.__name__}")
        if text is None:
            raise self._cannot_travel(value, name)
        return text

    def _behind(self, value: Any, depth: int = 0) -> Iterator[Any]:
        """Functions of the project that run when a value is called: itself, or what a library has wrapped."""
        if inspect.isfunction(value) and self._is_ours(_module(value)):
            yield value
        elif depth < 20 and callable(value) and not isinstance(value, type):
            wrapped = getattr(value, "__wrapped__", None)
            registry = getattr(value, "registry", None)
            forms: dict[Any, Any] = {}
            if isinstance(registry, types.MappingProxyType):
                forms = dict(untyped(registry))  # pyright: ignore[reportUnknownArgumentType]
            for inner in (wrapped, *forms.values()):
                if inner is not None:
                    yield from self._behind(inner, depth + 1)

    def _imports(self, node: ast.AST, module: str) -> dict[str, Any]:
        """Names of the project that are imported inside a function."""
        package = getattr(sys.modules.get(module), "__package__", None) or module.rpartition(".")[0]
        found: dict[str, Any] = {}
        for name, source, attribute in bound_by_imports(node, package):
            if not self._is_package(source):
                continue  # The text of the import says which library it is.
            imported = sys.modules.get(source)
            inner = f"{source}.{attribute}"
            if attribute is None:
                found[name] = imported
            elif imported is not None and hasattr(imported, attribute):
                found[name] = getattr(imported, attribute)
            elif inner in sys.modules:
                found[name] = sys.modules[inner]
        return found

    def _is_ours(self, module: str | None) -> bool:
        return module in self._modules

    def _is_package(self, module: str) -> bool:
        """A module of the project, or a package around one, which need not have a file."""
        return module in self._modules or any(name.startswith(f"{module}.") for name in self._modules)

    def _first(self, definition: Any) -> bool:
        if id(definition) in self._seen:
            return False
        self._seen[id(definition)] = definition
        return True

    def _refused(self, message: str, help: str) -> CretaError:
        info = resolver_info(self._resolver)
        code = self._resolver.__code__
        at = info.location if info else Location(code.co_filename, code.co_firstlineno)
        return CretaError("resolver/captures", message, help=help, location=at)

    def _cannot_travel(self, value: Any, name: str) -> CretaError:
        what = f"`{self._resolver.__name__}` captures `{name}`, a"
        if isinstance(value, list | dict | set | bytearray):
            return self._refused(
                f"{what} {type(value).__name__} that could change between calls",  # pyright: ignore[reportUnknownArgumentType]
                "make it a tuple, a `frozenset` or a `types.MappingProxyType`",
            )
        return self._refused(
            f"{what} `{type(value).__name__}`, which cannot travel with its code",
            "make it inside the function, or pass it as a feature",
        )


def _module(function: Any) -> str:
    """Name of the module whose names a function reads; `functools.wraps` copies another one's."""
    return str(function.__globals__.get("__name__", function.__module__))
