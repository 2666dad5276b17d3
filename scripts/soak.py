"""Everything at once against an oracle that anyone can check by eye. See `scripts/soak`.

Each writer owns some payers. It loads payments of theirs, corrects some, brings some late, and asks about
them: at the present, where it has to find what it just wrote, and at past instants. Between its own loads
nothing about its payers changes, so every answer is compared exactly with loops over all versions of all
payments. Others deploy, kill workers and, early on, the server.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
import traceback
import zlib
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import fsum
from pathlib import Path
from typing import Any

import creta
import pyarrow as pa
from creta import Credentials, CretaError

FEATURES = '''"""Payments, and what is known of who makes them."""

from __future__ import annotations

import zlib
from datetime import datetime
from typing import Annotated

from creta import Feature, Many, Windowed, count, days, entity, event_time, feature, hours, key, many
from creta import max_, resolver, sum_


@entity
class Payment:
    id: Feature[int] = key()
    payer: Feature[str] = feature()
    at: Feature[datetime] = event_time()
    amount: Feature[float] = feature()
    fee: Feature[float] = feature()
    mark: Feature[int] = feature()
    NOTE


@entity
class Payer:
    code: Feature[str] = key()
    payments: Many[Payment] = many(on=lambda: (Payer.code, Payment.payer))
    made: Windowed[int] = count(payments, last=(hours(1), days(1)))
    paid: Windowed[float] = sum_(payments[Payment.amount], last=(hours(1), days(1)))
    LARGEST


@resolver
def fee(amount: Annotated[float, Payment.amount]) -> Annotated[float, Payment.fee]:
    return round(amount * 0.029 + 0.25, 2)


@resolver
def mark(payer: Annotated[str, Payment.payer]) -> Annotated[int, Payment.mark]:
    return zlib.crc32(payer.encode()) % 1000
'''
VERSIONS = (
    ("pass", "pass"),
    (
        "note: Feature[str | None] = feature()",
        "largest: Windowed[float] = max_(payments[Payment.amount], last=(hours(1),))",
    ),
)
"""What two deployments differ by: a window, and a stored feature whose end has online values made anew."""

WRITERS, PAYERS = 4, 12
HOUR = timedelta(hours=1)
SHED = ("busy/", "audit/unavailable")
MEMORY_SLACK_MB = 48.0
WORKER_KILLED_CODES = ("resolver/crashed", "resolver/worker-start", "resolver/busy", "resolver/timeout")


def now() -> datetime:
    return datetime.now(UTC)


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def text(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass(frozen=True)
class Version:
    """One version of a payment, as it was loaded: true and known at `at`."""

    id: int
    payer: str
    at: datetime
    amount: float
    number: int


@dataclass
class Counts:
    """What happened, by kind; and everything that was wrong."""

    done: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    times: dict[str, list[float]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, kind: str, seconds: float | None = None) -> None:
        with self.lock:
            self.done[kind] += 1
            if seconds is not None:
                self.times.setdefault(kind, []).append(seconds)

    def fail(self, kind: str, what: str) -> None:
        with self.lock:
            self.done[kind] += 1
            self.wrong.append(f"{kind}: {what}")
            print(f"soak: {kind}: {what}", file=sys.stderr, flush=True)


def visible(versions: list[Version], as_of: datetime) -> dict[int, Version]:
    """Of each payment the version that counts at an instant: rules S2, S7 and S8 as loops."""
    newest: dict[int, Version] = {}
    for version in versions:
        if version.at > as_of:
            continue
        old = newest.get(version.id)
        if old is None or (version.at, version.number) > (old.at, old.number):
            newest[version.id] = version
    return newest


class Server:
    """`creta server start` on data of its own, which can be killed and started again."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.creta, self.folder = str(given.creta), given.folder
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("CRETA_")} | {
            "CRETA_PYTHON": sys.executable,
            "PYTHONPATH": str(given.packages),
            "CRETA_PROFILE_FILE": str(given.folder / "profiles.toml"),
        }
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port = listener.getsockname()[1]
        self.data = given.folder / "data"
        contact = f"https://127.0.0.1:{self.port}/trust/report/"
        self.run(
            "server", "init", "--data", str(self.data), "--environment", "dev",
            "--listen", f"127.0.0.1:{self.port}", "--organisation", "A soak on one machine",
            "--security-contact", contact, "--json",
        )  # fmt: skip
        config = self.data / "config.toml"
        config.write_text(self.with_workers(config.read_text(), given.packages))
        self.start()
        self.run("login", "--name", "admin", "--from", str(self.data / "admin.json"))
        self.run("tenant", "create", "acme", "--profile", "admin")
        who = ["soak", "--tenant", "acme", "--role", "developer", "--profile", "admin"]
        self.run("service-account", "create", *who, "--out", str(given.folder / "soak.json"))
        self.run("login", "--name", "soak", "--from", str(given.folder / "soak.json"))

    @staticmethod
    def with_workers(config: str, packages: Path) -> str:
        """The configuration, whose workers find this copy of the package."""
        line = f"python_path = [{json.dumps(str(packages))}]"
        return (
            config.replace("[workers]", f"[workers]\n{line}")
            if "[workers]" in config
            else f"{config}\n[workers]\n{line}\n"
        )

    def run(self, *words: str) -> None:
        if said := self.try_to(*words):
            raise SystemExit(f"soak: creta {' '.join(words[:3])}: {said}")

    def try_to(self, *words: str) -> str:
        """What went wrong, if anything did."""
        done = subprocess.run([self.creta, *words], env=self.environment, capture_output=True, text=True)
        return (done.stderr or done.stdout or "it failed") if done.returncode else ""

    def start(self) -> None:
        with (self.folder / "server.log").open("a") as log:
            self.process = subprocess.Popen(
                [self.creta, "server", "start", "--data", str(self.data)],
                env=self.environment, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            if self.process.poll() is not None:
                raise SystemExit(f"soak: the server ended at once; see {self.folder / 'server.log'}")
            time.sleep(0.05)
        raise SystemExit("soak: the server does not listen")

    def connect(self) -> creta.Client:
        account = json.loads((self.folder / "soak.json").read_text())
        credentials = Credentials(account["client_id"], account["client_secret"])
        ca = str(self.data / "tls" / "ca.pem")
        return creta.connect(url=f"https://127.0.0.1:{self.port}", credentials=credentials, ca_file=ca)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.start()

    def workers(self) -> list[int]:
        found: list[int] = []
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            try:
                found += [int(child) for child in (task / "children").read_text().split()]
            except OSError:
                continue
        return found

    def memory_mb(self) -> float:
        """What the process itself takes; pages of files that it maps are the kernel's to drop."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) / 1024
        return 0.0

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=60)


class Soak:
    def __init__(self, given: argparse.Namespace) -> None:
        self.given, self.counts = given, Counts()
        self.end = time.monotonic() + given.seconds
        self.begin = time.monotonic()
        self.server = Server(given)
        self.worker_killed = 0.0
        self.server_killed = 0.0
        self.projects = [self.project(number) for number in range(len(VERSIONS))]
        self.ids = iter(range(1, 1 << 60))
        self.ids_lock = threading.Lock()
        self.memory: list[tuple[float, float]] = []

    def project(self, number: int) -> Path:
        folder = Path(self.given.folder) / f"project-{number}"
        folder.mkdir(parents=True)
        (folder / "creta.toml").write_text('[project]\nname = "soak"\n')
        note, largest = VERSIONS[number]
        (folder / "payments.py").write_text(FEATURES.replace("NOTE", note).replace("LARGEST", largest))
        return folder

    def going(self) -> bool:
        return time.monotonic() < self.end and len(self.counts.wrong) < 20

    def next_id(self) -> int:
        with self.ids_lock:
            return next(self.ids)

    def tell(self, kind: str, error: CretaError) -> None:
        """Load that was shed is told apart from errors."""
        if error.code.startswith(SHED):
            self.counts.add(f"{kind}: shed")
        else:
            self.counts.fail(f"{kind}: error", f"{error.code}: {error}")

    # What goes on, each in a thread of its own.

    def writes_and_reads(self, writer: int) -> None:
        rng = random.Random(writer)  # noqa: S311 - no secret
        client = self.server.connect()
        payers = [f"payer-{writer}-{number}" for number in range(PAYERS)]
        versions: dict[str, list[Version]] = {payer: [] for payer in payers}
        number = 0
        started = now()
        while self.going():
            payer = rng.choice(payers)
            rows: list[Version] = []
            for _ in range(rng.choice((1, 1, 1, 5, 40))):
                number += 1
                known = versions[payer]
                if known and rng.random() < 0.2:
                    rows.append(
                        Version(rng.choice(known).id, payer, now(), round(rng.uniform(1, 999), 2), number)
                    )
                else:
                    late = timedelta(seconds=rng.choice((0, 0, 0, 30, 900)))
                    rows.append(
                        Version(self.next_id(), payer, now() - late, round(rng.uniform(1, 999), 2), number)
                    )
            if not self.load(client, rows, writer):
                continue
            versions[payer] += rows
            for _ in range(rng.choice((1, 2, 4))):
                asked = rng.choice(payers)
                past = None
                if rng.random() < 0.4:
                    past = started + timedelta(seconds=rng.uniform(0, (now() - started).total_seconds()))
                self.ask(client, asked, versions[asked], past, rng)
            if len(versions[payer]) > 3000:
                # The oracle loops; so that it keeps up, a payer is left alone when it has many payments.
                fresh = f"payer-{writer}-{number}"
                payers[payers.index(payer)] = fresh
                versions[fresh] = []

    def load(self, client: creta.Client, rows: list[Version], writer: int) -> bool:
        table = {
            "id": pa.array([row.id for row in rows], pa.int64()),
            "payer": [row.payer for row in rows],
            "at": pa.array([row.at for row in rows], pa.timestamp("us", "UTC")),
            "amount": [row.amount for row in rows],
        }
        if self.given.plant and rows[-1].number > 20:
            self.given.plant = False
            table["amount"] = [row.amount + 0.01 for row in rows]
        start = time.monotonic()
        request = {"event_time": {"column": "at"}, "arrival": {"delay": "0s"}, "event_id": "id"} | {
            "source": f"writer-{writer}"
        }
        try:
            report = client._ingest("Payment", request, pa.table(table))  # pyright: ignore[reportPrivateUsage]
        except CretaError as error:
            self.tell("load", error)
            return False
        self.counts.add("load", time.monotonic() - start)
        if report["accepted"] != len(rows):
            self.counts.fail("load: wrong", f"{report['accepted']} of {len(rows)} rows: {report['warnings']}")
        return True

    def ask(
        self,
        client: creta.Client,
        payer: str,
        versions: list[Version],
        past: datetime | None,
        rng: random.Random,
    ) -> None:
        outputs = [f"Payer.{name}[{window}]" for name in ("made", "paid") for window in ("1h", "1d")]
        request: dict[str, Any] = {"inputs": {"Payer.code": [payer]}, "outputs": outputs}
        when = {"as_of": text(past)} if past else {}
        answer = self.query(client, request | when, "windows")
        if answer:
            as_of = instant(answer["as_of"][0])
            counted = visible(versions, as_of)
            for column in answer["columns"]:
                span = HOUR if column["feature"].endswith("[1h]") else timedelta(days=1)
                # The window ends just before its instant: rule S3.
                inside = [one.amount for one in counted.values() if as_of - span <= one.at < as_of]
                expected: Any = (
                    len(inside) if "made" in column["feature"] else fsum(inside) if inside else None
                )
                if column["values"][0] != expected:
                    self.counts.fail(
                        "windows: wrong",
                        f"{column['feature']} of {payer} at {as_of} is {column['values'][0]}, not {expected}",
                    )
        if not versions:
            return
        asked = [rng.choice(versions).id for _ in range(rng.choice((1, 3, 10)))]
        outputs = ["Payment.amount", "Payment.payer", "Payment.fee", "Payment.mark"]
        answer = self.query(client, {"inputs": {"Payment.id": asked}, "outputs": outputs} | when, "payments")
        if answer:
            as_of = instant(answer["as_of"][0])
            counted = visible(versions, as_of)
            expected_rows = [counted.get(one) for one in asked]
            self.compare(answer, asked, expected_rows, as_of)

    def compare(
        self, answer: dict[str, Any], asked: list[int], rows: list[Version | None], as_of: datetime
    ) -> None:
        amounts = [row and row.amount for row in rows]
        expected = {
            "Payment.amount": amounts,
            "Payment.payer": [row and row.payer for row in rows],
            "Payment.fee": [
                None if amount is None else round(amount * 0.029 + 0.25, 2) for amount in amounts
            ],
            "Payment.mark": [row and zlib.crc32(row.payer.encode()) % 1000 for row in rows],
        }
        for column in answer["columns"]:
            values, name = column["values"], column["feature"]
            codes = {error["code"] for error in column.get("errors", {}).values()}
            killed = time.monotonic() - max(self.worker_killed, self.server_killed) < 20
            excused = set(WORKER_KILLED_CODES) if killed else {"resolver/busy"}
            if name == "Payment.mark" and codes and codes <= excused:
                self.counts.add("payments: cells without a worker")
                continue
            if codes or values != expected[name]:
                self.counts.fail(
                    "payments: wrong",
                    f"{name} of {asked} at {as_of} is {values} {codes}, not {expected[name]}",
                )

    def query(self, client: creta.Client, request: dict[str, Any], kind: str) -> dict[str, Any] | None:
        start = time.monotonic()
        try:
            answer = client._query(request)  # pyright: ignore[reportPrivateUsage]
        except CretaError as error:
            self.tell(kind, error)
            return None
        self.counts.add(kind, time.monotonic() - start)
        return answer

    def deploys(self) -> None:
        number = 1
        while self.going():
            self.wait(max(10.0, self.given.seconds / 45))
            start = time.monotonic()
            said = self.deploy(number % 2)
            if not said:
                self.counts.add("deploy", time.monotonic() - start)
                number += 1
            elif any(code in said for code in SHED):
                self.counts.add("deploy: shed")
            elif time.monotonic() - self.server_killed < 30:
                self.counts.add("deploy: unanswered by a killed server")
            else:
                self.counts.fail("deploy: error", said)

    def deploy(self, number: int) -> str:
        return self.server.try_to("deploy", str(self.projects[number]), "--profile", "soak")

    def kills_workers(self) -> None:
        rng = random.Random(99)  # noqa: S311 - no secret
        while self.going():
            self.wait(max(7.0, self.given.seconds / 60))
            workers = self.server.workers()
            if workers:
                self.worker_killed = time.monotonic()
                os.kill(rng.choice(workers), signal.SIGKILL)
                self.counts.add("worker killed")

    def kills_the_server(self) -> None:
        """Twice, in the first third: memory is looked at after that."""
        for share in (0.12, 0.28):
            self.wait(self.begin + share * self.given.seconds - time.monotonic())
            if self.going():
                self.server_killed = time.monotonic()
                self.server.kill()
                self.server_killed = time.monotonic()
                self.counts.add("server killed")

    def samples_memory(self) -> None:
        while self.going():
            self.wait(min(2.0, self.given.seconds / 100))
            try:
                self.memory.append((time.monotonic() - self.begin, self.server.memory_mb()))
            except OSError:
                continue

    def wait(self, seconds: float) -> None:
        until = min(time.monotonic() + seconds, self.end)
        while time.monotonic() < until and self.going():
            time.sleep(0.1)

    def run(self) -> int:
        if said := self.deploy(0):
            raise SystemExit(f"soak: {said}")

        def guarded(work: Any, *arguments: Any) -> None:
            try:
                work(*arguments)
            except Exception:
                self.counts.fail("soak: error", traceback.format_exc())

        jobs = [(self.writes_and_reads, writer) for writer in range(WRITERS)]
        jobs += [(self.deploys,), (self.kills_workers,), (self.kills_the_server,), (self.samples_memory,)]  # type: ignore[list-item]
        threads = [threading.Thread(target=guarded, args=job) for job in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.server.stop()
        return self.report()

    def report(self) -> int:
        seconds = time.monotonic() - self.begin
        print(
            f"\n  {seconds:.0f} s of {WRITERS} writers that ask, deploys, killed workers and a killed server"
        )
        print(f"  {'':<44}{'times':>9}{'p50':>12}{'p99':>12}")
        for kind, count in sorted(self.counts.done.items()):
            times = sorted(self.counts.times.get(kind, []))
            quantiles = (
                "".join(f"{times[int(len(times) * q)] * 1e3:>9.1f} ms" for q in (0.5, 0.99)) if times else ""
            )
            print(f"  {kind:<44}{count:>9,}{quantiles}")
        settled = [(at, mb) for at, mb in self.memory if at > self.given.seconds / 2]
        flat = True
        if len(settled) > 10:
            slope = statistics.linear_regression(
                [at / 60 for at, _ in settled], [mb for _, mb in settled]
            ).slope
            mean = statistics.fmean(mb for _, mb in settled)
            grown = slope * (settled[-1][0] - settled[0][0]) / 60
            flat = grown < max(MEMORY_SLACK_MB, mean * 0.15)
            print(
                f"  memory of the second half: {mean:.0f} MB, "
                f"slope {slope:+.2f} MB a minute, {grown:+.0f} MB in all"
            )
        for what in self.counts.wrong[:20]:
            print(f"  WRONG {what}")
        good = not self.counts.wrong and flat
        print(
            f"  {'no answer was wrong, nothing failed but shed load, memory is flat' if good else 'FAILED'}"
        )
        return 0 if good else 1


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--creta", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--packages", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=900)
    parser.add_argument(
        "--plant", action="store_true", help="load something else than the oracle knows, once"
    )
    given = parser.parse_args()
    shutil.rmtree(given.folder, ignore_errors=True)
    given.folder.mkdir(parents=True)
    return Soak(given).run()


if __name__ == "__main__":
    sys.exit(main())
