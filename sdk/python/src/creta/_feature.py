"""Features: typed references that also build expressions.

A feature is declared in an entity's class body and read through the class, `Flight.dep_delay`. Operators and
methods do not compute: they build an expression of Creta's own language, which the engine runs (rule S31).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, overload

from creta._errors import Location, caller, problem_here
from creta._time import span_text

if TYPE_CHECKING:
    from creta._options import Check, Meta

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Moment = TypeVar("Moment", datetime, date, timedelta, "datetime | None", "date | None", "timedelta | None")
Item = TypeVar("Item")

Date: TypeAlias = date
"""`date` by another name, since the method `Feature.date` hides it inside the class."""


class Unset:
    """Stands for an option that was not given, where `None` is a value."""

    def __repr__(self) -> str:
        return "UNSET"


UNSET = Unset()


@dataclass(frozen=True, slots=True)
class Call:
    """A function of the expression language applied to features and constants."""

    function: str
    args: tuple[Any, ...]


@dataclass(slots=True)
class Options:
    """What a declaration says about a feature besides its type."""

    default: Any = UNSET
    max_age: timedelta | None = None
    check: Check | None = None
    unit: str | None = None
    tags: tuple[str, ...] = ()
    meta: Meta | None = None
    event_id: bool = False


@dataclass(slots=True)
class Member:
    """One declaration in an entity's class body, shared by all references to it."""

    location: Location
    role: str = "value"
    options: Options = field(default_factory=Options)
    expression: Any = UNSET
    """The `Feature` or constant it is computed from."""

    aggregate: Any = None
    """The window specification of a windowed feature."""

    name: str = ""
    entity: type | None = None
    known_type: Any = None
    """What its annotation says, once that was read."""


@dataclass(frozen=True, slots=True)
class Path:
    """How a reference reaches a member: from `root` over `one` relations."""

    root: type
    via: tuple[str, ...]


class Reference:
    """What features and windowed features have in common: a declaration and the path to it."""

    __slots__ = ("_member", "_path")

    def __init__(self, member: Member, path: Path | None = None) -> None:
        self._member = member
        self._path = path

    def __set_name__(self, owner: type, name: str) -> None:
        if not self._member.name:
            self._member.name = name
            self._member.entity = owner

    def _text(self) -> str | None:
        """`Entity.relation.name`, or `None` for an expression without a name."""
        member = self._member
        if member.entity is None:
            return None
        root, via = (self._path.root, self._path.via) if self._path else (member.entity, ())
        return ".".join((root.__name__, *via, member.name))


