"""Calls a project's resolvers: the same for a worker of the server and for `creta.local`.

A failed row fails in all outputs, with a code and without the exception's text, which may hold values.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from creta._errors import CretaError, Location
from creta._guards import is_tuple
from creta._raised import NOWHERE, Sources
from creta._resolver import resolver_info
from creta._signature import read_signature
from creta._types import TypeSpec
from creta._values import BeyondInt, WrongType, checked, to_python

if TYPE_CHECKING:
    import pyarrow as pa

AWAITED_MAX = 1_000
"""Coroutines of one call that run at a time."""

_OUR_EXCEPTIONS = (Exception, SystemExit, GeneratorExit, asyncio.CancelledError)
"""What code of a resolver may raise without ending the process it runs in."""


@dataclass(frozen=True, slots=True)
class Value:
    """A parameter or a result: its type, and whether it may be `None`."""

    name: str
    type: TypeSpec
    optional: bool


@dataclass(frozen=True, slots=True)
class Bound:
    """A resolver ready to be called."""

    name: str
    function: Callable[..., Any]
    mode: str
    is_async: bool
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    sources: Sources = NOWHERE

    def call_scalar(self, arguments: Sequence[Any]) -> tuple[Any, ...]:
        """One row of plain values in and out; what goes wrong is a `CretaError`.

        For scalar resolvers only.
        """
        try:
            result = self.function(*self.made(arguments))
            if self.is_async:
                result = run(result)
        except _OUR_EXCEPTIONS as error:
            raise self.raised(error) from None
        try:
            return self.results(result)
        except WrongType as error:
            raise self.wrong_type(error) from None

    def made(self, arguments: Sequence[Any]) -> tuple[Any, ...]:
        """The arguments of one row as the user's classes, whose own code may raise."""
        return tuple(to_python(i.type, value) for i, value in zip(self.inputs, arguments, strict=True))

    def results(self, result: Any) -> tuple[Any, ...]:
        """The plain values of one row's result; `WrongType` when it is something else."""
        if len(self.outputs) == 1:
            return (_one(self.outputs[0], result),)
        if not is_tuple(result):
            raise WrongType("a tuple", type(result).__name__)
        items = result
        if len(items) != len(self.outputs):
            raise WrongType(f"{len(self.outputs)} results", str(len(items)))
        return tuple(_one(output, item) for output, item in zip(self.outputs, items, strict=True))

    def raised(self, error: BaseException) -> CretaError:
        """The error of a row or call that raised: the kind of the exception and where, never its text."""
        if isinstance(error, CretaError):
            return error
        kind, at = type(error).__name__, self.sources.location(error)
        place = f" at {at}" if at is not None else ""
        message = f"resolver `{self.name}` raised `{kind}`{place}"
        return Failed("resolver/raised", message, f"{kind}{place}", at)

    def wrong_type(self, why: WrongType | None = None) -> CretaError:
        """The error of a row or call whose result is not of the declared types."""
        if isinstance(why, BeyondInt):
            message = f"resolver `{self.name}` returned {why.got}, which no feature holds"
            return Failed("resolver/overflow", message, why.got)
        message = f"resolver `{self.name}` returned values of other types than it declares"
        if why is None:
            return Failed("resolver/wrong-type", message)
        return Failed("resolver/wrong-type", f"{message}: {why}", str(why))


class Failed(CretaError):
    """Why a row failed. `detail` is what the message says beyond its code: names of types and places."""

    def __init__(self, code: str, message: str, detail: str = "", location: Location | None = None) -> None:
        super().__init__(code, message, location=location)
        self.detail = detail


def _one(output: Value, value: Any) -> Any:
    if value is None:
        if output.optional:
            return None
        raise WrongType(f"{output.type} for `{output.name}`", "None")
    return checked(output.type, value)


def bind(function: Callable[..., Any], sources: Sources = NOWHERE) -> Bound:
    """Makes a function with `@resolver` ready, from its own annotations.

    Errors name places in `sources`.
    """
    info = resolver_info(function)
    if info is None:
        raise CretaError("resolver/not-found", f"`{getattr(function, '__name__', 'it')}` is no resolver")
    signature = read_signature(info)
    return Bound(
        function.__name__,
        function,
        info.mode,
        inspect.iscoroutinefunction(function),
        tuple(Value(i.name, i.type, i.optional) for i in signature.inputs),
        tuple(Value(o.path, o.type, o.optional) for o in signature.outputs),
        sources,
    )


