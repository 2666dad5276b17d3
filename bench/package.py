"""What a user of the package waits for: `package.py BINARY WHEELS` prints times and sizes, nothing else."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

FLIGHTS = Path(__file__).resolve().parent.parent / "examples" / "flights"
NOON = datetime(2013, 7, 1, 12, tzinfo=UTC)


def line(what: str, value: str) -> None:
    print(f"  {what:<58} {value:>16}", flush=True)


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms"


def timed(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def interpreter(code: str) -> float:
    """Least wall time of a fresh interpreter that runs this code, over seven tries."""
    command = [sys.executable, "-c", code]
    return min(timed(lambda: subprocess.run(command, check=True)) for _ in range(7))


def quantiles(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    at = [statistics.median(ordered), ordered[int(len(ordered) * 0.99)]]
    return " / ".join(f"{value * 1e6:.0f} us" for value in at)


def main(binary: Path, wheels: Path) -> None:
    bare = interpreter("pass")
    line("import creta, beyond starting the interpreter", milliseconds(interpreter("import creta") - bare))

    import creta

    sys.path.insert(0, str(FLIGHTS))
    from features.flights import Flight

    opened = [timed(lambda: creta.local(FLIGHTS, facts={})) for _ in range(7)]
    line(
        "creta.local(flights), definitions only: first, median",
        f"{milliseconds(opened[0])} / {milliseconds(statistics.median(opened[1:]))}",
    )
    local = creta.local(FLIGHTS, facts={})
    start = time.perf_counter()
    full = creta.local(FLIGHTS)
    line("creta.local(flights) with all 359,432 facts", f"{time.perf_counter() - start:.1f} s")

    question = {Flight.carrier: "UA", Flight.origin: "EWR", Flight.tailnum: "N33284"}
    shapes = {
        "one row, an expression: Flight.long_haul": ({Flight.distance: 1_400.0}, [Flight.long_haul]),
        "one row, a window of a day": (question, [Flight.operator.delay_mean[creta.days(1)]]),
        "one row, four resolvers and windows: Flight.risk": (question, [Flight.risk]),
    }
    for engine, name in ((local, "no facts"), (full, "all facts")):
        for what, (inputs, outputs) in shapes.items():
            ask = partial(engine.query, inputs, outputs, as_of=NOON)
            for _ in range(50):
                ask()
            line(f"{what} ({name}), p50 / p99", quantiles([timed(ask) for _ in range(1_000)]))

    import pyarrow.parquet as pq

    spine = pq.read_table(FLIGHTS / "data" / "spine.parquet")
    features = [Flight.operator.delay_mean[creta.days(n)] for n in (1, 7)] + [Flight.weather.wind_speed]
    seconds = timed(lambda: full.training_set(spine, features=features, as_of="as_of"))
    line(f"training set, {len(spine):,} rows, 3 features", f"{seconds:.2f} s")

    line("the command", f"{binary.stat().st_size / 1e6:.1f} MB")
    for wheel in wheels.glob("creta-*.whl"):
        line(f"the wheel {wheel.name}", f"{wheel.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
