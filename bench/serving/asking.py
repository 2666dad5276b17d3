"""Who is asked, and how: `wrk` on the same machine, and processor time of whoever answers."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import ssl
import statistics
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CONNECTIONS = 16
# Connections that wait between questions, where the load is given.
PACED_CONNECTIONS = 64
QUESTIONS = 512

Run = dict[str, float]


@dataclass
class Target:
    """Somebody who answers, and what that took so far."""

    name: str
    url: str
    bodies: str
    token: Callable[[], str] = lambda: "-"
    processes: list[int] = field(default_factory=list)
    threads: str | None = None
    """How the names of its threads begin; all of its processes' without it."""

    connections: int = CONNECTIONS
    runs: list[Run] = field(default_factory=list)

    def ask(self, seconds: float, delay_ms: float | None = None) -> Run:
        token, connections = self.token(), PACED_CONNECTIONS if delay_ms else self.connections
        threads = min(2, connections)
        command = ["wrk", f"-t{threads}", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "10s"]
        command += ["-s", str(HERE / "load.lua"), self.url, "--", self.bodies, token]
        command += [f"{delay_ms:.0f}"] if delay_ms else []
        before = self.cpu()
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        said = next((line[5:] for line in done.stdout.splitlines() if line.startswith("SAID ")), None)
        if said is None:
            raise SystemExit(f"bench-serving: wrk said nothing of {self.name}:\n{done.stdout}{done.stderr}")
        run: Run = json.loads(said)
        run["rate"] = run["requests"] / run["seconds"]
        run["cpu_us"] = (self.cpu() - before) / max(run["requests"], 1) * 1e6
        if run["errors"]:
            raise SystemExit(f"bench-serving: {run['errors']} errors of {self.name}")
        if not run["requests"]:  # Slower than that: there is no rate of nothing.
            return self.ask(2 * seconds, delay_ms)
        return run

    def cpu(self) -> float:
        """Processor time so far in seconds, of its processes or of the threads that bear its name."""
        total = 0.0
        for process in self.processes:
            for task in Path(f"/proc/{process}/task").iterdir():
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    if self.threads is None or (task / "comm").read_text().startswith(self.threads):
                        total += int((task / "schedstat").read_text().split()[0]) / 1e9
        return total

    def median(self, what: str) -> float:
        return statistics.median(run[what] for run in self.runs)


def in_turn(targets: list[Target], rounds: int, seconds: float, say: str) -> None:
    """Rounds in which each is asked once, in an order that turns around; one before them is not counted."""
    for number in range(-1, rounds):
        for target in targets if number % 2 else reversed(targets):
            run = target.ask(seconds if number >= 0 else 1)
            if number >= 0:  # What is asked first finds caches empty.
                target.runs.append(run)
        if number >= 0:
            print(f"{say}: round {number + 1} of {rounds}", flush=True)


def at_equal_load(targets: list[Target], rounds: int, seconds: float, rate: float) -> list[list[Run]]:
    """Each at so many questions a second: the runs of each round, in the order of the targets."""
    delay = PACED_CONNECTIONS / rate * 1e3
    paced = []
    for number in range(rounds):
        order = targets if number % 2 else targets[::-1]
        runs = {target.name: target.ask(seconds, delay) for target in order}
        paced.append([runs[target.name] for target in targets])
    return paced


def ratio(ours: Target, theirs: Target, what: str) -> float:
    """Of each pair of rounds by itself: what disturbed one most likely disturbed its neighbour."""
    return statistics.median(a[what] / b[what] for a, b in zip(ours.runs, theirs.runs, strict=True))


def write_bodies(file: Path, questions: list[Any]) -> str:
    file.write_text("\n".join(map(json.dumps, questions)))
    return str(file)


def entities_of(number: int, rows: int, all_of_them: int) -> list[int]:
    """Entities of a question, all over the store."""
    return [((number * rows + row) * 7_919) % all_of_them for row in range(rows)]


def descendants(process: int) -> list[int]:
    found = [process]
    for one in found:
        with contextlib.suppress(FileNotFoundError):
            for task in Path(f"/proc/{one}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
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
    with urllib.request.urlopen(request, timeout=60, context=context) as answer:  # noqa: S310 - our own
        return json.load(answer)
