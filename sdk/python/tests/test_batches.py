"""Rows of a batch fail one by one: one row alone answers as it does among others."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any

import pyarrow as pa
import pytest

from creta import CretaError, Feature, Scale, entity, feature, key, resolver
from creta._batches import call, to_arrow
from creta._resolvers import Bound, bind


class Level(Enum):
    LOW = "low"
    HIGH = "high"


@dataclass(frozen=True)
class Amount:
    value: int

    def __post_init__(self) -> None:
        if self.value < 0:
            raise ValueError("negative")


@entity
class Row:
    id: Feature[int] = key()
    which: Feature[int] = feature()
    amount: Feature[Amount] = feature()
    amounts: Feature[list[Amount]] = feature()
    flag: Feature[bool] = feature()
    number: Feature[int] = feature()
    share: Feature[float] = feature()
    text: Feature[str] = feature()
    level: Feature[Level] = feature()
    data: Feature[bytes] = feature()
    day: Feature[date] = feature()
    at: Feature[datetime] = feature()
    length: Feature[timedelta] = feature()
    price: Feature[Annotated[Decimal, Scale(2)]] = feature()
    lengths: Feature[list[timedelta]] = feature()
    doubled: Feature[int] = feature()
    summed: Feature[int] = feature()
    awaited: Feature[int] = feature()


# A good value and one that is none, by feature.
RESULTS: dict[str, tuple[Any, Any]] = {
    "flag": (True, "yes"),
    "number": (3, 2**63),
    "share": (0.5, "half"),
    "text": ("a", "\ud800"),
    "level": (Level.LOW, "other"),
    "data": (b"x", "x"),
    "day": (date(2025, 1, 1), 7),
    "at": (datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 1, 1)),
    "length": (timedelta(days=1), timedelta(microseconds=2**63)),
    "price": (Decimal("1.50"), Decimal("NaN")),
    "lengths": ([timedelta(1)], [None, 3]),
}


def results(name: str) -> Bound:
    kinds: dict[str, Any] = {
        "flag": bool,
        "number": int,
        "share": float,
        "text": str,
        "level": Level,
        "data": bytes,
        "day": date,
        "at": datetime,
        "length": timedelta,
        "price": Annotated[Decimal, Scale(2)],
        "lengths": list[timedelta],
    }

    def made(which: Any) -> Any:
        return RESULTS[name][which]

    made.__annotations__ = {
        "which": Annotated[int, Row.which],
        "return": Annotated[kinds[name], getattr(Row, name)],
    }
    return bind(resolver(made))


def alone(bound: Bound, arguments: list[Any]) -> tuple[Any, ...] | str:
    try:
        return bound.call_scalar(arguments)
    except CretaError as error:
        return error.code


def together(bound: Bound, rows: list[list[Any]]) -> list[tuple[Any, ...] | str]:
    columns = [to_arrow(i.type, [row[n] for row in rows]) for n, i in enumerate(bound.inputs)]
    outcome = call(bound, pa.RecordBatch.from_arrays(columns, names=[i.name for i in bound.inputs]))
    arrays = [array.to_pylist() for array in outcome.columns]
    return [
        outcome.errors[row].code if row in outcome.errors else tuple(array[row] for array in arrays)
        for row in range(len(rows))
    ]


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_of_another_type_fails_its_row_alone(name: str) -> None:
    bound = results(name)
    found = together(bound, [[0], [1], [0]])
    assert isinstance(found[0], tuple)
    assert isinstance(found[1], str)
    assert found[1] == alone(bound, [1])
    assert found[2] == found[0]


@resolver
def doubled(amount: Annotated[Amount, Row.amount]) -> Annotated[int, Row.doubled]:
    return amount.value * 2


@resolver
def summed(amounts: Annotated[list[Amount], Row.amounts]) -> Annotated[int, Row.summed]:
    return sum(amount.value for amount in amounts)


@resolver
async def awaited(amount: Annotated[Amount, Row.amount]) -> Annotated[int, Row.awaited]:
    return amount.value * 3


@pytest.mark.parametrize(
    ("function", "good", "bad", "answer"),
    [
        (doubled, {"value": 1}, {"value": -1}, 2),
        (summed, [{"value": 1}, {"value": 2}], [{"value": 1}, {"value": -1}], 3),
        (awaited, {"value": 1}, {"value": -1}, 3),
    ],
)
def test_an_argument_that_its_class_refuses_fails_its_row_alone(
    function: Any, good: Any, bad: Any, answer: int
) -> None:
    bound = bind(function)
    assert together(bound, [[good], [bad], [good]]) == [(answer,), "resolver/raised", (answer,)]
    assert alone(bound, [good]) == (answer,)
    assert alone(bound, [bad]) == "resolver/raised"


@pytest.mark.parametrize("micros", [-(2**63), -(2**63) + 24_999_999_999, 2**63 - 1, 0, -1])
def test_lengths_at_the_ends_of_64_bits_are_values(micros: int) -> None:
    length = timedelta(microseconds=micros)
    column = to_arrow(results("length").outputs[0].type, [length, timedelta(1), None])
    assert column.cast(pa.int64()).to_pylist() == [micros, 86_400_000_000, None]
    lengths = to_arrow(results("lengths").outputs[0].type, [[length], []])
    assert lengths.flatten().cast(pa.int64()).to_pylist() == [micros]
