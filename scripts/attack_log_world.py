"""What `make attack-log` attacks: a server with a history and a witness. And three programs that verify."""

from __future__ import annotations

import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import demo
import pyarrow as pa
import pyarrow.parquet as pq
from attack import Api
from demo import ROOT, Background, Failed

CRETA = Path(os.environ.get("CRETA_BINARY", demo.CRETA))
CRETA_VERIFY = CRETA.parent / "creta-verify"
SECOND = ROOT / "tools" / "creta_verify_log.py"


@dataclass(frozen=True)
class Verdict:
    """What one verifier said of one thing."""

    verified: bool
    said: str


@dataclass(frozen=True)
class Demands:
    """What an auditor brings besides the log's key."""

    since: Path | None = None
    witness: str | None = None
    witnessed_after: str | None = None

    def arguments(self) -> list[str]:
        given = {"--since": self.since, "--witness": self.witness, "--witnessed-after": self.witnessed_after}
        return [str(word) for name, value in given.items() if value is not None for word in (name, value)]

    def __str__(self) -> str:
        words = ["the key"]
        words += ["an older checkpoint"] if self.since else []
        words += ["a witness's key"] if self.witness else []
        words += ["a time"] if self.witnessed_after else []
        return ", ".join(words)


def environment(folder: Path) -> dict[str, str]:
    """What the commands see: this interpreter and profiles of their own."""
    return demo.environment() | {
        "CRETA_PYTHON": sys.executable,
        "CRETA_PROFILE_FILE": str(folder / "profiles.toml"),
    }


def command_of(verifier: str, kind: str, path: Path, key: str, demands: Demands) -> list[str]:
    """`kind` is `log`, `proof` or `consistency`."""
    more = ["--key", key, *demands.arguments()]
    if verifier == "creta audit verify":
        audit = [str(CRETA), "audit"]
        return (
            [*audit, "verify", "--export", str(path), *more]
            if kind == "log"
            else [*audit, "check", str(path), *more]
        )
    program = [str(CRETA_VERIFY)] if verifier == "creta-verify" else [sys.executable, str(SECOND)]
    return [*program, kind, str(path), *more]


VERIFIERS = ("creta audit verify", "creta-verify", "creta_verify_log.py")


def judge(verifier: str, kind: str, path: Path, key: str, demands: Demands) -> Verdict:
    """Runs one verifier. One that does not come to a verdict is a mistake of this script, not a detection."""
    words = command_of(verifier, kind, path, key, demands)
    done = subprocess.run(words, env=environment(path.parent), capture_output=True, text=True, timeout=120)
    lines = (done.stdout + done.stderr).splitlines()
    if done.returncode == 0:
        return Verdict(True, "verified")
    reasons = [line for line in lines if line.startswith(("error[audit/not-proven]: ", "NOT verified: "))]
    if done.returncode != 1 or not reasons:
        raise Failed(f"{verifier} came to no verdict:\n$ {' '.join(words)}\n" + "\n".join(lines))
    return Verdict(False, reasons[-1].split(": ", 1)[1])


class Program(Background):
    """A command in the background, like the demo's, but in a folder of its own and without a word."""

    def __init__(self, log: Path, *command: str | Path) -> None:
        self.log = log
        with log.open("w") as file:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                cwd=log.parent,
                env=environment(log.parent),
                stdout=file,
                stderr=file,
                start_new_session=True,
            )


class Witness:
    """`creta witness`, run by somebody else, for one log."""

    def __init__(self, folder: Path, name: str, log_key: str) -> None:
        self.data = folder / name
        self.url = f"https://127.0.0.1:{demo.free_port()}"
        address = self.url.removeprefix("https://")
        made = creta(
            folder, "witness", "init", "--data", self.data, "--name", f"{name}.example", "--listen", address
        )
        self.key, self.ca = str(made["key"]), str(made["ca"])
        creta(folder, "witness", "add-log", "--data", self.data, "--key", log_key)
        self.program = Program(
            folder / f"{name}.log", CRETA, "witness", "start", "--data", self.data, "--listen", address
        )

    def cosign(self, old: int, proof: list[str], note: str) -> tuple[int, str]:
        """C2SP tlog-witness, `add-checkpoint`: the status, and the line it adds or why it does not."""
        body = f"old {old}\n" + "".join(f"{line}\n" for line in proof) + f"\n{note}"
        tls = ssl.create_default_context(cafile=self.ca)
        for _ in range(100):
            try:
                request = urllib.request.Request(f"{self.url}/add-checkpoint", data=body.encode())  # noqa: S310
                with urllib.request.urlopen(request, context=tls, timeout=30) as reply:  # noqa: S310
                    return reply.status, reply.read().decode()
            except urllib.error.HTTPError as error:
                return error.code, error.read().decode().strip()
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
        raise Failed(f"the witness does not answer: {self.program.log.read_text()[-400:]}")


def creta(folder: Path, *command: str | Path) -> dict[str, Any]:
    """Runs a command that has to work; gives what it answers."""
    words = [str(CRETA), *map(str, command), "--json"]
    done = subprocess.run(
        words, cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=120
    )
    if done.returncode:
        raise Failed(f"`creta {' '.join(map(str, command[:3]))}` failed: {done.stdout}{done.stderr}")
    answer = done.stdout.strip()
    return json.loads(answer.splitlines()[-1]) if answer else {}


