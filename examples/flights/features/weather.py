"""Hourly weather at the three airports of New York."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

from creta import Feature, entity, event_time, feature, hours, key, parquet, source


class Sky(Enum):
    """What a departure has to expect."""

    FINE = "fine"
    ROUGH = "rough"
    SEVERE = "severe"


@entity(owner="operations")
class Weather:
    """The weather of one hour at one airport."""

    airport: Feature[str] = key()
    hour: Feature[datetime] = event_time()
    """Start of the hour."""

    temp: Feature[float | None] = feature(unit="F")
    wind_speed: Feature[float | None] = feature(unit="mph")
    wind_gust: Feature[float | None] = feature(unit="mph")
    precip: Feature[float | None] = feature(unit="in")
    pressure: Feature[float | None] = feature(unit="mbar")
    visib: Feature[float | None] = feature(unit="mi")
    """Visibility, at most 10."""

    freezing: Feature[bool | None] = temp < 32


# An hour's weather is known when the hour is over.
hourly = source(Weather, parquet("data/weather.parquet"), event_time="hour", arrival=hours(1))
