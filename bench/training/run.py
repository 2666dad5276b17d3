"""Times everybody in turn and prints ratios: ours divided by theirs. See `scripts/bench-training`.

Each contender runs in a process of its own and measures its work from after its imports to its
answer on disk; so interpreters and imports cost nobody anything. Peak memory is that of the whole
process, as the kernel counts it. Rounds are interleaved, so that what else the machine does meets
all alike: trust the ratios, not the seconds. This process stays small, since a child's peak counts
from its parent's size on.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from workload import FEATURES, LOOKUPS

HERE = Path(__file__).resolve().parent
TARGETS = {
    "polars_wall_ratio": 0.5,
    "polars_cpu_ratio": 0.5,
    "polars_memory_ratio": 0.7,
    "pandas_wall_ratio": 0.15,
    "duckdb_wall_ratio": 0.03,
    "feast_wall_ratio": 0.1,
    "floor_ratio": 1.5,
}


@dataclass
class Contender:
    """Somebody who computes the workload, and what that cost so far."""

    name: str
    command: list[str]
    out: Path
    rounds: int
    walls: list[float] = field(default_factory=list)
    cpus: list[float] = field(default_factory=list)
    peaks: list[float] = field(default_factory=list)

    def run(self) -> None:
        environment = os.environ | {
            "PYTHONPATH": str(HERE),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONWARNINGS": "ignore",
        }
        with self.log.open("w+") as log:
            process = subprocess.Popen(self.command, stdout=log, stderr=log, env=environment)
            # Not `wait`: only this call tells what the process used.
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            log.seek(0)
            said = log.read()
        if process.returncode:
            raise SystemExit(f"bench-training: {self.name} ended with {process.returncode}:\n{said}")
        measured = json.loads(next(line for line in reversed(said.splitlines()) if line.startswith("{")))
        self.walls.append(measured["seconds"])
        self.cpus.append(measured["cpu"])
        self.peaks.append(usage.ru_maxrss * 1024)

    @property
    def log(self) -> Path:
        return self.out.with_suffix(".log")

    @property
    def wall(self) -> float:
        return statistics.median(self.walls)

    @property
    def cpu(self) -> float:
        return statistics.median(self.cpus)

    @property
    def peak(self) -> float:
        return statistics.median(self.peaks)


def contenders(given: argparse.Namespace) -> dict[str, Contender]:
    """Everybody who can run here; ours first, since the floor writes what ours found."""
    data, outs = given.folder / "data", given.folder / "out"
    outs.mkdir(exist_ok=True)
    found: dict[str, Contender] = {}

    def add(name: str, rounds: int, *command: str | Path) -> None:
        out = outs / f"{name}.parquet"
        words = [str(word) if word != "OUT" else str(out) for word in command]
        found[name] = Contender(name, words, out, rounds)

    spine = data / "spine.parquet"
    add(
        "creta", given.rounds, given.binary, "train", given.folder / "scope", spine, "OUT", ",".join(FEATURES)
    )
    answer = found["creta"].out
    add("floor-rust", given.rounds, given.binary, "floor", data, answer, "OUT")
    add("floor-polars", given.rounds, sys.executable, HERE / "floor.py", data, answer, "OUT")
    add("polars", given.rounds, sys.executable, HERE / "with_polars.py", data, "OUT")
    add("pandas", given.rounds, sys.executable, HERE / "with_pandas.py", data, "OUT")
    if given.slow_rounds:
        add("duckdb", given.slow_rounds, sys.executable, HERE / "with_duckdb.py", data, "OUT")
        if given.feast is not None:
            add(
                "creta-lookups",
                given.rounds,
                given.binary,
                "train",
                given.folder / "scope",
                spine,
                "OUT",
                ",".join(LOOKUPS),
            )
            add("feast", given.slow_rounds, given.feast, HERE / "with_feast.py", data, "OUT")
        else:
            print("Feast is left out: it could not be installed here.")
    return found


def compare(found: dict[str, Contender]) -> None:
    print("\nDo they agree with ours?")
    for name in ("polars", "pandas", "duckdb", "feast"):
        if name in found:
            ours = found["creta"].out
            command = [sys.executable, str(HERE / "compare.py"), str(ours), str(found[name].out)]
            done = subprocess.run(command, capture_output=True, text=True)
            print(f"  {name:<14}{done.stdout.strip() or done.stderr.strip()}")
            if done.returncode:
                raise SystemExit("bench-training: the answers differ, so nothing was compared")


def ratios(found: dict[str, Contender]) -> dict[str, float]:
    ours = found["creta"]
    floor = min(found["floor-rust"].wall, found["floor-polars"].wall)
    polars, pandas = found["polars"], found["pandas"]
    answer = {
        "polars_wall_ratio": ours.wall / polars.wall,
        "polars_cpu_ratio": ours.cpu / polars.cpu,
        "polars_memory_ratio": ours.peak / polars.peak,
        "pandas_wall_ratio": ours.wall / pandas.wall,
        "floor_ratio": ours.wall / floor,
        "floor_cpu_ratio": ours.cpu / min(found["floor-rust"].cpu, found["floor-polars"].cpu),
    }
    if "duckdb" in found:
        answer["duckdb_wall_ratio"] = ours.wall / found["duckdb"].wall
    if "feast" in found:
        answer["feast_wall_ratio"] = found["creta-lookups"].wall / found["feast"].wall
    return answer


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--feast", type=Path, default=None, help="an interpreter that has Feast")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--slow-rounds", type=int, default=1, help="for those that take minutes; 0 leaves them out"
    )
    given = parser.parse_args()
    found = contenders(given)
    for number in range(given.rounds):
        for contender in found.values():
            if number < contender.rounds:
                contender.run()
        print(f"round {number + 1} of {given.rounds}", flush=True)
    compare(found)
    print(f"\n  {'':<14}{'wall':>9}{'processor':>11}{'peak':>9}{'file':>9}  median of {given.rounds} rounds")
    for name, one in found.items():
        size = one.out.stat().st_size
        print(
            f"  {name:<14}{one.wall:>7.2f} s{one.cpu:>9.2f} s{one.peak / 1e6:>6.0f} MB{size / 1e6:>6.0f} MB"
        )
    answer = ratios(found)
    print(f"\n  {'ours divided by theirs':<24}{'now':>8}{'target':>8}")
    for name, ratio in answer.items():
        target = TARGETS.get(name)
        print(f"  {name:<24}{ratio:>8.3f}{'' if target is None else f'{target:>8}'}")
    out = given.folder / "training.json"
    measured = {name: {"wall": one.walls, "cpu": one.cpus, "peak": one.peaks} for name, one in found.items()}
    out.write_text(json.dumps(answer | {"targets": TARGETS, "measured": measured}, indent=1) + "\n")
    print(f"\nwritten to {out}")


if __name__ == "__main__":
    main()
