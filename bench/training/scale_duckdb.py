"""The made-up set in DuckDB: `scale_duckdb.py DATA OUT`.

As `with_duckdb.py`, with its own spilling to disk.
"""

# ruff: noqa: S608 (every name in these queries is a constant of this folder)
from __future__ import annotations

import sys
from pathlib import Path

import duckdb
from scale_workload import FEATURES, HOURS, window_columns
from workload import CODEC, LEVEL, ROW_GROUP_ROWS, work


def main(data: Path, out: Path) -> None:
    connection = duckdb.connect()
    connection.execute(f"SET temp_directory = '{out.parent}'; SET memory_limit = '4GiB'")
    read = f"read_parquet('{data}/spine.parquet', file_row_number = true)"
    connection.execute(
        f"""
        CREATE TABLE spine AS SELECT "Account.account" AS account, as_of, file_row_number AS row FROM {read}
        """
    )
    frames, columns = [], []
    for window, hours in HOURS.items():
        count, mean = window_columns(window)
        frame = f"RANGE BETWEEN {hours * 3_600_000_000} PRECEDING AND 1 PRECEDING"
        frames.append(f"w{hours} AS (PARTITION BY account ORDER BY instant {frame})")
        columns += [f'count(amount) OVER w{hours} AS "{count}"', f'avg(amount) OVER w{hours} AS "{mean}"']
    names = ", ".join(f'"{name}"' for name in FEATURES[1:])
    form = f"COMPRESSION {CODEC}, COMPRESSION_LEVEL {LEVEL}, ROW_GROUP_SIZE {ROW_GROUP_ROWS}"
    connection.execute(f"""
        COPY (
            WITH both_sides AS (
                SELECT account, epoch_us("at") AS instant, amount, NULL AS row FROM '{data}/facts.parquet'
                UNION ALL SELECT account, epoch_us(as_of), NULL, row FROM spine
            ), windows AS (
                SELECT * FROM (
                    SELECT *, {", ".join(columns)} FROM both_sides WINDOW {", ".join(frames)}
                ) WHERE row IS NOT NULL
            )
            SELECT s.account AS "Account.account", s.as_of, f.amount AS "Account.amount", {names}
            FROM spine s
            ASOF LEFT JOIN '{data}/facts.parquet' f ON s.account = f.account AND s.as_of >= f."at"
            JOIN windows w ON s.row = w.row
            ORDER BY s.row
        ) TO '{out}' (FORMAT parquet, {form})
    """)


if __name__ == "__main__":
    with work():
        main(Path(sys.argv[1]), Path(sys.argv[2]))
