"""Exports a project's definitions as the bundle that a deployment consists of.

`python -m creta._export FOLDER` prints it as JSON; a mistake in the project is one problem as JSON and exit
code 2.
"""

from __future__ import annotations

import inspect
import json
import math
import re
import sys
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

from creta._code import normalised
from creta._entity import Many, One, Relation, entity_info, read_on
from creta._errors import CretaError, Location
from creta._expression import expression_json, member_type
from creta._feature import UNSET, Feature, Member
from creta._foreign import plain
from creta._options import Check
from creta._project import Project, from_modules, load_folder
from creta._resolver import ResolverInfo, resolver_info
from creta._signature import Signature, read_signature
from creta._source import NamedQuery, Source
from creta._source_text import MemberText, class_node, member_texts
from creta._time import instant_text, span_text
from creta._types import TypeSpec
from creta._values import WrongType, to_json
from creta._windowed import window_json

BUNDLE_FORMAT = "creta.bundle/1"
GRAPH_FORMAT = "creta.graph/1"


Definitions = str | Path | ModuleType | Sequence[Any]


def load(project: Definitions) -> Project:
    """Loads a folder, takes a module or several, or takes single definitions (entities, resolvers,
    sources)."""
    if isinstance(project, str | Path):
        return load_folder(project)
    if isinstance(project, ModuleType):
        return from_modules([project])
    items = list(project)
    modules: list[ModuleType] = []
    for item in items:
        module = item if isinstance(item, ModuleType) else sys.modules.get(getattr(item, "__module__", ""))
        if module is not None and module not in modules:
            modules.append(module)
    return from_modules(modules, None if items == modules else tuple(items))


def export_project(project: Definitions) -> dict[str, Any]:
    """The bundle of a project: definitions, sources and package lock.

    Mistakes are `CretaError` with their place.
    """
    return Exporter(load(project) if not isinstance(project, Project) else project).bundle()


