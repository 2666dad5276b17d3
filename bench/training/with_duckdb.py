"""The workload in DuckDB: `with_duckdb.py DATA OUT`. Facts and spine in one table per relation,
windows as range frames.
"""

# ruff: noqa: S608 (every name in these queries is a constant of this folder)
from __future__ import annotations

import sys
from pathlib import Path

import duckdb
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


def windows(relation: str, column: str) -> str:
    """A query with sixteen columns and the row of the spine.

    Instants are integers, so that a frame can end a microsecond before now.
    """
    frames, columns = [], []
    for window, hours in HOURS.items():
        count, mean, maximum, deviation = window_columns(relation, window)
        frame = f"RANGE BETWEEN {hours * 3_600_000_000} PRECEDING AND 1 PRECEDING"
        frames.append(f"w{hours} AS (PARTITION BY key ORDER BY instant {frame})")
        columns += [
            f'count(delay) OVER w{hours} AS "{count}"',
            f'avg(delay) OVER w{hours} AS "{mean}"',
            f'max(delay) OVER w{hours} AS "{maximum}"',
            f'stddev_samp(delay) OVER w{hours} AS "{deviation}"',
        ]
    return f"""
        WITH both_sides AS (
            SELECT {column} AS key, epoch_us(departed) AS instant, dep_delay AS delay, NULL AS row
            FROM departures
            UNION ALL
            SELECT "Flight.{column}", epoch_us(as_of), NULL, row
            FROM spine WHERE "Flight.{column}" IS NOT NULL
        )
        SELECT * EXCLUDE (key, instant, delay) FROM (
            SELECT *, {", ".join(columns)} FROM both_sides WINDOW {", ".join(frames)}
        ) WHERE row IS NOT NULL
    """


def main(data: Path, out: Path) -> None:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    read = f"read_parquet('{data}/spine.parquet', file_row_number = true)"
    connection.execute(f"CREATE TABLE spine AS SELECT *, file_row_number AS row FROM {read}")
    connection.execute(f"CREATE VIEW departures AS SELECT * FROM '{data}/departures.parquet'")
    for relation, column in RELATIONS.items():
        connection.execute(f"CREATE TABLE {relation} AS {windows(relation, column)}")
    weather = ", ".join(f'w.{name} AS "Flight.weather.{name}"' for name in WEATHER)
    plane = ", ".join(f'p.{name} AS "Flight.plane.{name}"' for name in PLANE)
    history = ", ".join(f'"{name}"' for name in FEATURES[len(WEATHER) + len(PLANE) :])
    form = f"COMPRESSION {CODEC}, COMPRESSION_LEVEL {LEVEL}, ROW_GROUP_SIZE {ROW_GROUP_ROWS}"
    connection.execute(f"""
        COPY (
            SELECT s.* EXCLUDE (row, file_row_number), {weather}, {plane}, {history}
            FROM spine s
            ASOF LEFT JOIN (SELECT *, hour + INTERVAL 1 HOUR AS known FROM '{data}/weather.parquet') w
                ON s."Flight.origin" = w.airport AND s.as_of >= w.known
            LEFT JOIN '{data}/planes.parquet' p ON s."Flight.tailnum" = p.tailnum
            LEFT JOIN operator USING (row) LEFT JOIN departs_from USING (row) LEFT JOIN plane USING (row)
            ORDER BY s.row
        ) TO '{out}' (FORMAT parquet, {form})
    """)


if __name__ == "__main__":
    with work():
        main(Path(sys.argv[1]), Path(sys.argv[2]))
