"""Answers: cells, rows, and the reports of loads and checks."""

from __future__ import annotations

import enum
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from html import escape
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, overload

from creta._errors import CretaError, problem_here
from creta._expression import member_type
from creta._feature import Feature
from creta._frames import to_pandas
from creta._lazy import module, pyarrow
from creta._profile import Profile, of_table, page
from creta._time import parse_instant
from creta._types import TypeSpec
from creta._values import from_json, to_python

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

State = Literal["value", "null", "missing", "expired", "error", "denied"]

_ABSENT = {
    "missing": "was never observed, or its window is empty",
    "expired": "is older than its `max_age`",
    "denied": "may not be seen by you",
}


@dataclass(frozen=True, slots=True)
class CellProblem:
    """Why a cell is an error.

    Never holds a feature value.
    """

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Cell(Generic[T_co]):
    """One answer: a value, or the reason why there is none (rule S12)."""

    feature: str
    state: State
    raw: T_co | None
    """The value, `None` where there is none."""

    age: timedelta | None
    """How old a stored value is at the row's instant; `None` for computed ones."""

    source: str
    """`facts`, `given`, `window`, `expression` or `resolver:<name>`."""

    error: CellProblem | None

    @property
    def value(self) -> T_co:
        """The value, `None` for an observed null.

        Where there is neither, an error that says why; see `get`.
        """
        if self.state == "value" or self.state == "null":
            return self.raw  # type: ignore[return-value]  # pyright: ignore[reportReturnType]
        if self.error is not None:
            raise problem_here(self.error.code, f"`{self.feature}` has no value: {self.error.message}")
        raise problem_here(
            f"cell/{self.state}",
            f"`{self.feature}` {_ABSENT.get(self.state, self.state)}",
            "read `.get(default)` where that is expected, or look at `.state`",
        )

    @overload
    def get(self) -> T_co | None: ...
    @overload
    def get(self, default: T) -> T_co | T: ...
    def get(self, default: Any = None) -> Any:
        """The value, or `default` where there is none."""
        return self.raw if self.state == "value" else default

    def __bool__(self) -> bool:
        raise problem_here(
            "cell/no-truth", "a cell is neither true nor false", "look at `.value` or `.state`"
        )


@dataclass(slots=True)
class _Column:
    """One feature of an answer as it came."""

    path: str
    spec: TypeSpec | None
    values: list[Any]
    states: dict[int, State]
    ages: list[int | None] | None
    source: str
    errors: dict[int, CellProblem]

    def cell(self, row: int) -> Cell[Any]:
        age = (
            None
            if self.ages is None or self.ages[row] is None
            else timedelta(microseconds=self.ages[row] or 0)
        )
        state = self.states.get(row, "value")
        return Cell(self.path, state, self.values[row], age, self.source, self.errors.get(row))


class _Columns:
    """The columns of an answer, each read when somebody looks at it."""

    __slots__ = ("_asked", "_positions", "_read", "json")

    def __init__(self, json: Sequence[Mapping[str, Any]], asked: Sequence[Feature[Any] | str]) -> None:
        self.json = json
        self._asked = asked
        self._positions: dict[str, int] | None = None
        self._read: dict[str, _Column] = {}

    def find(self, path: str) -> _Column | None:
        column = self._read.get(path)
        if column is None:
            if self._positions is None:
                self._positions = {column["feature"]: at for at, column in enumerate(self.json)}
            at = self._positions.get(path)
            if at is None:
                return None
            column = self._read[path] = _column(self.json[at], self._feature(path, at))
        return column

    def _feature(self, path: str, at: int) -> Feature[Any] | None:
        """What was asked for by reference: it knows the user's own classes."""
        usual = self._asked[at : at + 1]
        for feature in (*usual, *self._asked):
            if isinstance(feature, Feature) and str(feature) == path:
                return feature
        return None


def _column(json: Mapping[str, Any], feature: Feature[Any] | None) -> _Column:
    values: list[Any] = json["values"]
    spec = _type_in_words(json["type"], values) if feature is None else member_type(feature._member)[0]
    if spec is not None and spec.kind not in _AS_THEY_COME:
        values = _read_values(json["feature"], spec, values)
    states: dict[int, State] = {int(row): state for row, state in json.get("states", {}).items()}
    errors = {int(r): CellProblem(e["code"], e["message"]) for r, e in json.get("errors", {}).items()}
    return _Column(json["feature"], spec, values, states, json.get("ages_us"), json["source"], errors)


