"""Flights that leave New York: what is scheduled, and the delay once it is known."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from creta import Check, Feature, One, days, entity, event_time, feature, hours, key, one, parquet, source
from features.weather import Sky, Weather

if (
    TYPE_CHECKING
):  # The fleet aggregates flights, so it is imported later: relations may lead to later entities.
    from features.fleet import Airport, Carrier, Plane


@entity(owner="operations")
class Flight:
    """One scheduled departure.

    Its fact exists from the moment it has left; canceled flights never have one.
    """

    id: Feature[int] = key()
    carrier: Feature[str] = feature(check=Check(min_length=2, max_length=2))
    """Two-letter code of the airline."""

    origin: Feature[str] = feature()
    """Airport of departure: EWR, JFK or LGA."""

    dest: Feature[str] = feature()
    """Airport of arrival."""

    tailnum: Feature[str | None] = feature()
    """Registration of the plane; unknown for some canceled flights."""

    distance: Feature[float] = feature(unit="mi", check=Check(min=0))
    scheduled: Feature[datetime] = feature()
    """Scheduled departure."""

    departed: Feature[datetime] = event_time()
    """Actual departure: the instant from which the delay is known."""

    dep_delay: Feature[float] = feature(unit="min")
    """Minutes from scheduled to actual departure; negative when early."""

    late: Feature[bool] = dep_delay >= 15
    """The industry's threshold."""

    scheduled_hour: Feature[int] = scheduled.hour
    weekend: Feature[bool] = scheduled.weekday() >= 5
    long_haul: Feature[bool] = distance > 2_000

    operator: One[Carrier] = one(on=lambda: (Flight.carrier, Carrier.code))
    departs_from: One[Airport] = one(on=lambda: (Flight.origin, Airport.code))
    arrives_at: One[Airport] = one(on=lambda: (Flight.dest, Airport.code))
    plane: One[Plane] = one(on=lambda: (Flight.tailnum, Plane.tailnum))
    weather: One[Weather] = one(on=lambda: (Flight.origin, Weather.airport))

    plane_age: Feature[float | None] = feature(unit="years", check=Check(min=0))
    sky: Feature[Sky] = feature()
    """What the departure has to expect of the weather."""

    expected_delay: Feature[float] = feature(unit="min", max_age=hours(6))
    """Mean of what carrier, airport and plane did lately, weighted by how telling each is."""

    risk: Feature[float] = feature(check=Check(min=0, max=1), max_age=days(1))
    """From 0, nothing to worry about, to 1."""


departures = source(Flight, parquet("data/departures.parquet"), event_time="departed", arrival=hours(0))
