"""Tables in and out: pandas, polars, pyarrow, and anything else with `__arrow_c_stream__`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

from creta._errors import CretaError, problem_here
from creta._foreign import bad_column, is_nan, package_of, uniform
from creta._guards import is_items, is_table
from creta._lazy import module, pyarrow
from creta._time import naive, parse_instant

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


@runtime_checkable
class ArrowStream(Protocol):
    """Anything that hands out its rows as an Arrow C stream: tables of pandas, polars, pyarrow, DuckDB."""

    def __arrow_c_stream__(self, requested_schema: object | None = None, /) -> object: ...


Frame = ArrowStream | Mapping[str, Any]
"""A table, or lists by column name."""


def to_table(frame: Frame) -> pa.Table:
    """A frame as an Arrow table, without copying where possible. The index of pandas is left behind.

    Python values, in lists and in `object` columns of pandas, are read without guessing: see `uniform`.
    """
    arrow = pyarrow()
    given: Any = frame
    if isinstance(given, arrow.Table):
        table = given
    elif isinstance(given, arrow.RecordBatch):
        table = arrow.Table.from_batches([given])
    elif package_of(given) == "pandas" and hasattr(given, "columns"):
        names = [str(name) for name in given.columns]
        table = _table(names, [given.iloc[:, place] for place in range(len(names))])
    elif is_table(given):
        table = _table([str(name) for name in given], list(given.values()))
    elif hasattr(given, "__arrow_c_stream__"):
        try:
            table = arrow.table(given)
        except arrow.ArrowInvalid:  # A stream of one column.
            raise _no_table(given) from None
    else:
        raise _no_table(given)
    twice = sorted(name for name in set(table.column_names) if table.column_names.count(name) > 1)
    if twice:
        raise problem_here(
            "frame/two-columns", f"there are several columns called `{twice[0]}`", "give each its own name"
        )
    made: pa.Table = table
    return made


class Cursor(Protocol):
    """A cursor of Python's database interface (PEP 249)."""

    @property
    def description(self) -> Any: ...
    def execute(self, operation: str, parameters: Any = ..., /) -> Any: ...
    def fetchall(self) -> Any: ...
    def close(self) -> Any: ...


class Connection(Protocol):
    """A connection of Python's database interface (PEP 249): sqlite3, psycopg, ADBC, DuckDB and others."""

    def cursor(self) -> Any: ...


def from_sql(
    connection: Connection, query: str, parameters: Sequence[Any] = (), *, instants: Sequence[str] = ()
) -> pa.Table:
    """The answer of a database to a query, as a table: a spine, for example.

    Values go in `parameters`, never into the text of the query. Databases that answer in Arrow (ADBC,
    DuckDB) are read without a copy. `instants` are columns of text that hold instants with a zone, as SQLite
    has them: `2025-03-01T12:00:00Z`.
    """
    cursor: Cursor = connection.cursor()
    try:
        cursor.execute(query, parameters)
        if cursor.description is None:
            raise problem_here(
                "frame/no-rows", "the query answers with no table", "ask with `SELECT`; nothing else is read"
            )
        in_arrow: Any = getattr(cursor, "fetch_arrow_table", None)
        if in_arrow is not None:
            table = to_table(in_arrow())
        else:
            names = [str(column[0]) for column in cursor.description]
            rows: Any = cursor.fetchall()
            if len(set(names)) < len(names):
                twice = next(name for name in names if names.count(name) > 1)
                raise problem_here(
                    "frame/two-columns", f"there are several columns called `{twice}`", "rename with `AS`"
                )
            table = _table(names, [[row[place] for row in rows] for place in range(len(names))])
    finally:
        cursor.close()
    for name in instants:
        require_column(table, name, "the answer")
        table = _with_instants(table, name)
    return table


def _with_instants(table: pa.Table, name: str) -> pa.Table:
    arrow = pyarrow()
    given: Any = table
    place: int = given.schema.get_field_index(name)
    if not arrow.types.is_string(given.schema.field(place).type):
        return table
    try:
        texts: list[str | None] = given.column(place).to_pylist()
        parsed = [None if text is None else parse_instant(text) for text in texts]
    except ValueError:
        raise problem_here(
            "time/no-instant",
            f"column `{name}` has a text that is no instant with a zone",
            "write instants like `2025-03-01T12:00:00Z`",
        ) from None
    made: pa.Table = given.set_column(place, name, arrow.array(parsed, arrow.timestamp("us", tz="UTC")))
    return made


