"""Requests as the JSON that server and embedded engine share."""

from __future__ import annotations

import base64
import enum
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from json import dumps
from typing import TYPE_CHECKING, Any, TypeVar

from creta._answers import Explanation
from creta._entity import entity_info
from creta._errors import problem_here
from creta._expression import member_type
from creta._feature import Feature
from creta._frames import Frame, refuse_naive, require_column, to_table
from creta._guards import is_feature, is_table, is_windowed, untyped
from creta._source import NamedQuery
from creta._time import instant_text, span_text

if TYPE_CHECKING:
    import pyarrow as pa

Which = Feature[Any] | str
"""A feature, or its path as text."""

WhichT = TypeVar("WhichT", bound="Feature[Any] | str")
Outputs = Sequence[Which] | NamedQuery | str
"""Features, a named query, or the name of one."""

Instants = datetime | str | Sequence[datetime | str]
MaxAge = Mapping[Feature[Any], timedelta] | Mapping[str, timedelta]


def path_of(which: Any) -> str:
    """The path of a feature as text."""
    if isinstance(which, str):
        return which
    if is_windowed(which):
        raise problem_here(
            "definition/no-window", f"`{which}` is one value per window", f"choose one: `{which}[days(1)]`"
        )
    if is_feature(which) and which._text() is not None:
        return str(which)
    raise problem_here(
        "request/not-a-feature", f"a `{type(which).__name__}` is no feature", "write `Entity.feature`"
    )


@dataclass(frozen=True, slots=True)
class Query:
    """A query: its JSON, the features asked for, and whether it is about a single row."""

    json: dict[str, Any]
    asked: tuple[Which, ...]
    single: bool


def query(
    inputs: Mapping[Any, Any],
    outputs: Outputs,
    as_of: Instants | None,
    known_as_of: Instants | None,
    max_age: MaxAge | None,
) -> Query:
    """Builds a query.

    Scalars among lists count for every row.
    """
    values: dict[str, Any] = {path_of(which): value for which, value in inputs.items()}
    lists = {path_of(which) for which, value in inputs.items() if _is_many(which, value)}
    per_row = [_listed(values[path]) for path in lists]
    single = not lists and (as_of is None or isinstance(as_of, datetime | str))
    rows = (
        len(per_row[0])
        if per_row
        else 1
        if as_of is None or isinstance(as_of, datetime | str)
        else len(as_of)
    )
    json: dict[str, Any] = {
        "inputs": {
            path: [_json(item, path) for item in (_listed(value) if path in lists else [value] * rows)]
            for path, value in values.items()
        }
    }
    asked: tuple[Which, ...] = ()
    if isinstance(outputs, str):
        json["query"] = outputs
    elif isinstance(outputs, NamedQuery):
        asked = outputs.outputs
    else:
        asked = tuple(outputs)
    if asked:
        json["outputs"] = [path_of(which) for which in asked]
    if as_of is not None:
        json["as_of"] = _instants(as_of, "`as_of`")
    if known_as_of is not None:
        json["known_as_of"] = _instants(known_as_of, "`known_as_of`")
    _put_max_age(json, max_age)
    return Query(json, asked, single)


def _put_max_age(json: dict[str, Any], max_age: MaxAge | None) -> None:
    if max_age:
        json["max_age"] = {path_of(which): span_text(limit) for which, limit in max_age.items()}


def _is_many(which: Any, value: Any) -> bool:
    """Whether a value stands for several rows rather than being one list."""
    if isinstance(value, str | bytes | Mapping) or is_dataclass(value):
        return False
    if not hasattr(value, "__len__") or getattr(value, "ndim", 1) == 0:
        return False
    if is_feature(which) and member_type(which._member)[0].kind in ("list", "vector"):
        return len(value) > 0 and not isinstance(value[0], str | bytes) and hasattr(value[0], "__len__")
    return True


def _listed(values: Any) -> list[Any]:
    for method in ("to_pylist", "to_list", "tolist"):
        if hasattr(values, method):
            listed: list[Any] = getattr(values, method)()
            return listed
    return list(values)


def _json(value: Any, path: str) -> Any:
    """The JSON form by what a value is; the engine checks it against the schema (rule S20)."""
    if hasattr(value, "item") and type(value).__module__ == "numpy":
        value = value.item()
    if value is None or (isinstance(value, bool | int) and not isinstance(value, enum.Enum)):
        return value
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime):
        return instant_text(value, f"the value of `{path}`")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value // timedelta(microseconds=1)
    if is_table(value):
        return {str(name): _json(item, path) for name, item in value.items()}
    if is_dataclass(value):
        return {inner.name: _json(getattr(value, inner.name), path) for inner in fields(value)}
    if hasattr(value, "model_fields"):
        model = untyped(type(value))  # pyright: ignore[reportUnknownArgumentType]
        return {name: _json(getattr(value, name), path) for name in model.model_fields}
    if isinstance(value, Sequence) or hasattr(value, "tolist"):
        return [_json(item, path) for item in _listed(value)]
    raise problem_here(
        "request/bad-value", f"the value of `{path}` is a `{type(value).__name__}`, which no feature is"
    )


