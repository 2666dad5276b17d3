"""`make attack`: six attacks against the demo's server, and two on people.

Each prints what refused it, which commitment that keeps, and where it stands in the audit log.

Stops what `KEEP=1 make demo` left running and starts it again on its data; makes the demo first if need be.
Attacks on files work on a copy of the server's folder, on which a server is then started. The demo has no
identity provider: the attacks on people are against a small server made for them (`attack_people.py`).
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import json
import os
import shutil
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import demo
from demo import CRETA, DATA, DEMO, Background, Failed, say

PEOPLE_VENV = DEMO / "people-venv"


@dataclass
class Refusal:
    """How an attack ended."""

    says: str
    commitment: str
    entry: str


class Api:
    """The server, as a program of an attacker sees it."""

    def __init__(self, folder: Path) -> None:
        self.url = json.loads((folder / "admin.json").read_text())["url"]
        self.tls = ssl.create_default_context(cafile=str(folder / "tls" / "ca.pem"))

    def send(
        self, method: str, path: str, token: str | None, body: object = None
    ) -> tuple[int, dict[str, Any]]:
        data = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json"} if data else {}
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        request = urllib.request.Request(self.url + path, data=data, headers=headers, method=method)  # noqa: S310
        try:
            with urllib.request.urlopen(request, context=self.tls, timeout=60) as reply:  # noqa: S310
                return reply.status, json.loads(reply.read() or b"{}")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"{}")

    def token(self, credentials: Path) -> str:
        given = json.loads(credentials.read_text())
        secret = {"client_id": given["client_id"], "client_secret": given["client_secret"]}
        status, answer = self.send("POST", "/v1/token", None, secret)
        if status != 200:
            raise Failed(f"`{credentials.name}` gets no token: {answer}")
        return str(answer["access_token"])

    def log_size(self, admin: str) -> int:
        return int(self.send("GET", "/v1/audit/entries?limit=1", admin)[1]["size"])

    def refusal_since(self, admin: str, start: int, commitments: set[str]) -> str:
        """The first entry since `start` that names one of the commitments, once the log has it."""
        for _ in range(50):
            _, answer = self.send("GET", f"/v1/audit/entries?start={start}&limit=1000", admin)
            for entry in answer["entries"]:
                if entry["entry"].get("commitment") in commitments:
                    said = entry["entry"].get("reason") or entry["entry"]["action"]
                    return f"entry {entry['index']} ({said}, {entry['entry']['commitment']})"
            time.sleep(0.1)
        return "no entry"


def problem(status: int, answer: dict[str, Any]) -> str:
    return f"{status} {answer.get('code')}: {answer.get('message')}"


def foreign_token(api: Api, admin: str) -> Refusal:
    """globex, with its own valid token, asks for what is acme's, and for acme's service accounts."""
    start = api.log_size(admin)
    token = api.token(DEMO / "globex.json")
    question = {"inputs": {"Flight.carrier": ["UA"]}, "outputs": ["Flight.operator.name"]}
    status, answer = api.send("POST", "/v1/query", token, question)
    if status != 404:
        raise Failed(f"another tenant's feature was answered with {status}")
    denied, reason = api.send("GET", "/v1/service-accounts?tenant=acme", token)
    if denied != 403:
        raise Failed(f"another tenant's accounts were answered with {denied}")
    says = f"{problem(status, answer)}\n               {problem(denied, reason)}"
    return Refusal(says, "CH-20, CH-03", api.refusal_since(admin, start, {"CH-20", "CI-20"}))


def forged_token(api: Api, admin: str) -> Refusal:
    """Tokens that nobody issued: one without a signature, one signed with a secret that everybody knows."""

    def encode(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    _, payload, _ = admin.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    unsigned = f"{encode({'alg': 'none', 'typ': 'JWT'})}.{encode(claims)}."
    head = f"{encode({'alg': 'HS256', 'typ': 'JWT'})}.{encode(claims)}"
    known = (
        base64.urlsafe_b64encode(hmac.new(b"secret", head.encode(), hashlib.sha256).digest())
        .rstrip(b"=")
        .decode()
    )
    lines = []
    for how, token in (("no signature", unsigned), ("a known secret", f"{head}.{known}")):
        status, answer = api.send("GET", "/v1/tenants", token)
        if status != 401:
            raise Failed(f"a token with {how} was answered with {status}")
        lines.append(f"{how}: {problem(status, answer)}")
    start = api.log_size(admin)
    ran = api.send("POST", "/v1/trust/run", admin, {"checks": ["route-permits"]})[1]["ran"][0]
    if ran["outcome"] != "pass":
        raise Failed(f"the server's own probe of its routes says {ran}")
    entry = f"entry {ran['log_index']} (evidence: {ran['subjects']} routes, none answered a forged token)"
    return Refusal(
        "\n               ".join(lines), "CH-33, CH-20", entry if ran["log_index"] >= start else "no entry"
    )


def on_a_copy(harm: Callable[[Path], str]) -> tuple[int, str, str]:
    """Harms a copy of the server's folder, as whoever has its disk could, and starts a server on it."""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "data"
        shutil.copytree(DATA, copy)
        (copy / "lock").unlink(missing_ok=True)
        # The copy has no witness to ask: what it notices, it notices alone.
        config = (copy / "config.toml").read_text().split("\n[[witness]]")[0]
        (copy / "config.toml").write_text(config + "\n")
        what = harm(copy)
        command = [CRETA, "server", "start", "--data", copy, "--listen", "127.0.0.1:0"]
        started = subprocess.Popen(
            [str(word) for word in command],
            env=demo.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            output, _ = started.communicate(timeout=60)
            return started.returncode, output, what
        except subprocess.TimeoutExpired:
            started.kill()
            return 0, "it started", what


def curious_operator(api: Api, admin: str) -> Refusal:
    """Whoever runs the server asks for a tenant's values, and then for statistics until values come out."""
    start = api.log_size(admin)
    question = {"inputs": {"Plane.tailnum": ["N10156"]}, "outputs": ["Plane.manufacturer", "Plane.model"]}
    denied, reason = api.send("POST", "/v1/query", admin, question)
    if denied != 403:
        raise Failed(f"an administrator's question about values was answered with {denied}")
    feature, answers = "/v1/statistics?tenant=acme&feature=Plane.manufacturer", 0
    status, answer = api.send("GET", feature, admin)
    while status == 200 and answers < 100:
        answers += 1
        if any(name in json.dumps(answer) for name in ("EMBRAER", "BOEING", "AIRBUS", "N10156")):
            raise Failed("statistics held a value")
        if any(row["count"] % 20 for row in answer["bins"] + answer["forms"]):
            raise Failed("statistics told of fewer than a group")
        status, answer = api.send("GET", feature, admin)
    if (status, answer.get("code")) != (403, "access/budget"):
        raise Failed(f"after {answers} answers: {problem(status, answer)}")
    spent = problem(status, answer)
    # The tenant's own question is answered, and leaves no value in log lines or in the audit log.
    status, _ = api.send("POST", "/v1/query", api.token(DEMO / "acme.json"), question)
    _, entries = api.send("GET", "/v1/audit/entries?limit=1000", admin)
    kept = (DEMO / "server.log").read_text() + json.dumps(entries)
    if status != 200 or any(name in kept for name in ("EMBRAER", "N10156")):
        raise Failed(f"the tenant's question ({status}) left a value in a log")
    says = f"{problem(denied, reason)}\n               {spent}"
    return Refusal(says, "CH-14, CH-19", api.refusal_since(admin, start, {"CH-19"}))


def flipped_byte(api: Api, admin: str) -> Refusal:
    """One bit of one byte in a sealed segment of acme's facts, found when it is read."""
    with tempfile.TemporaryDirectory() as scratch:
        segments = sorted((DATA / "tenants" / "acme" / "facts" / "truth" / "segment").iterdir())
        whole = segments[-1].read_bytes()
        (Path(scratch) / "whole").write_bytes(whole)
        start = api.log_size(admin)
        ran = api.send("POST", "/v1/trust/run", admin, {"checks": ["file-refusals"]})[1]["ran"][0]
        if ran["outcome"] != "pass":
            raise Failed(f"the server's own probe of its files says {ran}")
    stop_demo()

    def harm(copy: Path) -> str:
        segment = sorted((copy / "tenants" / "acme" / "facts" / "truth" / "segment").iterdir())[-1]
        raw = bytearray(segment.read_bytes())
        raw[len(raw) // 2] ^= 1
        segment.write_bytes(raw)
        return segment.name

    says = read_after(harm)
    start_demo()
    entry = f"entry {ran['log_index']} (evidence: {ran['subjects']} files of probes, each harm refused)"
    return Refusal(says, "CI-12", entry if ran["log_index"] >= start else "no entry")


def read_after(harm: Callable[[Path], str]) -> str:
    """Harms a copy, starts a server on it and asks acme's questions: what refuses?"""
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "data"
        shutil.copytree(DATA, copy)
        config = (copy / "config.toml").read_text().split("\n[[witness]]")[0]
        (copy / "config.toml").write_text(config + "\n")
        harm(copy)
        port = demo.free_port()
        server = Background(
            "attacked", CRETA, "server", "start", "--data", copy, "--listen", f"127.0.0.1:{port}"
        )
        try:
            api = Api(copy)
            api.url = f"https://127.0.0.1:{port}"
            for _ in range(300):
                try:
                    token = api.token(DEMO / "acme.json")
                    break
                except (urllib.error.URLError, ConnectionError):
                    time.sleep(0.1)
            else:
                raise Failed(f"the server on the copy does not answer: {server.log.read_text()[-400:]}")
            status, answer = api.send("POST", "/v1/verify", token, {"samples": 100, "seed": 1})
            if answer.get("code") != "store/refused":
                raise Failed(f"a changed segment was answered with {status} {answer.get('code')}")
            return problem(status, answer)
        finally:
            server.stop()


def edited_entry(api: Api, admin: str) -> Refusal:
    """One byte of the audit log's file, changed by whoever has the disk."""
    stop_demo()

    def harm(copy: Path) -> str:
        entries = copy / "dev" / "control-plane" / "audit" / "entries"
        raw = bytearray(entries.read_bytes())
        raw[len(raw) // 2] ^= 1
        entries.write_bytes(raw)
        return "entries"

    code, output, _ = on_a_copy(harm)
    start_demo()
    if code == 0 or "error[audit/" not in output:
        raise Failed(f"a server on an edited log did not refuse it as such: {output[-300:]}")
    ran = api.send("POST", "/v1/trust/run", admin, {"checks": ["log-integrity"]})[1]["ran"][0]
    return Refusal(last_problem(output), "CH-44", f"entry {ran['log_index']} (evidence: {ran['outcome']})")


def edited_metadata(api: Api, admin: str) -> Refusal:
    """An administrator with root edits the database by hand: a role row is put in another's place."""
    stop_demo()

    def harm(copy: Path) -> str:
        database = sqlite3.connect(copy / "metadata.sqlite")
        rows = database.execute("SELECT rowid, sealed FROM document ORDER BY rowid LIMIT 2").fetchall()
        database.execute("UPDATE document SET sealed = ? WHERE rowid = ?", (rows[1][1], rows[0][0]))
        database.commit()
        database.close()
        return "a row"

    code, output, _ = on_a_copy(harm)
    start_demo()
    if code == 0 or "error[store/refused]" not in output:
        raise Failed(f"a server on an edited database did not refuse it as such: {output[-300:]}")
    ran = api.send("POST", "/v1/trust/run", admin, {"checks": ["evidence-integrity"]})[1]["ran"][0]
    return Refusal(
        last_problem(output), "CH-44, CI-01", f"entry {ran['log_index']} (evidence: {ran['outcome']})"
    )


def on_people(attack: str) -> Refusal:
    """Runs an attack of `attack_people.py`, in an environment that can sign tokens."""
    python = PEOPLE_VENV / "bin" / "python"
    script = demo.ROOT / "scripts" / "attack_people.py"
    say("  on a server of its own, with an identity provider that the demo has not")
    done = subprocess.run(
        [python, script, CRETA, attack], env=demo.environment(), capture_output=True, text=True
    )
    if done.returncode:
        raise Failed(done.stderr.strip())
    answer = json.loads(done.stdout)
    return Refusal(answer["says"].replace("\n", "\n               "), answer["commitment"], answer["entry"])


def self_approval(_api: Api, _admin: str) -> Refusal:
    """Ana approves her own request for access, with a second account that is known to be hers."""
    return on_people("self-approval")


def stolen_session(_api: Api, _admin: str) -> Refusal:
    """The file of Ana's session is copied to another machine, which has not the key that it is bound to."""
    return on_people("stolen-session")


def make_people_venv(uv: str) -> None:
    python = PEOPLE_VENV / "bin" / "python"
    if not python.exists():
        demo.run(uv, "venv", "--quiet", "--python", sys.executable, PEOPLE_VENV)
    demo.run(uv, "pip", "install", "--quiet", "--python", python, "cryptography")


def last_problem(output: str) -> str:
    lines = [line for line in output.splitlines() if line.startswith(("error[", "  help", "error"))]
    return "\n               ".join(lines or output.splitlines()[-2:])


ATTACKS: list[tuple[str, Callable[[Api, str], Refusal]]] = [
    ("a foreign tenant's token", foreign_token),
    ("forged tokens", forged_token),
    ("a curious operator", curious_operator),
    ("a flipped byte in a segment", flipped_byte),
    ("an edited entry of the audit log", edited_entry),
    ("a direct edit of the metadata", edited_metadata),
    ("self-approval", self_approval),
    ("a stolen session on another machine", stolen_session),
]

running: list[Background] = []


def start_demo() -> None:
    """The witness and the server on the demo's data, until `stop_demo`."""
    running.append(Background("witness", CRETA, "witness", "start", "--data", demo.WITNESS))
    server = demo.Server()
    running.append(server)
    server.wait_until_it_answers()


def stop_demo() -> None:
    while running:
        running.pop().stop()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--uv", required=True, help="the uv to make the environment with")
    uv: str = parser.parse_args().uv
    if not (DATA / "admin.json").exists() or not demo.WITNESS.exists() or not CRETA.exists():
        say("there is no demo yet: making it first")
        made = subprocess.run(
            [sys.executable, str(demo.ROOT / "scripts" / "demo.py"), "--uv", uv], env=dict(os.environ)
        )
        if made.returncode:
            return made.returncode
    try:
        make_people_venv(uv)
        demo.stop_kept_server()
        start_demo()
        api = Api(DATA)
        refused = 0
        for number, (title, attack) in enumerate(ATTACKS, 1):
            say(f"\n== {number}. {title}: {attack.__doc__}")
            outcome = attack(api, api.token(DATA / "admin.json"))
            say(f"  refused      {outcome.says}")
            say(f"  commitment   {outcome.commitment}")
            say(f"  in the log   {outcome.entry}")
            refused += outcome.entry != "no entry"
        say(f"\nattacks {len(ATTACKS)}, refused {refused}")
        return 0 if refused == len(ATTACKS) else 1
    except Failed as failure:
        say(f"\nattack: {failure}")
        return 1
    finally:
        stop_demo()


if __name__ == "__main__":
    sys.exit(main())
