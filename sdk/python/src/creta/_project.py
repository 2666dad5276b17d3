"""A project on disk: `creta.toml` and its Python modules."""

from __future__ import annotations

import importlib
import re
import sys
import tomllib
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from creta._entity import misspelled
from creta._errors import CretaError, Location
from creta._guards import is_items, is_table
from creta._source_text import source_of

_TEXT_ATTRIBUTE = "__creta_text__"


@dataclass(frozen=True, slots=True)
class Project:
    """Loaded definitions: where their modules are, and what else the bundle needs."""

    name: str
    modules: dict[str, ModuleType]
    """By dotted name."""

    sources: dict[str, str]
    """Text by path relative to the project folder."""

    lock: dict[str, Any]
    folder: Path | None = None
    only: tuple[Any, ...] | None = None
    """When given, just these definitions rather than all in the modules."""

    files: dict[str, str] = field(default_factory=lambda: {})
    """Absolute file to path relative to the project folder."""

    def relative(self, at: Location | None) -> Location | None:
        """The place with its file named as people know it: relative to the project."""
        return (
            None if at is None else Location(self.files.get(at.file, _short(at.file, self.folder)), at.line)
        )


def _short(file: str, folder: Path | None) -> str:
    if folder is not None:
        try:
            return Path(file).resolve().relative_to(folder).as_posix()
        except ValueError:
            pass
    return Path(file).name


def python_version() -> str:
    """Major and minor version of this interpreter."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def load_folder(folder: str | Path) -> Project:
    """Imports all modules of the project in a folder with `creta.toml`."""
    root = Path(folder).resolve()
    config = _read_config(root)
    files = _module_files(root, config)
    names = {_dotted(path): path for path in files}
    sources = {path: _read(root / path) for path in files}
    with _Importing(root, names, sources) as importing:
        modules = {name: importing.load(name) for name in names}
    return Project(
        name=config["project"]["name"],
        modules=modules,
        sources=sources,
        lock=_lock(config),
        folder=root,
        files={str(root / path): path for path in files},
    )


def from_modules(modules: Sequence[ModuleType], only: tuple[Any, ...] | None = None) -> Project:
    """A project of modules that are already imported; its name is the first module's."""
    by_name = {module.__name__: module for module in modules}
    sources: dict[str, str] = {}
    files: dict[str, str] = {}
    for name, module in by_name.items():
        file = getattr(module, "__file__", None)
        text = source_of(file) if file else None
        if file and text is not None:
            package = Path(file).name == "__init__.py"
            path = "/".join(name.split(".")) + ("/__init__.py" if package else ".py")
            sources[path], files[file] = text, path
    first = next(iter(by_name), "project").rpartition(".")[2].strip("_") or "project"
    lock: dict[str, Any] = {"python": python_version(), "packages": {}}
    return Project(first, by_name, sources, lock, only=only, files=files)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise CretaError("project/not-utf8", f"`{path.name}` is not UTF-8 text") from None


def _read_config(root: Path) -> dict[str, Any]:
    path = root / "creta.toml"
    if not path.is_file():
        raise CretaError(
            "project/no-config",
            f"`{root.name}` is no project: it has no `creta.toml`",
            help='create one with `[project]` and `name = "..."`, or run `creta init`',
        )
    try:
        config = tomllib.loads(_read(path))
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"line (\d+)", str(error))
        raise _config_error(f"`creta.toml` is not valid TOML: {error}", int(line[1]) if line else 1) from None
    known = {"project": {"name", "modules"}, "python": {"requires", "packages"}}
    for section, keys in known.items():
        table: Any = config.setdefault(section, {})
        if not is_table(table):
            raise _config_error(f"`{section}` in `creta.toml` is not a table")
        for key in table:
            if key not in keys:
                raise _config_error(f"`creta.toml` has an unknown key `{section}.{key}`")
    name = config["project"].get("name")
    if not isinstance(name, str) or not name:
        raise _config_error("`creta.toml` names no project", help='add `[project]` with `name = "..."`')
    return config


def _config_error(message: str, line: int = 1, help: str | None = None) -> CretaError:
    return CretaError("project/bad-config", message, help=help, location=Location("creta.toml", line))


