"""Sources that facts are loaded from, and named queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from creta._errors import Location, caller, problem_here
from creta._feature import Feature
from creta._guards import is_feature, is_windowed
from creta._time import instant_text


@dataclass(frozen=True, slots=True)
class Format:
    """Where facts are and in which format; paths are relative to the project folder."""

    name: str
    path: str
    sql: str | None = None


def parquet(path: str, /) -> Format:
    """One Parquet file."""
    return Format("parquet", path)


def csv(path: str, /) -> Format:
    """One CSV file with a header line."""
    return Format("csv", path)


def arrow(path: str, /) -> Format:
    """One Arrow IPC file or stream."""
    return Format("arrow", path)


def sqlite(path: str, sql: str, /) -> Format:
    """One `select` statement on a SQLite database."""
    return Format("sqlite", path, sql)


@dataclass(frozen=True, slots=True)
class Source:
    """A declared source."""

    entity: type
    format: Format
    event_time: str | datetime
    arrival: str | timedelta | None
    columns: Mapping[Feature[Any], str]
    zone: str | None
    location: Location


def source(
    entity: type,
    format: Format,
    /,
    *,
    event_time: str | datetime,
    arrival: str | timedelta | None = None,
    columns: Mapping[Feature[Any], str] | None = None,
    zone: str | None = None,
) -> Source:
    """Declares where facts of an entity are loaded from.

    Its name is the variable it is assigned to.     `event_time` is a column, or one instant for all rows.
    `arrival` says when each fact was known: a column, or how long     after the event time (rule S1).
    `columns` names columns that are called otherwise than their feature. `zone` is the     IANA zone of naive
    datetimes, which are refused without it (rule S15).
    """
    if isinstance(event_time, datetime):
        instant_text(event_time, "`event_time`")
    return Source(entity, format, event_time, arrival, dict(columns or {}), zone, caller())


@dataclass(frozen=True, slots=True)
class NamedQuery:
    """A declared query."""

    inputs: tuple[Feature[Any], ...]
    outputs: tuple[Feature[Any], ...]
    version: int
    doc: str
    owner: str | None
    location: Location = field(compare=False)


def named_query(
    *,
    inputs: Sequence[Feature[Any]],
    outputs: Sequence[Feature[Any]],
    version: int = 1,
    doc: str = "",
    owner: str | None = None,
) -> NamedQuery:
    """Declares a query that is checked and planned at deploy.

    Its name is the variable it is assigned to.     `version` is raised when inputs or outputs change.
    """
    references: list[Any] = [*inputs, *outputs]
    for reference in references:
        if is_windowed(reference):
            raise problem_here(
                "definition/no-window",
                f"`{reference}` is one value per window",
                f"choose one: `{reference}[days(1)]`",
            )
        if not is_feature(reference) or reference._text() is None:
            raise problem_here(
                "definition/bad-query", "a named query asks for features", "write `Entity.feature`"
            )
    return NamedQuery(tuple(inputs), tuple(outputs), version, doc, owner, caller())
