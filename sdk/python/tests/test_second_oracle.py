"""DuckDB's plain SQL as a second oracle: what a careful user would write by hand, on small data full of ties.

Joins and windows are written as correlated conditions over all pairs of rows, one line per rule, so that
nothing clever stands between the rules and the answer.
"""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime, timedelta

import duckdb
import pyarrow as pa
import pytest

import creta
from creta import (
    Feature,
    Many,
    One,
    Windowed,
    count,
    days,
    distinct,
    entity,
    event_time,
    feature,
    hours,
    key,
    many,
    max_,
    mean,
    min_,
    one,
    percentile,
    std,
    sum_,
)

START = datetime(2025, 3, 9, 5, tzinfo=UTC)  # New York changes its clocks two hours later.
LAST = (hours(1), days(1))


@entity
class Ride:
    """A ride that a driver gave; its fare is known some time later."""

    ride: Feature[int] = key()
    coach: Feature[int] = feature()
    seat: Feature[int] = feature()
    fare: Feature[float | None] = feature()
    at: Feature[datetime] = event_time()
    place: One[Place] = one(on=lambda: ((Ride.coach, Place.coach), (Ride.seat, Place.seat)))


@entity
class Place:
    """A seat in a coach: two numbers that glued together look like others."""

    coach: Feature[int] = key()
    seat: Feature[int] = key()
    price: Feature[float | None] = feature(max_age=hours(6))
    rides: Many[Ride] = many(on=lambda: ((Place.coach, Ride.coach), (Place.seat, Ride.seat)))
    ride_count: Windowed[int] = count(rides, last=LAST)
    fare_count: Windowed[int] = count(rides[Ride.fare], last=LAST)
    fare_sum: Windowed[float] = sum_(rides[Ride.fare], last=LAST)
    fare_mean: Windowed[float] = mean(rides[Ride.fare], last=LAST)
    fare_min: Windowed[float] = min_(rides[Ride.fare], last=LAST)
    fare_max: Windowed[float] = max_(rides[Ride.fare], last=LAST)
    fare_std: Windowed[float] = std(rides[Ride.fare], last=LAST)
    fare_p90: Windowed[float] = percentile(rides[Ride.fare], 90, last=LAST)
    fare_values: Windowed[int] = distinct(rides[Ride.fare], last=LAST)


NAMES = {
    "ride_count": "count(*)",
    "fare_count": "count(r.fare)",
    "fare_sum": "sum(r.fare)",
    "fare_mean": "avg(r.fare)",
    "fare_min": "min(r.fare)",
    "fare_max": "max(r.fare)",
    "fare_std": "stddev_samp(r.fare)",
    "fare_p90": "quantile_cont(r.fare, 0.9)",
    "fare_values": "count(DISTINCT r.fare)",
}
KEYS = [(1, 23), (12, 3), (1, 2), (7, 7)]


def _facts(drawn: random.Random, rows: int) -> tuple[pa.Table, pa.Table]:
    """Few different times, so that ties and window ends are met often; some facts are known late."""

    def instants() -> list[datetime]:
        return [START + timedelta(minutes=30 * drawn.randrange(80)) for _ in range(rows)]

    def floats() -> list[float | None]:
        return [drawn.choice([None, 0.1, 0.2, 1.0, 2.5, 7.75, -3.0]) for _ in range(rows)]

    def table(**columns: list[object]) -> pa.Table:
        keys = [drawn.choice(KEYS) for _ in range(rows)]
        at = instants()
        known = [time + timedelta(minutes=drawn.choice([0, 0, 0, 45, 300])) for time in at]
        return pa.table(
            {
                "coach": [coach for coach, _ in keys],
                "seat": [seat for _, seat in keys],
                **columns,
                "at": pa.array(at, pa.timestamp("us", "UTC")),
                "known": pa.array(known, pa.timestamp("us", "UTC")),
                "sequence": list(range(rows)),
            }
        )

    return table(ride=list(range(rows)), fare=floats()), table(price=floats())


def _spine(drawn: random.Random, rows: int) -> pa.Table:
    """Some rows stand twice."""
    keys = [drawn.choice([*KEYS, (123, 0), (9, 9)]) for _ in range(rows)]
    at = [START + timedelta(minutes=30 * drawn.randrange(90)) for _ in range(rows)]
    table = pa.table(
        {
            "Ride.coach": [coach for coach, _ in keys],
            "Ride.seat": [seat for _, seat in keys],
            "asked": pa.array(at, pa.timestamp("us", "UTC")),
        }
    )
    return pa.concat_tables([table, table.slice(0, rows // 4)])


def _oracle(spine: pa.Table, rides: pa.Table, prices: pa.Table) -> list[dict[str, object]]:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    for name, table in {"spine": spine, "rides": rides, "prices": prices}.items():
        connection.register(name, table)
    windows = ", ".join(
        f"""(
            SELECT {function} FROM rides r
            WHERE r.coach = s."Ride.coach" AND r.seat = s."Ride.seat"
              AND r.known <= s.asked AND r.at >= s.asked - INTERVAL {hours_} HOUR AND r.at < s.asked
        ) AS "Ride.place.{name}[{span}]" """
        for name, function in NAMES.items()
        for span, hours_ in {"1h": 1, "1d": 24}.items()
    )
    latest = """(
        SELECT CASE WHEN p.at >= s.asked - INTERVAL 6 HOUR THEN p.price END FROM prices p
        WHERE p.coach = s."Ride.coach" AND p.seat = s."Ride.seat" AND p.known <= s.asked AND p.at <= s.asked
        ORDER BY p.at DESC, p.known DESC, p.sequence DESC LIMIT 1
    ) AS "Ride.place.price" """
    query = f"SELECT {latest}, {windows} FROM (SELECT *, row_number() OVER () AS n FROM spine) s ORDER BY n"
    answered = connection.execute(query)
    names = [column[0] for column in answered.description]
    return [dict(zip(names, row, strict=True)) for row in answered.fetchall()]


@pytest.mark.parametrize("seed", range(4))
def test_s2_s3_s4_s5_s7_s19_s21_training_sets_are_what_plain_sql_says(seed: int) -> None:
    drawn = random.Random(seed)
    rides, prices = _facts(drawn, 300)
    spine = _spine(drawn, 80)
    local = creta.local([Ride, Place], facts={})
    load = {"event_time": "at", "arrival": "known"}
    local.ingest(Ride, rides.drop_columns(["sequence"]), **load)
    local.ingest(Place, prices.drop_columns(["sequence"]), **load)
    spans = {"1h": hours(1), "1d": days(1)}
    asked = [Ride.place.price]
    asked += [getattr(Ride.place, name)[span] for name in NAMES for span in spans.values()]
    made = local.training_set(spine, as_of="asked", features=asked).to_arrow().to_pylist()
    expected = _oracle(spine, rides, prices)
    assert len(made) == len(expected) == 100
    for ours, theirs in zip(made, expected, strict=True):
        for name, value in theirs.items():
            got = ours[name]
            # Sums of floats are exact here and not there, and theirs drift.
            near = isinstance(value, float) and got is not None
            same = math.isclose(got, value, rel_tol=1e-9, abs_tol=1e-7) if near else got == value
            assert same, f"{name} at {ours['asked']}: {got} is not {value}"
