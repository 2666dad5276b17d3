"""Checked by pyright and mypy in strict mode, never run: what a user writes has the types a user expects."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, assert_type

import creta
from creta import (
    Cell,
    Feature,
    Many,
    One,
    Row,
    Rows,
    Windowed,
    coalesce,
    count,
    days,
    entity,
    event_time,
    feature,
    first,
    hours,
    key,
    last_n,
    many,
    max_,
    mean,
    one,
    percentile,
    resolver,
    sum_,
    when,
)
from creta.functions import floor, sqrt, to_str


@entity
class Flight:
    id: Feature[int] = key()
    carrier: Feature[str] = feature()
    departed: Feature[datetime] = event_time()
    distance: Feature[float] = feature(default=0, unit="mi")
    air_time: Feature[timedelta] = feature()
    dep_delay: Feature[float | None] = feature(unit="min")
    price: Feature[Decimal] = feature()
    operator: One[Carrier] = one(on=lambda: (Flight.carrier, Carrier.code))
    risk: Feature[float] = feature()
    score: Feature[int | None] = feature()

    speed: Feature[float] = distance / air_time.total_seconds()
    late: Feature[bool | None] = dep_delay >= 15
    long: Feature[bool] = feature((distance > 2_000) & ~(carrier == "UA"))


@entity(owner="operations")
class Carrier:
    code: Feature[str] = key()
    flights: Many[Flight] = many(on=lambda: (Carrier.code, Flight.carrier))
    delay_mean: Windowed[float] = mean(
        flights[Flight.dep_delay], where=Flight.dep_delay > 0, last=(hours(1), days(1)), default=0.0
    )
    departures: Windowed[int] = count(flights, last=days(1))
    miles: Windowed[float] = sum_(flights[Flight.distance], last=days(1))
    scores: Windowed[int] = sum_(flights[Flight.score], last=days(1))
    paid: Windowed[Decimal] = sum_(flights[Flight.price], last=days(1))
    latest: Windowed[datetime] = max_(flights[Flight.departed], last=days(1))
    opening: Windowed[str] = first(flights[Flight.carrier], last=days(1))
    recent: Windowed[list[float]] = last_n(flights[Flight.dep_delay], 3, last=days(1))
    delay_p95: Windowed[float] = percentile(flights[Flight.dep_delay], 95, last=(days(1), days(7)))


@resolver
def risk(
    delay: Annotated[float, Flight.operator.delay_mean[days(1)]], carrier: Annotated[str, Flight.carrier]
) -> Annotated[float, Flight.risk]:
    return delay / 60


assert_type(risk(1.0, "UA"), float)
assert_type(Flight.id, Feature[int])
assert_type(Flight.operator, type[Carrier])
assert_type(Flight.operator.delay_mean, Windowed[float])
assert_type(Flight.operator.delay_mean[days(1)], Feature[float])

assert_type(Flight.id + 1, Feature[int])
assert_type(Flight.id + 1.5, Feature[float])
assert_type(1 - Flight.distance, Feature[float])
assert_type(Flight.id / 2, Feature[float])
assert_type(Flight.id + Flight.dep_delay, Feature[float | None])
assert_type(Flight.price * 2, Feature[Decimal])
assert_type(Flight.departed - Flight.departed, Feature[timedelta])
assert_type(Flight.departed + timedelta(days=1), Feature[datetime])
assert_type(Flight.departed.date(), Feature[date])
assert_type(Flight.departed.weekday() >= 5, Feature[bool])
assert_type(Flight.dep_delay > 0, Feature[bool | None])
assert_type(Flight.carrier == "UA", Feature[bool])
assert_type(Flight.carrier.lower() + "!", Feature[str])
assert_type(Flight.carrier.startswith("U"), Feature[bool])
assert_type(Flight.dep_delay.is_none(), Feature[bool])
assert_type(coalesce(Flight.dep_delay, 0.0), Feature[float])
assert_type(sqrt(Flight.distance), Feature[float])
assert_type(floor(Flight.dep_delay), Feature[int | None])
assert_type(to_str(Flight.id), Feature[str])
assert_type(round(Flight.distance, 1), Feature[float])
assert_type(round(Flight.price, 1), Feature[Decimal])
assert_type(round(Flight.price), Feature[int])
assert_type(when(Flight.distance > 1).then("a").otherwise("b"), Feature[str])


def asks(c: creta.Local | creta.Client, at: datetime, frame: dict[str, Sequence[Any]]) -> None:
    row = c.query({Flight.carrier: "UA", Flight.id: 1}, [Flight.risk, Flight.dep_delay], as_of=at)
    assert_type(row, Row)
    assert_type(row[Flight.risk], Cell[float])
    assert_type(row[Flight.risk].value, float)
    assert_type(row[Flight.dep_delay].value, float | None)
    assert_type(row[Flight.risk].get(), float | None)
    assert_type(row[Flight.risk].get(0.0), float)
    assert_type(row[Carrier.delay_mean[days(1)]].age, timedelta | None)
    rows = c.query({Flight.carrier: ["UA", "AA"]}, [Flight.risk, "Flight.risk"])
    assert_type(rows, Rows)
    assert_type([cell.value for cell in rows[Flight.risk]], list[float])
    assert_type(c.training_set(frame, as_of="at", features=[Flight.risk]).seconds, float)
    assert_type(c.ingest(Flight, frame, arrival=hours(0)).accepted, int)


async def asks_async(c: creta.AsyncClient) -> None:
    assert_type((await c.query({Flight.id: 1}, [Flight.risk]))[Flight.risk].value, float)
