"""The made-up set in Polars: `scale_polars.py DATA OUT`. As `with_polars.py`, with numbers as keys."""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl
from scale_workload import FEATURES, HOURS, window_columns
from workload import CODEC, LEVEL, ROW_GROUP_ROWS, work


def main(data: Path, out: Path) -> None:
    spine = pl.read_parquet(data / "spine.parquet").with_row_index("row")
    facts = pl.read_parquet(data / "facts.parquet")
    joined = (
        spine.sort("as_of")
        .join_asof(
            facts.rename({"account": "Account.account", "amount": "Account.amount"}).sort("at"),
            left_on="as_of",
            right_on="at",
            by="Account.account",
            strategy="backward",
            check_sortedness=False,
        )
        .select("row", "Account.account", "as_of", "Account.amount")
        .sort("row")
    )
    asked = spine.select(
        account="Account.account", at="as_of", amount=pl.lit(None, dtype=pl.Float64), row="row"
    )
    both = pl.concat([facts.with_columns(row=pl.lit(None, dtype=pl.UInt32)), asked]).sort("account", "at")
    parts = []
    for window, hours in HOURS.items():
        count, mean = window_columns(window)
        amount = pl.col("amount")
        parts.append(
            both.lazy()
            .rolling("at", period=f"{hours}h", closed="left", group_by="account")
            .agg(amount.count().cast(pl.Int64).alias(count), amount.mean().alias(mean))
            .sort("account", maintain_order=True)
            .drop("account", "at")
        )
    rows = pl.concat([both.select("row"), *pl.collect_all(parts)], how="horizontal")
    rows = rows.filter(pl.col("row").is_not_null()).sort("row").drop("row")
    pl.concat([joined, rows], how="horizontal").select("Account.account", "as_of", *FEATURES).write_parquet(
        out, compression=CODEC, compression_level=LEVEL, row_group_size=ROW_GROUP_ROWS, statistics=True
    )


if __name__ == "__main__":
    with work():
        main(Path(sys.argv[1]), Path(sys.argv[2]))
