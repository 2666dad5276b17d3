"""What every contender computes of the made-up set: what an account's last amount was, and over eight
windows how many amounts it had and their mean.

Rows ask about any time of the year; a tenth of facts and rows are about one account.
"""

from __future__ import annotations

HOURS = {"1h": 1, "6h": 6, "1d": 24, "3d": 72, "7d": 168, "14d": 336, "30d": 720, "90d": 2160}


def window_columns(window: str) -> tuple[str, str]:
    """Count and mean of one window."""
    return f"Account.event_count[{window}]", f"Account.amount_mean[{window}]"


FEATURES = ["Account.amount", *(column for window in HOURS for column in window_columns(window))]


def table_features(tables: int) -> list[str]:
    """The last amount in each of so many tables."""
    return [f"Account.table{number}.amount" for number in range(tables)]
