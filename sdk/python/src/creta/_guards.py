"""`isinstance` for values of unknown type, so that type checkers know what is inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from creta._feature import Feature, Windowed


def is_feature(value: object) -> TypeGuard[Feature[Any]]:
    """A reference to a feature, or an expression."""
    return isinstance(value, Feature)


def is_windowed(value: object) -> TypeGuard[Windowed[Any]]:
    """A reference to a windowed feature without its window."""
    return isinstance(value, Windowed)


def is_items(value: object) -> TypeGuard[Sequence[Any]]:
    """A list or a tuple."""
    return isinstance(value, list | tuple)


def is_tuple(value: object) -> TypeGuard[tuple[Any, ...]]:
    """A tuple."""
    return isinstance(value, tuple)


def is_table(value: object) -> TypeGuard[Mapping[str, Any]]:
    """A mapping by name."""
    return isinstance(value, Mapping)


def untyped(value: object) -> Any:
    """The same value, of which type checkers know nothing."""
    return value
