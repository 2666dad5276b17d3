"""The workload in pandas: `with_pandas.py DATA OUT`. Facts and spine in one frame, then
`groupby(...).rolling(...)`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
from workload import FEATURES, HOURS, PLANE, RELATIONS, WEATHER, window_columns, work, write_with_pyarrow


def windows(spine: pd.DataFrame, departures: pd.DataFrame, relation: str, column: str) -> pd.DataFrame:
    """Sixteen columns, indexed by the row of the spine."""
    facts = pd.DataFrame(
        {"key": departures[column], "at": departures["departed"], "delay": departures["dep_delay"], "row": -1}
    )
    asked = pd.DataFrame(
        {"key": spine[f"Flight.{column}"], "at": spine["as_of"], "delay": float("nan"), "row": spine.index}
    )
    both = pd.concat([facts, asked], ignore_index=True).dropna(subset="key")
    both["key"] = both["key"].astype("category").cat.codes
    both = both.sort_values(["key", "at"], ignore_index=True)
    answer = {}
    for window, hours in HOURS.items():
        count, mean, maximum, deviation = window_columns(relation, window)
        rolling = both.groupby("key", sort=False).rolling(f"{hours}h", on="at", closed="left")["delay"]
        answer[count] = rolling.count().fillna(0).to_numpy()
        answer[mean] = rolling.mean().to_numpy()
        answer[maximum] = rolling.max().to_numpy()
        answer[deviation] = rolling.std().to_numpy()
    is_asked = both["row"].to_numpy() >= 0
    found = pd.DataFrame(
        {name: values[is_asked] for name, values in answer.items()}, index=both["row"][is_asked]
    )
    return found.reindex(spine.index)


def main(data: Path, out: Path) -> None:
    spine = pd.read_parquet(data / "spine.parquet")
    departures = pd.read_parquet(
        data / "departures.parquet", columns=[*RELATIONS.values(), "departed", "dep_delay"]
    )
    weather = pd.read_parquet(data / "weather.parquet")
    weather["hour"] += pd.Timedelta(hours=1)
    weather = weather.rename(columns={name: f"Flight.weather.{name}" for name in WEATHER})
    planes = pd.read_parquet(data / "planes.parquet", columns=["tailnum", *PLANE])
    planes = planes.rename(columns={name: f"Flight.plane.{name}" for name in PLANE})
    order = spine["as_of"].sort_values(kind="stable").index
    joined = pd.merge_asof(
        spine.loc[order],
        weather.sort_values("hour"),
        left_on="as_of",
        right_on="hour",
        left_by="Flight.origin",
        right_by="airport",
    )
    joined.index = order
    joined = joined.sort_index().merge(planes, how="left", left_on="Flight.tailnum", right_on="tailnum")
    parts = [windows(spine, departures, relation, column) for relation, column in RELATIONS.items()]
    joined = pd.concat([joined, *parts], axis=1)
    counts = [name for name in FEATURES if ".departures[" in name]
    whole = ["Flight.plane.year", "Flight.plane.engines", "Flight.plane.seats"]
    joined[counts + whole] = joined[counts + whole].astype("Int64")
    table = pa.Table.from_pandas(joined[[*spine.columns, *FEATURES]], preserve_index=False)
    write_with_pyarrow(table, out)


if __name__ == "__main__":
    with work():
        main(Path(sys.argv[1]), Path(sys.argv[2]))