class Feature(Reference, Generic[T_co]):
    """A typed reference to a feature, or an expression over features.

    References to one declaration are equal: `Flight.origin == Flight.origin` is true as a condition,
    so features work as keys of a dictionary. Compared with anything else, `==` builds an expression.
    """

    __slots__ = ("_shown", "_window")

    def __init__(self, member: Member, path: Path | None = None, window: timedelta | None = None) -> None:
        super().__init__(member, path)
        self._window = window
        self._shown: str | None = None

    def _named(self) -> str | None:
        """The path as text, `None` for an expression without a name; written once."""
        if self._shown is None and (text := self._text()) is not None:
            self._shown = text if self._window is None else f"{text}[{span_text(self._window)}]"
        return self._shown

    def __str__(self) -> str:
        return self._named() or "an expression"

    def __repr__(self) -> str:
        return f"<Feature {self}>"

    def __hash__(self) -> int:
        named = self._named()
        return id(self) if named is None else hash(named)

    def __bool__(self) -> bool:
        node = self._member.expression
        if isinstance(node, Call) and node.function in ("eq", "ne"):
            return _same(node.args[0], node.args[1]) == (node.function == "eq")
        raise problem_here(
            "expression/no-truth",
            "a feature is true or false only when the engine runs it",
            "combine conditions with `&`, `|` and `~`, and choose with `when(...).then(...).otherwise(...)`",
        )

    def __eq__(self, other: object) -> Feature[bool]:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        return call("eq", self, other)

    def __ne__(self, other: object) -> Feature[bool]:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        return call("ne", self, other)

    def __iter__(self) -> Any:
        raise problem_here("expression/no-iteration", "a feature has no items until the engine runs it")

    @overload
    def __add__(self: Feature[int], other: int | Feature[int]) -> Feature[int]: ...
    @overload
    def __add__(self: Feature[float], other: float | Feature[float]) -> Feature[float]: ...
    @overload
    def __add__(self: Feature[int | None], other: int | Feature[int | None]) -> Feature[int | None]: ...  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
    @overload
    def __add__(  # type: ignore[overload-overlap]
        self: Feature[float | None], other: float | Feature[float | None]
    ) -> Feature[float | None]: ...
    @overload
    def __add__(self: Feature[Decimal], other: Decimal | int | Feature[Decimal]) -> Feature[Decimal]: ...
    @overload
    def __add__(  # type: ignore[overload-overlap]
        self: Feature[Decimal | None], other: Decimal | int | Feature[Decimal | None]
    ) -> Feature[Decimal | None]: ...
    @overload
    def __add__(self: Feature[str], other: str | Feature[str]) -> Feature[str]: ...
    @overload
    def __add__(self: Feature[str | None], other: str | Feature[str | None]) -> Feature[str | None]: ...
    @overload
    def __add__(self: Feature[Moment], other: timedelta | Feature[timedelta]) -> Feature[Moment]: ...
    def __add__(self, other: Any) -> Feature[Any]:
        return call("add", self, other)

    @overload
    def __radd__(self: Feature[int], other: int) -> Feature[int]: ...
    @overload
    def __radd__(self: Feature[float], other: float) -> Feature[float]: ...
    @overload
    def __radd__(self: Feature[int | None], other: int) -> Feature[int | None]: ...  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
    @overload
    def __radd__(self: Feature[float | None], other: float) -> Feature[float | None]: ...
    @overload
    def __radd__(self: Feature[Decimal], other: Decimal | int) -> Feature[Decimal]: ...
    @overload
    def __radd__(self: Feature[Decimal | None], other: Decimal | int) -> Feature[Decimal | None]: ...
    @overload
    def __radd__(self: Feature[str], other: str) -> Feature[str]: ...
    @overload
    def __radd__(self: Feature[str | None], other: str) -> Feature[str | None]: ...
    @overload
    def __radd__(self: Feature[timedelta], other: Moment) -> Feature[Moment]: ...
    def __radd__(self, other: Any) -> Feature[Any]:
        return call("add", other, self)

    @overload
    def __sub__(self: Feature[int], other: int | Feature[int]) -> Feature[int]: ...
    @overload
    def __sub__(self: Feature[float], other: float | Feature[float]) -> Feature[float]: ...
    @overload
    def __sub__(self: Feature[int | None], other: int | Feature[int | None]) -> Feature[int | None]: ...  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
    @overload
    def __sub__(  # type: ignore[overload-overlap]
        self: Feature[float | None], other: float | Feature[float | None]
    ) -> Feature[float | None]: ...
    @overload
    def __sub__(self: Feature[Decimal], other: Decimal | int | Feature[Decimal]) -> Feature[Decimal]: ...
    @overload
    def __sub__(  # type: ignore[overload-overlap]
        self: Feature[Decimal | None], other: Decimal | int | Feature[Decimal | None]
    ) -> Feature[Decimal | None]: ...
    @overload
    def __sub__(self: Feature[Moment], other: timedelta | Feature[timedelta]) -> Feature[Moment]: ...
    @overload
    def __sub__(self: Feature[Date], other: Date | Feature[Date]) -> Feature[timedelta]: ...
    @overload
    def __sub__(
        self: Feature[Date | None], other: Date | Feature[Date | None]
    ) -> Feature[timedelta | None]: ...
    def __sub__(self, other: Any) -> Feature[Any]:
        return call("sub", self, other)

    @overload
    def __rsub__(self: Feature[int], other: int) -> Feature[int]: ...
    @overload
    def __rsub__(self: Feature[float], other: float) -> Feature[float]: ...
    @overload
    def __rsub__(self: Feature[int | None], other: int) -> Feature[int | None]: ...  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
    @overload
    def __rsub__(self: Feature[float | None], other: float) -> Feature[float | None]: ...
    @overload
    def __rsub__(self: Feature[Decimal], other: Decimal | int) -> Feature[Decimal]: ...
    @overload
    def __rsub__(self: Feature[Decimal | None], other: Decimal | int) -> Feature[Decimal | None]: ...
    @overload
    def __rsub__(self: Feature[Date], other: Date) -> Feature[timedelta]: ...
    @overload
    def __rsub__(self: Feature[Date | None], other: Date) -> Feature[timedelta | None]: ...
    def __rsub__(self, other: Any) -> Feature[Any]:
        return call("sub", other, self)

    @overload
    def __mul__(self: Feature[int], other: int | Feature[int]) -> Feature[int]: ...
    @overload
    def __mul__(self: Feature[float], other: float | Feature[float]) -> Feature[float]: ...
    @overload
    def __mul__(self: Feature[int | None], other: int | Feature[int | None]) -> Feature[int | None]: ...  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
    @overload
    def __mul__(  # type: ignore[overload-overlap]
        self: Feature[float | None], other: float | Feature[float | None]
    ) -> Feature[float | None]: ...
    @overload
    def __mul__(self: Feature[Decimal], other: Decimal | int | Feature[Decimal]) -> Feature[Decimal]: ...
    @overload
    def __mul__(
        self: Feature[Decimal | None], other: Decimal | int | Feature[Decimal | None]
    ) -> Feature[Decimal | None]: ...
    def __mul__(self, other: Any) -> Feature[Any]:
        return call("mul", self, other)

    @overload
    def __rmul__(self: Feature[int], other: int) -> Feature[int]: ...
    @overload
    def __rmul__(self: Feature[float], other: float) -> Feature[float]: ...
    @overload
    def __rmul__(self: Feature[int | None], other: int) -> Feature[int | None]: ...  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
    @overload
    def __rmul__(self: Feature[float | None], other: float) -> Feature[float | None]: ...
    @overload
    def __rmul__(self: Feature[Decimal], other: Decimal | int) -> Feature[Decimal]: ...
    @overload
    def __rmul__(self: Feature[Decimal | None], other: Decimal | int) -> Feature[Decimal | None]: ...
    def __rmul__(self, other: Any) -> Feature[Any]:
        return call("mul", other, self)

    @overload
    def __truediv__(self: Feature[float], other: float | Feature[float]) -> Feature[float]: ...
    @overload
    def __truediv__(  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
        self: Feature[float | None], other: float | Feature[float | None]
    ) -> Feature[float | None]: ...
    @overload
    def __truediv__(self: Feature[Decimal], other: Decimal | int | Feature[Decimal]) -> Feature[Decimal]: ...
    @overload
    def __truediv__(
        self: Feature[Decimal | None], other: Decimal | int | Feature[Decimal | None]
    ) -> Feature[Decimal | None]: ...
    def __truediv__(self, other: Any) -> Feature[Any]:
        return call("div", self, other)

    @overload
    def __rtruediv__(self: Feature[float], other: float) -> Feature[float]: ...
    @overload
    def __rtruediv__(self: Feature[float | None], other: float) -> Feature[float | None]: ...
    @overload
    def __rtruediv__(self: Feature[Decimal], other: Decimal | int) -> Feature[Decimal]: ...
    @overload
    def __rtruediv__(self: Feature[Decimal | None], other: Decimal | int) -> Feature[Decimal | None]: ...
    def __rtruediv__(self, other: Any) -> Feature[Any]:
        return call("div", other, self)

    @overload
    def __floordiv__(self: Feature[int], other: int | Feature[int]) -> Feature[int]: ...
    @overload
    def __floordiv__(self: Feature[float], other: float | Feature[float]) -> Feature[float]: ...
    @overload
    def __floordiv__(self: Feature[int | None], other: int | Feature[int | None]) -> Feature[int | None]: ...  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
    @overload
    def __floordiv__(  # type: ignore[overload-overlap]
        self: Feature[float | None], other: float | Feature[float | None]
    ) -> Feature[float | None]: ...
    @overload
    def __floordiv__(self: Feature[Decimal], other: Decimal | int | Feature[Decimal]) -> Feature[Decimal]: ...
    @overload
    def __floordiv__(
        self: Feature[Decimal | None], other: Decimal | int | Feature[Decimal | None]
    ) -> Feature[Decimal | None]: ...
    def __floordiv__(self, other: Any) -> Feature[Any]:
        """As in Python: of `int` and `float` down, of `Decimal` towards zero (`Decimal(-7) // 2` is -3)."""
        return call("floor_div", self, other)

    @overload
    def __rfloordiv__(self: Feature[int], other: int) -> Feature[int]: ...
    @overload
    def __rfloordiv__(self: Feature[float], other: float) -> Feature[float]: ...
    @overload
    def __rfloordiv__(self: Feature[int | None], other: int) -> Feature[int | None]: ...  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
    @overload
    def __rfloordiv__(self: Feature[float | None], other: float) -> Feature[float | None]: ...
    @overload
    def __rfloordiv__(self: Feature[Decimal], other: Decimal | int) -> Feature[Decimal]: ...
    @overload
    def __rfloordiv__(self: Feature[Decimal | None], other: Decimal | int) -> Feature[Decimal | None]: ...
    def __rfloordiv__(self, other: Any) -> Feature[Any]:
        return call("floor_div", other, self)

    @overload
    def __mod__(self: Feature[int], other: int | Feature[int]) -> Feature[int]: ...
    @overload
    def __mod__(self: Feature[float], other: float | Feature[float]) -> Feature[float]: ...
    @overload
    def __mod__(self: Feature[int | None], other: int | Feature[int | None]) -> Feature[int | None]: ...  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
    @overload
    def __mod__(  # type: ignore[overload-overlap]
        self: Feature[float | None], other: float | Feature[float | None]
    ) -> Feature[float | None]: ...
    @overload
    def __mod__(self: Feature[Decimal], other: Decimal | int | Feature[Decimal]) -> Feature[Decimal]: ...
    @overload
    def __mod__(
        self: Feature[Decimal | None], other: Decimal | int | Feature[Decimal | None]
    ) -> Feature[Decimal | None]: ...
    def __mod__(self, other: Any) -> Feature[Any]:
        """As in Python: the sign of the right side, for `Decimal` of the left (`Decimal(-7) % 2` is -1)."""
        return call("mod", self, other)

    @overload
    def __rmod__(self: Feature[int], other: int) -> Feature[int]: ...
    @overload
    def __rmod__(self: Feature[float], other: float) -> Feature[float]: ...
    @overload
    def __rmod__(self: Feature[int | None], other: int) -> Feature[int | None]: ...  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
    @overload
    def __rmod__(self: Feature[float | None], other: float) -> Feature[float | None]: ...
    @overload
    def __rmod__(self: Feature[Decimal], other: Decimal | int) -> Feature[Decimal]: ...
    @overload
    def __rmod__(self: Feature[Decimal | None], other: Decimal | int) -> Feature[Decimal | None]: ...
    def __rmod__(self, other: Any) -> Feature[Any]:
        return call("mod", other, self)

    @overload
    def __pow__(self: Feature[int], other: int | Feature[int]) -> Feature[int]: ...
    @overload
    def __pow__(self: Feature[float], other: float | Feature[float]) -> Feature[float]: ...
    @overload
    def __pow__(self: Feature[int | None], other: int | Feature[int | None]) -> Feature[int | None]: ...  # type: ignore[overload-overlap]  # pyright: ignore[reportOverlappingOverload]
    @overload
    def __pow__(  # type: ignore[overload-overlap]
        self: Feature[float | None], other: float | Feature[float | None]
    ) -> Feature[float | None]: ...
    @overload
    def __pow__(self: Feature[Decimal], other: Decimal | int | Feature[Decimal]) -> Feature[Decimal]: ...
    @overload
    def __pow__(
        self: Feature[Decimal | None], other: Decimal | int | Feature[Decimal | None]
    ) -> Feature[Decimal | None]: ...
    def __pow__(self, other: Any) -> Feature[Any]:
        return call("pow", self, other)

    @overload
    def __lt__(self: Feature[float], other: float | Feature[float]) -> Feature[bool]: ...
    @overload
    def __lt__(self: Feature[Decimal], other: Decimal | Feature[Decimal]) -> Feature[bool]: ...
    @overload
    def __lt__(self: Feature[str], other: str | Feature[str]) -> Feature[bool]: ...
    @overload
    def __lt__(self: Feature[Date], other: Date | Feature[Date]) -> Feature[bool]: ...
    @overload
    def __lt__(self: Feature[timedelta], other: timedelta | Feature[timedelta]) -> Feature[bool]: ...
    @overload
    def __lt__(self: Feature[float | None], other: float | Feature[float | None]) -> Feature[bool | None]: ...
    @overload
    def __lt__(
        self: Feature[Decimal | None], other: Decimal | Feature[Decimal | None]
    ) -> Feature[bool | None]: ...
    @overload
    def __lt__(self: Feature[str | None], other: str | Feature[str | None]) -> Feature[bool | None]: ...
    @overload
    def __lt__(self: Feature[Date | None], other: Date | Feature[Date | None]) -> Feature[bool | None]: ...
    @overload
    def __lt__(
        self: Feature[timedelta | None], other: timedelta | Feature[timedelta | None]
    ) -> Feature[bool | None]: ...
    def __lt__(self, other: Any) -> Feature[Any]:
        return call("lt", self, other)

    @overload
    def __le__(self: Feature[float], other: float | Feature[float]) -> Feature[bool]: ...
    @overload
    def __le__(self: Feature[Decimal], other: Decimal | Feature[Decimal]) -> Feature[bool]: ...
    @overload
    def __le__(self: Feature[str], other: str | Feature[str]) -> Feature[bool]: ...
    @overload
    def __le__(self: Feature[Date], other: Date | Feature[Date]) -> Feature[bool]: ...
    @overload
    def __le__(self: Feature[timedelta], other: timedelta | Feature[timedelta]) -> Feature[bool]: ...
    @overload
    def __le__(self: Feature[float | None], other: float | Feature[float | None]) -> Feature[bool | None]: ...
    @overload
    def __le__(
        self: Feature[Decimal | None], other: Decimal | Feature[Decimal | None]
    ) -> Feature[bool | None]: ...
    @overload
    def __le__(self: Feature[str | None], other: str | Feature[str | None]) -> Feature[bool | None]: ...
    @overload
    def __le__(self: Feature[Date | None], other: Date | Feature[Date | None]) -> Feature[bool | None]: ...
    @overload
    def __le__(
        self: Feature[timedelta | None], other: timedelta | Feature[timedelta | None]
    ) -> Feature[bool | None]: ...
    def __le__(self, other: Any) -> Feature[Any]:
        return call("le", self, other)

    @overload
    def __gt__(self: Feature[float], other: float | Feature[float]) -> Feature[bool]: ...
    @overload
    def __gt__(self: Feature[Decimal], other: Decimal | Feature[Decimal]) -> Feature[bool]: ...
    @overload
    def __gt__(self: Feature[str], other: str | Feature[str]) -> Feature[bool]: ...
    @overload
    def __gt__(self: Feature[Date], other: Date | Feature[Date]) -> Feature[bool]: ...
    @overload
    def __gt__(self: Feature[timedelta], other: timedelta | Feature[timedelta]) -> Feature[bool]: ...
    @overload
    def __gt__(self: Feature[float | None], other: float | Feature[float | None]) -> Feature[bool | None]: ...
    @overload
    def __gt__(
        self: Feature[Decimal | None], other: Decimal | Feature[Decimal | None]
    ) -> Feature[bool | None]: ...
    @overload
    def __gt__(self: Feature[str | None], other: str | Feature[str | None]) -> Feature[bool | None]: ...
    @overload
    def __gt__(self: Feature[Date | None], other: Date | Feature[Date | None]) -> Feature[bool | None]: ...
    @overload
    def __gt__(
        self: Feature[timedelta | None], other: timedelta | Feature[timedelta | None]
    ) -> Feature[bool | None]: ...
    def __gt__(self, other: Any) -> Feature[Any]:
        return call("gt", self, other)

    @overload
    def __ge__(self: Feature[float], other: float | Feature[float]) -> Feature[bool]: ...
    @overload
    def __ge__(self: Feature[Decimal], other: Decimal | Feature[Decimal]) -> Feature[bool]: ...
    @overload
    def __ge__(self: Feature[str], other: str | Feature[str]) -> Feature[bool]: ...
    @overload
    def __ge__(self: Feature[Date], other: Date | Feature[Date]) -> Feature[bool]: ...
    @overload
    def __ge__(self: Feature[timedelta], other: timedelta | Feature[timedelta]) -> Feature[bool]: ...
    @overload
    def __ge__(self: Feature[float | None], other: float | Feature[float | None]) -> Feature[bool | None]: ...
    @overload
    def __ge__(
        self: Feature[Decimal | None], other: Decimal | Feature[Decimal | None]
    ) -> Feature[bool | None]: ...
    @overload
    def __ge__(self: Feature[str | None], other: str | Feature[str | None]) -> Feature[bool | None]: ...
    @overload
    def __ge__(self: Feature[Date | None], other: Date | Feature[Date | None]) -> Feature[bool | None]: ...
    @overload
    def __ge__(
        self: Feature[timedelta | None], other: timedelta | Feature[timedelta | None]
    ) -> Feature[bool | None]: ...
    def __ge__(self, other: Any) -> Feature[Any]:
        return call("ge", self, other)

    def __neg__(self) -> Feature[T_co]:
        return call("neg", self)

    def __abs__(self) -> Feature[T_co]:
        return call("abs", self)

    @overload
    def __round__(self: Feature[float | Decimal]) -> Feature[int]: ...
    @overload
    def __round__(self: Feature[float | Decimal | None]) -> Feature[int | None]: ...
    @overload
    def __round__(self: Feature[float], digits: int) -> Feature[float]: ...
    @overload
    def __round__(  # type: ignore[overload-overlap]
        self: Feature[float | None], digits: int
    ) -> Feature[float | None]: ...
    @overload
    def __round__(self: Feature[Decimal], digits: int) -> Feature[Decimal]: ...
    @overload
    def __round__(self: Feature[Decimal | None], digits: int) -> Feature[Decimal | None]: ...
    def __round__(self, digits: int | None = None) -> Feature[Any]:
        return call("round", self) if digits is None else call("round", self, digits)

    @overload
    def __and__(self: Feature[bool], other: bool | Feature[bool]) -> Feature[bool]: ...
    @overload
    def __and__(self: Feature[bool | None], other: bool | Feature[bool | None]) -> Feature[bool | None]: ...
    def __and__(self, other: Any) -> Feature[Any]:
        return call("and", self, other)

    @overload
    def __or__(self: Feature[bool], other: bool | Feature[bool]) -> Feature[bool]: ...
    @overload
    def __or__(self: Feature[bool | None], other: bool | Feature[bool | None]) -> Feature[bool | None]: ...
    def __or__(self, other: Any) -> Feature[Any]:
        return call("or", self, other)

    @overload
    def __invert__(self: Feature[bool]) -> Feature[bool]: ...
    @overload
    def __invert__(self: Feature[bool | None]) -> Feature[bool | None]: ...
    def __invert__(self) -> Feature[Any]:
        return call("not", self)

    def is_none(self) -> Feature[bool]:
        """Whether there is no value; itself never null."""
        return call("is_none", self)

    @overload
    def lower(self: Feature[str]) -> Feature[str]: ...
    @overload
    def lower(self: Feature[str | None]) -> Feature[str | None]: ...
    def lower(self) -> Feature[Any]:
        """`str.lower`."""
        return call("lower", self)

    @overload
    def upper(self: Feature[str]) -> Feature[str]: ...
    @overload
    def upper(self: Feature[str | None]) -> Feature[str | None]: ...
    def upper(self) -> Feature[Any]:
        """`str.upper`."""
        return call("upper", self)

    @overload
    def strip(self: Feature[str]) -> Feature[str]: ...
    @overload
    def strip(self: Feature[str | None]) -> Feature[str | None]: ...
    def strip(self) -> Feature[Any]:
        """`str.strip`."""
        return call("strip", self)

    @overload
    def replace(self: Feature[str], old: str, new: str) -> Feature[str]: ...
    @overload
    def replace(self: Feature[str | None], old: str, new: str) -> Feature[str | None]: ...
    def replace(self, old: str, new: str) -> Feature[Any]:
        """`str.replace`."""
        return call("replace", self, old, new)

    @overload
    def slice(self: Feature[str], start: int | None = None, stop: int | None = None) -> Feature[str]: ...
    @overload
    def slice(
        self: Feature[str | None], start: int | None = None, stop: int | None = None
    ) -> Feature[str | None]: ...
    def slice(self, start: int | None = None, stop: int | None = None) -> Feature[Any]:
        """`text[start:stop]` over characters; `None` bounds are open, negative ones count from the end."""
        return call("slice", self, start, stop)

    @overload
    def startswith(self: Feature[str], prefix: str) -> Feature[bool]: ...
    @overload
    def startswith(self: Feature[str | None], prefix: str) -> Feature[bool | None]: ...
    def startswith(self, prefix: str) -> Feature[Any]:
        """`str.startswith`."""
        return call("starts_with", self, prefix)

    @overload
    def endswith(self: Feature[str], suffix: str) -> Feature[bool]: ...
    @overload
    def endswith(self: Feature[str | None], suffix: str) -> Feature[bool | None]: ...
    def endswith(self, suffix: str) -> Feature[Any]:
        """`str.endswith`."""
        return call("ends_with", self, suffix)

    @overload
    def contains(self: Feature[str], item: str) -> Feature[bool]: ...
    @overload
    def contains(self: Feature[list[Item]], item: Item) -> Feature[bool]: ...
    @overload
    def contains(self: Feature[str | None], item: str) -> Feature[bool | None]: ...
    @overload
    def contains(self: Feature[list[Item] | None], item: Item) -> Feature[bool | None]: ...
    def contains(self, item: Any) -> Feature[Any]:
        """`item in text` or `item in items`."""
        return call("contains", self, item)

    @overload
    def length(self: Feature[str | list[Any]]) -> Feature[int]: ...
    @overload
    def length(self: Feature[str | list[Any] | None]) -> Feature[int | None]: ...
    def length(self) -> Feature[Any]:
        """Characters of a text, items of a list."""
        return call("length", self)

    @overload
    def weekday(self: Feature[Date]) -> Feature[int]: ...
    @overload
    def weekday(self: Feature[Date | None]) -> Feature[int | None]: ...
    def weekday(self) -> Feature[Any]:
        """Day of the week in UTC; Monday is 0."""
        return call("weekday", self)

    @overload
    def date(self: Feature[datetime]) -> Feature[Date]: ...
    @overload
    def date(self: Feature[datetime | None]) -> Feature[Date | None]: ...
    def date(self) -> Feature[Any]:
        """The day in UTC."""
        return call("date_of", self)

    @overload
    def total_seconds(self: Feature[timedelta]) -> Feature[float]: ...
    @overload
    def total_seconds(self: Feature[timedelta | None]) -> Feature[float | None]: ...
    def total_seconds(self) -> Feature[Any]:
        """`timedelta.total_seconds`."""
        return call("total_seconds", self)

    @property
    def year(self: Feature[Any]) -> Feature[int]:
        """Year in UTC.

        Null where there is no date.
        """
        return call("year", self)

    @property
    def month(self: Feature[Any]) -> Feature[int]:
        """Month in UTC, 1 to 12.

        Null where there is no date.
        """
        return call("month", self)

    @property
    def day(self: Feature[Any]) -> Feature[int]:
        """Day of the month in UTC.

        Null where there is no date.
        """
        return call("day", self)

    @property
    def hour(self: Feature[Any]) -> Feature[int]:
        """Hour in UTC.

        Null where there is no datetime.
        """
        return call("hour", self)

    @property
    def minute(self: Feature[Any]) -> Feature[int]:
        """Minute in UTC.

        Null where there is no datetime.
        """
        return call("minute", self)

    @property
    def second(self: Feature[Any]) -> Feature[int]:
        """Second in UTC.

        Null where there is no datetime.
        """
        return call("second", self)


