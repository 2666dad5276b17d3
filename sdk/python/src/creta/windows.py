"""Windows: aggregates over the facts of a `many` relation, one value per length of time.

A window is half open: facts with `as_of - last <= event_time < as_of` count (rules S3, S4);
`include_now=True` closes the upper end. Nulls are skipped. An empty window counts 0 and has no other value
unless `default` says one (rule S13).

Names that would hide a builtin carry the underscore of PEP 8: `sum_`, `min_`, `max_`. All are also in `creta`
itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any, TypeVar, overload

from creta._entity import Column, Many
from creta._errors import caller, problem_here
from creta._feature import UNSET, Feature, Member, Options, Unset, Windowed
from creta._options import Meta

T = TypeVar("T")

Where = Feature[bool | None] | Feature[bool] | Callable[[], Feature[bool | None] | Feature[bool]]
Last = timedelta | tuple[timedelta, ...]


@dataclass(frozen=True, slots=True)
class Aggregation:
    """What a windowed feature computes."""

    function: str
    column: Column[Any]
    where: Any
    last: tuple[timedelta, ...]
    include_now: bool
    n: int | None = None
    thousandths: int | None = None
    """Of a percent."""


def count(
    column: Column[Any] | Many[Any],
    /,
    *,
    where: Where | None = None,
    last: Last,
    include_now: bool = False,
    meta: Meta | None = None,
) -> Windowed[int]:
    """How many facts (`count(flights)`), or how many of them have a value
    (`count(flights[Flight.dep_delay])`)."""
    rows = Column[Any](column._relation, None) if isinstance(column, Many) else column
    return _windowed("count", rows, where, last, include_now, UNSET, meta)


@overload
def sum_(  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
    column: Column[int | None],
    /,
    *,
    where: Where | None = None,
    last: Last,
    include_now: bool = False,
    default: int | Unset = UNSET,
    meta: Meta | None = None,
) -> Windowed[int]: ...
@overload
def sum_(  # type: ignore[overload-overlap]
    column: Column[float | None],
    /,
    *,
    where: Where | None = None,
    last: Last,
    include_now: bool = False,
    default: float | Unset = UNSET,
    meta: Meta | None = None,
) -> Windowed[float]: ...
@overload
def sum_(
    column: Column[Decimal | None],
    /,
    *,
    where: Where | None = None,
    last: Last,
    include_now: bool = False,
    default: Decimal | Unset = UNSET,
    meta: Meta | None = None,
) -> Windowed[Decimal]: ...
def sum_(
    column: Column[Any],
    /,
    *,
    where: Where | None = None,
    last: Last,
    include_now: bool = False,
    default: Any = UNSET,
    meta: Meta | None = None,
) -> Windowed[Any]:
    """The correctly rounded sum (rule S26)."""
    return _windowed("sum", column, where, last, include_now, default, meta)


def mean(
    column: Column[float | None],
    /,
    *,
    where: Where | None = None,
    last: Last,
    include_now: bool = False,
    default: float | Unset = UNSET,
    meta: Meta | None = None,
) -> Windowed[float]:
    """The correctly rounded mean (rule S26)."""
    return _windowed("mean", column, where, last, include_now, default, meta)


def std(
    column: Column[float | None],
    /,
    *,
    where: Where | None = None,
    last: Last,
    include_now: bool = False,
    default: float | Unset = UNSET,
    meta: Meta | None = None,
) -> Windowed[float]:
    """The sample standard deviation; missing below two values."""
    return _windowed("std", column, where, last, include_now, default, meta)


def var(
    column: Column[float | None],
    /,
    *,
    where: Where | None = None,
    last: Last,
    include_now: bool = False,
    default: float | Unset = UNSET,
    meta: Meta | None = None,
) -> Windowed[float]:
    """The sample variance; missing below two values."""
    return _windowed("var", column, where, last, include_now, default, meta)


def min_(
    column: Column[T | None],
    /,
    *,
    where: Where | None = None,
    last: Last,
    include_now: bool = False,
    default: T | Unset = UNSET,
    meta: Meta | None = None,
) -> Windowed[T]:
    """The smallest value."""
    return _windowed("min", column, where, last, include_now, default, meta)


def max_(
    column: Column[T | None],
    /,
    *,
    where: Where | None = None,
    last: Last,
    include_now: bool = False,
    default: T | Unset = UNSET,
    meta: Meta | None = None,
) -> Windowed[T]:
    """The largest value."""
    return _windowed("max", column, where, last, include_now, default, meta)


def first(
    column: Column[T | None],
    /,
    *,
    where: Where | None = None,
    last: Last,
    include_now: bool = False,
    default: T | Unset = UNSET,
    meta: Meta | None = None,
) -> Windowed[T]:
    """The earliest value, in the total order of rule S7."""
    return _windowed("first", column, where, last, include_now, default, meta)


def last(
    column: Column[T | None],
    /,
    *,
    where: Where | None = None,
    last: Last,
    include_now: bool = False,
    default: T | Unset = UNSET,
    meta: Meta | None = None,
) -> Windowed[T]:
    """The latest value, in the total order of rule S7."""
    return _windowed("last", column, where, last, include_now, default, meta)


def last_n(
    column: Column[T | None],
    n: int,
    /,
    *,
    where: Where | None = None,
    last: Last,
    include_now: bool = False,
    meta: Meta | None = None,
) -> Windowed[list[T]]:
    """The latest `n` values, oldest first; `n` is 1 to 1000."""
    if not 1 <= n <= 1000:
        raise problem_here("definition/bad-window", f"`last_n` keeps 1 to 1000 values, not {n}")
    return _windowed("last_n", column, where, last, include_now, UNSET, meta, n)


def distinct(
    column: Column[Any],
    /,
    *,
    where: Where | None = None,
    last: Last,
    include_now: bool = False,
    meta: Meta | None = None,
) -> Windowed[int]:
    """How many different values."""
    return _windowed("distinct", column, where, last, include_now, UNSET, meta)


@overload
def percentile(
    column: Column[float | None],
    percent: float,
    /,
    *,
    where: Where | None = None,
    last: Last,
    include_now: bool = False,
    default: float | Unset = UNSET,
    meta: Meta | None = None,
) -> Windowed[float]: ...
@overload
def percentile(
    column: Column[T | None],
    percent: float,
    /,
    *,
    where: Where | None = None,
    last: Last,
    include_now: bool = False,
    default: T | Unset = UNSET,
    meta: Meta | None = None,
) -> Windowed[T]: ...
def percentile(
    column: Column[Any],
    percent: float,
    /,
    *,
    where: Where | None = None,
    last: Last,
    include_now: bool = False,
    default: Any = UNSET,
    meta: Meta | None = None,
) -> Windowed[Any]:
    """The value at `percent` of the way through the values in their order: 50 is the median.

    Where that falls between two values it is in between, as numpy's `linear` has it, exactly and rounded
    once. `percent` is above 0 and below 100, with at most three digits after the point.
    """
    thousandths = round(percent * 1000)
    if not 0 < thousandths < 100_000 or abs(thousandths / 1000 - percent) > 1e-9:
        raise problem_here(
            "definition/bad-window",
            f"`percentile` takes a percentage above 0 and below 100 with at most three digits, not {percent}",
            "the ends are `min_` and `max_`",
        )
    return _windowed("percentile", column, where, last, include_now, default, meta, thousandths=thousandths)


def _windowed(
    function: str,
    column: Any,
    where: Any,
    last: Last,
    include_now: bool,
    default: Any,
    meta: Meta | None,
    n: int | None = None,
    thousandths: int | None = None,
) -> Windowed[Any]:
    rows: Any = column
    if not isinstance(column, Column):
        raise problem_here(
            "definition/bad-window",
            f"`{function}` aggregates a column of a `many` relation",
            "write `relation[Entity.feature]`, for example `flights[Flight.dep_delay]`",
        )
    spans = last if isinstance(last, tuple) else (last,)
    if not spans or any(span <= timedelta(0) for span in spans):
        raise problem_here(
            "definition/bad-window", "`last` needs at least one length of time, none of them zero"
        )
    aggregation = Aggregation(function, rows, where, tuple(sorted(set(spans))), include_now, n, thousandths)
    return Windowed(Member(caller(), "value", Options(default=default, meta=meta), aggregate=aggregation))
