"""Environments in networks and accounts of their own, each in a network namespace of the kernel.

What a server sees of the network is what its namespace has: a provider, a route to another environment.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PROD, STAGING = "10.91.0.1", "10.92.0.1"
METADATA = "169.254.169.254"
ACCOUNT = "123456789012"

# Asks a server over TLS from inside of a namespace: URL, authority, method, token, body.
ASK = """
import json, ssl, sys, urllib.request
url, ca, token, body = sys.argv[1:]
headers = {"content-type": "application/json"}
if token:
    headers["authorization"] = "Bearer " + token
request = urllib.request.Request(url, body.encode(), headers)
context = ssl.create_default_context(cafile=ca)
context.check_hostname = False
with urllib.request.urlopen(request, timeout=60, context=context) as answer:
    sys.stdout.write(answer.read().decode())
"""

# A metadata service as AWS has it (IMDSv2), or, with "old", one that hands out its document without a token.
PROVIDER = """
import http.server, json, sys
account, old = sys.argv[1], sys.argv[2] == "old"
class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, status, body=""):
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())
    def do_PUT(self):
        lives = self.headers.get("x-aws-ec2-metadata-token-ttl-seconds")
        given = lives and not old and self.path == "/latest/api/token"
        self.answer(200, "c2VjcmV0") if given else self.answer(403)
    def do_GET(self):
        known = old or self.headers.get("x-aws-ec2-metadata-token") == "c2VjcmV0"
        asked = self.path == "/latest/dynamic/instance-identity/document"
        self.answer(200, json.dumps({"accountId": account})) if known and asked else self.answer(401)
    def log_message(self, *words):
        pass
print("ready", flush=True)
http.server.HTTPServer(("169.254.169.254", 80), Handler).serve_forever()
"""


class Namespace:
    """A network namespace with nothing in it but its own loopback."""

    def __init__(self, beside: Namespace | None = None) -> None:
        # Without rights of root, a namespace of users gives them inside of it, to a second network too.
        own = ["unshare", "--net"] if os.geteuid() == 0 or beside else ["unshare", "--map-root-user", "--net"]
        entering = beside.entering() if beside else []
        self.holder = subprocess.Popen(
            [*entering, *own, "sh", "-c", "echo ready; exec sleep 600"], stdout=subprocess.PIPE
        )
        assert self.holder.stdout is not None
        if self.holder.stdout.readline() != b"ready\n":
            pytest.fail(
                "network namespaces cannot be made here: allow namespaces of users, or run the tests as root"
            )
        self.run("ip", "link", "set", "lo", "up")

    def entering(self) -> list[str]:
        users = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        return ["nsenter", "--target", str(self.holder.pid), *users, "--net"]

    def run(self, *words: str) -> str:
        done = subprocess.run([*self.entering(), *words], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def end(self) -> None:
        self.holder.kill()
        self.holder.wait(timeout=60)


@contextlib.contextmanager
def namespaces(count: int) -> Iterator[list[Namespace]]:
    made: list[Namespace] = []
    try:
        for _ in range(count):
            made.append(Namespace(made[0] if made else None))
        yield made
    finally:
        for namespace in reversed(made):
            namespace.end()


def creta(*words: str) -> str:
    if "CRETA_BINARY" not in os.environ:
        pytest.fail("build the command first (`cargo build -p creta-cli`) and set CRETA_BINARY to it")
    done = subprocess.run(
        [os.environ["CRETA_BINARY"], "--json", *words], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


class Server:
    """A server's data folder, and the server on it while it runs."""

    def __init__(self, folder: Path, environment: str, listen: str, account: str) -> None:
        self.folder = folder
        # Of class staging: what an administrator may run in production takes people.
        words = ["--environment", environment, "--class", "staging", "--listen", listen, "--account", account]
        creta("server", "init", "--data", str(folder), *words)

    def fingerprint(self) -> str:
        return creta("keys", "fingerprint", "--data", str(self.folder))

    def configure(self, line: str) -> None:
        file = self.folder / "config.toml"
        file.write_text(file.read_text().replace("listen =", f"{line}\nlisten =", 1))

    def command(self, namespace: Namespace) -> list[str]:
        return [
            *namespace.entering(),
            os.environ["CRETA_BINARY"],
            "--json",
            "server",
            "start",
            "--data",
            str(self.folder),
        ]

    def refused(self, namespace: Namespace) -> dict[str, Any]:
        """The problem with which it does not start."""
        done = subprocess.run(self.command(namespace), capture_output=True, text=True, timeout=120)
        assert done.returncode != 0, "it started"
        said = json.loads(done.stdout.splitlines()[-1])
        problem: dict[str, Any] = said["problems"][0] if "problems" in said else said
        return problem

    @contextlib.contextmanager
    def running(self, namespace: Namespace) -> Iterator[Asked]:
        said, log = (
            self.folder.parent / f"{self.folder.name}.json",
            self.folder.parent / f"{self.folder.name}.log",
        )
        with said.open("wb") as out, log.open("wb") as err:
            process = subprocess.Popen(self.command(namespace), stdout=out, stderr=err)
        try:
            deadline = time.monotonic() + 60
            while not said.read_text().endswith("\n"):
                if process.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(said.read_text() + log.read_text())
                time.sleep(0.05)
            yield Asked(namespace, json.loads(said.read_text())["url"], self.folder)
        finally:
            process.terminate()
            process.wait(timeout=60)


