"""One row of 100 features, 25 of resolvers, asked of `creta.local`, beside calling the functions directly.

Prints what each costs and writes `local.json`: `local_vs_python` is how many times the direct calls a query
costs.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

RESOLVERS = 25
GIVEN = 75

HEAD = """from __future__ import annotations

import math
from typing import Annotated

from creta import Feature, entity, feature, key, resolver

LIMITS = (0.0, 1.0)


def clamp(x: float) -> float:
    return min(LIMITS[1], max(LIMITS[0], x))


@entity
class Thing:
    id: Feature[int] = key()
"""

BODIES = (
    "return clamp({a} / ({b} + 1.0)) + {c} * 0.25",
    "return 0.4 if {a} > {b} else math.sqrt(abs({c})) / 2",
    "return round({a} * 0.3 + {b} * 0.5 - {c}, 3)",
    "return max({a}, {b}, {c}) - min({a}, {b}) if {a} != {b} else {c}",
    "score = {a} / 60 + {b} / 100\n    return min(1.0, max(0.0, score + {c}))",
)


def project(folder: Path) -> None:
    """Features `g0..` are given; each resolver reads three of what there is before it."""
    lines = [HEAD, *(f"    g{n}: Feature[float] = feature()\n" for n in range(GIVEN - 1))]
    lines += [f"    r{n}: Feature[float] = feature()\n" for n in range(RESOLVERS)]
    for n in range(RESOLVERS):
        known = [f"g{3 * n % (GIVEN - 1)}", f"g{(3 * n + 1) % (GIVEN - 1)}"]
        known.append(f"r{n - 1}" if n else "g2")
        inputs = ", ".join(f"{name}: Annotated[float, Thing.{name}]" for name in known)
        body = BODIES[n % len(BODIES)].format(a=known[0], b=known[1], c=known[2])
        lines.append(f"\n\n@resolver\ndef r{n}({inputs}) -> Annotated[float, Thing.r{n}]:\n    {body}\n")
    # The resolvers called in order, as somebody would write it by hand.
    lines.append("\n\ndef directly(g):\n")
    for n in range(RESOLVERS):
        third = f"r_{n - 1}" if n else "g[2]"
        lines.append(f"    r_{n} = r{n}(g[{3 * n % (GIVEN - 1)}], g[{(3 * n + 1) % (GIVEN - 1)}], {third})\n")
    lines.append(f"    return ({', '.join(f'r_{n}' for n in range(RESOLVERS))})\n")
    (folder / "creta.toml").write_text('[project]\nname = "bench"\n')
    (folder / "bench_things.py").write_text("".join(lines))


def median_us(run: Any, rounds: int, per_round: int) -> float:
    """Median over the rounds of the mean of a round, in microseconds."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter_ns()
        for _ in range(per_round):
            run()
        times.append((time.perf_counter_ns() - start) / per_round / 1_000)
    return sorted(times)[len(times) // 2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rounds", type=int, default=31)
    arguments = parser.parse_args()
    import creta

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        project(folder)
        local = creta.local(folder, facts={})
        sys.path.insert(0, name)
        module = importlib.import_module("bench_things")
        thing = module.Thing
        given = [0.5 + n / 7 for n in range(GIVEN - 1)]
        inputs = {getattr(thing, f"g{n}"): value for n, value in enumerate(given)}
        outputs = [*inputs, *(getattr(thing, f"r{n}") for n in range(RESOLVERS))]
        run = module.directly
        row = local.query(inputs, outputs)
        assert tuple(row[made].value for made in outputs[-RESOLVERS:]) == run(given), "the same answers"
        few = outputs[-1:]
        gc.disable()
        python = median_us(lambda: run(given), arguments.rounds, 500)
        query = median_us(lambda: local.query(inputs, outputs), arguments.rounds, 50)
        one = median_us(lambda: local.query(inputs, few), arguments.rounds, 50)
    numbers = {
        "python_us": round(python, 2),
        "local_us": round(query, 1),
        "local_last_feature_us": round(one, 1),
        "local_vs_python": round(query / python, 1),
    }
    print(f"  {RESOLVERS} functions called directly        {python:9.2f} us")
    print(f"  creta.local, one row of 100 features  {query:9.1f} us, {query / python:.0f} times as much")
    print(f"  creta.local, the last feature alone   {one:9.1f} us, {one / python:.0f} times as much")
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(numbers, indent=1) + "\n")


if __name__ == "__main__":
    main()