class Resolvers:
    """A project's resolvers by name and by number, as the embedded engine calls them."""

    def __init__(self, bound: Sequence[Bound]) -> None:
        self._bound = list(bound)
        self._by_name = {resolver.name: resolver for resolver in bound}

    def find(self, which: int | str) -> Bound:
        """The resolver of that name or number."""
        return self._bound[which] if isinstance(which, int) else self._by_name[which]

    def call_scalar(self, which: int | str, arguments: Sequence[Any]) -> tuple[Any, ...]:
        """One row without Arrow; see `Bound.call_scalar`.

        Resolvers over frames get a batch of one row.
        """
        resolver = self.find(which)
        if resolver.mode == "scalar":
            return resolver.call_scalar(arguments)
        from creta import _batches

        return _batches.call_one(resolver, arguments)

    def call(self, which: int | str, table: Any) -> tuple[pa.Table, dict[int, tuple[str, str]]]:
        """All rows of a table with one column per parameter.

        Returns a table with one column per output, and the code and message of each row that failed. A call
        that fails as a whole is a `CretaError`.
        """
        from creta import _batches

        outcome = _batches.call(self.find(which), _batches.one_batch(table))
        return outcome.table(), {row: (error.code, error.message) for row, error in outcome.errors.items()}


_here = threading.local()
_elsewhere = ThreadPoolExecutor(1, "creta-async")


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Runs a coroutine to its end on a loop that stays, so that what modules opened on it can be used again.

    Also works where a loop is running already, as in a notebook: then on a thread of its own.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return _runner().run(coroutine)
    return _elsewhere.submit(lambda: _runner().run(coroutine)).result()


def _runner() -> asyncio.Runner:
    if not hasattr(_here, "runner"):
        _here.runner = asyncio.Runner()
    runner: asyncio.Runner = _here.runner
    return runner


async def gather(function: Callable[..., Any], rows: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Results of an async function, or what it `Raised`, row by row, `AWAITED_MAX` at a time."""
    results: list[Any] = []
    for start in range(0, len(rows), AWAITED_MAX):
        results += await asyncio.gather(
            *(_caught(function, row) for row in rows[start : start + AWAITED_MAX])
        )
    return results


async def _caught(function: Callable[..., Any], row: tuple[Any, ...]) -> Any:
    try:
        return await function(*row)
    except _OUR_EXCEPTIONS as error:
        return Raised(error)


def call_all(resolver: Bound, rows: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Results of a scalar resolver for all rows of plain values.

    `Raised` where it or a class of its arguments raised.
    """
    function = resolver.function
    has_classes = any(i.type.kind in ("enum", "struct", "list") for i in resolver.inputs)
    if resolver.is_async:
        made = [_made(resolver, row) for row in rows] if has_classes else list(rows)
        called = iter(run(gather(function, [row for row in made if not isinstance(row, Raised)])))
        return [row if isinstance(row, Raised) else next(called) for row in made]
    results: list[Any] = []
    for row in rows:
        try:
            results.append(function(*(resolver.made(row) if has_classes else row)))
        except _OUR_EXCEPTIONS as error:
            results.append(Raised(error))
    return results


def _made(resolver: Bound, row: tuple[Any, ...]) -> tuple[Any, ...] | Raised:
    try:
        return resolver.made(row)
    except _OUR_EXCEPTIONS as error:
        return Raised(error)


@dataclass(frozen=True, slots=True)
class Raised:
    """In place of a result: what was raised.

    Exceptions are also values, so they are wrapped.
    """

    error: BaseException


def call_once(resolver: Bound, columns: Sequence[Any]) -> Any:
    """Result of a resolver over frames."""
    try:
        result = resolver.function(*columns)
        return run(result) if resolver.is_async else result
    except _OUR_EXCEPTIONS as error:
        raise resolver.raised(error) from None