class Asked:
    """A running server, asked from its own namespace."""

    def __init__(self, namespace: Namespace, url: str, folder: Path) -> None:
        self.namespace, self.url, self.ca = namespace, url, str(folder / "tls/ca.pem")
        admin = json.loads((folder / "admin.json").read_text())
        secret = {"client_id": admin["client_id"], "client_secret": admin["client_secret"]}
        self.token = self.ask("/v1/token", secret, "")["access_token"]

    def ask(self, path: str, body: dict[str, Any], token: str | None = None) -> dict[str, Any]:
        token = self.token if token is None else token
        text = self.namespace.run(
            sys.executable, "-c", ASK, self.url + path, self.ca, token, json.dumps(body)
        )
        answer: dict[str, Any] = json.loads(text)
        return answer

    def check(self, name: str) -> dict[str, Any]:
        ran: dict[str, Any] = self.ask("/v1/trust/run", {"checks": [name]})["ran"][0]
        return ran


def codes(ran: dict[str, Any]) -> set[str]:
    return {finding["code"] for finding in ran["findings"]}


def test_attack_ch25_a_route_between_environments_turns_the_probe_red(tmp_path: Path) -> None:
    prod = Server(tmp_path / "prod", "prod", f"{PROD}:7443", "rack-1")
    staging = Server(tmp_path / "staging", "staging", f"{STAGING}:7443", "rack-2")
    for own, other in [(prod, staging), (staging, prod)]:
        known = tmp_path / f"known-to-{own.folder.name}.json"
        known.write_text(other.fingerprint())
        own.configure(f'known_environments = ["{known}"]')
    with namespaces(2) as [here, there]:
        # A cable between the two, and no way over it.
        there_pid = str(there.holder.pid)
        here.run("ip", "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", there_pid)
        for namespace, address in [(here, PROD), (there, STAGING)]:
            namespace.run("ip", "addr", "add", f"{address}/32", "dev", "cable")
            namespace.run("ip", "link", "set", "cable", "up")
        with prod.running(here) as in_prod, staging.running(there) as in_staging:
            for asked in [in_prod, in_staging]:
                ran = asked.check("environment-networks")
                assert (ran["outcome"], ran["subjects"]) == ("pass", 1), ran

            here.run("ip", "route", "add", f"{STAGING}/32", "dev", "cable")
            there.run("ip", "route", "add", f"{PROD}/32", "dev", "cable")
            for asked in [in_prod, in_staging]:
                ran = asked.check("environment-networks")
                assert (ran["outcome"], codes(ran)) == ("fail", {"environment/reachable"}), ran

            here.run("ip", "route", "del", f"{STAGING}/32", "dev", "cable")
            assert in_prod.check("environment-networks")["outcome"] == "pass"


@contextlib.contextmanager
def provider(namespace: Namespace, account: str, kind: str = "new") -> Iterator[None]:
    command = [*namespace.entering(), sys.executable, "-c", PROVIDER, account, kind]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield
    finally:
        process.kill()
        process.wait(timeout=60)


def test_attack_ch27_a_server_in_another_account_than_its_own_does_not_start(tmp_path: Path) -> None:
    server = Server(tmp_path / "prod", "prod", "127.0.0.1:7443", f"aws:{ACCOUNT}")
    with namespaces(1) as [machine]:
        assert server.refused(machine)["code"] == "environment/account-unseen"
        machine.run("ip", "addr", "add", f"{METADATA}/32", "dev", "lo")
        with provider(machine, "210987654321"):
            problem = server.refused(machine)
            assert problem["code"] == "environment/account-differs"
            assert "210987654321" in problem["message"], problem
        with provider(machine, ACCOUNT, "old"):
            assert server.refused(machine)["code"] == "environment/account-unseen", (
                "a token is asked for first"
            )
        with provider(machine, ACCOUNT), server.running(machine) as asked:
            assert asked.check("environment-account")["outcome"] == "pass"
            log = asked.namespace.run(
                sys.executable,
                "-c",
                ASK.replace("body.encode()", "None"),
                asked.url + "/v1/audit/entries?limit=1000",
                asked.ca,
                asked.token,
                "",
            )
            assert log.count("environment.refused") == 3, log


def test_ch27_on_own_machines_the_account_is_the_operators_word(tmp_path: Path) -> None:
    server = Server(tmp_path / "prod", "prod", "127.0.0.1:7443", "rack-7")
    with namespaces(1) as [machine]:
        with server.running(machine) as asked:
            assert asked.check("environment-account")["outcome"] == "pass"
        # The same folder on a machine at a provider: nobody confirmed that account.
        machine.run("ip", "addr", "add", f"{METADATA}/32", "dev", "lo")
        with provider(machine, ACCOUNT), server.running(machine) as asked:
            ran = asked.check("environment-account")
            assert (ran["outcome"], codes(ran)) == ("fail", {"environment/account-differs"}), ran
