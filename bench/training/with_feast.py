"""What Feast can express of the workload, with its DuckDB store: `with_feast.py DATA OUT`.

Feast joins feature tables as of an instant; windows over history it cannot compute. So this is
weather and planes only, and is compared with the same part of ours. The hour's weather counts from
when it was known, which `known.parquet` says. Without a limit of age its join pairs each row with
all earlier hours and takes many minutes, so it gets a limit that changes no answer.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from datetime import timedelta
from pathlib import Path

warnings.filterwarnings("ignore")

import pandas as pd  # noqa: E402
import pyarrow as pa  # noqa: E402
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType  # noqa: E402
from feast.types import Float64, Int64, String  # noqa: E402
from workload import LOOKUPS, PLANE, WEATHER, work, write_with_pyarrow  # noqa: E402

TYPES = {"year": Int64, "manufacturer": String, "model": String, "engines": Int64, "seats": Int64}


def store(data: Path, folder: str) -> FeatureStore:
    """A repository with the two feature views."""
    made = FeatureStore(
        config=RepoConfig(
            project="flights",
            provider="local",
            registry=f"{folder}/registry.db",
            offline_store={"type": "duckdb"},
            online_store={"type": "sqlite", "path": f"{folder}/online.db"},
            entity_key_serialization_version=3,
        )
    )
    airport = Entity(name="airport", join_keys=["airport"], value_type=ValueType.STRING)
    plane = Entity(name="aircraft", join_keys=["tailnum"], value_type=ValueType.STRING)
    weather = FeatureView(
        name="weather",
        entities=[airport],
        ttl=timedelta(days=2),
        schema=[Field(name=name, dtype=Float64) for name in WEATHER],
        source=FileSource(path=str(data / "known.parquet"), timestamp_field="known"),
    )
    planes = FeatureView(
        name="plane",
        entities=[plane],
        ttl=timedelta(days=0),
        schema=[Field(name=name, dtype=dtype) for name, dtype in TYPES.items()],
        source=FileSource(path=str(data / "registered.parquet"), timestamp_field="known"),
    )
    made.apply([airport, plane, weather, planes])
    return made


def main(data: Path, out: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        spine = pd.read_parquet(data / "spine.parquet")
        asked = spine.rename(columns={"as_of": "event_timestamp"})
        asked["airport"], asked["tailnum"] = spine["Flight.origin"], spine["Flight.tailnum"]
        asked["row"] = range(len(spine))
        features = [f"weather:{name}" for name in WEATHER] + [f"plane:{name}" for name in PLANE]
        found = store(data, folder).get_historical_features(entity_df=asked, features=features).to_arrow()
    found = found.sort_by("row").rename_columns(
        {"event_timestamp": "as_of"} | {name.split(".")[-1]: name for name in LOOKUPS}
    )
    write_with_pyarrow(pa.table(found.select([*spine.columns, *LOOKUPS])), out)


if __name__ == "__main__":
    with work():
        main(Path(sys.argv[1]), Path(sys.argv[2]))
