"""Expressions in the form of the graph."""

from __future__ import annotations

import enum
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, get_args, get_origin

from creta._entity import annotation_of
from creta._errors import CretaError, Location
from creta._feature import UNSET, Call, Feature, Member, Windowed
from creta._foreign import plain
from creta._guards import is_feature, is_windowed
from creta._types import TypeSpec, read_type, type_name
from creta._values import WrongType, to_json

_RESULTS = {
    **dict.fromkeys(("eq", "ne", "lt", "le", "gt", "ge", "and", "or", "not", "is_none"), "bool"),
    **dict.fromkeys(("starts_with", "ends_with", "contains"), "bool"),
    **dict.fromkeys(("length", "floor", "ceil", "to_int", "weekday"), "int"),
    **dict.fromkeys(("year", "month", "day", "hour", "minute", "second"), "int"),
    **dict.fromkeys(("sqrt", "exp", "log", "to_float", "total_seconds"), "float"),
    **dict.fromkeys(("lower", "upper", "strip", "replace", "slice", "to_str"), "str"),
    "date_of": "date",
}


def member_type(member: Member, at: Location | None = None) -> tuple[TypeSpec, bool]:
    """Type of a declared feature, from its annotation, and whether `None` is one of its values."""
    known: tuple[TypeSpec, bool] | None = member.known_type
    if known is not None:
        return known
    assert member.entity is not None
    where = at or member.location
    what = f"`{member.entity.__name__}.{member.name}`"
    annotation = annotation_of(member.entity, member.name, where)
    wanted = Feature if member.aggregate is None else Windowed
    if get_origin(annotation) is not wanted:
        given = "no annotation" if annotation is None else f"the annotation `{type_name(annotation)}`"
        raise CretaError(
            "definition/bad-annotation",
            f"{what} has {given}",
            help=f"annotate it with `{wanted.__name__}[...]`",
            location=where,
        )
    known = member.known_type = read_type(get_args(annotation)[0], what, where)
    return known


def expression_json(value: Any, root: type, at: Location) -> dict[str, Any]:
    """The expression as data.

    Features must be rooted at `root`.
    """
    if is_windowed(value):
        raise CretaError(
            "definition/no-window",
            f"`{value}` is one value per window",
            help=f"choose one: `{value}[days(1)]`",
            location=at,
        )
    if is_feature(value):
        reference = value
        if reference._text() is not None:
            return {"op": "feature", "path": _rooted(reference, root, at)}
        return expression_json(reference._member.expression, root, reference._member.location)
    if value is UNSET:
        raise CretaError("expression/unnamed", "a feature is used that no entity declares", location=at)
    if not isinstance(value, Call):
        return _literal(value, None, at)
    node = value
    sibling = next((spec for spec in (_type_of(arg) for arg in node.args[-2:]) if spec is not None), None)
    wanted = TypeSpec("int") if node.function == "slice" else sibling
    args = [_literal(arg, wanted, at) if arg is None else expression_json(arg, root, at) for arg in node.args]
    return {"op": "call", "function": node.function, "args": args}


def _rooted(reference: Feature[Any], root: type, at: Location) -> str:
    text = str(reference)
    if text.partition(".")[0] != root.__name__:
        raise CretaError(
            "expression/other-entity",
            f"an expression of `{root.__name__}` reads `{text}`",
            help=f"start from `{root.__name__}` and follow a `one` relation",
            location=at,
        )
    return text


def _type_of(value: Any) -> TypeSpec | None:
    """Type of an argument, where that is easy to say; it decides what a `None` beside it means."""
    if value is None or isinstance(value, Windowed):
        return None
    if not is_feature(value):
        return literal_type(value)
    reference = value
    if reference._member.entity is not None:
        return member_type(reference._member)[0]
    node = reference._member.expression
    if not isinstance(node, Call):
        return None if node is UNSET else _type_of(node)
    if node.function in _RESULTS:
        return TypeSpec(_RESULTS[node.function])
    return next((spec for spec in (_type_of(arg) for arg in reversed(node.args)) if spec is not None), None)


def literal_type(value: Any) -> TypeSpec | None:
    """Type of a constant in an expression, `None` when there is none."""
    try:
        value = plain(value, _CONSTANT)
    except CretaError:  # Said where the constant is written.
        return None
    for python, kind in (
        (bool, "bool"), (int, "int"), (float, "float"), (bytes, "bytes"), (timedelta, "timedelta"),
        (datetime, "datetime"), (date, "date"),
    ):  # fmt: skip
        if isinstance(value, python):
            return TypeSpec(kind)
    if isinstance(value, enum.Enum):
        members = tuple(member.value for member in type(value))
        return (
            TypeSpec("enum", name=type(value).__name__, members=members)
            if isinstance(value.value, str)
            else None
        )
    if isinstance(value, str):
        return TypeSpec("str")
    if isinstance(value, Decimal) and value.is_finite():
        exponent = value.as_tuple().exponent
        return TypeSpec("decimal", scale=max(0, -exponent)) if isinstance(exponent, int) else None
    return None


def _literal(value: Any, wanted: TypeSpec | None, at: Location) -> dict[str, Any]:
    if value is None:
        return {"op": "literal", "type": (wanted or TypeSpec("bool")).to_json(), "value": None}
    try:
        value = plain(value, _CONSTANT)
    except CretaError as error:
        error.location = at
        raise
    spec = literal_type(value)
    if spec is None:
        raise CretaError(
            "expression/bad-constant",
            f"a `{type(value).__name__}` is no constant of an expression",
            help="use bool, int, float, str, bytes, Decimal, date, datetime, timedelta or an enum member; "
            "for more than that write a resolver",
            location=at,
        )
    try:
        return {
            "op": "literal",
            "type": spec.to_json(),
            "value": to_json(spec, value, _CONSTANT),
        }
    except CretaError as error:
        error.location = at
        raise
    except WrongType as error:
        raise CretaError(
            "expression/bad-constant",
            f"{_CONSTANT}: {error}",
            help="ints have 64 bits, decimals 38 digits; for more than that write a resolver",
            location=at,
        ) from None


_CONSTANT = "a constant of an expression"
