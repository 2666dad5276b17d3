"""The floor in Polars: `floor.py DATA ANSWER OUT`. Reads what everybody reads, sorts each relation by
key and time, and writes the finished answer, which it got for nothing. No contender can be faster
without skipping one of these.
"""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl
from workload import CODEC, LEVEL, PLANE, RELATIONS, ROW_GROUP_ROWS, WEATHER, work


def main(data: Path, answer: pl.DataFrame, out: Path) -> None:
    spine = pl.read_parquet(data / "spine.parquet")
    departures = pl.read_parquet(
        data / "departures.parquet", columns=[*RELATIONS.values(), "departed", "dep_delay"]
    )
    weather = pl.read_parquet(data / "weather.parquet", columns=["airport", "hour", *WEATHER])
    planes = pl.read_parquet(data / "planes.parquet", columns=["tailnum", *PLANE])
    sorted_ones = [weather.lazy().sort("airport", "hour"), planes.lazy().sort("tailnum")]
    for column in RELATIONS.values():
        sorted_ones.append(departures.lazy().select(column, "departed", "dep_delay").sort(column, "departed"))
        sorted_ones.append(spine.lazy().select(f"Flight.{column}", "as_of").sort(f"Flight.{column}", "as_of"))
    pl.collect_all(sorted_ones)
    answer.write_parquet(
        out, compression=CODEC, compression_level=LEVEL, row_group_size=ROW_GROUP_ROWS, statistics=True
    )


if __name__ == "__main__":
    finished = pl.read_parquet(sys.argv[2])
    with work():
        main(Path(sys.argv[1]), finished, Path(sys.argv[3]))
