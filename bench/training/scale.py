"""Growth and memory on made-up facts: `scale.py --binary BINARY --folder FOLDER`.

See `scripts/bench-training-scale`.

Each run is a process of its own. Peak memory is that of the whole process, as the kernel counts it. Two
sizes, one ten times the other, say how time grows; one to ten tables beside one spine say how memory does.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

from run import HERE, Contender
from scale_workload import FEATURES, table_features

TARGETS = {"scale_wall_ratio": 0.4, "growth_ratio": 13.0, "ten_tables_memory_ratio": 1.5}
ROWS, FACTS = 10_000_000, 50_000_000
TABLES = (1, 2, 5, 10)


def made(given: argparse.Namespace, name: str, rows: int, facts: int, tables: int) -> tuple[Path, Path]:
    """The scope and the Parquet files of a size, made once."""
    folder = given.folder / f"scale-{name}"
    if not (folder / "scope" / "end").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        words = ["scale", folder / "scope", folder / "data", rows, facts, tables]
        subprocess.run([given.binary, *map(str, words)], check=True)
    return folder / "scope", folder / "data"


def ours(given: argparse.Namespace, name: str, made_at: tuple[Path, Path], features: list[str]) -> Contender:
    scope, data = made_at
    out = given.folder / "out" / f"{name}.parquet"
    out.parent.mkdir(exist_ok=True)
    spine = data / "spine.parquet"
    words = [given.binary, "train", scope, spine, out, ",".join(features), given.memory]
    return Contender(name, list(map(str, words)), out, 1)


def told(contender: Contender) -> None:
    print(
        f"  {contender.name:<26}{contender.wall:>8.1f} s{contender.cpu:>9.1f} s"
        f"{contender.peak / 2**20:>8.0f} MiB"
    )


def peers(given: argparse.Namespace, data: Path) -> list[Contender]:
    finished = []
    for peer in given.peers.split(","):
        out = given.folder / "out" / f"scale-{peer}.parquet"
        contender = Contender(
            peer, [sys.executable, str(HERE / f"scale_{peer}.py"), str(data), str(out)], out, 1
        )
        try:
            contender.run()
        except SystemExit as ended:
            print(f"  {peer}: did not finish ({str(ended).splitlines()[0]})")
            continue
        told(contender)
        finished.append(contender)
    return finished


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--memory", default="4GiB")
    parser.add_argument("--peers", default="polars,duckdb")
    parser.add_argument("--divide", type=int, default=1, help="by how much less than the whole size is made")
    given = parser.parse_args()
    answer: dict[str, float] = {}
    walls = {}
    print(f"  {'':<26}{'wall':>10}{'processor':>11}{'peak':>12}")
    for name, part in (("tenth", 10), ("whole", 1)):
        size = part * given.divide
        scope, data = made(given, f"{name}-{given.divide}", ROWS // size, FACTS // size, 0)
        run = ours(given, f"scale-{name}", (scope, data), FEATURES)
        run.run()
        told(run)
        walls[name] = run.wall
        answer[f"{name}_peak_bytes"] = run.peak
        if name == "tenth":
            finished = peers(given, data)
            for peer in finished:
                words = [sys.executable, str(HERE / "compare.py"), str(run.out), str(peer.out)]
                compared = subprocess.run(words, capture_output=True, text=True, check=False)
                print(f"  {peer.name}: {compared.stdout.strip() or compared.stderr.strip()}")
            if finished:
                answer["scale_wall_ratio"] = run.wall / min(peer.wall for peer in finished)
    answer["growth_ratio"] = walls["whole"] / walls["tenth"]
    spread = made(
        given, f"tables-{given.divide}", ROWS // 10 // given.divide, FACTS // 50 // given.divide, max(TABLES)
    )
    of_tables = {}
    for tables in TABLES:
        of_tables[tables] = ours(given, f"tables-{tables}", spread, table_features(tables))
        of_tables[tables].run()
        told(of_tables[tables])
    answer["ten_tables_memory_ratio"] = of_tables[10].peak / of_tables[1].peak
    answer["ten_tables_wall_per_table_ratio"] = of_tables[10].wall / 10 / of_tables[1].wall
    print(f"\n  {'':<34}{'now':>8}{'target':>8}")
    for key, value in answer.items():
        if key.endswith("_ratio"):
            target = TARGETS.get(key)
            print(f"  {key:<34}{value:>8.3f}{'' if target is None else f'{target:>8}'}")
    out = given.folder / "training-scale.json"
    out.write_text(json.dumps(answer | {"targets": TARGETS, "divide": given.divide}, indent=1) + "\n")
    print(f"\nwritten to {out}")


if __name__ == "__main__":
    main()