def _no_table(given: Any) -> CretaError:
    lazy = hasattr(given, "collect") and package_of(given) == "polars"
    return problem_here(
        "frame/unknown",
        f"a `{type(given).__name__}` is no table",
        "call `.collect()` on it"
        if lazy
        else "give a frame of pandas, polars or pyarrow, or a dictionary of lists",
    )


def _table(names: list[str], columns: list[Any]) -> Any:
    arrays = [_column(name, values) for name, values in zip(names, columns, strict=True)]
    lengths = [len(array) for array in arrays]
    for name, length in zip(names, lengths, strict=True):
        if length != lengths[0]:
            raise problem_here(
                "frame/other-length", f"column `{name}` has {length} rows, and `{names[0]}` has {lengths[0]}"
            )
    return pyarrow().Table.from_arrays(arrays, names=names)


def _column(name: str, values: Any) -> Any:
    arrow = pyarrow()
    try:
        return to_array(values, f"column `{name}`")
    except (arrow.ArrowException, TypeError, ValueError, OverflowError, AttributeError):
        raise bad_column(name) from None


def to_array(values: Any, what: str) -> Any:
    """A column as an Arrow array.

    In pandas NaN is how a missing value is written: it becomes null. `TypeError`, `ValueError`,
    `OverflowError` or an exception of Arrow where it cannot be read.
    """
    arrow = pyarrow()
    package = package_of(values)
    if package == "pandas":
        if str(values.dtype) != "object":
            return arrow.Array.from_pandas(values)
        items = (None if is_nan(item) else item for item in values.tolist())
        return arrow.array(uniform(items, what))
    if package == "polars":
        return values.to_arrow()
    if is_items(values) or (package == "numpy" and values.dtype.kind == "O"):
        return arrow.array(uniform(values, what))
    return arrow.array(values)


def refuse_naive(table: pa.Table, columns: Iterable[str]) -> None:
    """Refuses columns of datetimes without a zone (rule S15)."""
    arrow = pyarrow()

    for name in columns:
        index = table.schema.get_field_index(name)
        if index >= 0:
            kind: Any = cast("Any", table.schema).field(index).type
            if arrow.types.is_timestamp(kind) and kind.tz is None:
                raise naive(f"column `{name}`")


def require_column(table: pa.Table, name: str, what: str) -> None:
    """Refuses a table without a column it needs."""
    if name not in table.column_names:
        shown = ", ".join(f"`{column}`" for column in table.column_names)
        raise problem_here("frame/no-column", f"{what} has no column `{name}`", f"its columns are {shown}")


def to_pandas(table: pa.Table) -> pd.DataFrame:
    """A table as a frame of pandas that loses nothing: see `to_series`."""
    given: Any = table
    frame: Any = given.to_pandas(ignore_metadata=True)
    for place in range(given.num_columns):
        column = given.column(place)
        if not _is_lossless(column):
            frame.isetitem(place, to_series(column))
    made: pd.DataFrame = frame
    return made


def to_series(column: Any, always_nullable: bool = False) -> Any:
    """A column as a series of pandas.

    Ints and truth values with gaps, of which pandas would make floats and objects, come as its nullable types
    (`Int64`, `boolean`), with `always_nullable` also without gaps; lists and structs that hold such gaps or
    instants as Python's own values.
    """
    arrow = pyarrow()
    kind = column.type
    if arrow.types.is_nested(kind) and not _is_lossless(column):
        return module("pandas").Series(column.to_pylist(), dtype="object")
    if _has_nullable(kind) and (always_nullable or column.null_count):
        return column.to_pandas(types_mapper=_nullable)
    return column.to_pandas()


def _has_nullable(kind: Any) -> bool:
    arrow = pyarrow()
    return bool(arrow.types.is_integer(kind) or arrow.types.is_boolean(kind))


def _nullable(kind: Any) -> Any:
    name = "boolean" if str(kind) == "bool" else str(kind).replace("uint", "UInt").replace("int", "Int")
    return module("pandas").api.types.pandas_dtype(name)


def _is_lossless(column: Any) -> bool:
    """Whether pandas keeps the values of a column, and those inside them, as they are."""
    arrow = pyarrow()
    kind = column.type
    if isinstance(column, arrow.ChunkedArray):
        return all(map(_is_lossless, column.chunks))
    if not arrow.types.is_nested(kind):
        return not (_has_nullable(kind) and column.null_count)
    parts = column.flatten() if arrow.types.is_struct(kind) else [column.flatten()]
    return all(_is_lossless(part) and not arrow.types.is_timestamp(part.type) for part in parts)
