"""Reads declared sources of a project folder, for the embedded engine."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

from creta._entity import entity_info
from creta._errors import CretaError
from creta._expression import member_type
from creta._feature import Feature
from creta._lazy import module, pyarrow
from creta._source import Source

if TYPE_CHECKING:
    import pyarrow as pa


def read_source(folder: Path, name: str, source: Source) -> pa.Table:
    """All rows of a source.

    Its path may not leave the project.
    """
    path = (folder / source.format.path).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise _unreadable(name, source, "the path leaves the project folder")
    if not path.is_file():
        raise _unreadable(name, source, "there is no such file")
    arrow = pyarrow()

    try:
        return _read(path, source)
    except (arrow.ArrowException, sqlite3.Error, OSError) as error:
        raise _unreadable(name, source, type(error).__name__) from error


def _read(path: Path, source: Source) -> pa.Table:
    arrow = pyarrow()
    table: pa.Table
    match source.format.name:
        case "parquet":
            table = module("pyarrow.parquet").read_table(path)
        case "csv":
            csv = module("pyarrow.csv")
            options = csv.ConvertOptions(column_types=_column_types(source), strings_can_be_null=True)
            table = csv.read_csv(path, convert_options=options)
        case "arrow":
            with arrow.memory_map(str(path)) as file:
                try:
                    table = arrow.ipc.open_file(file).read_all()
                except arrow.ArrowInvalid:
                    table = arrow.ipc.open_stream(file).read_all()
        case _:
            table = _read_sqlite(path, source)
    return table


def _read_sqlite(path: Path, source: Source) -> pa.Table:
    arrow = pyarrow()

    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    try:
        cursor = connection.execute(source.format.sql or "")
        names = [column[0] for column in cursor.description or ()]
        rows: list[Any] = cursor.fetchall()
    finally:
        connection.close()
    types = _column_types(source)
    columns = [arrow.array([row[n] for row in rows]) for n in range(len(names))]
    made: pa.Table = arrow.table(
        [c.cast(types.get(n, c.type)) for c, n in zip(columns, names, strict=True)], names=names
    )
    return made


def _column_types(source: Source) -> dict[str, Any]:
    """The Arrow type of each column that holds a feature."""
    from creta._batches import arrow_type

    renamed = {feature._member.name: column for feature, column in source.columns.items()}
    info = entity_info(source.entity)
    return {
        renamed.get(name, name): arrow_type(member_type(member._member)[0])
        for name, member in (info.members if info else {}).items()
        if isinstance(member, Feature)
    }


def _unreadable(name: str, source: Source, why: str) -> CretaError:
    return CretaError(
        "source/unreadable",
        f"source `{name}` cannot read `{source.format.path}`: {why}",
        help="make the file, or give facts in the process: `creta.local(..., facts={Entity: frame})`",
        location=source.location,
    )
