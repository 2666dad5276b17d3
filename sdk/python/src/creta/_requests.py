"""Requests as the JSON that server and embedded engine share."""

from __future__ import annotations

import base64
import enum
import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
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
from creta._foreign import is_missing, is_nan, is_struct, listed, plain
from creta._frames import Frame, refuse_naive, require_column, to_table
from creta._guards import is_feature, is_table, is_windowed, untyped
from creta._source import NamedQuery
from creta._time import instant_text, span_text
from creta._types import TypeSpec

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
    if is_feature(which) and (named := which._named()) is not None:
        return named
    if is_windowed(which):
        raise problem_here(
            "definition/no-window", f"`{which}` is one value per window", f"choose one: `{which}[days(1)]`"
        )
    raise problem_here(
        "request/not-a-feature", f"a `{type(which).__name__}` is no feature", "write `Entity.feature`"
    )


_PLAIN = frozenset({bool, int, str, type(None)})
"""Types whose values are never several, and the same in JSON."""


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
    given: Any = inputs
    if not is_table(given):
        raise problem_here(
            "request/bad-value",
            f"the inputs are a `{type(given).__name__}`",
            "give a dictionary of what is known: `{Entity.key: 7}`",
        )
    _require_features(outputs, "the outputs")
    once: dict[str, Any] = {}
    several: dict[str, list[Any]] = {}
    for which, value in inputs.items():
        path = path_of(which)
        if path in once or path in several:
            raise problem_here("request/twice", f"`{path}` is given twice", "give it once")
        if type(value) in _PLAIN:
            once[path] = value
            continue
        spec = member_type(which._member)[0] if is_feature(which) else None
        if _is_many(spec, value, path):
            several[path] = _input_json(spec, listed(value), path)
        else:
            once[path] = _input_json(spec, [value], path)[0]
    per_row = [len(items) for items in several.values()]
    per_row += [len(listed(at)) for at in (as_of, known_as_of) if _is_several(at)]
    single, rows = not per_row, per_row[0] if per_row else 1
    json: dict[str, Any] = {"inputs": several | {path: [value] * rows for path, value in once.items()}}
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


def _require_features(features: Any, what: str) -> None:
    if is_feature(features) or is_windowed(features):
        raise problem_here("request/bad-value", f"{what} are one feature", f"give a list: `[{features}]`")


def _put_max_age(json: dict[str, Any], max_age: MaxAge | None) -> None:
    if max_age:
        json["max_age"] = {path_of(which): span_text(limit) for which, limit in max_age.items()}


def _is_many(spec: TypeSpec | None, value: Any, path: str) -> bool:
    """Whether a value stands for several rows rather than being one list."""
    if isinstance(value, str | bytes | bytearray | memoryview) or is_struct(value):
        return False
    if not hasattr(value, "__len__") or getattr(value, "ndim", 1) == 0:
        return False
    if isinstance(value, AbstractSet) or hasattr(value, "columns"):
        kind = type(value).__name__  # pyright: ignore[reportUnknownArgumentType]
        raise problem_here(
            "request/bad-value",
            f"the values of `{path}` are a `{kind}`, which has no order of rows",
            "give a list, an array or a series",
        )
    depth = _depth_of_type(spec)
    return depth == 0 or _depth(value) > depth


def _depth_of_type(spec: TypeSpec | None) -> int:
    if spec is None or spec.kind not in ("list", "vector"):
        return 0
    return 1 + _depth_of_type(spec.item)


def _depth(value: Any) -> int:
    """How deeply lists are nested, by the first item that is there."""
    if isinstance(value, str | bytes | bytearray | memoryview) or is_struct(value):
        return 0
    if not hasattr(value, "__len__") or getattr(value, "ndim", 1) == 0:
        return 0
    first = next((item for item in listed(value) if item is not None), None)
    return 1 + _depth(first)


def _input_json(spec: TypeSpec | None, items: list[Any], path: str) -> list[Any]:
    """The JSON of values of one feature, whose type is known where itself was given and not its path."""
    if spec is None:
        _refuse_ambiguous(items, path)
    return [item if type(item) in _PLAIN else _json(item, path, spec) for item in items]


def _refuse_ambiguous(items: list[Any], path: str) -> None:
    """JSON has no NaN: it is written as a text, which it would be where the feature is one."""
    numbers = [float(item) for item in items if hasattr(item, "__float__") and not isinstance(item, str)]
    if any(not math.isfinite(number) for number in numbers) and not any(map(math.isfinite, numbers)):
        raise problem_here(
            "request/bad-value",
            f"whether `NaN` of `{path}` is a number or a text cannot be told from its path",
            f"give the feature itself, `{path}` without quotes; where there is no value, give `None`",
        )


def _json(value: Any, path: str, spec: TypeSpec | None) -> Any:
    """The JSON form by what a value is; the engine checks it against the schema (rule S20).

    What JSON writes as a text or a number though it is neither is checked here.
    """
    what = f"the value of `{path}`"
    value = plain(value, what)
    if is_missing(value):
        return None
    if isinstance(value, bool | int | str) and not isinstance(value, enum.Enum):
        return value
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        _require(spec, ("float", "vector"), "`NaN` or an infinite number", path)
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, bytes | bytearray | memoryview):
        _require(spec, ("bytes",), "bytes", path)
        return base64.b64encode(bytes(untyped(value))).decode()  # pyright: ignore[reportUnknownArgumentType]
    if isinstance(value, Decimal):
        _require(spec, ("decimal",), "a Decimal", path)
        return format(value, "f")
    if isinstance(value, datetime):
        _require(spec, ("datetime",), "a datetime", path)
        return instant_text(value, what)
    if isinstance(value, date):
        _require(spec, ("date",), "a date", path)
        return value.isoformat()
    if isinstance(value, timedelta):
        _require(spec, ("timedelta",), "a timedelta", path)
        return value // timedelta(microseconds=1)
    return _nested_json(value, path, spec)


