"""Imports modules from texts in memory, never from disk."""

from __future__ import annotations

import importlib.abc
import importlib.util
import linecache
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

from creta._errors import CretaError


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finder and loader of a fixed set of modules."""

    def __init__(self, paths: dict[str, str | None], texts: Mapping[str, str]) -> None:
        self._paths = paths
        self._texts = texts

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self._paths:
            return None
        file = self._paths[fullname]
        is_package = file is None or file.endswith("__init__.py")
        return importlib.util.spec_from_loader(fullname, self, origin=file, is_package=is_package)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        file = self._paths[module.__name__]
        if file is None:
            return
        module.__file__ = file
        exec(compile(self._texts[file], file, "exec"), vars(module))  # noqa: S102  # It is what importing means.


def install(modules: Mapping[str, str]) -> list[str]:
    """Makes modules importable from their text by path, before anything on disk.

    Returns their dotted names.     A name that is imported already, so one of ours or of the standard
    library, is refused.
    """
    paths: dict[str, str | None] = {}
    for path in sorted(modules):
        name = path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        if not path.endswith(".py") or not all(part.isidentifier() for part in name.split(".")):
            raise CretaError("project/bad-module", f"`{path}` is not the path of a Python module")
        if name in sys.modules or name.partition(".")[0] in sys.stdlib_module_names:
            raise CretaError(
                "project/bad-module", f"`{path}` hides the installed module `{name}`", help="rename it"
            )
        paths[name] = path
        parts = name.split(".")
        for depth in range(1, len(parts)):
            paths.setdefault(".".join(parts[:depth]), None)
    for path, text in modules.items():
        # An entry without a time of change is not checked against the disk. Errors and fingerprints read it.
        linecache.cache[path] = (len(text), None, text.splitlines(keepends=True), path)
    sys.meta_path.insert(0, _Finder(paths, modules))
    return [name for name, path in paths.items() if path is not None]
