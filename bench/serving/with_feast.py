"""The same users and features in a Feast repository with Redis: `with_feast.py FOLDER USERS REDIS_PORT`.

Writes the repository that `feast serve` is started in, and puts the values into Redis. The values
are those of `bench/serving/server`.
"""

from __future__ import annotations

import sys
import warnings
from datetime import timedelta
from pathlib import Path

warnings.filterwarnings("ignore")

import pandas as pd  # noqa: E402
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType  # noqa: E402
from feast.types import Float64, Int64, String  # noqa: E402

FEATURES = 50
SEEN = pd.Timestamp("2026-03-01T00:00:00Z")
BATCH = 1_000


def value(user: int, n: int) -> float | int | str:
    """The `n`th feature of a user."""
    match n % 5:
        case 0 | 1 | 2:
            return user * n / 7.0
        case 3:
            return user * n % 100_003
        case _:
            return f"city-{user * n % 997}"


def dtype(n: int) -> object:
    return {3: Int64, 4: String}.get(n % 5, Float64)


def frame(users: range) -> pd.DataFrame:
    columns: dict[str, list[object]] = {f"f{n}": [value(user, n) for user in users] for n in range(FEATURES)}
    return pd.DataFrame({"user_id": list(users), "seen": SEEN, "created": SEEN} | columns)


def main(folder: Path, users: int, port: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "feature_store.yaml").write_text(
        f"project: bench\nprovider: local\nregistry: {folder}/registry.db\n"
        f"online_store:\n  type: redis\n  connection_string: localhost:{port}\n"
        "offline_store:\n  type: file\nentity_key_serialization_version: 3\n"
    )
    frame(range(10)).to_parquet(folder / "users.parquet")
    store = FeatureStore(repo_path=str(folder))
    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.INT64)
    source = FileSource(
        path=str(folder / "users.parquet"), timestamp_field="seen", created_timestamp_column="created"
    )
    view = FeatureView(
        name="user",
        entities=[user],
        ttl=timedelta(days=0),
        schema=[Field(name=f"f{n}", dtype=dtype(n)) for n in range(FEATURES)],
        source=source,
    )
    store.apply([user, view])
    for first in range(0, users, BATCH):
        store.write_to_online_store("user", df=frame(range(first, min(first + BATCH, users))))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), int(sys.argv[2]), int(sys.argv[3]))
