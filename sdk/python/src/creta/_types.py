"""Types of feature values: read from annotations, written in the form of the graph."""

from __future__ import annotations

import dataclasses
import enum
import sys
import types
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Union, cast, get_args, get_origin, get_type_hints

from creta._errors import CretaError, Location

SCALE_DEFAULT = 9
_PLAIN: dict[Any, str] = {
    bool: "bool",
    int: "int",
    float: "float",
    str: "str",
    bytes: "bytes",
    date: "date",
    datetime: "datetime",
    timedelta: "timedelta",
}


@dataclass(frozen=True, slots=True)
class Scale:
    """Digits behind the point: `Annotated[Decimal, Scale(2)]`.

    A plain `Decimal` has 9.
    """

    digits: int


@dataclass(frozen=True, slots=True)
class Vector:
    """A fixed number of 32-bit floats: `Annotated[list[float], Vector(128)]`."""

    size: int


@dataclass(frozen=True, slots=True)
class TypeSpec:
    """The type of a value.

    `python` is the user's class for enums and structs.
    """

    kind: str
    scale: int = 0
    size: int = 0
    name: str = ""
    members: tuple[str, ...] = ()
    item: TypeSpec | None = None
    item_optional: bool = False
    fields: tuple[tuple[str, TypeSpec, bool], ...] = ()
    python: Any = dataclasses.field(default=None, compare=False)

    def to_json(self) -> dict[str, Any]:
        """The form of the graph."""
        json: dict[str, Any] = {"kind": self.kind}
        if self.kind == "decimal":
            json["scale"] = self.scale
        elif self.kind == "vector":
            json["size"] = self.size
        elif self.kind == "enum":
            json |= {"name": self.name, "members": list(self.members)}
        elif self.kind == "list" and self.item is not None:
            json["item"] = self.item.to_json()
            if self.item_optional:
                json["optional"] = True
        elif self.kind == "struct":
            fields = ((name, spec.to_json(), optional) for name, spec, optional in self.fields)
            json |= {
                "name": self.name,
                "fields": [{"name": n, "type": t} | ({"optional": True} if o else {}) for n, t, o in fields],
            }
        return json

    @classmethod
    def from_json(cls, json: dict[str, Any]) -> TypeSpec:
        """Reads the form of the graph; enums and structs then have no user class."""
        return cls(
            json["kind"],
            scale=json.get("scale", 0),
            size=json.get("size", 0),
            name=json.get("name", ""),
            members=tuple(json.get("members", ())),
            item=cls.from_json(json["item"]) if "item" in json else None,
            item_optional=json.get("optional", False),
            fields=tuple(
                (f["name"], cls.from_json(f["type"]), f.get("optional", False))
                for f in json.get("fields", ())
            ),
        )

    def __str__(self) -> str:
        if self.kind == "decimal":
            return "Decimal"
        if self.kind == "list":
            return f"list[{self.item}{' | None' if self.item_optional else ''}]"
        if self.kind == "vector":
            return f"Vector[{self.size}]"
        return self.name or self.kind


def read_type(annotation: Any, what: str, at: Location) -> tuple[TypeSpec, bool]:
    """The type and whether `None` is one of its values.

    Anything that cannot be stored is an error that names `what`.
    """
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        arms = [arm for arm in get_args(annotation) if arm is not type(None)]
        if len(arms) == 1:
            return read_type(arms[0], what, at)[0], True
        raise _unsupported(annotation, what, at, "a feature has one type, or one type and `None`")
    if origin is Annotated:
        return _annotated(annotation, what, at), False
    if annotation in _PLAIN:
        return TypeSpec(_PLAIN[annotation]), False
    if annotation is Decimal:
        return TypeSpec("decimal", scale=SCALE_DEFAULT), False
    if origin is list:
        item, optional = read_type(get_args(annotation)[0], what, at)
        return TypeSpec("list", item=item, item_optional=optional), False
    if annotation is list:
        raise _unsupported(annotation, what, at, "say of what: `list[str]`")
    declared = _as_class(annotation)
    if declared is not None and issubclass(declared, enum.Enum):
        members: list[Any] = [member.value for member in declared]
        if not members or not all(isinstance(value, str) for value in members):
            raise _unsupported(annotation, what, at, "give each member of the enum a text as its value")
        return TypeSpec("enum", name=declared.__name__, members=tuple(members), python=annotation), False
    if declared is not None and (fields := _struct_fields(declared, what, at)) is not None:
        return TypeSpec("struct", name=declared.__name__, fields=fields, python=annotation), False
    raise _unsupported(annotation, what, at, None)


def _as_class(annotation: Any) -> type[Any] | None:
    return cast("type[Any]", annotation) if isinstance(annotation, type) else None


def _annotated(annotation: Any, what: str, at: Location) -> TypeSpec:
    base, *metadata = get_args(annotation)
    spec, optional = read_type(base, what, at)
    for mark in metadata:
        if isinstance(mark, Scale):
            if spec.kind != "decimal" or not 0 <= mark.digits <= 38:
                raise _unsupported(annotation, what, at, "`Scale` is for `Decimal` and 0 to 38 digits")
            spec = TypeSpec("decimal", scale=mark.digits)
        elif isinstance(mark, Vector):
            if spec.kind != "list" or spec.item is None or spec.item.kind != "float" or mark.size < 1:
                raise _unsupported(annotation, what, at, "write `Annotated[list[float], Vector(128)]`")
            spec = TypeSpec("vector", size=mark.size)
    if optional:
        raise _unsupported(annotation, what, at, "put `| None` outside of `Annotated[...]`")
    return spec


def _struct_fields(cls: type[Any], what: str, at: Location) -> tuple[tuple[str, TypeSpec, bool], ...] | None:
    if dataclasses.is_dataclass(cls):
        if not cls.__dataclass_params__.frozen:  # type: ignore[attr-defined]  # pyright: ignore
            raise _unsupported(cls, what, at, "make the dataclass frozen: `@dataclass(frozen=True)`")
        names = [field.name for field in dataclasses.fields(cast("Any", cls))]
    elif (model := is_pydantic_model(cls)) is not None:
        names = list(model)
    else:
        return None
    try:
        hints = get_type_hints(cls, include_extras=True)
    except Exception as error:
        raise _unsupported(
            cls, what, at, f"its annotations cannot be evaluated: {type(error).__name__}"
        ) from error
    members = ((name, read_type(hints[name], f"{what}, member `{name}`", at)) for name in names)
    return tuple((name, spec, optional) for name, (spec, optional) in members)


def is_pydantic_model(cls: type) -> list[str] | None:
    """Names of the members of a pydantic model, `None` for other classes.

    Does not import pydantic.
    """
    pydantic: Any = sys.modules.get("pydantic")
    if pydantic is not None and issubclass(cls, pydantic.BaseModel):
        fields: dict[str, Any] = cast("Any", cls).model_fields
        return list(fields)
    return None


def type_name(annotation: Any) -> str:
    """How a person writes it."""
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return annotation.__name__
    return str(annotation).replace("typing.", "")


def _unsupported(annotation: Any, what: str, at: Location, help: str | None) -> CretaError:
    return CretaError(
        "type/unsupported",
        f"{what} has the type `{type_name(annotation)}`, which cannot be stored",
        help=help
        or "use bool, int, float, str, bytes, Decimal, date, datetime, timedelta, an enum of texts, a list, "
        "a frozen dataclass, a vector, or one of them `| None`",
        location=at,
    )
