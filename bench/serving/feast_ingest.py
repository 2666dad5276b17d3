"""How fast Feast materialises into Redis: `feast_ingest.py FOLDER ROWS REDIS_PORT`.

One fact of each user with 20 features, those of `bench/serving/ingest`; from a Parquet file, as `feast
materialize` does. Prints the seconds.
"""

from __future__ import annotations

import sys
import time
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path

warnings.filterwarnings("ignore")

import pandas as pd  # noqa: E402
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType  # noqa: E402
from feast.types import Float64, Int64, String  # noqa: E402

FEATURES = 20
SEEN = pd.Timestamp("2026-03-01T00:00:00Z")


def value(user: int, n: int) -> float | int | str:
    """The `n`th feature of a user."""
    match n % 5:
        case 0 | 1 | 2:
            return (user + n) / 7.0
        case 3:
            return user * n % 100_003
        case _:
            return f"city-{user * n % 997}"


def main(folder: Path, rows: int, port: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "feature_store.yaml").write_text(
        f"project: ingest\nprovider: local\nregistry: {folder}/registry.db\n"
        f"online_store:\n  type: redis\n  connection_string: localhost:{port}\n"
        "offline_store:\n  type: file\nentity_key_serialization_version: 3\n"
    )
    columns: dict[str, list[object]] = {
        f"f{n}": [value(user, n) for user in range(rows)] for n in range(FEATURES)
    }
    frame = pd.DataFrame({"user_id": list(range(rows)), "seen": SEEN, "created": SEEN} | columns)
    frame.to_parquet(folder / "users.parquet")
    store = FeatureStore(repo_path=str(folder))
    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64)
    source = FileSource(
        path=str(folder / "users.parquet"), timestamp_field="seen", created_timestamp_column="created"
    )
    types = {3: Int64, 4: String}
    view = FeatureView(
        name="user",
        entities=[user],
        ttl=timedelta(days=0),
        schema=[Field(name=f"f{n}", dtype=types.get(n % 5, Float64)) for n in range(FEATURES)],
        source=source,
    )
    store.apply([user, view])
    begin = time.perf_counter()
    store.materialize(datetime(2026, 2, 28, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC))
    print(f"SECONDS {time.perf_counter() - begin}")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), int(sys.argv[2]), int(sys.argv[3]))
