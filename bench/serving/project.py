"""Writes the project that `bench/serving` serves: `project.py FOLDER`.

`User` has 50 stored features. `Thing` has 100 stored ones, and 100 that 25 resolvers make of 12 others:
ordinary Python, all of which compiles. `slow` does not, so it runs in a worker. `Buyer` has twelve windows of
four aggregates over purchases.
"""

from __future__ import annotations

import sys
from pathlib import Path

USER_FEATURES = 50
STORED = 100
READ = 12
RESOLVERS = 25
SPANS = (
    "hours(1)",
    "hours(3)",
    "hours(6)",
    "hours(12)",
    "days(1)",
    "days(2)",
    "days(3)",
    "days(5)",
    "days(7)",
    "days(10)",
    "days(14)",
    "days(30)",
)

HEAD = '''"""Made by `bench/serving/project.py`."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Annotated

from creta import (
    Feature,
    Many,
    Windowed,
    count,
    days,
    entity,
    event_time,
    feature,
    hours,
    key,
    many,
    mean,
    resolver,
    std,
    sum_,
)


@entity
class User:
    id: Feature[int] = key()
    seen: Feature[datetime] = event_time()
'''

WINDOWS = """

@entity
class Purchase:
    id: Feature[int] = key()
    buyer: Feature[str] = feature()
    bought: Feature[datetime] = event_time()
    amount: Feature[float] = feature()


@entity
class Buyer:
    id: Feature[str] = key()
    purchases: Many[Purchase] = many(on=lambda: (Buyer.id, Purchase.buyer))
    amount_count: Windowed[int] = count(purchases[Purchase.amount], last=SPANS)
    amount_sum: Windowed[float] = sum_(purchases[Purchase.amount], last=SPANS)
    amount_mean: Windowed[float] = mean(purchases[Purchase.amount], last=SPANS)
    amount_std: Windowed[float] = std(purchases[Purchase.amount], last=SPANS)
"""

SLOW = '''

@resolver
def slow(amount: Annotated[float, Thing.i0]) -> Annotated[float, Thing.slow]:
    """A `while` loop is not compiled."""
    while amount > 1.0:
        amount = amount / 2.0
    return amount
'''

# What ordinary feature code does: ratios, thresholds, rounding, rules with early returns.
BODIES = (
    "ratio = {a} / ({b} + 1.0)\n    return ratio, math.sqrt(abs({c})), max({a}, {b}), min({b}, {c})",
    "if {a} > {b}:\n        return 0.4, {a} - {b}, 1.0, {c} * 0.5\n    return 0.1, {b} - {a}, 0.0, {c}",
    "score = round({a} * 0.3 + {b} * 0.5 - {c}, 3)\n"
    "    return score, clamp(score), abs(score), score * score",
    "low, high = min({a}, {b}, {c}), max({a}, {b}, {c})\n"
    "    return low, high, high - low, (low + high) / 2.0",
    "total = {a} + {b} + {c}\n"
    "    return {a} / (total + 1.0), {b} / (total + 1.0), {c} / (total + 1.0), math.log1p(abs(total))",
)


def source() -> str:
    kinds = ("float", "float", "float", "int", "str")
    lines = [HEAD]
    lines += [f"    f{n}: Feature[{kinds[n % 5]}] = feature()\n" for n in range(USER_FEATURES)]
    lines.append("\n\n@entity\nclass Thing:\n    id: Feature[int] = key()\n")
    lines.append("    seen: Feature[datetime] = event_time()\n")
    lines += [f"    i{n}: Feature[float] = feature()\n" for n in range(READ)]
    lines += [f"    s{n}: Feature[float] = feature()\n" for n in range(STORED)]
    lines += [f"    c{n}: Feature[float] = feature()\n" for n in range(4 * RESOLVERS)]
    lines.append("    slow: Feature[float] = feature()\n")
    lines.append("\n\ndef clamp(x: float) -> float:\n    return min(1.0, max(0.0, x))\n")
    for n in range(RESOLVERS):
        # Each third one reads what another one made.
        names = [
            f"i{n % READ}",
            f"i{(n + 5) % READ}",
            f"c{4 * n - 4}" if n % 3 == 2 else f"i{(n + 9) % READ}",
        ]
        inputs = ", ".join(f"{name}: Annotated[float, Thing.{name}]" for name in names)
        results = ", ".join(f"Annotated[float, Thing.c{4 * n + k}]" for k in range(4))
        body = BODIES[n % len(BODIES)].format(a=names[0], b=names[1], c=names[2])
        lines.append(f"\n\n@resolver\ndef r{n}({inputs}) -> tuple[{results}]:\n    {body}\n")
    lines.append(SLOW)
    lines.append(f"\n\nSPANS = ({', '.join(SPANS)})\n")
    lines.append(WINDOWS)
    return "".join(lines)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "creta.toml").write_text('[project]\nname = "bench"\n')
    (folder / "bench_features.py").write_text(source())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