class Exporter:
    """Turns loaded definitions into the graph."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.entities: dict[str, type] = {}
        self.resolvers: dict[str, ResolverInfo] = {}
        self.signatures: dict[str, Signature] = {}
        self.sources: dict[str, Source] = {}
        self._queries: dict[str, NamedQuery] = {}

    def bundle(self) -> dict[str, Any]:
        """Everything, in canonical order."""
        try:
            self._collect()
            graph = {
                "format": GRAPH_FORMAT,
                "project": self.project.name,
                "entities": [self._entity(self.entities[name]) for name in sorted(self.entities)],
                "resolvers": [self._resolver(name) for name in sorted(self.resolvers)],
                "sources": [self._source(name) for name in sorted(self.sources)],
                "queries": [self._query(name) for name in sorted(self._queries)],
            }
        except CretaError as error:
            error.location = self.project.relative(error.location)
            error.notes = tuple(
                type(note)(note.label, note.text, self.project.relative(note.location))
                for note in error.notes
            )
            raise
        return {
            "format": BUNDLE_FORMAT,
            "graph": graph,
            "modules": self.project.sources,
            "lock": self.project.lock,
        }

    def _collect(self) -> None:
        if self.project.only is not None:
            for item in self.project.only:
                if isinstance(item, ModuleType):
                    self._collect_module(item)
                elif not self._add(getattr(item, "__name__", ""), item):
                    raise CretaError(
                        "project/not-a-definition", f"a `{type(item).__name__}` is no definition"
                    )
            return
        for name in sorted(self.project.modules):
            self._collect_module(self.project.modules[name])

    def _collect_module(self, module: ModuleType) -> None:
        for name, value in list(vars(module).items()):
            if isinstance(value, Source | NamedQuery):
                # A source imported into another module is declared where it stands.
                if value.location.file == getattr(module, "__file__", value.location.file):
                    self._add(name, value)
            elif getattr(value, "__module__", None) == module.__name__:
                self._add(getattr(value, "__name__", name), value)

    def _add(self, name: str, value: Any) -> bool:
        if isinstance(value, type) and (info := entity_info(value)) is not None:
            self._once("entity", name, self.entities, value, info.location)
        elif (resolver := resolver_info(value)) is not None:
            self._once("resolver", name, self.resolvers, resolver, resolver.location)
        elif isinstance(value, Source):
            self._once("source", name, self.sources, value, value.location)
        elif isinstance(value, NamedQuery):
            self._once("query", name, self._queries, value, value.location)
        else:
            return False
        return True

    def _once(self, what: str, name: str, known: dict[str, Any], value: Any, at: Location) -> None:
        if known.setdefault(name, value) is not value:
            raise CretaError(
                "definition/twice", f"there are two {what} definitions called `{name}`", location=at
            )

    def _location(self, at: Location) -> dict[str, Any]:
        short = self.project.relative(at)
        assert short is not None
        return {"file": short.file, "line": short.line}

    def _entity(self, cls: type) -> dict[str, Any]:
        info = entity_info(cls)
        assert info is not None
        node = class_node(info.location, cls.__name__)
        texts = member_texts(info.location.file, node) if node is not None else {}
        line = node.lineno if node is not None else info.location.line
        features: list[dict[str, Any]] = []
        relations: list[dict[str, Any]] = []
        for name, member in info.members.items():
            text = texts.get(name)
            if isinstance(member, One | Many):
                relations.append(self._relation(member._relation, text))
            else:
                features.append(self._feature(member._member, text))
        if not any(feature["role"] == "key" for feature in features):
            raise CretaError(
                "definition/no-key",
                f"entity `{cls.__name__}` has no key",
                help="declare what identifies it: `id: Feature[int] = key()`",
                location=Location(info.location.file, line),
            )
        json: dict[str, Any] = {"name": _checked_name(cls.__name__, info.location)}
        _put(json, doc=inspect.cleandoc(cls.__doc__ or ""), owner=info.owner, tags=list(info.tags))
        _put(json, renamed_from=info.renamed_from)
        json["features"] = features
        _put(json, relations=relations)
        json["location"] = self._location(Location(info.location.file, line))
        return json

    def _feature(self, member: Member, text: MemberText | None) -> dict[str, Any]:
        assert member.entity is not None
        at = Location(member.location.file, text.line) if text else member.location
        spec, optional = member_type(member, at)
        options = member.options
        json: dict[str, Any] = {"name": _checked_name(member.name, at), "type": spec.to_json()}
        _put(json, optional=optional)
        json["role"] = member.role
        _put(
            json,
            event_id=options.event_id,
            doc=text.doc if text else "",
            tags=list(options.tags),
            unit=options.unit,
        )
        if options.default is not UNSET:
            json["default"] = _default(member, spec, optional, at)
        if options.check is not None:
            json["validation"] = _validation(options.check, at)
        if options.max_age is not None:
            json["max_age"] = span_text(options.max_age)
        if options.meta is not None:
            meta = options.meta
            _put(json, owner=meta.owner, deprecated=meta.deprecated, renamed_from=meta.renamed_from)
            if meta.version != 1:
                json["version"] = meta.version
        if member.expression is not UNSET:
            json["expression"] = expression_json(member.expression, member.entity, at)
        if member.aggregate is not None:
            json["window"] = window_json(member.aggregate, member, at)
        json["location"] = self._location(at)
        return json

    def _relation(self, relation: Relation, text: MemberText | None) -> dict[str, Any]:
        at = Location(relation.location.file, text.line) if text else relation.location
        target = relation.target()
        pairs = read_on(relation, target, at)
        return {
            "name": _checked_name(relation.name, at),
            "kind": relation.kind,
            "target": target.__name__,
            "on": [list(pair) for pair in pairs],
            "location": self._location(at),
        }

    def _resolver(self, name: str) -> dict[str, Any]:
        info = self.resolvers[name]
        signature = read_signature(info)
        self.signatures[name] = signature
        function = info.function
        json: dict[str, Any] = {"name": _checked_name(name, info.location), "module": function.__module__}
        json["mode"] = info.mode
        _put(
            json, is_async=inspect.iscoroutinefunction(function), doc=inspect.cleandoc(function.__doc__ or "")
        )
        _put(json, owner=info.owner)
        json["inputs"] = [
            {"name": i.name, "from": "now" if i.path is None else {"path": i.path}}
            | ({"optional": True} if i.optional else {})
            for i in signature.inputs
        ]
        json["outputs"] = [output.path for output in signature.outputs]
        _put(json, environments=list(info.environments), retries=info.retries)
        if info.timeout is not None:
            json["timeout"] = span_text(info.timeout)
        json["code"] = normalised(function, self.project.modules)
        json["location"] = self._location(info.location)
        return json

    def _source(self, name: str) -> dict[str, Any]:
        source = self.sources[name]
        if entity_info(source.entity) is None:
            raise CretaError(
                "definition/bad-source", f"source `{name}` is not of an entity", location=source.location
            )
        json: dict[str, Any] = {
            "name": _checked_name(name, source.location),
            "entity": source.entity.__name__,
        }
        json |= {"format": source.format.name, "path": source.format.path}
        _put(json, sql=source.format.sql)
        columns = {self._own_feature(feature, source): column for feature, column in source.columns.items()}
        _put(json, columns=columns)
        at = source.event_time
        json["event_time"] = {"constant": instant_text(at)} if isinstance(at, datetime) else {"column": at}
        if isinstance(source.arrival, timedelta):
            json["arrival"] = {"delay": span_text(source.arrival)}
        elif source.arrival is not None:
            json["arrival"] = {"column": source.arrival}
        _put(json, zone=source.zone)
        json["location"] = self._location(source.location)
        return json

    def _own_feature(self, feature: Feature[Any], source: Source) -> str:
        if feature._member.entity is not source.entity or feature._path is not None:
            raise CretaError(
                "definition/bad-source",
                f"a source of `{source.entity.__name__}` maps a column of `{feature}`",
                location=source.location,
            )
        return feature._member.name

    def _query(self, name: str) -> dict[str, Any]:
        query = self._queries[name]
        json: dict[str, Any] = {"name": _checked_name(name, query.location), "version": query.version}
        json["inputs"] = [str(feature) for feature in query.inputs]
        json["outputs"] = [str(feature) for feature in query.outputs]
        _put(json, doc=query.doc, owner=query.owner)
        json["location"] = self._location(query.location)
        return json


def _put(json: dict[str, Any], **values: Any) -> None:
    """Adds what is not empty, as the graph's form leaves out what is."""
    json.update({name: value for name, value in values.items() if value})


