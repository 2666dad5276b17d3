"""Who flies, from where and with what, and how late they were."""

from __future__ import annotations

from datetime import UTC, datetime

from creta import (
    Feature,
    Many,
    Windowed,
    count,
    days,
    entity,
    feature,
    hours,
    key,
    many,
    max_,
    mean,
    parquet,
    source,
    std,
)
from features.flights import Flight

LAST = (hours(1), hours(6), days(1), days(7))

# Registers did not change during the year: they are known since long before it.
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


@entity(owner="operations")
class Carrier:
    """An airline."""

    code: Feature[str] = key()
    name: Feature[str] = feature()

    flights: Many[Flight] = many(on=lambda: (Carrier.code, Flight.carrier))
    departures: Windowed[int] = count(flights, last=LAST)
    late_departures: Windowed[int] = count(flights, where=Flight.dep_delay >= 15, last=LAST)
    delay_mean: Windowed[float] = mean(flights[Flight.dep_delay], last=LAST)
    delay_max: Windowed[float] = max_(flights[Flight.dep_delay], last=LAST)
    delay_std: Windowed[float] = std(flights[Flight.dep_delay], last=LAST)


@entity(owner="operations")
class Airport:
    """An airport, and its departures when it is one of New York's three."""

    code: Feature[str] = key()
    name: Feature[str] = feature()
    lat: Feature[float] = feature(unit="deg")
    lon: Feature[float] = feature(unit="deg")
    altitude: Feature[int] = feature(unit="ft")

    flights: Many[Flight] = many(on=lambda: (Airport.code, Flight.origin))
    departures: Windowed[int] = count(flights, last=LAST)
    delay_mean: Windowed[float] = mean(flights[Flight.dep_delay], last=LAST)
    delay_max: Windowed[float] = max_(flights[Flight.dep_delay], last=LAST)
    delay_std: Windowed[float] = std(flights[Flight.dep_delay], last=LAST)


@entity(owner="operations")
class Plane:
    """One aircraft."""

    tailnum: Feature[str] = key()
    year: Feature[int | None] = feature()
    """Year of manufacture."""

    manufacturer: Feature[str] = feature()
    model: Feature[str] = feature()
    engines: Feature[int] = feature()
    seats: Feature[int] = feature()

    flights: Many[Flight] = many(on=lambda: (Plane.tailnum, Flight.tailnum))
    departures: Windowed[int] = count(flights, last=LAST)
    delay_mean: Windowed[float] = mean(flights[Flight.dep_delay], last=LAST)
    delay_max: Windowed[float] = max_(flights[Flight.dep_delay], last=LAST)
    delay_std: Windowed[float] = std(flights[Flight.dep_delay], last=LAST)


carriers = source(Carrier, parquet("data/carriers.parquet"), event_time=LONG_AGO, arrival=hours(0))
airports = source(Airport, parquet("data/airports.parquet"), event_time=LONG_AGO, arrival=hours(0))
planes = source(Plane, parquet("data/planes.parquet"), event_time=LONG_AGO, arrival=hours(0))