def _module_files(root: Path, config: dict[str, Any]) -> list[str]:
    listed: Any = config["project"].get("modules")
    if listed is None:
        return sorted(path.relative_to(root).as_posix() for path in _python_files(root))
    if not is_items(listed) or not all(isinstance(entry, str) for entry in listed):
        raise _config_error('`project.modules` in `creta.toml` is not a list of paths like `["features"]`')
    found: set[str] = set()
    for entry in listed:
        path = (root / entry).resolve()
        if not path.is_relative_to(root):
            raise _config_error(f"`project.modules` names `{entry}`, which is outside of the project")
        if path.is_dir():
            found |= {inner.relative_to(root).as_posix() for inner in _python_files(path)}
        elif path.is_file() and path.suffix == ".py":
            found.add(path.relative_to(root).as_posix())
        else:
            raise _config_error(f"`project.modules` names `{entry}`, which is no folder and no Python file")
    return sorted(found)


def _python_files(folder: Path) -> Iterable[Path]:
    """Python files below a folder, without hidden folders and virtual environments."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name == "__pycache__" or (path / "pyvenv.cfg").exists():
            continue
        if path.is_dir():
            yield from _python_files(path)
        elif path.suffix == ".py":
            yield path


def _dotted(path: str) -> str:
    name = path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
    if not all(part.isidentifier() for part in name.split(".")):
        raise CretaError(
            "project/bad-module",
            f"`{path}` cannot be imported: its path is not made of Python names",
            help="rename it, or list the project's modules in `creta.toml`",
        )
    return name


def _lock(config: dict[str, Any]) -> dict[str, Any]:
    python = config["python"]
    requires = python.get("requires", python_version())
    version = re.search(r"\d+\.\d+", str(requires))
    packages: Any = python.get("packages", {})
    if version is None or not is_table(packages):
        raise _config_error('`[python]` in `creta.toml` needs `requires = "3.11"` and a table `packages`')
    for name, package in packages.items():
        hashes = package.get("hashes") if is_table(package) else None
        locked = is_items(hashes) and all(re.fullmatch(r"sha256:[0-9a-f]{64}", str(one)) for one in hashes)
        if not is_table(package) or set(package) != {"version", "hashes"} or not hashes or not locked:
            raise _config_error(
                f"package `{name}` in `creta.toml` is not locked",
                help='write `{ version = "1.2.3", hashes = ["sha256:..."] }`',
            )
    return {"python": version[0], "packages": packages}


class _Importing:
    """Imports a folder's modules under their dotted names.

    A module already imported from the same unchanged file is kept, so that its classes stay the same; modules
    of another project with the same names are replaced.
    """

    def __init__(self, root: Path, names: dict[str, str], sources: dict[str, str]) -> None:
        self._root = root
        self._names = names
        self._sources = sources

    def __enter__(self) -> _Importing:
        for name, module in list(sys.modules.items()):
            if (name in self._names and not self._is_current(name, module)) or (
                any(other.startswith(f"{name}.") for other in self._names) and not self._is_ours(module)
            ):
                del sys.modules[name]
        sys.path.insert(0, str(self._root))
        importlib.invalidate_caches()
        return self

    def __exit__(self, *_: object) -> None:
        sys.path.remove(str(self._root))

    def _is_ours(self, module: ModuleType) -> bool:
        paths = list(getattr(module, "__path__", ())) or [getattr(module, "__file__", None) or ""]
        return any(Path(path).resolve().is_relative_to(self._root) for path in paths if path)

    def _is_current(self, name: str, module: ModuleType) -> bool:
        path, file = self._names[name], getattr(module, "__file__", None)
        text = getattr(module, _TEXT_ATTRIBUTE, self._sources[path])
        return file is not None and Path(file).resolve() == self._root / path and text == self._sources[path]

    def load(self, name: str) -> ModuleType:
        try:
            module = importlib.import_module(name)
        except CretaError as error:
            if error.location is not None:
                error.location = Location(_short(error.location.file, self._root), error.location.line)
            raise
        except Exception as error:
            raise self._failed(name, error) from error
        setattr(module, _TEXT_ATTRIBUTE, self._sources[self._names[name]])
        if not self._is_ours(module):
            raise CretaError(
                "project/bad-module",
                f"`{self._names[name]}` is hidden by the installed module `{name}`",
                help="rename it",
            )
        return module

    def _failed(self, name: str, error: Exception) -> CretaError:
        at = Location(self._names[name], 1)
        if isinstance(error, SyntaxError) and error.filename:
            at = Location(_short(error.filename, self._root), error.lineno or 1)
        for frame in traceback.extract_tb(error.__traceback__):
            if Path(frame.filename).resolve().is_relative_to(self._root):
                at = Location(_short(frame.filename, self._root), frame.lineno or 1)
        if (problem := misspelled(error, at)) is not None:
            return problem
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        return CretaError(
            "project/import-failed",
            f"importing `{name}` failed: {type(error).__name__}: {reason}",
            location=at,
        )