class World:
    """A server in a folder of its own, watched by a witness, with a tenant that works."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data = folder, folder / "data"
        listen = f"127.0.0.1:{demo.free_port()}"
        made = creta(
            folder, "server", "init", "--data", self.data, "--environment", "prod", "--listen", listen
        )
        self.key = str(made["audit_verifier_key"])
        self.witness = Witness(folder, "witness", self.key)
        creta(
            folder, "server", "witness", "add", "--data", self.data,
            "--url", self.witness.url, "--key", self.witness.key, "--ca", self.witness.ca,
        )  # fmt: skip
        self.api = Api(self.data)
        self.server: Program | None = None
        self.start()

    def start(self) -> None:
        self.server = Program(self.folder / "server.log", CRETA, "server", "start", "--data", self.data)
        wait_for(self.api, self.data, self.server)
        creta(self.folder, "login", "--name", "admin", "--from", self.data / "admin.json")

    def stop(self) -> None:
        if self.server is not None:
            self.server.stop()
            self.server = None

    def close(self) -> None:
        self.stop()
        self.witness.program.stop()

    def make_tenant(self) -> None:
        """A tenant with a deployed project and facts."""
        creta(self.folder, "tenant", "create", "acme", "--profile", "admin")
        account = self.folder / "acme.json"
        creta(
            self.folder, "service-account", "create", "shop", "--tenant", "acme", "--role", "developer",
            "--profile", "admin", "--out", account,
        )  # fmt: skip
        creta(self.folder, "login", "--name", "default", "--from", account)
        creta(self.folder, "init", "shop")
        creta(self.folder, "deploy", "shop")
        at = datetime.now(UTC) - timedelta(days=1)
        facts = {
            "id": range(100),
            "customer": [n % 7 for n in range(100)],
            "amount": [1.5] * 100,
            "at": [at] * 100,
        }
        pq.write_table(
            pa.table({name: list(values) for name, values in facts.items()}), self.folder / "p.parquet"
        )
        creta(
            self.folder, "ingest", "--project", "shop", "--file", "p.parquet", "--entity", "Purchase",
            "--event-time", "at", "--arrival-delay", "1h",
        )  # fmt: skip

    def work(self, rounds: int) -> None:
        """Logins, wrong ones too, service accounts that come and go, questions."""
        admin = self.api.token(self.data / "admin.json")
        question = {"inputs": {"Customer.id": [7]}, "outputs": ["Customer.spent[30d]"]}
        for _ in range(rounds):
            name = f"worker-{self.api.log_size(admin)}"
            body = {"name": name, "tenant": "acme", "role": "reader"}
            status, account = self.api.send("POST", "/v1/service-accounts", admin, body)
            if status != 201:
                raise Failed(f"no service account is made: {account}")
            secret = {"client_id": account["client_id"], "client_secret": account["client_secret"]}
            token = str(self.api.send("POST", "/v1/token", None, secret)[1]["access_token"])
            self.api.send("POST", "/v1/query", token, question)
            refused, _ = self.api.send("POST", "/v1/tenants", token, {"name": "mine"})
            wrong, _ = self.api.send("POST", "/v1/token", None, secret | {"client_secret": "guessed"})
            if (refused, wrong) != (403, 401):
                raise Failed(f"what must be refused was answered with {refused} and {wrong}")
            self.api.send("POST", f"/v1/service-accounts/{account['client_id']}/revoke", admin)

    def export(self, name: str) -> Path:
        """The log as files, up to everything that is in it now; the witness has cosigned that."""
        wanted = self.api.log_size(self.api.token(self.data / "admin.json"))
        folder = self.folder / name
        for _ in range(120):
            shutil.rmtree(folder, ignore_errors=True)
            creta(self.folder, "audit", "export", "--out", folder, "--key", self.key, "--profile", "admin")
            note = (folder / "checkpoint").read_text()
            if int(note.split("\n")[1]) >= wanted and note.count("\n\u2014 ") == 2:
                return folder
            time.sleep(0.5)
        raise Failed("the witness does not cosign what is in the log")


def wait_for(api: Api, data: Path, server: Program) -> None:
    for _ in range(600):
        try:
            api.token(data / "admin.json")
            return
        except (urllib.error.URLError, ConnectionError):
            if server.process.poll() is not None:
                break
            time.sleep(0.1)
    raise Failed(f"the server does not answer: {server.log.read_text()[-800:]}")


def start_refused(folder: Path, data: Path) -> str | None:
    """Starts a server on a manipulated folder. Gives why it refuses, or `None` when it serves."""
    server = Program(
        folder / "attacked.log", CRETA, "server", "start", "--data", data, "--listen", "127.0.0.1:0"
    )
    try:
        server.process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        os.kill(server.process.pid, signal.SIGTERM)
        server.process.wait()
        return None
    problems = [line for line in server.log.read_text().splitlines() if line.startswith("error[")]
    if server.process.returncode == 0 or not problems:
        raise Failed(f"the server ended without a reason: {server.log.read_text()[-800:]}")
    code, message = problems[-1].removeprefix("error[").split("]: ", 1)
    return (
        f"{code}: {message}"
        if code.startswith(("audit/", "store/"))
        else f"its log: {reason_in(server.log, code)}"
    )


def reason_in(log: Path, code: str) -> str:
    """Why a store was refused, which only the server's log says. Any other failure is no detection."""
    reasons = [
        json.loads(line).get("error", "")
        for line in log.read_text().splitlines()
        if '"level":"ERROR"' in line
    ]
    if not reasons or " is refused: " not in reasons[-1]:
        raise Failed(f"the server failed with `{code}`, which is no refusal: {log.read_text()[-800:]}")
    return str(reasons[-1])


def without_witness(data: Path) -> None:
    """What this copy notices, it notices alone."""
    config = (data / "config.toml").read_text().split("\n[[witness]]")[0]
    (data / "config.toml").write_text(config + "\n")