class Windowed(Reference, Generic[T_co]):
    """A feature with one value per window: `Carrier.delay_mean[days(7)]`."""

    __slots__ = ()

    def __getitem__(self, window: timedelta) -> Feature[T_co]:
        last: tuple[timedelta, ...] = self._member.aggregate.last
        if window not in last:
            raise problem_here(
                "definition/no-such-window",
                f"`{self}` has no window of {span_text(window)}",
                f"declared are {', '.join(span_text(span) for span in last)}",
            )
        return Feature(self._member, self._path, window)

    if not TYPE_CHECKING:  # Type checkers know that a windowed feature is no operand.

        def _no_operand(self, *_: object) -> Any:
            raise problem_here(
                "definition/no-window", f"`{self}` is one value per window", f"choose one: `{self}[days(1)]`"
            )

        __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = (
            _no_operand
        )
        __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __pow__ = __rpow__ = __neg__ = __abs__ = (
            _no_operand
        )
        __lt__ = __le__ = __gt__ = __ge__ = __and__ = __or__ = __invert__ = __bool__ = _no_operand

    def __str__(self) -> str:
        return self._text() or "a windowed feature"

    def __repr__(self) -> str:
        return f"<Windowed {self}>"

    def __iter__(self) -> Any:
        raise problem_here(
            "definition/no-window", f"`{self}` is one value per window", "choose one: `[days(1)]`"
        )


