"""The HTTP interface keeps what its description says: requests generated from it find nothing."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
CONFIG = ROOT / "crates" / "server" / "tests" / "schemathesis.toml"


def creta(*words: str, folder: Path) -> None:
    environment = os.environ | {
        "CRETA_PYTHON": sys.executable,
        "CRETA_PROFILE_FILE": str(folder / "profiles.toml"),
    }
    command = [os.environ["CRETA_BINARY"], *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def token(folder: Path, credentials: str) -> str:
    account: dict[str, Any] = json.loads((folder / credentials).read_text())
    body = {"client_id": account["client_id"], "client_secret": account["client_secret"]}
    request = urllib.request.Request(
        f"{account['url']}/v1/token",
        data=json.dumps(body).encode(),
        headers={"content-type": "application/json"},
    )
    context = ssl.create_default_context(cafile=folder / "data" / "tls" / "ca.pem")
    with urllib.request.urlopen(request, context=context, timeout=10) as answer:
        issued: str = json.load(answer)["access_token"]
    return issued


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A server with one tenant, and its address."""
    from test_tutorial import free_address

    if "CRETA_BINARY" not in os.environ:
        pytest.fail("build the command first (`cargo build -p creta-cli`) and set CRETA_BINARY to it")
    address = free_address()
    creta("server", "init", "--data", "data", "--environment", "dev", "--listen", address, folder=tmp_path)
    log = (tmp_path / "server.log").open("wb")
    command = [os.environ["CRETA_BINARY"], "server", "start", "--data", "data"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log)
    try:
        for _ in range(600):
            if "serving" in (tmp_path / "server.log").read_text():
                break
            try:
                process.wait(timeout=0.1)
            except subprocess.TimeoutExpired:
                continue
            pytest.fail((tmp_path / "server.log").read_text())
        creta("login", "--name", "admin", "--from", "data/admin.json", folder=tmp_path)
        creta("tenant", "create", "shop", "--profile", "admin", folder=tmp_path)
        words = ["service-account", "create", "me", "--tenant", "shop", "--role", "developer"]
        creta(*words, "--out", "me.json", "--profile", "admin", folder=tmp_path)
        yield tmp_path, f"https://{address}"
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.mark.parametrize("credentials", ["me.json", "data/admin.json"])
def test_generated_requests_find_nothing(server: tuple[Path, str], credentials: str) -> None:
    folder, address = server
    # The bodies of these are Arrow, which schemathesis cannot make; the server's own tests attack them.
    paths = ("ingest", "query/arrow", "training-sets", "training-sets/leakage")
    arrow = [word for path in paths for word in ("--exclude-path", f"/v1/{path}")]
    arrow += ["--exclude-operation-id", "make_dataset"]  # Its path has a list to be had as well.
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG)),
        *("run", f"{address}/openapi.json", "--tls-verify", "data/tls/ca.pem"),
        *("-H", f"Authorization: Bearer {token(folder, credentials)}"),
        *("--max-examples", "10", "--phases", "examples,coverage,fuzzing", "--seed", "7", *arrow),
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
