"""What every contender computes, so that none computes less: names, windows, and how the answer is
written.

The spine is every flight that left New York in 2013, asked about two hours before its scheduled
departure. Beside it go the weather as it was known then, what is registered about the plane, and
how late the airline, the airport and the plane had been over the last 1, 6, 24 and 168 hours: how
many departures, and mean, maximum and standard deviation of their delays. A window is half open:
`as_of - w <= departed < as_of`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

RELATIONS = {"operator": "carrier", "departs_from": "origin", "plane": "tailnum"}
"""Each relation of a flight, with the column that both sides share."""

HOURS = {"1h": 1, "6h": 6, "1d": 24, "7d": 168}
AGGREGATES = ("departures", "delay_mean", "delay_max", "delay_std")
WEATHER = ("temp", "wind_speed", "wind_gust", "precip", "pressure", "visib")
PLANE = ("year", "manufacturer", "model", "engines", "seats")

LOOKUPS = [f"Flight.weather.{name}" for name in WEATHER] + [f"Flight.plane.{name}" for name in PLANE]


def window_columns(relation: str, window: str) -> list[str]:
    """The four columns of one window, in the order of `AGGREGATES`."""
    return [f"Flight.{relation}.{aggregate}[{window}]" for aggregate in AGGREGATES]


FEATURES = LOOKUPS + [
    column for relation in RELATIONS for window in HOURS for column in window_columns(relation, window)
]

CODEC = "zstd"
LEVEL = 3
ROW_GROUP_ROWS = 122_880
"""Everybody writes statistics for every column, too."""


@contextmanager
def work() -> Iterator[None]:
    """Measures what a contender does between its imports and its answer on disk, and prints it as JSON."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    measured = {"seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    print(json.dumps(measured), flush=True)


def write_with_pyarrow(table: object, out: Path) -> None:
    """One Parquet file in the agreed form."""
    import pyarrow.parquet as pq

    pq.write_table(table, out, compression=CODEC, compression_level=LEVEL, row_group_size=ROW_GROUP_ROWS)
