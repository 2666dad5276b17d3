"""Functions of expressions that are neither operators nor methods of a feature.

`abs(feature)` and `round(feature, digits)` are Python's own builtins.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Generic, TypeVar, overload

from creta._errors import problem_here
from creta._feature import Feature, call

T = TypeVar("T")
U = TypeVar("U")

__all__ = [
    "and_", "ceil", "coalesce", "exp", "floor", "log", "max_", "min_", "not_", "or_", "sqrt",
    "to_float", "to_int", "to_str", "when",
]  # fmt: skip


class When:
    """`when(condition)`: continue with `.then(value)`."""

    def __init__(self, condition: Feature[bool] | Feature[bool | None]) -> None:
        self._condition = condition

    def then(self, value: Feature[T] | T) -> Then[T]:
        """The value where the condition is true."""
        return Then(self._condition, value)


class Then(Generic[T]):
    """`when(condition).then(value)`: finish with `.otherwise(value)`."""

    def __init__(self, condition: Any, value: Any) -> None:
        self._condition = condition
        self._value = value

    def otherwise(self, value: Feature[U] | U) -> Feature[T | U]:
        """The value where the condition is false or null."""
        return call("if", self._condition, self._value, value)

    def __bool__(self) -> bool:
        raise problem_here("expression/unfinished", "`when(...).then(...)` lacks `.otherwise(...)`")


def when(condition: Feature[bool] | Feature[bool | None], /) -> When:
    """`when(condition).then(a).otherwise(b)`: Python's `a if condition else b`; a null condition takes
    `b`."""
    return When(condition)


def and_(*conditions: Feature[bool] | Feature[bool | None]) -> Feature[Any]:
    """All conditions; false wins over null.

    Same as `&`.
    """
    return _chain("and", conditions)


def or_(*conditions: Feature[bool] | Feature[bool | None]) -> Feature[Any]:
    """Any condition; true wins over null.

    Same as `|`.
    """
    return _chain("or", conditions)


def not_(condition: Feature[bool] | Feature[bool | None], /) -> Feature[Any]:
    """The opposite.

    Same as `~`.
    """
    return call("not", condition)


@overload
def coalesce(first: Feature[T | None], second: T | Feature[T], /) -> Feature[T]: ...
@overload
def coalesce(first: Feature[T | None], second: Feature[T | None], third: T | Feature[T], /) -> Feature[T]: ...
@overload
def coalesce(first: Feature[T], /, *others: T | Feature[T]) -> Feature[T]: ...
def coalesce(first: Feature[Any], /, *others: Any) -> Feature[Any]:
    """The first argument that has a value."""
    return call("coalesce", first, *others)


def min_(first: Feature[T], /, *others: T | Feature[T]) -> Feature[T]:
    """The smallest of values of one row; `creta.windows.min_` is the smallest over time."""
    return call("min", first, *others)


def max_(first: Feature[T], /, *others: T | Feature[T]) -> Feature[T]:
    """The largest of values of one row; `creta.windows.max_` is the largest over time."""
    return call("max", first, *others)


@overload
def sqrt(x: Feature[float], /) -> Feature[float]: ...
@overload
def sqrt(x: Feature[float | None], /) -> Feature[float | None]: ...
def sqrt(x: Feature[Any], /) -> Feature[Any]:
    """`math.sqrt`."""
    return call("sqrt", x)


@overload
def exp(x: Feature[float], /) -> Feature[float]: ...
@overload
def exp(x: Feature[float | None], /) -> Feature[float | None]: ...
def exp(x: Feature[Any], /) -> Feature[Any]:
    """`math.exp`."""
    return call("exp", x)


@overload
def log(x: Feature[float], /) -> Feature[float]: ...
@overload
def log(x: Feature[float | None], /) -> Feature[float | None]: ...
def log(x: Feature[Any], /) -> Feature[Any]:
    """`math.log`, natural."""
    return call("log", x)


@overload
def floor(x: Feature[float | Decimal], /) -> Feature[int]: ...
@overload
def floor(x: Feature[float | Decimal | None], /) -> Feature[int | None]: ...
def floor(x: Feature[Any], /) -> Feature[Any]:
    """`math.floor`, an int."""
    return call("floor", x)


@overload
def ceil(x: Feature[float | Decimal], /) -> Feature[int]: ...
@overload
def ceil(x: Feature[float | Decimal | None], /) -> Feature[int | None]: ...
def ceil(x: Feature[Any], /) -> Feature[Any]:
    """`math.ceil`, an int."""
    return call("ceil", x)


@overload
def to_float(x: Feature[float | Decimal], /) -> Feature[float]: ...
@overload
def to_float(x: Feature[float | Decimal | None], /) -> Feature[float | None]: ...
def to_float(x: Feature[Any], /) -> Feature[Any]:
    """`float(x)` of a number."""
    return call("to_float", x)


@overload
def to_int(x: Feature[float | Decimal], /) -> Feature[int]: ...
@overload
def to_int(x: Feature[float | Decimal | None], /) -> Feature[int | None]: ...
def to_int(x: Feature[Any], /) -> Feature[Any]:
    """`int(x)` of a number, towards zero."""
    return call("to_int", x)


@overload
def to_str(x: Feature[int | str], /) -> Feature[str]: ...
@overload
def to_str(x: Feature[int | str | None], /) -> Feature[str | None]: ...
def to_str(x: Feature[Any], /) -> Feature[Any]:
    """`str(x)` of an int, bool or text."""
    return call("to_str", x)


def _chain(function: str, conditions: tuple[Any, ...]) -> Feature[Any]:
    if not conditions:
        raise problem_here("expression/no-arguments", f"`{function}_` needs at least one condition")
    result: Feature[Any] = conditions[0]
    for condition in conditions[1:]:
        result = call(function, result, condition)
    return result
