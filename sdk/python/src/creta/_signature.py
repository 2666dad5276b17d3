"""What a resolver takes and gives, read from its annotations."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, get_args, get_origin

from creta._entity import later_entities, misspelled, reason_of
from creta._errors import CretaError, Location
from creta._expression import member_type
from creta._feature import UNSET, Feature
from creta._guards import is_feature, is_windowed
from creta._resolver import Now, ResolverInfo
from creta._source_text import function_node
from creta._types import TypeSpec, read_type, type_name


class Nulls:
    """As further metadata of a batch parameter: rows without a value come too, as null.

    `wind: Annotated[pl.Series, Flight.weather.wind_speed, Nulls]`. For scalar resolvers `float | None` says
    the same.
    """


@dataclass(frozen=True, slots=True)
class Input:
    """One parameter.

    `path` is `None` for the row's instant.
    """

    name: str
    path: str | None
    type: TypeSpec
    optional: bool
    reference: Feature[Any] | None


@dataclass(frozen=True, slots=True)
class Output:
    """One result."""

    path: str
    type: TypeSpec
    optional: bool
    reference: Feature[Any]


@dataclass(frozen=True, slots=True)
class Signature:
    """Parameters and results of a resolver, in order."""

    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]


def read_signature(info: ResolverInfo) -> Signature:
    """Reads and checks the annotations; mistakes name the parameter and its line."""
    function = info.function
    name = f"`{function.__name__}`"
    inputs: list[Input] = []
    for parameter in inspect.signature(function).parameters.values():
        at = _place(info, parameter.name)
        what = f"parameter `{parameter.name}` of {name}"
        if parameter.kind is not inspect.Parameter.POSITIONAL_OR_KEYWORD:
            raise CretaError("resolver/bad-parameter", f"{what} is not a plain parameter", location=at)
        annotation = _evaluated(info, parameter.annotation, what, at)
        inputs.append(_input(info, parameter.name, annotation, what, at))
    at = _place(info, None)
    result = _evaluated(info, inspect.signature(function).return_annotation, f"the result of {name}", at)
    arms = get_args(result) if get_origin(result) is tuple else (result,)
    outputs = tuple(_output(info, arm, f"the result of {name}", at) for arm in arms)
    roots = {str(output.path).partition(".")[0] for output in outputs}
    if len(roots) > 1:
        raise CretaError(
            "resolver/two-entities",
            f"{name} makes features of {' and '.join(f'`{root}`' for root in sorted(roots))}",
            help="write one resolver per entity",
            location=at,
        )
    for value in inputs:
        if value.path is not None and value.path.partition(".")[0] not in roots:
            root = next(iter(roots))
            raise CretaError(
                "resolver/other-entity",
                f"{name} makes features of `{root}` from `{value.path}`",
                help=f"start from `{root}` and follow a `one` relation",
                location=_place(info, value.name),
            )
    return Signature(tuple(inputs), outputs)


def _place(info: ResolverInfo, parameter: str | None) -> Location:
    node = function_node(info.function)
    if node is None:
        return info.location
    for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs):
        if argument.arg == parameter:
            return Location(info.location.file, argument.lineno)
    if parameter is None and node.returns is not None:
        return Location(info.location.file, node.returns.lineno)
    return Location(info.location.file, node.lineno)


def _evaluated(info: ResolverInfo, annotation: Any, what: str, at: Location) -> Any:
    if not isinstance(annotation, str):
        return annotation
    try:
        own = info.function.__globals__
        return eval(annotation, {**later_entities(own), **info.names, **own})
    except CretaError as error:
        error.location = at
        raise
    except Exception as error:
        if (problem := misspelled(error, at)) is not None:
            raise problem from None
        raise CretaError(
            "resolver/bad-annotation",
            f"the annotation of {what} cannot be evaluated: {reason_of(error)}",
            help="import every name it uses when the module runs, not only under `if TYPE_CHECKING`",
            location=at,
        ) from error


def _metadata(annotation: Any, what: str, at: Location, example: str) -> tuple[Any, tuple[Any, ...]]:
    if get_origin(annotation) is not Annotated:
        raise CretaError(
            "resolver/no-feature",
            f"{what} does not say which feature it is",
            help=f"write `{example}`",
            location=at,
        )
    base, *marks = get_args(annotation)
    return base, tuple(marks)


def _reference(marks: tuple[Any, ...], what: str, at: Location, example: str) -> Feature[Any]:
    for mark in marks:
        if is_windowed(mark):
            raise CretaError(
                "definition/no-window",
                f"{what} is `{mark}`, which is one value per window",
                help=f"choose one: `{mark}[days(1)]`",
                location=at,
            )
        if is_feature(mark) and mark._text() is not None:
            return mark
    raise CretaError(
        "resolver/no-feature",
        f"{what} does not say which feature it is",
        help=f"write `{example}`",
        location=at,
    )


def _input(info: ResolverInfo, name: str, annotation: Any, what: str, at: Location) -> Input:
    example = f"{name}: Annotated[float, Entity.feature]"
    base, marks = _metadata(annotation, what, at, example)
    if Now in marks:
        if info.mode == "scalar" and base is not datetime:
            raise CretaError(
                "resolver/wrong-type", f"{what} is `Now`, so its type is `datetime`", location=at
            )
        return Input(name, None, TypeSpec("datetime"), False, None)
    reference = _reference(marks, what, at, example)
    feature, feature_optional = member_type(reference._member)
    if info.mode != "scalar":
        return Input(name, str(reference), feature, Nulls in marks, reference)
    spec, optional = _scalar_type(base, marks, what, at)
    if spec != feature and not (spec.kind == "float" and feature.kind == "int"):
        raise _mismatch(what, base, reference, feature, feature_optional, at)
    # The feature's type says how values travel; the user's own classes stand in the annotation.
    return Input(name, str(reference), spec if spec == feature else feature, optional, reference)


def _output(info: ResolverInfo, annotation: Any, what: str, at: Location) -> Output:
    example = "-> Annotated[float, Entity.feature]"
    base, marks = _metadata(annotation, what, at, example)
    reference = _reference(marks, what, at, example)
    feature, feature_optional = member_type(reference._member)
    path = str(reference)
    if reference._path is not None or reference._window is not None or reference._member.role != "value":
        raise CretaError(
            "resolver/bad-output", f"{what} is `{path}`, which no resolver can make", location=at
        )
    if reference._member.aggregate is not None or reference._member.expression is not UNSET:
        raise CretaError(
            "resolver/bad-output",
            f"{what} is `{path}`, which is already computed by its expression",
            help="declare it with `feature()` alone",
            location=at,
        )
    if info.mode != "scalar":
        return Output(path, feature, feature_optional, reference)
    spec, optional = _scalar_type(base, marks, what, at)
    if (spec != feature and not (spec.kind == "int" and feature.kind == "float")) or (
        optional and not feature_optional
    ):
        raise _mismatch(what, base, reference, feature, feature_optional, at)
    return Output(path, spec if spec == feature else feature, feature_optional, reference)


def _scalar_type(base: Any, marks: tuple[Any, ...], what: str, at: Location) -> tuple[TypeSpec, bool]:
    """The type of `Annotated[base, ...]`, whose marks may hold a `Scale` or `Vector` beside the feature."""
    kept = tuple(mark for mark in marks if type(mark).__name__ in ("Scale", "Vector"))
    for mark in kept:
        base = Annotated[base, mark]
    return read_type(base, what, at)


def _mismatch(
    what: str, base: Any, reference: Feature[Any], feature: TypeSpec, feature_optional: bool, at: Location
) -> CretaError:
    declared = f"{feature}{' | None' if feature_optional else ''}"
    return CretaError(
        "resolver/wrong-type",
        f"{what} is `{type_name(base)}`, but `{reference}` is `{declared}`",
        help=f"annotate it with `{declared}`",
        location=at,
    )
