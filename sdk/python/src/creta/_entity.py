"""Entities, their features and their relations."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import takewhile
from pathlib import PurePath
from types import FunctionType
from typing import Any, Generic, TypeAlias, TypeVar, get_args, get_origin, overload
from weakref import WeakSet

from creta._errors import CretaError, Location, caller, problem_here
from creta._feature import UNSET, Feature, Member, Options, Path, Unset, Windowed
from creta._guards import is_feature, is_items
from creta._options import Check, Meta

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
E_co = TypeVar("E_co", covariant=True)
EntityT = TypeVar("EntityT", bound=type)

Pair = tuple[Feature[Any], Feature[Any]]
On = Callable[[], Pair | tuple[Pair, ...]]


AnyMember: TypeAlias = "Feature[Any] | Windowed[Any] | One[Any] | Many[Any]"

_DECLARED: dict[str, WeakSet[type]] = {}
"""Entities by name."""


@dataclass(slots=True)
class EntityInfo:
    """What `@entity` recorded; annotations are evaluated later, so that entities may refer to later ones."""

    location: Location
    owner: str | None
    tags: tuple[str, ...]
    renamed_from: str | None
    names: dict[str, Any]
    """Names visible where the class was written, for entities declared inside a function."""

    members: dict[str, AnyMember] = field(default_factory=lambda: {})
    """In declaration order."""


@dataclass(slots=True)
class Relation:
    """The declaration behind `one` and `many`."""

    kind: str
    on: On
    location: Location
    name: str = ""
    entity: type | None = None

    def target(self) -> type:
        """The entity on the other side, read from the annotation."""
        assert self.entity is not None
        annotation = annotation_of(self.entity, self.name, self.location)
        arguments = get_args(annotation)
        if (
            get_origin(annotation) not in (One, Many)
            or len(arguments) != 1
            or entity_info(arguments[0]) is None
        ):
            raise problem_here(
                "definition/bad-relation",
                f"`{self.entity.__name__}.{self.name}` does not say which entity it leads to",
                f"annotate it with `{'One' if self.kind == 'one' else 'Many'}[SomeEntity]`",
                self.location,
            )
        target: type = arguments[0]
        return target


class EntityPath:
    """`Flight.operator`: the entity reached over `one` relations.

    Its attributes are features of that entity.
    """

    __slots__ = ("_root", "_target", "_via")

    def __init__(self, root: type, via: tuple[str, ...], target: type) -> None:
        self._root = root
        self._via = via
        self._target = target

    def __getattr__(self, name: str) -> Any:
        info = entity_info(self._target)
        member = info.members.get(name) if info else None
        if isinstance(member, Feature | Windowed):
            return type(member)(member._member, Path(self._root, self._via))
        if isinstance(member, One):
            return EntityPath(self._root, (*self._via, name), member._relation.target())
        if name.startswith("__"):
            raise AttributeError(name)
        if member is not None:
            raise problem_here(
                "definition/many-in-path",
                f"`{self}.{name}` leads to many `{member._relation.target().__name__}`, "
                "so it has no single value",
                "aggregate it in a window of the entity, and read that window over the `one` relations",
            )
        raise no_such_member(self._target, name)

    def __str__(self) -> str:
        return ".".join((self._root.__name__, *self._via))

    def __repr__(self) -> str:
        return f"<One {self} -> {self._target.__name__}>"


class One(Generic[E_co]):
    """At most one thing of another entity, found by key.

    Read through the class it is that entity.
    """

    __slots__ = ("_relation",)

    def __init__(self, relation: Relation) -> None:
        self._relation = relation

    def __set_name__(self, owner: type, name: str) -> None:
        self._relation.name, self._relation.entity = name, owner

    def __get__(self, instance: None, owner: type) -> type[E_co]:
        reached: type[E_co] = EntityPath(owner, (self._relation.name,), self._relation.target())  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
        return reached


class Column(Generic[T_co]):
    """A feature of the facts that a `many` relation leads to: what a window aggregates."""

    __slots__ = ("relation", "value")

    def __init__(self, relation: Relation, value: Any) -> None:
        self.relation = relation
        self.value = value


class Many(Generic[E_co]):
    """All facts of another entity whose features equal this one's.

    `flights[Flight.dep_delay]` is a column of them.
    """

    __slots__ = ("_relation",)

    def __init__(self, relation: Relation) -> None:
        self._relation = relation

    def __set_name__(self, owner: type, name: str) -> None:
        self._relation.name, self._relation.entity = name, owner

    def __getitem__(self, feature: Feature[T] | Callable[[], Feature[T]]) -> Column[T]:
        return Column(self._relation, feature)

    def __iter__(self) -> Any:
        raise problem_here(
            "definition/no-iteration", "a `many` relation has no items until the engine runs it"
        )


def one(*, on: On) -> Any:
    """Declares a relation to at most one thing of another entity, as of the row's instant.

    `on` gives a pair (feature here, feature there), or a tuple of pairs; the features there are the other
    entity's whole key. It is a lambda, so that it may name entities declared later.
    """
    return One[Any](Relation("one", on, caller()))


def many(*, on: On) -> Any:
    """Declares a relation to all facts of another entity whose features equal those here; see `one` for
    `on`."""
    return Many[Any](Relation("many", on, caller()))


def key(
    *,
    check: Check | None = None,
    tags: tuple[str, ...] = (),
    event_id: bool = False,
    meta: Meta | None = None,
) -> Any:
    """Declares a part of the entity's key.

    Several make a composite key, in the order of declaration.     With `event_id=True` facts with equal keys
    are versions of one event (rule S8).
    """
    options = Options(check=check, tags=tags, event_id=event_id, meta=meta)
    return Feature[Any](Member(caller(), "key", options))


def event_time(*, tags: tuple[str, ...] = (), meta: Meta | None = None) -> Feature[datetime]:
    """Declares when a fact of the entity was true."""
    return Feature[datetime](Member(caller(), "event_time", Options(tags=tags, meta=meta)))


def event_id(*, tags: tuple[str, ...] = (), meta: Meta | None = None) -> Any:
    """Declares a feature whose equal values mark versions of one event: the last known one counts, once (rule
    S8)."""
    return Feature[Any](Member(caller(), "value", Options(tags=tags, meta=meta, event_id=True)))


def feature(
    expression: Feature[T] | None = None,
    /,
    *,
    default: T | Unset = UNSET,
    max_age: timedelta | None = None,
    check: Check | None = None,
    unit: str | None = None,
    tags: tuple[str, ...] = (),
    meta: Meta | None = None,
) -> Feature[T]:
    """Declares a feature: of ingested facts, of the resolver that outputs it, or of the expression given
    here.

    `default` replaces missing and expired values; stored values older than `max_age` are expired (rule S5).
    """
    options = Options(default=default, max_age=max_age, check=check, unit=unit, tags=tags, meta=meta)
    return Feature[T](Member(caller(), "value", options, UNSET if expression is None else expression))


@overload
def entity(cls: EntityT, /) -> EntityT: ...
@overload
def entity(
    *, owner: str | None = None, tags: tuple[str, ...] = (), renamed_from: str | None = None
) -> Callable[[EntityT], EntityT]: ...
def entity(
    cls: Any = None,
    /,
    *,
    owner: str | None = None,
    tags: tuple[str, ...] = (),
    renamed_from: str | None = None,
) -> Any:
    """Declares a class as an entity: its annotated members are features and relations, its docstring
    describes it."""
    location = caller()
    names = dict(sys._getframe(1).f_locals)

    def declare(declared: type) -> type:
        info = EntityInfo(location, owner, tags, renamed_from, names)
        declared.__creta_entity__ = info  # type: ignore[attr-defined]
        _DECLARED.setdefault(declared.__name__, WeakSet()).add(declared)
        for name, value in list(vars(declared).items()):
            if isinstance(value, Feature | Windowed):
                info.members[name] = _own(declared, name, value)
            elif isinstance(value, One | Many):
                info.members[name] = value
        for name in vars(declared).get("__annotations__", {}):
            if name not in vars(declared):
                raise problem_here(
                    "definition/no-value",
                    f"`{declared.__name__}.{name}` is annotated but not declared",
                    f"write `{name}: Feature[...] = feature()`",
                    location,
                )
        return declared

    return declare if cls is None else declare(cls)


def _own(entity_class: type, name: str, value: Any) -> Any:
    """The member itself, or an expression that reads it when the same reference was assigned to another
    name."""
    if value._member.entity is entity_class and value._member.name == name and value._path is None:
        return value
    copy = Feature[Any](Member(value._member.location, expression=value))
    setattr(entity_class, name, copy)
    copy.__set_name__(entity_class, name)
    return copy


def entity_info(cls: Any) -> EntityInfo | None:
    """What `@entity` recorded about exactly this class."""
    info = vars(cls).get("__creta_entity__") if isinstance(cls, type) else None
    return info if isinstance(info, EntityInfo) else None


def annotation_of(cls: type, name: str, location: Location) -> Any:
    """The evaluated annotation of a member, `None` when it has none."""
    annotation = vars(cls).get("__annotations__", {}).get(name)
    if not isinstance(annotation, str):
        return annotation
    info = entity_info(cls)
    module = sys.modules.get(cls.__module__)
    names = info.names if info else {}
    own = vars(module) if module else {}
    try:
        return eval(annotation, {**later_entities(own), **names, **own}, {cls.__name__: cls})
    except Exception as error:
        raise problem_here(
            "definition/bad-annotation",
            f"the annotation `{annotation}` of `{cls.__name__}.{name}` cannot be evaluated: "
            f"{reason_of(error)}",
            "import every name it uses when the module runs, not only under `if TYPE_CHECKING`",
            location,
        ) from error


def later_entities(module: Mapping[str, Any]) -> dict[str, Any]:
    """Declared entities by name, for definitions that import them only under `if TYPE_CHECKING`, as two
    modules that need each other must.

    Of several with one name, the one nearest to the module on disk.
    """
    file = str(module.get("__file__") or "")
    nearest: dict[str, Any] = {}
    for name, classes in _DECLARED.items():
        files = {
            cls: str(getattr(sys.modules.get(cls.__module__), "__file__", None) or "") for cls in classes
        }
        if files:
            nearest[name] = max(files, key=lambda cls: _shared(file, files[cls]))
    return nearest


def _shared(one: str, other: str) -> int:
    """How many leading folders two files share."""
    pairs = zip(PurePath(one).parts, PurePath(other).parts, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def called_late(function: Any) -> Any:
    """What a lambda of a definition gives, now that all entities exist."""
    names = {**later_entities(function.__globals__), **function.__globals__}
    return FunctionType(function.__code__, names, function.__name__, None, function.__closure__)()


def reason_of(error: Exception) -> str:
    """Why definitions cannot be evaluated: the text where Python's own exceptions speak of names, else the
    kind."""
    return str(error) if isinstance(error, NameError | AttributeError | TypeError) else type(error).__name__


def misspelled(error: BaseException, at: Location) -> CretaError | None:
    """The error for `User.emial`, when that is what an exception is about."""
    if isinstance(error, AttributeError) and entity_info(error.obj) is not None:
        owner: Any = error.obj
        problem = no_such_member(owner, error.name or "")
        problem.location = at
        return problem
    return None


def no_such_member(cls: type, name: str) -> CretaError:
    """The error for a feature that is not declared, naming the closest one."""
    from difflib import get_close_matches

    info = entity_info(cls)
    close = get_close_matches(name, list(info.members) if info else [], 1)
    return problem_here(
        "definition/no-such-feature",
        f"`{cls.__name__}` has no feature `{name}`",
        f"did you mean `{cls.__name__}.{close[0]}`?" if close else None,
    )


def read_on(relation: Relation, target: type, at: Location) -> list[tuple[str, str]]:
    """The names of the pairs of features that `on` makes equal, checked."""
    assert relation.entity is not None
    here = relation.entity
    what = f"`{here.__name__}.{relation.name}`"
    given: Any = called_late(relation.on)
    pairs: Sequence[Any] = given if is_items(given) and given and isinstance(given[0], tuple) else (given,)
    names: list[tuple[str, str]] = []
    for given_pair in pairs:
        pair: Any = given_pair
        if not is_items(pair) or len(pair) != 2 or not all(is_feature(side) for side in pair):
            raise problem_here(
                "definition/bad-relation",
                f"{what} is not given as pairs of features",
                f"write `on=lambda: ({here.__name__}.feature, {target.__name__}.feature)`",
                at,
            )
        for side, entity_class in zip(pair, (here, target), strict=True):
            if side._member.entity is not entity_class or side._path is not None:
                raise problem_here(
                    "definition/bad-relation",
                    f"{what} pairs `{side}`, which is not a feature of `{entity_class.__name__}`",
                    f"write (feature of `{here.__name__}`, feature of `{target.__name__}`)",
                    at,
                )
        names.append((pair[0]._member.name, pair[1]._member.name))
    return names