@dataclass(frozen=True, slots=True)
class Rows:
    """The answer to a query of several rows, in the order they were asked.

    `rows[i]` is a `Row`.
    """

    as_of: tuple[datetime, ...]
    plan: str
    """Fingerprint of the plan that ran."""

    _columns: _Columns = field(repr=False)

    known_to: datetime | None = None
    """Where an `as_of` lies after the present and `known_as_of` was left out: the present.

    Rows of later instants were answered by what had arrived until then; this as `known_as_of` gives the same
    again, in a training set too.
    """

    def __len__(self) -> int:
        return len(self.as_of)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: Feature[T]) -> list[Cell[T]]: ...
    @overload
    def __getitem__(self, index: str) -> list[Cell[Any]]: ...
    def __getitem__(self, index: Any) -> Any:
        if hasattr(index, "__index__"):  # An int, of numpy too.
            return Row(self, range(len(self))[int(index)])
        column = self._column(index)
        return [column.cell(row) for row in range(len(self))]

    def __iter__(self) -> Iterator[Row]:
        return (Row(self, row) for row in range(len(self)))

    @property
    def features(self) -> tuple[str, ...]:
        """Paths of the features, in the order they were asked."""
        return tuple(column["feature"] for column in self._columns.json)

    def _column(self, which: Any) -> _Column:
        path = str(which)
        column = self._columns.find(path)
        if column is not None:
            return column
        shown = ", ".join(f"`{name}`" for name in self.features)
        raise problem_here("answer/not-asked", f"`{path}` was not asked for", f"the answer has {shown}")

    def to_arrow(self) -> pa.Table:
        """One column per feature, null where there is no value, and the instant in `as_of`."""
        arrow = pyarrow()

        from creta._batches import arrow_type, to_arrow
        from creta._values import checked

        data: dict[str, Any] = {"as_of": arrow.array(self.as_of, arrow.timestamp("us", tz="UTC"))}
        for column in map(self._column, self.features):
            if column.spec is None:
                data[column.path] = arrow.array(column.values)
            elif arrow_type(column.spec) is not None:
                plain = [None if v is None else checked(column.spec, v) for v in column.values]
                data[column.path] = to_arrow(column.spec, plain)
        made: pa.Table = arrow.table(data)
        return made

    def to_polars(self) -> pl.DataFrame:
        """See `to_arrow`."""
        return _polars(self.to_arrow())

    def to_pandas(self) -> pd.DataFrame:
        """See `to_arrow`."""
        return _pandas(self.to_arrow())

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{escape(name)}</th>" for name in ("as_of", *self.features))
        body = "".join(
            f"<tr><td>{row.as_of.isoformat()}</td>"
            f"{''.join(_cell_html(row[name]) for name in self.features)}</tr>"
            for row in list(self)[:20]
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


@dataclass(frozen=True, slots=True)
class Row:
    """The answer for one row: `row[Flight.risk].value`."""

    _rows: Rows = field(repr=False)
    _index: int = field(repr=False)

    @overload
    def __getitem__(self, feature: Feature[T]) -> Cell[T]: ...
    @overload
    def __getitem__(self, feature: str) -> Cell[Any]: ...
    def __getitem__(self, feature: Any) -> Any:
        return self._rows._column(feature).cell(self._index)

    @property
    def as_of(self) -> datetime:
        """The instant of the row, in UTC."""
        return self._rows.as_of[self._index]

    @property
    def known_to(self) -> datetime | None:
        """See `Rows.known_to`; `None` where the instant of this row is past."""
        known_to = self._rows.known_to
        return known_to if known_to is not None and known_to < self.as_of else None

    @property
    def plan(self) -> str:
        """Fingerprint of the plan that ran."""
        return self._rows.plan

    @property
    def features(self) -> tuple[str, ...]:
        """Paths of the features, in the order they were asked."""
        return self._rows.features

    def to_dict(self) -> dict[str, Any]:
        """Values by path, `None` where there is none."""
        return {name: self[name].raw for name in self.features}

    def __repr__(self) -> str:
        cells = (self[name] for name in self.features)
        shown = ", ".join(
            f"{c.feature}={c.raw!r}" if c.state == "value" else f"{c.feature}: {c.state}" for c in cells
        )
        return f"<Row as of {self.as_of.isoformat()}: {shown}>"

    def _repr_html_(self) -> str:
        lines = "".join(
            f"<tr><th>{escape(name)}</th>{_cell_html(self[name])}<td>{escape(self[name].source)}</td></tr>"
            for name in self.features
        )
        return f"<table><caption>as of {self.as_of.isoformat()}</caption><tbody>{lines}</tbody></table>"


def _cell_html(cell: Cell[Any]) -> str:
    if cell.state == "value":
        shown = cell.raw.value if isinstance(cell.raw, enum.Enum) else cell.raw
        return f"<td>{escape(str(shown))}</td>"
    why = cell.error.message if cell.error else _ABSENT.get(cell.state, "null was observed")
    return f'<td title="{escape(why)}"><em>{escape(cell.state)}</em></td>'


@dataclass(frozen=True, slots=True)
class Dataset:
    """A training set: the rows of the spine with a column per feature, in the spine's order."""

    table: pa.Table = field(repr=False)
    features: tuple[str, ...]
    seconds: float
    """How long it took."""

    name: str | None = None
    """`name@version` of what is kept; `None` for a training set that was built and not kept."""

    def __len__(self) -> int:
        rows: int = self.table.num_rows
        return rows

    @property
    def dropped(self) -> int:
        """Rows that were left out since a required feature has no value in them."""
        return rows_dropped(self.table)

    @property
    def floored(self) -> int:
        """Times of the spine that were finer than a microsecond and lost these digits (rule S17)."""
        return int(_said(self.table, b"creta.times-floored", b"0"))

    @property
    def known_as_of(self) -> str:
        """Until when facts counted (rule S1): `as_of`, `latest`, or `column` for one of the spine's."""
        return _said(self.table, b"creta.known_as_of", b"").decode()

    @property
    def plan(self) -> str:
        """Fingerprint of the plan that was run."""
        return _said(self.table, b"creta.plan", b"").decode()

    @property
    def position(self) -> int | None:
        """Position in the log of facts: those after it did not count."""
        said = _said(self.table, b"creta.position", b"")
        return int(said) if said else None

    @property
    def entry(self) -> int | None:
        """The entry of the server's audit log with the permit that it was built under (rule S30)."""
        said = _said(self.table, b"creta.entry", b"")
        return int(said) if said else None

    def to_arrow(self) -> pa.Table:
        """As it is, without a copy."""
        return self.table

    def to_polars(self) -> pl.DataFrame:
        """As a frame of polars."""
        return _polars(self.table)

    def to_pandas(self) -> pd.DataFrame:
        """As a frame of pandas."""
        return _pandas(self.table)

    def write_parquet(self, path: str | os.PathLike[str]) -> None:
        """Writes one Parquet file.

        A file that was there stays until the new one is whole.
        """
        from creta._local import native_module

        native_module().write_parquet(self.table, os.fspath(path))

    def __arrow_c_stream__(self, requested_schema: object | None = None, /) -> object:
        table: Any = self.table
        stream: object = table.__arrow_c_stream__(requested_schema)
        return stream

    def profile(self, preview: int = 5) -> Profile:
        """Figures of the columns, and the first rows."""
        return of_table(self.table, self.features, self.name or "training set", preview)

    def __repr__(self) -> str:
        name = f"{self.name}, " if self.name else ""
        return (
            f"<Dataset {name}of {len(self):,} rows and {len(self.features)} features in {self.seconds:.2f} s>"
        )

    def _repr_html_(self) -> str:
        return page(self.profile())


def rows_dropped(table: pa.Table) -> int:
    """Rows of a training set that were left out, as its metadata says."""
    return int(_said(table, b"creta.rows-dropped", b"0"))


def _said(table: pa.Table, key: bytes, otherwise: bytes) -> bytes:
    schema: Any = table.schema
    metadata: Mapping[bytes, bytes] = schema.metadata or {}
    return metadata.get(key, otherwise)


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What became of a load."""

    rows: int
    accepted: int
    """Stored, and visible unless a warning says that they are not yet."""

    quarantined: int
    """From the future: stored apart, never served (rule S18)."""

    floored: int
    """With times finer than a microsecond (rule S17)."""

    ignored_columns: tuple[str, ...]
    """No features, so not stored."""

    warnings: tuple[str, ...]

    @classmethod
    def from_json(cls, json: Mapping[str, Any]) -> IngestReport:
        """Reads the answer of an ingest."""
        return cls(
            json["rows"],
            json["accepted"],
            json["quarantined"],
            json["floored"],
            tuple(json["ignored_columns"]),
            tuple(json["warnings"]),
        )


@dataclass(frozen=True, slots=True)
class Leak:
    """Something by which a model might learn what it cannot know later."""

    kind: str
    """`label-given`, `label-visible`, `same-as-label`, `restated`, `not-judged` or `late-facts`."""

    feature: str
    certain: bool
    """Otherwise it is worth a look."""

    rows: int | None
    """Rows concerned, where they are counted."""

    message: str
    json: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class LeakageReport:
    """What a look for leaks found.

    `print` it. Never holds a feature value.
    """

    rows: int
    findings: tuple[Leak, ...]
    """The worst first; none is how it should be."""

    @property
    def certain(self) -> bool:
        """Whether any leak is certain."""
        return any(leak.certain for leak in self.findings)

    @classmethod
    def from_json(cls, json: Mapping[str, Any]) -> LeakageReport:
        """Reads the answer of an audit."""
        leaks = (
            Leak(one["leak"], one["feature"], one["certain"], one.get("rows"), one["says"], one)
            for one in json["findings"]
        )
        return cls(json["rows"], tuple(leaks))

    def __str__(self) -> str:
        lines = [f"{'leak' if leak.certain else 'look'}  {leak.message}" for leak in self.findings]
        return "\n".join(lines) or f"{self.rows:,} rows looked at: no leak found"


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a query is answered.

    `print` it.
    """

    text: str
    json: Mapping[str, Any] = field(repr=False)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """Online compared with offline answers."""

    compared: int
    differences: int
    planted_fault_seen: bool
    """A run in which the fault planted in a copy was not noticed proves nothing."""

    facts: int
    seconds: float
    examples: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether the run was able to see a difference, and saw none."""
        return self.planted_fault_seen and self.compared > 0 and self.differences == 0

    @classmethod
    def from_json(cls, json: Mapping[str, Any]) -> VerifyReport:
        """Reads the answer of a verify."""
        return cls(
            json["compared"],
            json["differences"],
            json["planted_fault_seen"],
            json["facts"],
            json["seconds"],
            tuple(json["examples"]),
        )


_WORDS = {
    "bool": "bool", "int": "int", "float": "float", "str": "str", "bytes": "bytes", "Decimal": "decimal",
    "date": "date", "datetime": "datetime", "timedelta": "timedelta",
}  # fmt: skip


_AS_THEY_COME = frozenset({"bool", "int", "str"})
"""Kinds whose values are the same in JSON."""


def read_answer(json: Mapping[str, Any], asked: Sequence[Feature[Any] | str]) -> Rows:
    """Reads the answer to a query.

    Features asked for by reference come as the user's own classes.
    """
    as_of = tuple(parse_instant(at) for at in json["as_of"])
    known_to = json.get("known_to")
    known = None if known_to is None else parse_instant(known_to)
    return Rows(as_of, json["plan"], _Columns(json["columns"], asked), known)


def _read_values(path: str, spec: TypeSpec | None, values: list[Any]) -> list[Any]:
    """The values of a feature in the user's classes, which may be of other definitions than the answer."""
    if spec is None:
        return values
    try:
        return [to_python(spec, from_json(spec, value)) for value in values]
    except (ArithmeticError, LookupError, TypeError, ValueError):
        raise problem_here(
            "answer/other-definitions",
            f"the answer has values of `{path}` that its type `{spec}` here does not have",
            "bring these definitions and the deployed ones to the same state, or ask for the path as text",
        ) from None


def _type_in_words(text: str, values: Any) -> TypeSpec | None:
    """The type of a feature that was asked for by its path, as far as an answer says it.

    Decimals are written with all places they have; enums and structs stay as they came.
    """
    if text in _WORDS:
        places = [len(value.partition(".")[2]) for value in values if isinstance(value, str)]
        return TypeSpec(_WORDS[text], scale=max(places, default=0) if text == "Decimal" else 0)
    if text.startswith("list[") and text.endswith("]"):
        items = [item for value in values if value is not None for item in value]
        optional = text.endswith(" | None]")
        item = _type_in_words(text[5:-1].removesuffix(" | None"), items)
        return None if item is None else TypeSpec("list", item=item, item_optional=optional)
    if text.startswith("Vector["):
        return TypeSpec("vector", size=int(text[7:-1]))
    return None


def _polars(table: pa.Table) -> pl.DataFrame:
    try:
        import polars
    except ImportError:
        raise _not_installed("polars") from None
    frame: pl.DataFrame = polars.DataFrame(table)
    return frame


def _pandas(table: pa.Table) -> pd.DataFrame:
    try:
        module("pandas")
    except ImportError:
        raise _not_installed("pandas") from None
    return to_pandas(table)


def _not_installed(package: str) -> CretaError:
    return problem_here(
        "frame/not-installed", f"`{package}` is not installed", f"pip install 'creta[{package}]'"
    )
