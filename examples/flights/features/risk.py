"""How risky a departure is, from what is known before it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import pyarrow as pa
import pyarrow.compute as pc

from creta import Now, Nulls, days, hours, named_query, resolver
from features.flights import Flight
from features.weather import Sky

if TYPE_CHECKING:
    Floats = pa.Array[pa.Scalar[Any]]
else:  # At run time the class takes no arguments.
    Floats = pa.Array

WEIGHTS = (0.5, 0.3, 0.2)
"""Of carrier, airport and plane."""


@resolver
def plane_age(
    year: Annotated[int | None, Flight.plane.year],
    at: Annotated[datetime, Now],
) -> Annotated[float | None, Flight.plane_age]:
    """Years since the plane was built."""
    if year is None:
        return None
    return max(0.0, at.year + (at.month - 1) / 12 - year)


@resolver
def sky(
    gust: Annotated[float | None, Flight.weather.wind_gust],
    visib: Annotated[float | None, Flight.weather.visib],
    precip: Annotated[float | None, Flight.weather.precip],
) -> Annotated[Sky, Flight.sky]:
    """Severe weather stops traffic, rough weather slows it down."""
    if (gust or 0.0) > 40 or (visib is not None and visib < 1):
        return Sky.SEVERE
    if (gust or 0.0) > 25 or (precip or 0.0) > 0.1 or (visib is not None and visib < 3):
        return Sky.ROUGH
    return Sky.FINE


@resolver(frame="arrow")
def expected_delay(
    carrier: Annotated[Floats, Flight.operator.delay_mean[hours(6)], Nulls],
    airport: Annotated[Floats, Flight.departs_from.delay_mean[hours(6)], Nulls],
    plane: Annotated[Floats, Flight.plane.delay_mean[days(7)], Nulls],
) -> Annotated[Floats, Flight.expected_delay]:
    """One call for all rows: the weighted mean, where an unknown part counts as on time."""
    return pc.add(pc.add(share(carrier, WEIGHTS[0]), share(airport, WEIGHTS[1])), share(plane, WEIGHTS[2]))


def share(part: Floats, weight: float) -> Floats:
    """What a part contributes."""
    return pc.multiply(part.fill_null(0.0), pa.scalar(weight))


@resolver
def risk(
    expected: Annotated[float, Flight.expected_delay],
    wind: Annotated[float | None, Flight.weather.wind_speed],
    condition: Annotated[Sky, Flight.sky],
) -> Annotated[float, Flight.risk]:
    """Delay to be expected, wind and sky, squeezed into 0 to 1."""
    score = expected / 60 + (wind or 0.0) / 100 + severity(condition)
    return min(1.0, max(0.0, score))


def severity(condition: Sky) -> float:
    """What the sky adds to the risk."""
    if condition is Sky.SEVERE:
        return 0.4
    return 0.1 if condition is Sky.ROUGH else 0.0


departure_risk = named_query(
    inputs=[Flight.carrier, Flight.origin, Flight.tailnum, Flight.distance, Flight.scheduled],
    outputs=[Flight.risk, Flight.sky, Flight.expected_delay, Flight.operator.delay_mean[days(1)]],
    doc="What the gate agent sees two hours before departure.",
    owner="operations",
)
