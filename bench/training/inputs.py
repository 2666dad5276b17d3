"""Writes the inputs: `inputs.py FOLDER`. The flights of the examples, and two tables in the form that
Feast takes.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples" / "flights"))

import pandas as pd
import prepare as flights
import pyarrow as pa
import pyarrow.parquet as pq


def main(folder: Path) -> None:
    flights.main(folder)
    weather = flights.weather()
    weather["known"] = weather.pop("hour") + pd.Timedelta(hours=1)
    planes = flights.planes()
    planes["known"] = pd.Timestamp("2000-01-01", tz="UTC").as_unit("us")
    for name, frame in {"known": weather, "registered": planes}.items():
        pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), folder / f"{name}.parquet")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
