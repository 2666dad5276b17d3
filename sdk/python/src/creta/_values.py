"""Values between Python and the JSON form of their type (rule S20: nothing is guessed)."""

from __future__ import annotations

import base64
import enum
import math
from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from creta._errors import CretaError
from creta._foreign import is_missing, plain
from creta._guards import is_items, is_table, untyped
from creta._time import instant_text, is_plain_date, parse_instant
from creta._types import TypeSpec

_MICROSECOND = timedelta(microseconds=1)
_FLOAT32_MAX = 3.4028234663852886e38
INT_MIN, INT_MAX = -(2**63), 2**63 - 1
_SHORTEST, _LONGEST = timedelta(microseconds=INT_MIN), timedelta(microseconds=INT_MAX)


class WrongType(Exception):
    """A value that does not fit its type.

    Says what was expected and what kind came, never the value.
    """

    def __init__(self, expected: TypeSpec | str, got: str) -> None:
        super().__init__(f"expected {expected}, got {got}")


class BeyondInt(WrongType):
    """A number that 64 bits do not hold (rule S31)."""

    def __init__(self, spec: TypeSpec, got: str) -> None:
        super().__init__(spec, got)
        self.got = got


def checked(spec: TypeSpec, value: Any) -> Any:
    """The value as the plain Python value of its type: enums as text, structs as dictionaries.

    `None` is the caller's question. An int passes for a float; a bool never for an int.
    """
    kind = untyped(type(value))  # pyright: ignore[reportUnknownArgumentType]
    name = spec.kind
    if name == "float":
        if kind is float:
            return value
        if kind is int and abs(value) <= 2**1023:
            return float(value)
        if isinstance(value, float):
            return float(value)
    elif name == "int":
        if isinstance(value, int) and kind is not bool:
            if INT_MIN <= value <= INT_MAX:
                return int(value)
            raise BeyondInt(spec, "an int beyond 64 bits")
    elif name == "bool":
        if kind is bool:
            return value
    elif name == "str":
        if isinstance(value, str) and not isinstance(value, enum.Enum):
            return _text(spec, value)
    elif name == "bytes":
        if isinstance(value, bytes):
            return bytes(value)
    elif name == "datetime":
        if isinstance(value, datetime) and not is_missing(value):
            if value.tzinfo is None:
                raise WrongType(spec, "a datetime without a time zone")
            return value
    elif name == "date":
        if is_plain_date(value):
            return value
    elif name == "timedelta":
        if isinstance(value, timedelta) and not is_missing(value):
            if not _SHORTEST <= value <= _LONGEST:
                raise BeyondInt(spec, "a timedelta beyond 64 bits of microseconds")
            return value if kind is timedelta else timedelta(microseconds=value // _MICROSECOND)
    elif name == "decimal":
        return _decimal(spec, value)
    elif name == "enum":
        text = value.value if isinstance(value, enum.Enum) else value
        if isinstance(text, str) and text in spec.members:
            return str(text)
        raise WrongType(f"a member of `{spec.name}`", _kind(value))
    elif name == "list":
        return _items(spec, value)
    elif name == "struct":
        return _members(spec, value)
    elif name == "vector":
        return _vector(spec, value)
    if kind.__module__ == "numpy" and getattr(value, "ndim", 1) == 0:
        try:
            scalar = plain(value, "it")
        except CretaError:  # A time without a zone, or a length without one.
            raise WrongType(spec, _kind(value)) from None
        if not hasattr(scalar, "dtype") and scalar is not None:
            return checked(spec, scalar)
    raise WrongType(spec, _kind(value))


def _text(spec: TypeSpec, value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise WrongType(spec, "a text with half of a surrogate pair") from None
    return str(value)


def _decimal(spec: TypeSpec, value: Any) -> Decimal:
    if isinstance(value, int) and not isinstance(value, bool):
        value = Decimal(value)
    if not isinstance(value, Decimal):
        raise WrongType(spec, _kind(value))
    if not value.is_finite():
        raise WrongType(spec, "a decimal that is not finite")
    digits, exponent = value.as_tuple().digits, value.as_tuple().exponent
    assert isinstance(exponent, int)
    places = -exponent
    while places > spec.scale and digits and digits[-1] == 0:
        digits, places = digits[:-1], places - 1
    if places > spec.scale and any(digits):
        raise WrongType(spec, f"a decimal of more than {spec.scale} places")
    if len(digits) + spec.scale - places > 38 and any(digits):
        raise WrongType(spec, "a decimal of more than 38 digits")
    return value


def _items(spec: TypeSpec, value: Any) -> list[Any]:
    if not is_items(value):
        raise WrongType(spec, _kind(value))
    assert spec.item is not None
    return [_member(spec.item, item, spec.item_optional, "a list with a `None` item") for item in value]


def _members(spec: TypeSpec, value: Any) -> dict[str, Any]:
    if is_table(value):
        if set(value) - {name for name, _, _ in spec.fields}:
            raise WrongType(spec, "a dictionary with unknown members")
        read: Callable[[str], Any] = value.get
    elif (spec.python is not None and not isinstance(value, spec.python)) or type(
        value
    ).__name__ != spec.name:
        raise WrongType(spec, _kind(value))
    else:
        read = lambda name: getattr(value, name, None)  # noqa: E731
    return {
        name: _member(field, read(name), optional, f"no `{name}`") for name, field, optional in spec.fields
    }


def _member(spec: TypeSpec, value: Any, optional: bool, absent: str) -> Any:
    if value is not None:
        return checked(spec, value)
    if optional:
        return None
    raise WrongType(spec, absent)


def _vector(spec: TypeSpec, value: Any) -> list[float]:
    items: Any = value.tolist() if hasattr(value, "tolist") else value
    if not is_items(items) or len(items) != spec.size:
        raise WrongType(spec, _kind(value) if not is_items(items) else f"{len(items)} items")
    floats: list[float] = [checked(TypeSpec("float"), item) for item in items]
    if any(math.isfinite(item) and abs(item) > _FLOAT32_MAX for item in floats):
        raise WrongType(spec, "a number beyond 32 bits")
    return floats


def _kind(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def to_python(spec: TypeSpec, value: Any) -> Any:
    """From the plain value to the user's classes: enum members, dataclass instances."""
    if value is None:
        return None
    if spec.kind == "enum":
        return spec.python(value) if spec.python is not None else value
    if spec.kind == "list" and spec.item is not None:
        return [to_python(spec.item, item) for item in value]
    if spec.kind == "struct":
        members = {name: to_python(field, value.get(name)) for name, field, _ in spec.fields}
        return spec.python(**members) if spec.python is not None else members
    return value


def to_json(spec: TypeSpec, value: Any, what: str = "this datetime") -> Any:
    """The JSON form; raises `WrongType`, and refuses naive datetimes (rule S15)."""
    if value is None:
        return None
    if isinstance(value, datetime) and spec.kind == "datetime":
        return instant_text(value, what)
    return _plain_to_json(spec, checked(spec, value))


def _plain_to_json(spec: TypeSpec, value: Any) -> Any:
    if value is None:
        return None
    match spec.kind:
        case "float":
            if math.isfinite(value):
                return value
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        case "bytes":
            return base64.b64encode(value).decode()
        case "decimal":
            return decimal_text(value, spec.scale)
        case "date":
            return value.isoformat()
        case "datetime":
            return instant_text(value)
        case "timedelta":
            return value // _MICROSECOND
        case "list" if spec.item is not None:
            return [_plain_to_json(spec.item, item) for item in value]
        case "struct":
            return {name: _plain_to_json(field, value[name]) for name, field, _ in spec.fields}
        case _:
            return value


def decimal_text(value: Decimal, scale: int) -> str:
    """All digits, exactly `scale` of them behind the point."""
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    number = int("".join(map(str, digits)) or "0")
    shift = exponent + scale
    unscaled = number * 10**shift if shift >= 0 else number // 10**-shift
    text = str(unscaled).rjust(scale + 1, "0")
    text = f"{text[:-scale]}.{text[-scale:]}" if scale else text
    return f"-{text}" if sign and unscaled else text


def from_json(spec: TypeSpec, json: Any) -> Any:
    """Reads the JSON form into plain Python values; `to_python` then makes the user's classes."""
    if json is None:
        return None
    match spec.kind:
        case "float":
            return float(json)
        case "bytes":
            return base64.b64decode(json)
        case "decimal":
            return Decimal(json)
        case "date":
            return date.fromisoformat(json)
        case "datetime":
            return parse_instant(json)
        case "timedelta":
            return timedelta(microseconds=json)
        case "list" if spec.item is not None:
            return [from_json(spec.item, item) for item in json]
        case "struct":
            return {name: from_json(field, json.get(name)) for name, field, _ in spec.fields}
        case "vector":
            return [float(item) for item in json]
        case _:
            return json