def _checked_name(name: str, at: Location) -> str:
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,99}", name) is None:
        raise CretaError(
            "definition/bad-name",
            f"`{name}` is not a valid name",
            help="use a letter followed by at most 99 letters, digits and underscores",
            location=at,
        )
    return name


def _default(member: Member, spec: TypeSpec, optional: bool, at: Location) -> Any:
    try:
        if member.options.default is None and not optional:
            raise WrongType(spec, "None")
        return to_json(spec, member.options.default, "the default")
    except WrongType as error:
        assert member.entity is not None
        raise CretaError(
            "definition/bad-default",
            f"the default of `{member.entity.__name__}.{member.name}`: {error}",
            location=at,
        ) from None


def _validation(check: Check, at: Location) -> dict[str, Any]:
    json: dict[str, Any] = {}
    for name, kinds in _BOUNDS.items():
        bound = plain(getattr(check, name), f"`{name}` of a check")
        if bound is None:
            continue
        if type(bound) not in kinds or (isinstance(bound, float) and not math.isfinite(bound)):
            raise CretaError(
                "definition/bad-check",
                f"`{name}` of a check is {_what(bound)}",
                help=f"give a plain `{'` or `'.join(kind.__name__ for kind in kinds)}`",
                location=at,
            )
        json[name] = bound
    return json


def _what(bound: Any) -> str:
    return f"a `{type(bound).__name__}`" if not isinstance(bound, float) else "not finite"


_BOUNDS: dict[str, tuple[type, ...]] = {
    "min": (int, float), "max": (int, float), "min_length": (int,), "max_length": (int,), "pattern": (str,),
}  # fmt: skip


def canonical(value: Any) -> str:
    """JSON with sorted keys and without spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def main(arguments: Sequence[str], write: Callable[[str], Any] = print) -> int:
    """`python -m creta._export FOLDER`."""
    if len(arguments) != 1:
        write(
            canonical(
                {
                    "code": "export/usage",
                    "message": "give one folder",
                    "help": "python -m creta._export FOLDER",
                }
            )
        )
        return 2
    try:
        write(canonical(export_project(arguments[0])))
    except CretaError as error:
        write(canonical(error.to_problem()))
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
