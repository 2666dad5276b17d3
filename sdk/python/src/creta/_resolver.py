"""Resolvers: functions that make features from features."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, TypeVar, overload

from creta._errors import Location, problem_here

F = TypeVar("F", bound=Callable[..., Any])
Frame = Literal["pandas", "polars", "arrow"]


class Now:
    """As the metadata of a parameter: the instant of the row.

    `at: Annotated[datetime, Now]`.
    """


@dataclass(frozen=True, slots=True)
class ResolverInfo:
    """What `@resolver` recorded; annotations are read later."""

    function: Callable[..., Any]
    mode: str
    owner: str | None
    environments: tuple[str, ...]
    timeout: timedelta | None
    retries: int
    location: Location
    names: dict[str, Any]


@overload
def resolver(function: F, /) -> F: ...
@overload
def resolver(
    *,
    frame: Frame | None = None,
    owner: str | None = None,
    environments: tuple[str, ...] = (),
    timeout: timedelta | None = None,
    retries: int = 0,
) -> Callable[[F], F]: ...
def resolver(
    function: Any = None,
    /,
    *,
    frame: Frame | None = None,
    owner: str | None = None,
    environments: tuple[str, ...] = (),
    timeout: timedelta | None = None,
    retries: int = 0,
) -> Any:
    """Declares a function as a resolver. The function itself is returned: call it, test it, as before.

    Parameters say where values come from, `email: Annotated[str, User.email]`, the result says where they
    go, `-> Annotated[str, User.email_domain]`, or a `tuple` of such. Without `frame` it is called once per
    row with plain values, with one it is called once per batch with a pandas `Series`, polars `Series` or
    pyarrow `Array` per parameter. It may be `async def`. `environments` limits where it is enabled;
    `timeout` is per call, kept by a server, which ends the process that takes longer; in `creta.local` the
    call runs in your own process and is waited for.
    """
    names = dict(inspect.currentframe().f_back.f_locals)  # type: ignore[union-attr]  # pyright: ignore[reportOptionalMemberAccess]

    def declare(declared: Any) -> Any:
        if not inspect.isfunction(declared):
            raise problem_here(
                "definition/not-a-function", "`@resolver` belongs on a function written with `def`"
            )
        location = Location(declared.__code__.co_filename, declared.__code__.co_firstlineno)
        declared.__creta_resolver__ = ResolverInfo(  # type: ignore[attr-defined]
            declared, frame or "scalar", owner, environments, timeout, retries, location, names
        )
        return declared

    return declare if function is None else declare(function)


def resolver_info(function: Any) -> ResolverInfo | None:
    """What `@resolver` recorded about this function."""
    info = getattr(function, "__creta_resolver__", None) if inspect.isfunction(function) else None
    return info if isinstance(info, ResolverInfo) else None