def _nested_json(value: Any, path: str, spec: TypeSpec | None) -> Any:
    members = {name: field for name, field, _ in spec.fields} if spec is not None else {}
    if is_table(value):
        return {str(name): _json(item, path, members.get(str(name))) for name, item in value.items()}
    if is_dataclass(value):
        return {f.name: _json(getattr(value, f.name), path, members.get(f.name)) for f in fields(value)}
    if hasattr(value, "model_fields"):
        model = untyped(type(value))  # pyright: ignore[reportUnknownArgumentType]
        return {name: _json(getattr(value, name), path, members.get(name)) for name in model.model_fields}
    if isinstance(value, Sequence) or hasattr(value, "tolist"):
        inner = TypeSpec("float") if spec is not None and spec.kind == "vector" else spec and spec.item
        return [_json(item, path, inner) for item in listed(value)]
    raise problem_here(
        "request/bad-value", f"the value of `{path}` is a `{type(value).__name__}`, which no feature is"
    )


def _require(spec: TypeSpec | None, kinds: tuple[str, ...], got: str, path: str) -> None:
    if spec is not None and spec.kind not in kinds:
        raise problem_here(
            "value/wrong-type",
            f"`{path}`: expected {spec}, got {got}",
            f"its type is `{spec}`; give a value of that type, or `None` where there is none",
        )


def _is_several(at: Any) -> bool:
    """Whether an instant is given for each row."""
    return not isinstance(at, datetime | str) and hasattr(at, "__len__")


def _instants(at: Any, what: str) -> Any:
    if _is_several(at):
        return [_instant(one, f"{what} in row {row}") for row, one in enumerate(listed(at))]
    return _instant(at, what)


def _instant(at: Any, what: str) -> str:
    at = plain(at, what)
    if isinstance(at, str):
        return at
    if isinstance(at, datetime) and not is_missing(at):
        return instant_text(at, what)
    found = "missing" if is_missing(at) or is_nan(at) else f"a `{type(at).__name__}`, which is no instant"
    raise problem_here(
        "time/no-instant",
        f"{what} is {found}",
        "give a datetime with a time zone: `datetime(2025, 3, 1, 12, tzinfo=timezone.utc)`",
    )


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """A training set: its JSON and its spine, with naive datetimes already refused."""

    json: dict[str, Any]
    spine: pa.Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which rows and columns a training set has; see `Queries.training_set`."""

    include_states: bool = False
    sample: float | None = None
    seed: int = 0
    required: Sequence[Which] = ()


def training_set(
    spine: Frame,
    as_of: str,
    features: Sequence[Which],
    inputs: Mapping[Feature[Any], str] | Mapping[str, str] | None,
    known_as_of: str | None,
    rows: Selection | None = None,
) -> TrainingSet:
    """Builds a training set.

    `known_as_of` is a column of the spine or `latest`.
    """
    selection = rows or Selection()
    _require_features(features, "the features")
    if isinstance(features, str):
        raise problem_here("request/bad-value", "the features are one text", f"give a list: `['{features}']`")
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
    if selection.include_states:
        json["states"] = True
    if selection.sample is not None:
        json["sample"] = _sample(selection.sample, selection.seed)
    if selection.required:
        _require_features(selection.required, "the required features")
        json["required"] = [path_of(which) for which in selection.required]
    return TrainingSet(json, table)


def _sample(sample: Any, seed: int) -> dict[str, Any]:
    if isinstance(sample, int) and not isinstance(sample, bool) and sample >= 0:
        return {"rows": sample, "seed": seed}
    if isinstance(sample, float) and 0 < sample <= 1:
        return {"share": sample, "seed": seed}
    raise problem_here(
        "request/bad-sample",
        "a sample is a number of rows, or a share of them above 0 and at most 1",
        "write `sample=10_000` or `sample=0.1`",
    )


def labels(given: Mapping[str, Which | None] | Sequence[str], spine: pa.Table) -> dict[str, str | None]:
    """Columns that are to be learned, each with the path of its feature, if it is one."""
    if isinstance(given, str):
        raise problem_here("request/bad-value", "the labels are one text", f"give a list: `['{given}']`")
    features: dict[str, Which | None] = dict(given) if is_table(given) else dict.fromkeys(given)
    for name in features:
        require_column(spine, name, "the spine")
    return {name: None if which is None else path_of(which) for name, which in features.items()}


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
    idempotency_key: str | None = None


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
    for name in ("event_id", "source", "zone", "retract", "idempotency_key"):
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


def _own_feature(entity: type, feature: Any) -> str:
    if not is_feature(feature):
        raise problem_here(
            "ingest/other-feature",
            f"`columns` maps a `{type(feature).__name__}`, which is no feature",
            f"write features of `{entity.__name__}` without quotes",
        )
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
