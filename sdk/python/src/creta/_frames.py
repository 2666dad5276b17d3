"""Tables in and out: pandas, polars, pyarrow, and anything else with `__arrow_c_stream__`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

from creta._errors import problem_here
from creta._guards import is_table
from creta._lazy import pyarrow
from creta._time import naive

if TYPE_CHECKING:
    import pyarrow as pa


@runtime_checkable
class ArrowStream(Protocol):
    """Anything that hands out its rows as an Arrow C stream: tables of pandas, polars, pyarrow, DuckDB."""

    def __arrow_c_stream__(self, requested_schema: object | None = None, /) -> object: ...


Frame = ArrowStream | Mapping[str, Any]
"""A table, or lists by column name."""


def to_table(frame: Frame) -> pa.Table:
    """A frame as an Arrow table, without copying where possible. The index of pandas is left behind."""
    arrow = pyarrow()
    given: Any = frame
    table: pa.Table
    if isinstance(given, arrow.Table):
        table = given
    elif isinstance(given, arrow.RecordBatch):
        table = arrow.Table.from_batches([given])
    elif type(given).__module__.partition(".")[0] == "pandas":
        table = arrow.Table.from_pandas(given, preserve_index=False).replace_schema_metadata(None)
    elif is_table(given):
        table = arrow.table(dict(given))
    elif hasattr(given, "__arrow_c_stream__"):
        table = arrow.table(given)
    else:
        raise problem_here(
            "frame/unknown",
            f"a `{type(given).__name__}` is no table",
            "give a frame of pandas, polars or pyarrow, or a dictionary of lists",
        )
    return table


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
