"""Values of numpy and pandas as Python's own, without importing either."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from datetime import date, datetime, timedelta
from typing import Any

from creta._errors import CretaError, problem_here
from creta._guards import is_items, is_table, untyped
from creta._lazy import module
from creta._time import naive

_SECOND = 10**18
"""In attoseconds, the finest unit of numpy."""

_UNITS = {
    "W": 604_800 * _SECOND, "D": 86_400 * _SECOND, "h": 3_600 * _SECOND, "m": 60 * _SECOND, "s": _SECOND,
    "ms": 10**15, "us": 10**12, "ns": 10**9, "ps": 10**6, "fs": 10**3, "as": 1,
}  # fmt: skip


def package_of(value: object) -> str:
    """The package that a value's type comes from."""
    return type(value).__module__.partition(".")[0]


def is_missing(value: object) -> bool:
    """`None`, or what pandas writes for it where it cannot be taken for a value: `NA` and `NaT`."""
    return value is None or (type(value).__name__ in ("NAType", "NaTType") and package_of(value) == "pandas")


def is_nan(value: object) -> bool:
    """A float that is not a number."""
    return isinstance(value, float) and value != value


def plain(value: Any, what: str) -> Any:
    """A scalar of numpy as Python's, lengths of time floored to microseconds (rule S17); the rest as it is.

    A `datetime64` has no zone: it is a day when its unit is one, and else refused (rule S15).
    """
    if package_of(value) != "numpy" or not hasattr(value, "item") or getattr(value, "ndim", 1) != 0:
        return value
    kind: str = value.dtype.kind
    if kind not in "mM":
        return value.item()
    if value != value:  # Not a time.
        return None
    unit, count = module("numpy").datetime_data(value.dtype)
    if kind == "M":
        if unit == "D":
            return value.item()
        raise naive(what)
    if unit not in _UNITS:
        raise problem_here(
            "time/no-length", f"{what} is a `timedelta64[{unit}]`, which is no length of time", "give days"
        )
    return timedelta(microseconds=int(value.astype("i8")) * count * _UNITS[unit] // _UNITS["us"])


def listed(values: Any) -> list[Any]:
    """The items of a list, array or series.

    In pandas NaN is how a missing value is written, whatever its type: it is `None` here.
    """
    package = package_of(values)
    if package == "numpy" and values.dtype.kind in "mM":
        return list(values)  # Its own conversion gives bare numbers of some unit.
    for method in ("to_pylist", "to_list", "tolist"):
        if hasattr(values, method):
            items: list[Any] = getattr(values, method)()
            break
    else:
        items = list(values)
    if package == "pandas":
        return [None if is_missing(item) or is_nan(item) else item for item in items]
    return items


def uniform(values: Iterable[Any], what: str) -> list[Any]:
    """Python values of one column, which Arrow may read without guessing: enums as their values, dataclasses
    as dictionaries, missing ones as `None`.

    Refuses what Arrow would bring into one type by losing something: datetimes with and without a zone (rule
    S15), days among instants, truth values among numbers, bytes among texts.
    """
    items: list[Any] = [None if is_missing(value) else value for value in values]
    types = _types(items)
    if any(issubclass(kind, enum.Enum) for kind in types):
        items = [item.value if isinstance(item, enum.Enum) else item for item in items]
        types = _types(items)
    if any(is_dataclass(kind) or hasattr(kind, "model_fields") for kind in types):
        items = [_members(item) for item in items]
        types = _types(items)
    _refuse_mixture(items, {word for kind in types if (word := _word(kind)) is not None}, what)
    if any(issubclass(kind, list | tuple) for kind in types):
        flat = [inner for item in items if is_items(item) for inner in item]
        made = iter(uniform(flat, f"an item of {what}"))
        items = [[next(made) for _ in item] if is_items(item) else item for item in items]
    elif types == {dict}:
        items = _uniform_members(items, what)
    return items


def _types(items: list[Any]) -> set[type[Any]]:
    found: set[Any] = set(map(type, items)) - {type(None)}
    return found


def _uniform_members(items: list[Any], what: str) -> list[Any]:
    names = dict.fromkeys(name for item in items if item is not None for name in item)
    made = {
        name: uniform([item.get(name) if item is not None else None for item in items], f"`{name}` of {what}")
        for name in names
    }
    return [
        None if item is None else {name: made[name][row] for name in item} for row, item in enumerate(items)
    ]


def _members(item: Any) -> Any:
    if is_dataclass(item):
        return {inner.name: getattr(item, inner.name) for inner in fields(item)}
    model = untyped(type(item))  # pyright: ignore[reportUnknownArgumentType]
    if hasattr(model, "model_fields"):
        return {name: getattr(item, name) for name in model.model_fields}
    return item


def _word(kind: type[Any]) -> str | None:
    """The sort of values of a type, where another sort must not stand beside it."""
    if issubclass(kind, bool) or (kind.__module__ == "numpy" and kind.__name__ in ("bool", "bool_")):
        return "bool"
    if issubclass(kind, datetime) or (kind.__module__ == "numpy" and kind.__name__ == "datetime64"):
        return "datetime"
    if issubclass(kind, date):
        return "date"
    if issubclass(kind, str):
        return "str"
    if issubclass(kind, bytes | bytearray | memoryview):
        return "bytes"
    if issubclass(kind, dict):
        return "struct"
    if issubclass(kind, list | tuple):
        return "list"
    return "number" if hasattr(kind, "__float__") and not hasattr(kind, "__len__") else None


def _refuse_mixture(items: list[Any], words: set[str], what: str) -> None:
    if len(words) > 1:
        first, second = sorted(words)[:2]
        raise problem_here(
            "frame/mixed-column",
            f"{what} holds `{first}` and `{second}`",
            "give every row a value of one type, and `None` where there is none",
        )
    if words == {"datetime"}:
        bare = [row for row, item in enumerate(items) if item is not None and _has_no_zone(item)]
        if bare and len(bare) < sum(item is not None for item in items):
            raise naive(f"{what} in row {bare[0]}")


def _has_no_zone(at: Any) -> bool:
    return not isinstance(at, datetime) or at.tzinfo is None or at.utcoffset() is None


def bad_column(name: str) -> CretaError:
    """The refusal of a column that Arrow cannot read; its own words may hold values."""
    return problem_here(
        "frame/bad-column",
        f"column `{name}` cannot be read",
        "give every row a value of one type that features have, ints within 64 bits, and `None` where there "
        "is no value",
    )


def is_struct(value: object) -> bool:
    """A mapping by name, or an instance of a dataclass or pydantic model."""
    is_model = hasattr(type(value), "model_fields")
    return is_table(value) or is_model or (is_dataclass(value) and not isinstance(value, type))