def call(function: str, *args: Any) -> Feature[Any]:
    """The expression that applies `function` to features and constants, made at the caller's line."""
    for arg in args:
        if isinstance(arg, Windowed):
            raise problem_here(
                "definition/no-window",
                f"`{arg}` is one value per window",
                f"choose one: `{arg}[days(1)]`",
            )
        if arg is None and function not in ("eq", "ne", "slice", "if", "coalesce"):
            raise problem_here(
                "expression/none", "`None` is no operand", "ask with `.is_none()`, replace with `coalesce`"
            )
    if function in ("eq", "ne") and any(arg is None for arg in args):
        test = call("is_none", *(arg for arg in args if arg is not None))
        return test if function == "eq" else call("not", test)
    return Feature(Member(caller(), expression=Call(function, args)))


def _same(left: Any, right: Any) -> bool:
    if not isinstance(left, Feature) or not isinstance(right, Feature):
        return False
    return left is right or _same_name(left, right)  # pyright: ignore[reportUnknownArgumentType]


def _same_name(left: Any, right: Any) -> bool:
    # `typing` keeps each `Annotated[str, User.email]` by equality: a class declared anew, as in a notebook,
    # must not get the features of its predecessor.
    named = left._text() is not None
    return named and str(left) == str(right) and left._member.entity is right._member.entity
