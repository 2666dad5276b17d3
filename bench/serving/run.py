"""Asks everybody the same in turn and prints ratios. See `scripts/bench-serving`.

Ours answers with TLS, authentication, permits, decryption, the audit log and the request log on. Rounds are
interleaved, so that what else the machine does meets all alike: trust the ratios, not the rates. `wrk` loads
them from the same machine.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

from asking import (
    QUESTIONS,
    Peers,
    Run,
    Target,
    at_equal_load,
    entities_of,
    in_turn,
    post,
    ratio,
    write_bodies,
)
from peers import compare, feast, nginx

ENTITIES = (1, 10, 100)
AT_LEAST = {
    "noop_throughput_ratio": 0.6,
    "nginx_throughput_ratio": 1 / 3,
    "feast_throughput_ratio_1": 40,
    "feast_throughput_ratio_10": 50,
    "feast_throughput_ratio_100": 50,
    "computed_vs_stored": 0.8,
}
AT_MOST = {
    "noop_p99_ratio": 1.5,
    "feast_p99_ratio_1": 1,
    "feast_p99_ratio_10": 1,
    "feast_p99_ratio_100": 1,
    "hot_key_ratio": 2,
    "windows_vs_stored": 3,
    "local_vs_python": 100,
    "local_us": 50,
    "security_cost_percent": 25,
    "security_cost_http_percent": 25,
}
SPANS = ("1h", "3h", "6h", "12h", "1d", "2d", "3d", "5d", "7d", "10d", "14d", "30d")
AGGREGATES = ("count", "sum", "mean", "std")
# When everything of the bench was seen.
SEEN = "2026-03-01T00:00:00Z"


class Bench:
    """A server of ours at work, and what was found."""

    def __init__(self, given: argparse.Namespace, peers: Peers) -> None:
        self.given, self.peers = given, peers
        self.answer: dict[str, float] = {}
        self.measured: dict[str, list[Run]] = {}
        log = given.folder / "server.log"
        with log.open("w") as err:
            pipes: dict[str, Any] = {
                "stdin": subprocess.PIPE,
                "stdout": subprocess.PIPE,
                "stderr": err,
                "text": True,
            }
            command = [
                str(given.binary),
                str(given.folder),
                str(given.users),
                str(given.bundle),
                str(given.sdk),
            ]
            self.process = peers.start([*command, str(given.hot)], given.folder / "unused", **pipes)
        line = self.process.stdout.readline() if self.process.stdout else ""
        if not line:
            raise SystemExit(f"bench-serving: the server did not start:\n{log.read_text()[-4000:]}")
        self.server: dict[str, Any] = json.loads(line)
        self._token, self._token_until = "", 0.0

    def token(self) -> str:
        """Tokens live for a quarter of an hour; one that is half over is replaced."""
        if time.monotonic() > self._token_until:
            credential = {
                "client_id": self.server["client_id"],
                "client_secret": self.server["client_secret"],
            }
            got = post(self.server["token_url"], credential, ca=self.server["ca"])
            self._token, self._token_until = str(got["access_token"]), time.monotonic() + 400
        return self._token

    def ours(self, name: str, questions: list[Any], connections: int | None = None) -> Target:
        file = self.given.folder / f"bodies-{name.replace(' ', '-').replace('/', '-')}"
        target = Target(
            name,
            self.server["creta"].replace("localhost", "127.0.0.1"),
            write_bodies(file, questions),
            token=self.token,
            processes=[self.process.pid],
            threads="creta",
        )
        target.connections = connections or target.connections
        return target

    def users(self, rows: int) -> list[Any]:
        outputs, users = self.server["outputs"], self.given.users
        return [
            {"inputs": {"User.id": entities_of(n, rows, users)}, "outputs": outputs} for n in range(QUESTIONS)
        ]

    def things(self, outputs: list[str], rows: int = 1, questions: int = QUESTIONS) -> list[Any]:
        things = self.server["things"]
        return [
            {"inputs": {"Thing.id": entities_of(n, rows, things)}, "outputs": outputs}
            for n in range(questions)
        ]

    def run(self, targets: list[Target], say: str) -> None:
        in_turn(targets, self.given.rounds, self.given.seconds, say)
        self.measured |= {target.name: target.runs for target in targets}

    def against_peers(self) -> None:
        """Stored features of users, against a handler that does nothing, nginx and Feast."""
        given, server = self.given, self.server
        mine = {rows: self.ours(f"creta {rows}", self.users(rows)) for rows in ENTITIES}
        noop = Target("noop", server["noop"], mine[1].bodies, processes=[self.process.pid], threads="noop")
        plain = nginx(self.peers, given.folder, server, given.port)
        self.run([mine[1], noop, plain], "noop, nginx")
        show(f"50 stored features, {server['answer_bytes']} bytes for one user", [mine[1], noop, plain])
        self.answer["noop_throughput_ratio"] = ratio(mine[1], noop, "rate")
        self.answer["noop_cpu_ratio"] = ratio(mine[1], noop, "cpu_us")
        self.answer["nginx_throughput_ratio"] = ratio(mine[1], plain, "rate")
        rate = mine[1].median("rate") / 3
        paced = at_equal_load([mine[1], noop], given.rounds, given.seconds, rate)
        self.measured |= {"creta 1, paced": [a for a, _ in paced], "noop, paced": [b for _, b in paced]}
        self.answer["noop_p99_ratio"] = statistics.median(a["p99_us"] / b["p99_us"] for a, b in paced)
        ours, theirs = (
            statistics.median(run["p99_us"] for run in side) / 1e3 for side in zip(*paced, strict=True)
        )
        held = statistics.median(a["rate"] for a, _ in paced)
        print(f"  at {held:.0f} a second p99 is {ours:.2f} ms, that of noop {theirs:.2f} ms")
        if given.feast is None:
            print("  Feast is left out: it could not be installed here.")
            return
        theirs_of = feast(
            self.peers,
            given.folder / "feast",
            given.feast,
            given.users,
            given.port + 1,
            server["outputs"],
            ENTITIES,
        )
        compare(server, self.token(), theirs_of[0].url, given.users)
        pairs = [
            (self.ours(f"creta/feast {rows}", self.users(rows)), peer)
            for rows, peer in zip(ENTITIES, theirs_of, strict=True)
        ]
        self.run([target for pair in pairs for target in pair], "Feast")
        show("the same for 1, 10 and 100 users, and Feast", [target for pair in pairs for target in pair])
        for rows, (own, peer) in zip(ENTITIES, pairs, strict=True):
            self.answer[f"feast_throughput_ratio_{rows}"] = ratio(own, peer, "rate")
            self.answer[f"feast_p99_ratio_{rows}"] = ratio(own, peer, "p99_us")

    def computed(self) -> None:
        """A hundred features: stored, by 25 compiled resolvers, half of each; and one that runs in Python."""
        stored, made = self.server["stored"], self.server["computed"]
        shapes = {
            "stored 100": stored,
            "computed 100": made,
            "mixed 100": stored[:50] + made[:50],
        }
        targets = [self.ours(name, self.things(outputs)) for name, outputs in shapes.items()]
        self.run(targets, "computed")
        show("100 features of one entity: stored, by 25 compiled resolvers, half of each", targets)
        self.answer["computed_vs_stored"] = ratio(targets[1], targets[0], "rate")
        self.answer["mixed_vs_stored"] = ratio(targets[2], targets[0], "rate")
        in_python = [
            self.ours("in Python, 1 row", self.things(["Thing.slow"]), connections=1),
            self.ours("in Python, 1,000 rows", self.things(["Thing.slow"], 1_000, 16), connections=1),
            self.ours("its input, 1 row", self.things(["Thing.i0"]), connections=1),
        ]
        self.run(in_python, "in Python")
        show("a resolver that is not compiled, asked by one connection", in_python)
        self.answer["worker_call_us_1_row"] = in_python[0].median("p50_us") - in_python[2].median("p50_us")
        self.answer["worker_call_us_per_row_of_1000"] = in_python[1].median("p50_us") / 1_000

    def windows(self) -> None:
        """Twelve windows of four aggregates, of a buyer with few purchases and of one with many."""
        outputs = [f"Buyer.amount_{aggregate}[{span}]" for aggregate in AGGREGATES for span in SPANS]
        one = ["Buyer.amount_sum[30d]"]

        def asked(buyer: str, outputs: list[str]) -> list[Any]:
            return [{"inputs": {"Buyer.id": [buyer]}, "outputs": outputs, "as_of": SEEN}]

        targets = [
            self.ours("48 windows, hot", asked("hottest", outputs)),
            self.ours("48 windows", asked("mild", outputs)),
            self.ours("one window, hot", asked("hottest", one)),
            self.ours("one window", asked("mild", one)),
            self.ours("stored 50", self.users(1)),
        ]
        self.run(targets, "windows")
        loaded = self.server["loaded"]
        show(
            f"windows over {loaded['mild']:,} and {loaded['hot']:,} purchases, and 50 stored features",
            targets,
        )
        self.answer["hot_key_ratio"] = ratio(targets[0], targets[1], "cpu_us")
        self.answer["hot_key_ratio_one_window"] = ratio(targets[2], targets[3], "cpu_us")
        self.answer["windows_vs_stored"] = ratio(targets[1], targets[4], "cpu_us")

    def costs(self) -> None:
        """What is not about anybody else."""
        loaded = self.server["loaded"]
        self.answer["online_mb_per_million_users"] = loaded["online_bytes_per_user"]
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        sizes = {
            line.split(":")[0]: line.split()[1] for line in status.splitlines() if line.startswith("Rss")
        }
        self.answer["server_anonymous_mb"] = int(sizes["RssAnon"]) / 1024
        for name, runs in self.measured.items():
            if name in ("creta 1", "noop", "nginx", "feast 1"):
                cpu = statistics.median(run["cpu_us"] for run in runs)
                self.answer[f"cpu_seconds_per_million_{name.split()[0]}"] = cpu

    def security(self) -> None:
        """What permits, the log and seals cost, against an engine without them that only this bench links."""
        file = self.given.folder / "security_cost.json"
        subprocess.run([str(self.given.security), str(file)], check=True)
        cost = json.loads(file.read_text())
        of = {
            rows: [cost[f"{where}_{rows}_rows"]["cost_percent"] for where in ("engine", "http")]
            for rows in (1, 100)
        }
        self.answer["security_cost_percent"] = max(engine for engine, _ in of.values())
        self.answer["security_cost_http_percent"] = max(http for _, http in of.values())

    def local(self) -> None:
        """One row of 100 features in this process."""
        file = self.given.folder / "local.json"
        paths = os.pathsep.join([str(self.given.native), str(self.given.sdk)])
        one_row = Path(__file__).resolve().parent.parent / "local" / "one_row.py"
        command = [str(self.given.python), str(one_row), "--json", str(file)]
        subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": paths})
        found = json.loads(file.read_text())
        self.answer |= {name: found[name] for name in ("local_vs_python", "local_us", "python_us")}

    def table(self) -> None:
        print(f"\n  {'':<36}{'now':>10}{'target':>18}")
        for name, value in self.answer.items():
            least, most = AT_LEAST.get(name), AT_MOST.get(name)
            target = "" if least is None else f"at least {least:.3g}"
            target = target if most is None else f"at most {most:.3g}"
            print(f"  {name:<36}{value:>10.2f}{target:>18}")


def show(what: str, targets: list[Target]) -> None:
    print(f"\n  {what}")
    print(f"  {'':<22}{'a second':>10}{'p50':>10}{'p99':>10}{'p99.9':>10}{'errors':>8}{'cpu':>10}")
    for target in targets:
        times = "".join(f"{target.median(what) / 1e3:>7.2f} ms" for what in ("p50_us", "p99_us", "p999_us"))
        errors = sum(run["errors"] for run in target.runs)
        cpu = f"{target.median('cpu_us'):>7.0f} us"
        print(f"  {target.name:<22}{target.median('rate'):>10.0f}{times}{errors:>8.0f}{cpu}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--security", type=Path, default=None, help="the program `security-cost`")
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--sdk", type=Path, required=True)
    parser.add_argument("--native", type=Path, default=None, help="where the package has its engine")
    parser.add_argument("--python", type=Path, default=None, help="an interpreter for `creta.local`")
    parser.add_argument("--feast", default=None, help="an interpreter that has Feast")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--hot", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--port", type=int, default=17_640)
    parser.add_argument("--parts", default="peers,computed,windows,costs,security,local")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.folder = given.folder.resolve()
    given.feast = given.feast and str(Path(given.feast).absolute())
    parts = set(given.parts.split(","))
    shutil.rmtree(given.folder, ignore_errors=True)
    given.folder.mkdir(parents=True)
    with Peers() as peers:
        bench = Bench(given, peers)
        if "peers" in parts:
            bench.against_peers()
        if "computed" in parts:
            bench.computed()
        if "windows" in parts:
            bench.windows()
        if "costs" in parts:
            bench.costs()
    if "security" in parts and given.security is not None:
        bench.security()
    if "local" in parts and given.native is not None:
        bench.local()
    bench.table()
    about = {"at_least": AT_LEAST, "at_most": AT_MOST, "answer_bytes": bench.server["answer_bytes"]}
    about |= {"processors": os.cpu_count(), "measured": bench.measured}
    given.out.write_text(json.dumps(bench.answer | about, indent=1) + "\n")
    print(f"\nwritten to {given.out}")


if __name__ == "__main__":
    main()
