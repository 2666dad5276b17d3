"""Writes facts into a server and into Feast with Redis, and prints ratios. See `scripts/bench-serving`.

Ours takes Arrow over TLS, checks it, makes it durable, sealed, and visible before it answers. Feast
materialises the same rows from a Parquet file. The plain file takes the bytes of the loads and nothing
else: `write` and `fdatasync`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
AT_LEAST = {"feast_ingest_ratio": 25, "plain_write_ratio": 0.5}


def feast_seconds(python: str, folder: Path, rows: int, port: int) -> float:
    folder.mkdir(parents=True, exist_ok=True)
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    redis = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    try:
        time.sleep(1)
        quiet = os.environ | {"PYTHONWARNINGS": "ignore", "FEAST_USAGE": "False"}
        command = [python, str(HERE / "feast_ingest.py"), str(folder), str(rows), str(port)]
        done = subprocess.run(command, env=quiet, capture_output=True, text=True, check=False)
        said = next((line[8:] for line in done.stdout.splitlines() if line.startswith("SECONDS ")), None)
        if said is None:
            raise SystemExit(f"bench-serving: Feast materialised nothing:\n{done.stdout}{done.stderr}")
        return float(said)
    finally:
        redis.terminate()
        redis.wait(timeout=30)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--feast", default=None, help="an interpreter that has Feast")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--feast-rows", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--port", type=int, default=17_650)
    parser.add_argument("--out", type=Path, required=True, help="a file of JSON that the keys are added to")
    given = parser.parse_args()
    shutil.rmtree(given.folder, ignore_errors=True)
    given.folder.mkdir(parents=True)
    with (given.folder / "server.log").open("w") as log:
        command = [
            str(given.binary),
            str(given.folder),
            str(given.rows),
            str(given.rounds),
            f"{given.seconds:.0f}",
        ]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=log, text=True, check=False)
    if done.returncode or not done.stdout.strip():
        raise SystemExit(
            f"bench-serving: nothing was loaded:\n{(given.folder / 'server.log').read_text()[-4000:]}"
        )
    ours: dict[str, Any] = json.loads(done.stdout)
    # All rounds together: every few of them wait until values that waited in memory are written.
    bulk, plain, rounds = sum(ours["bulk_seconds"]), sum(ours["plain_seconds"]), len(ours["bulk_seconds"])
    answer = {"plain_write_ratio": plain / bulk}
    rate = ours["rows"] * rounds / bulk
    plain_rate = ours["bytes"] * rounds / plain / 1e6
    quickest = ours["rows"] / min(ours["bulk_seconds"])
    print(f"\n  loads of {ours['rows']:,} rows of {ours['features']} features, {ours['bytes'] / 1e6:.0f} MB")
    print(f"  {'ours, durable and visible':<34}{rate:>10,.0f} rows a second")
    print(f"  {'in the quickest round':<34}{quickest:>10,.0f} rows a second")
    print(f"  {'the same bytes, plainly':<34}{plain_rate:>10,.0f} MB a second")
    if given.feast:
        seconds = feast_seconds(given.feast, given.folder / "feast", given.feast_rows, given.port)
        answer["feast_ingest_ratio"] = rate * seconds / given.feast_rows
        print(f"  {'Feast, materialised into Redis':<34}{given.feast_rows / seconds:>10,.0f} rows a second")
    else:
        print("  Feast is left out: it could not be installed here.")
    singles = ours["singles"]
    writes, reads = singles["writes"], singles["reads"]
    print(
        f"  {ours['clients']} clients, single rows: "
        f"{writes['count'] / singles['seconds']:,.0f} writes a second, each read back"
    )
    for name, times in (("writes", writes), ("reads", reads)):
        print(
            f"    {name:<8}p50 {times['p50_ms']:.2f} ms, p99 {times['p99_ms']:.2f} ms, "
            f"p99.9 {times['p999_ms']:.2f} ms"
        )
    print(f"    {len(singles['errors'])} errors, {singles['unseen']} writes that their writer did not see")
    for name, value in answer.items():
        print(f"  {name:<28}{value:>8.2f}{f'at least {AT_LEAST[name]:g}':>18}")
    kept: dict[str, Any] = json.loads(given.out.read_text()) if given.out.exists() else {}
    kept["at_least"] = kept.get("at_least", {}) | AT_LEAST
    given.out.write_text(json.dumps(kept | answer | {"ingest": ours}, indent=1) + "\n")
    if singles["errors"] or singles["unseen"]:
        raise SystemExit(f"bench-serving: single rows failed: {singles['errors'][:3]}")


if __name__ == "__main__":
    main()
