"""Asks everybody the same in turn and prints ratios. See `scripts/bench-serving`.

Ours answers with TLS, authentication, permits, decryption, the audit log and the request log on.
Pairs are interleaved, so that what else the machine does meets both alike: trust the ratios, not the
rates. `wrk` loads them from the same machine.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import ssl
import statistics
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CONNECTIONS = 16
# Connections that wait between questions, where the load is given.
PACED_CONNECTIONS = 64
QUESTIONS = 512
ENTITIES = (1, 10, 100)
AT_LEAST = {
    "noop_throughput_ratio": 0.6,
    "nginx_throughput_ratio": 1 / 3,
    "feast_throughput_ratio_1": 40,
    "feast_throughput_ratio_10": 50,
    "feast_throughput_ratio_100": 50,
}
AT_MOST = {
    "noop_p99_ratio": 1.5,
    "feast_p99_ratio_1": 1,
    "feast_p99_ratio_10": 1,
    "feast_p99_ratio_100": 1,
}


@dataclass
class Target:
    """Somebody who answers, and what that took so far."""

    name: str
    url: str
    bodies: str
    token: str = "-"  # noqa: S105 - that there is none
    processes: list[int] = field(default_factory=list)
    thread: str | None = None
    runs: list[dict[str, float]] = field(default_factory=list)

    def ask(self, seconds: float, delay_ms: float | None = None) -> dict[str, float]:
        before, connections = self.cpu(), PACED_CONNECTIONS if delay_ms else CONNECTIONS
        command = [
            "wrk",
            "-t2",
            f"-c{connections}",
            f"-d{seconds:g}s",
            "--timeout",
            "10s",
            "-s",
            str(HERE / "load.lua"),
        ]
        command += [self.url, "--", self.bodies, self.token]
        command += [f"{delay_ms:.0f}"] if delay_ms else []
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        said = next((line[5:] for line in done.stdout.splitlines() if line.startswith("SAID ")), None)
        if said is None:
            raise SystemExit(f"bench-serving: wrk said nothing of {self.name}:\n{done.stdout}{done.stderr}")
        run = json.loads(said)
        run["rate"] = run["requests"] / run["seconds"]
        run["cpu_us"] = (self.cpu() - before) / max(run["requests"], 1) * 1e6
        if run["errors"]:
            raise SystemExit(f"bench-serving: {run['errors']} errors of {self.name}")
        if not delay_ms:
            self.runs.append(run)
        return run

    def cpu(self) -> float:
        """Processor time so far in seconds, of its processes or of the threads that bear its name."""
        total = 0.0
        for process in self.processes:
            for task in Path(f"/proc/{process}/task").iterdir():
                try:
                    if self.thread is None or (task / "comm").read_text().startswith(self.thread):
                        total += int((task / "schedstat").read_text().split()[0]) / 1e9
                except (FileNotFoundError, ProcessLookupError):
                    pass
        return total

    def median(self, what: str) -> float:
        return statistics.median(run[what] for run in self.runs)


def descendants(process: int) -> list[int]:
    found = [process]
    for one in found:
        try:
            for task in Path(f"/proc/{one}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
        except FileNotFoundError:
            pass
    return found


class Peers:
    """Processes that were started here; they end with the block."""

    def __init__(self) -> None:
        self.started: list[subprocess.Popen[Any]] = []

    def start(self, command: list[str], log: Path, **more: Any) -> subprocess.Popen[Any]:
        with log.open("w") as out:
            options: dict[str, Any] = {"stdout": out, "stderr": out} | more
            self.started.append(subprocess.Popen(command, start_new_session=True, **options))
        return self.started[-1]

    def __enter__(self) -> Peers:
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self.started):
            for one in descendants(process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(one, signal.SIGTERM)
        for process in self.started:
            process.wait(timeout=30)


def until_answers(url: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(url, timeout=2, context=ssl._create_unverified_context()).close()  # noqa: S310, S323 - our own, to see that it is there
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            if time.monotonic() > end:
                raise SystemExit(f"bench-serving: nothing answers at {url}") from None
            time.sleep(0.2)


def post(url: str, body: object, token: str | None = None, ca: str | None = None) -> Any:
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)  # noqa: S310 - our own
    context = ssl.create_default_context(cafile=ca) if ca else None
    with urllib.request.urlopen(request, timeout=30, context=context) as answer:  # noqa: S310 - our own
        return json.load(answer)


def users_of(number: int, rows: int, users: int) -> list[int]:
    """Users of a question, all over the store."""
    return [((number * rows + row) * 7_919) % users for row in range(rows)]


def nginx(peers: Peers, folder: Path, server: dict[str, Any], port: int) -> Target:
    """nginx with a file of the size of an answer, over TLS 1.3 with the suite that ours prefers."""
    root = folder / "nginx"
    (root / "files").mkdir(parents=True, exist_ok=True)
    shutil.copy(folder / "answer.json", root / "files" / "query")
    (root / "nginx.conf").write_text(
        f"""daemon off; pid {root}/pid; error_log {root}/error.log; worker_processes 2;
        events {{ worker_connections 512; }}
        http {{
            access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000;
            client_body_temp_path {root}/body; proxy_temp_path {root}/proxy; fastcgi_temp_path {root}/fastcgi;
            uwsgi_temp_path {root}/uwsgi; scgi_temp_path {root}/scgi; default_type application/json;
            server {{
                listen 127.0.0.1:{port} ssl; root {root}/files; ssl_protocols TLSv1.3;
                ssl_certificate {server["noop_certificate"]}; ssl_certificate_key {server["noop_key"]};
                open_file_cache max=10;
            }}
        }}"""
    )
    binary = shutil.which("nginx") or "/usr/sbin/nginx"
    process = peers.start([binary, "-e", f"{root}/error.log", "-c", f"{root}/nginx.conf"], root / "log")
    until_answers(f"https://127.0.0.1:{port}/query")
    return Target("nginx", f"https://127.0.0.1:{port}/query", "-", processes=descendants(process.pid))


def feast(peers: Peers, given: argparse.Namespace, outputs: list[str]) -> list[Target]:
    """`feast serve` with two workers and Redis, without TLS and without anybody asking who asks."""
    folder, redis_port, port = given.folder / "feast", given.port + 1, given.port + 2
    folder.mkdir(parents=True, exist_ok=True)
    command = [
        "redis-server",
        "--port",
        str(redis_port),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--appendonly",
        "no",
    ]
    redis = peers.start(command, folder / "redis.log", cwd=folder)
    time.sleep(1)
    quiet = os.environ | {"PYTHONWARNINGS": "ignore", "FEAST_USAGE": "False"}
    loading = [given.feast, str(HERE / "with_feast.py"), str(folder), str(given.users), str(redis_port)]
    subprocess.run(loading, check=True, env=quiet, stdout=subprocess.DEVNULL)
    # Without end of requests per worker: a worker that starts anew takes seconds.
    command = [str(Path(given.feast).with_name("feast")), "serve", "--port", str(port), "--workers", "2"]
    command += ["--no-access-log", "--max-requests", "0"]
    process = peers.start(command, folder / "serve.log", cwd=folder, env=quiet)
    until_answers(f"http://127.0.0.1:{port}/health")
    features = [f"user:{output.removeprefix('User.')}" for output in outputs]
    targets = []
    for rows in ENTITIES:
        bodies = folder / f"bodies-{rows}"
        asked = [
            {"features": features, "entities": {"user_id": users_of(n, rows, given.users)}}
            for n in range(QUESTIONS)
        ]
        bodies.write_text("\n".join(map(json.dumps, asked)))
        url = f"http://127.0.0.1:{port}/get-online-features"
        processes = [*descendants(process.pid), redis.pid]
        targets.append(Target(f"feast {rows}", url, str(bodies), processes=processes))
    return targets


def compare(server: dict[str, Any], token: str, feast_url: str, users: int) -> None:
    """Both give the same values, or nothing was compared."""
    asked = users_of(3, 10, users)
    ours = post(
        server["creta"], {"inputs": {"User.id": asked}, "outputs": server["outputs"]}, token, server["ca"]
    )
    features = [f"user:{output.removeprefix('User.')}" for output in server["outputs"]]
    theirs = post(feast_url, {"features": features, "entities": {"user_id": asked}})
    names = theirs["metadata"]["feature_names"]
    for column in ours["columns"]:
        found = theirs["results"][names.index(column["feature"].removeprefix("User."))]["values"]
        if found != column["values"]:
            raise SystemExit(
                f"bench-serving: {column['feature']} is {column['values']} here and {found} in Feast"
            )


def ratio(ours: Target, theirs: Target, what: str) -> float:
    """Of each pair of rounds by itself: what disturbed one most likely disturbed its neighbour."""
    return statistics.median(a[what] / b[what] for a, b in zip(ours.runs, theirs.runs, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--feast", default=None, help="an interpreter that has Feast")
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--port", type=int, default=17_640)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.folder = given.folder.resolve()
    given.feast = given.feast and str(Path(given.feast).absolute())
    shutil.rmtree(given.folder, ignore_errors=True)
    given.folder.mkdir(parents=True)
    with Peers() as peers:
        measure(given, peers)


def measure(given: argparse.Namespace, peers: Peers) -> None:
    log = given.folder / "server.log"
    with log.open("w") as err:
        pipes: dict[str, Any] = {
            "stdin": subprocess.PIPE,
            "stdout": subprocess.PIPE,
            "stderr": err,
            "text": True,
        }
        process = peers.start(
            [str(given.binary), str(given.folder), str(given.users)], given.folder / "unused", **pipes
        )
    line = process.stdout.readline() if process.stdout else ""
    if not line:
        raise SystemExit(f"bench-serving: the server did not start:\n{log.read_text()}")
    server = json.loads(line)
    outputs = server["outputs"]

    def token() -> str:
        """Tokens live for a quarter of an hour, so each round takes a fresh one."""
        credential = {"client_id": server["client_id"], "client_secret": server["client_secret"]}
        return str(post(server["token_url"], credential, ca=server["ca"])["access_token"])

    ours, pairs = {}, []
    for rows in ENTITIES:
        bodies = given.folder / f"bodies-{rows}"
        asked = [
            {"inputs": {"User.id": users_of(n, rows, given.users)}, "outputs": outputs}
            for n in range(QUESTIONS)
        ]
        bodies.write_text("\n".join(map(json.dumps, asked)))
        ours[rows] = lambda name, bodies=str(bodies): Target(
            name,
            server["creta"].replace("localhost", "127.0.0.1"),
            bodies,
            processes=[process.pid],
            thread="creta",
        )
    noop = Target(
        "noop", server["noop"], str(given.folder / "bodies-1"), processes=[process.pid], thread="noop"
    )
    pairs.append(("noop", ours[1]("creta/noop"), noop))
    pairs.append(("nginx", ours[1]("creta/nginx"), nginx(peers, given.folder, server, given.port)))
    feasts = feast(peers, given, outputs) if given.feast else []
    for rows, target in zip(ENTITIES, feasts, strict=False):
        pairs.append((f"feast_{rows}", ours[rows](f"creta {rows}"), target))
    if feasts:
        compare(server, token(), feasts[0].url, given.users)
    else:
        print("Feast is left out: it could not be installed here.")

    for number in range(-1, given.rounds):
        for _, mine, theirs in pairs:
            mine.token = token()
            for target in (mine, theirs) if number % 2 else (theirs, mine):
                target.ask(given.seconds if number >= 0 else 1)
                if number < 0:
                    target.runs.clear()  # What is asked first finds caches empty.
        if number >= 0:
            print(f"round {number + 1} of {given.rounds}", flush=True)

    answer: dict[str, float] = {}
    for name, mine, theirs in pairs:
        what, _, rows = name.partition("_")
        answer[f"{what}_throughput_ratio{rows and '_' + rows}"] = ratio(mine, theirs, "rate")
        if what == "feast":
            answer[f"feast_p99_ratio_{rows}"] = ratio(mine, theirs, "p99_us")
    answer["noop_cpu_ratio"] = ratio(pairs[0][1], noop, "cpu_us")
    paced = at_equal_load(pairs[0][1], noop, given, token)
    answer["noop_p99_ratio"] = statistics.median(a["p99_us"] / b["p99_us"] for a, b in paced)
    show(pairs, paced, answer, server)
    measured = {target.name: target.runs for _, *both in pairs for target in both}
    kept = answer | {
        "at_least": AT_LEAST,
        "at_most": AT_MOST,
        "answer_bytes": server["answer_bytes"],
        "measured": measured,
    }
    given.out.write_text(json.dumps(kept, indent=1) + "\n")
    print(f"\nwritten to {given.out}")


def at_equal_load(
    mine: Target, noop: Target, given: argparse.Namespace, token: Any
) -> list[tuple[dict[str, float], ...]]:
    """Both at a third of what ours can do."""
    delay = PACED_CONNECTIONS / (mine.median("rate") / 3) * 1e3
    rounds = []
    for number in range(given.rounds):
        mine.token = token()
        both = (mine, noop) if number % 2 else (noop, mine)
        runs = {target.name: target.ask(given.seconds, delay) for target in both}
        rounds.append((runs[mine.name], runs[noop.name]))
    return rounds


def show(pairs: list[Any], paced: list[Any], answer: dict[str, float], server: dict[str, Any]) -> None:
    print(
        f"\n  50 stored features, an answer of {server['answer_bytes']} bytes for one user; "
        f"{CONNECTIONS} connections"
    )
    print(f"  {'':<14}{'a second':>10}{'p50':>10}{'p99':>10}{'p99.9':>10}{'errors':>8}{'cpu':>10}")
    for _, *both in pairs:
        for target in both:
            times = "".join(
                f"{target.median(what) / 1e3:>7.2f} ms" for what in ("p50_us", "p99_us", "p999_us")
            )
            errors = sum(run["errors"] for run in target.runs)
            print(
                f"  {target.name:<14}{target.median('rate'):>10.0f}{times}{errors:>8}"
                f"{target.median('cpu_us'):>7.0f} us"
            )
    mine, noop = (statistics.median(run["p99_us"] for run in side) / 1e3 for side in zip(*paced, strict=True))
    rate = statistics.median(run["rate"] for run, _ in paced)
    print(f"  at {rate:.0f} a second p99 is {mine:.2f} ms, that of noop {noop:.2f} ms")
    print(f"\n  {'ours to theirs':<28}{'now':>8}{'target':>18}")
    for name, value in answer.items():
        least, most = AT_LEAST.get(name), AT_MOST.get(name)
        target = "" if least is None else f"at least {least:.3g}"
        target = target if most is None else f"at most {most:.3g}"
        print(f"  {name:<28}{value:>8.2f}{target:>18}")


if __name__ == "__main__":
    main()
