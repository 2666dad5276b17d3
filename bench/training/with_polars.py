"""The workload in Polars: `with_polars.py DATA OUT`.

Facts and spine go into one frame per relation, so that a rolling window ends at each row of the
spine. Keys become numbers, and four groups of rolling aggregations run side by side. Of the forms
tried this is the fastest: `rolling_*_by(...).over(key)`, one lazy query for everything and keys as
text take longer.
"""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl
from workload import (
    CODEC,
    FEATURES,
    HOURS,
    LEVEL,
    PLANE,
    RELATIONS,
    ROW_GROUP_ROWS,
    WEATHER,
    window_columns,
    work,
)


def windows(spine: pl.DataFrame, departures: pl.DataFrame, relation: str, column: str) -> pl.DataFrame:
    """Sixteen columns beside the row numbers of a spine, sorted by them."""
    facts = departures.select(key=column, at="departed", delay="dep_delay", row=pl.lit(None, dtype=pl.UInt32))
    asked = spine.select(key=f"Flight.{column}", at="as_of", delay=pl.lit(None, dtype=pl.Float64), row="row")
    both = pl.concat([facts, asked]).drop_nulls("key")
    both = both.with_columns(pl.col("key").cast(pl.Categorical).to_physical()).sort("key", "at")
    parts = []
    for window, hours in HOURS.items():
        count, mean, maximum, deviation = window_columns(relation, window)
        delay = pl.col("delay")
        parts.append(
            both.lazy()
            .rolling("at", period=f"{hours}h", closed="left", group_by="key")
            .agg(
                delay.count().cast(pl.Int64).alias(count),
                delay.mean().alias(mean),
                delay.max().alias(maximum),
                delay.std().alias(deviation),
            )
            .sort("key", maintain_order=True)  # Groups come in no order that is promised.
            .drop("key", "at")
        )
    rows = pl.concat([both.select("row"), *pl.collect_all(parts)], how="horizontal")
    return rows.filter(pl.col("row").is_not_null()).sort("row")


def main(data: Path, out: Path) -> None:
    spine = pl.read_parquet(data / "spine.parquet").with_row_index("row")
    departures = pl.read_parquet(
        data / "departures.parquet", columns=[*RELATIONS.values(), "departed", "dep_delay"]
    )
    weather = pl.read_parquet(data / "weather.parquet").select(
        pl.col("airport").alias("Flight.origin"),
        (pl.col("hour") + pl.duration(hours=1)).alias("known"),
        *(pl.col(name).alias(f"Flight.weather.{name}") for name in WEATHER),
    )
    planes = pl.read_parquet(data / "planes.parquet").select(
        pl.col("tailnum").alias("Flight.tailnum"),
        *(pl.col(name).alias(f"Flight.plane.{name}") for name in PLANE),
    )
    joined = (
        spine.sort("as_of")
        .join_asof(
            weather.sort("known"),
            left_on="as_of",
            right_on="known",
            by="Flight.origin",
            strategy="backward",
            check_sortedness=False,
        )
        .join(planes, on="Flight.tailnum", how="left")
        .sort("row")
    )
    for relation, column in RELATIONS.items():
        found = windows(spine, departures, relation, column)
        if found.height == joined.height:
            joined = pl.concat([joined, found.drop("row")], how="horizontal")
        else:
            joined = joined.join(found, on="row", how="left", maintain_order="left")
    names = [name for name in spine.columns if name != "row"]
    joined.select(*names, *FEATURES).write_parquet(
        out, compression=CODEC, compression_level=LEVEL, row_group_size=ROW_GROUP_ROWS, statistics=True
    )


if __name__ == "__main__":
    with work():
        main(Path(sys.argv[1]), Path(sys.argv[2]))