def _instants(at: Any, what: str) -> Any:
    if isinstance(at, str):
        return at
    if isinstance(at, datetime):
        return instant_text(at, what)
    return [_instants(one, what) for one in _listed(at)]


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """A training set: its JSON and its spine, with naive datetimes already refused."""

    json: dict[str, Any]
    spine: pa.Table


def training_set(
    spine: Frame,
    as_of: str,
    features: Sequence[Which],
    inputs: Mapping[Feature[Any], str] | Mapping[str, str] | None,
    known_as_of: str | None,
    include_states: bool,
) -> TrainingSet:
    """Builds a training set.

    `known_as_of` is a column of the spine or `latest`.
    """
    table = to_table(spine)
    columns = {path_of(which): column for which, column in (inputs or {}).items()}
    for name in (as_of, *columns.values()):
        require_column(table, name, "the spine")
    refuse_naive(
        table, {as_of, known_as_of or as_of, *columns.values(), *(n for n in table.column_names if "." in n)}
    )
    json: dict[str, Any] = {"features": [path_of(which) for which in features], "as_of": as_of}
    if columns:
        json["inputs"] = columns
    if known_as_of is not None:
        if known_as_of != "latest":
            require_column(table, known_as_of, "the spine")
        json["known_as_of"] = "latest" if known_as_of == "latest" else {"column": known_as_of}
    if include_states:
        json["states"] = True
    return TrainingSet(json, table)


@dataclass(frozen=True, slots=True)
class Load:
    """A load of facts: its JSON without the entity, and its rows."""

    entity: str
    json: dict[str, Any]
    table: pa.Table


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """How the rows of a load are read; see `Queries.ingest`."""

    event_time: str | datetime | None = None
    arrival: str | timedelta | None = None
    event_id: str | None = None
    source: str | None = None
    zone: str | None = None
    retract: str | None = None
    columns: Mapping[Feature[Any], str] | None = None


def load(entity: type, frame: Frame, options: LoadOptions) -> Load:
    """Builds a load.

    Without `event_time` it is the entity's own feature of that role.
    """
    info = entity_info(entity)
    if info is None:
        raise problem_here("request/not-an-entity", f"`{getattr(entity, '__name__', entity)}` is no entity")
    table = to_table(frame)
    columns = {_own_feature(entity, feature): column for feature, column in (options.columns or {}).items()}
    event_time, arrival = options.event_time, options.arrival
    if event_time is None:
        own = event_time_column(entity)
        if own is None:
            raise problem_here(
                "ingest/no-event-time",
                f"`{entity.__name__}` has no `event_time()` feature",
                "say when the facts were true: `event_time=` a column, or one datetime for all",
            )
        event_time = columns.get(own, own)
    json: dict[str, Any] = {}
    if isinstance(event_time, datetime):
        json["event_time"] = {"constant": instant_text(event_time, "`event_time`")}
    else:
        require_column(table, event_time, "the frame")
        json["event_time"] = {"column": event_time}
    if isinstance(arrival, timedelta):
        json["arrival"] = {"delay": span_text(arrival)}
    elif arrival is not None:
        require_column(table, arrival, "the frame")
        json["arrival"] = {"column": arrival}
    for name in ("event_id", "source", "zone", "retract"):
        if value := getattr(options, name):
            json[name] = value
    for column in (options.event_id, options.retract, *columns.values()):
        if column is not None:
            require_column(table, column, "the frame")
    if columns:
        json["columns"] = columns
    if options.zone is None:
        refuse_naive(table, table.column_names)
    return Load(entity.__name__, json, table)


def _own_feature(entity: type, feature: Feature[Any]) -> str:
    if feature._member.entity is not entity or feature._path is not None:
        raise problem_here(
            "ingest/other-feature",
            f"`columns` names a column for `{feature}`, which is not a feature of `{entity.__name__}`",
            f"map features of `{entity.__name__}` itself",
        )
    return feature._member.name


def read_explanation(json: Mapping[str, Any]) -> Explanation:
    """The answer to an explain: with a form for people under `text`, or the plan alone."""
    text = json.get("text")
    return Explanation(text if isinstance(text, str) else dumps(json, indent=2), json)


def event_time_column(entity: type) -> str | None:
    """Name of the entity's feature that says when a fact was true."""
    info = entity_info(entity)
    for name, member in (info.members if info else {}).items():
        if isinstance(member, Feature) and member._member.role == "event_time":
            return name
    return None
