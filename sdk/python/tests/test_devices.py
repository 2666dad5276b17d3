"""A person signs in, enrols this computer, reports, and has a session on it, all with the command."""

from __future__ import annotations

import base64
import json
import os
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from test_http_interface import creta
from test_tutorial import free_address

CLIENT = "creta-test"


def part(value: bytes | dict[str, Any]) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Provider(BaseHTTPRequestHandler):
    """An identity provider (OpenID Connect) at which only Ana signs in; her code is the attempt's nonce."""

    key = ec.generate_private_key(ec.SECP256R1())

    def log_message(self, format: str, *args: Any) -> None:
        pass

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def say(self, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        if self.path == "/keys":
            point = self.key.public_key().public_numbers()
            x, y = (part(number.to_bytes(32, "big")) for number in (point.x, point.y))
            key = {"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": "k1", "use": "sig", "alg": "ES256"}
            self.say({"keys": [key]})
            return
        endpoints = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
        self.say(
            {name: f"{self.issuer}/{path}" for name, path in endpoints.items()}
            | {
                "issuer": self.issuer,
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["ES256"],
                "code_challenge_methods_supported": ["S256"],
            }
        )

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "sub": "sub-ana",
            "aud": CLIENT,
            "nonce": form["code"][0],
            "iat": now,
            "exp": now + 300,
            "email": "ana@example.com",
            "email_verified": True,
            "amr": ["pwd"],
        }
        signed = f"{part({'alg': 'ES256', 'typ': 'JWT', 'kid': 'k1'})}.{part(claims)}"
        r, s = decode_dss_signature(self.key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        signature = part(r.to_bytes(32, "big") + s.to_bytes(32, "big"))
        self.say({"access_token": "a", "token_type": "Bearer", "id_token": f"{signed}.{signature}"})


@pytest.fixture
def provider() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


@pytest.fixture
def folder(tmp_path: Path, provider: str) -> Iterator[Path]:
    """A folder with a server at work, which takes devices."""
    if "CRETA_BINARY" not in os.environ:
        pytest.fail("build the command first (`cargo build -p creta-cli`) and set CRETA_BINARY to it")
    address = free_address()
    creta("server", "init", "--data", "data", "--environment", "dev", "--listen", address, folder=tmp_path)
    with (tmp_path / "data" / "config.toml").open("a") as config:
        config.write(
            f'[sign_in]\nissuer = "{provider}"\nclient_id = "{CLIENT}"\n'
            "[devices.standard]\nscreen_lock_seconds_max = 300\nreport_hours_max = 24\n"
            "password_managers = []\n[devices.standard.os_versions_min]\n"
        )
    log = (tmp_path / "server.log").open("wb")
    command = [os.environ["CRETA_BINARY"], "server", "start", "--data", "data"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log)
    try:
        for _ in range(600):
            if "serving" in (tmp_path / "server.log").read_text():
                break
            if process.poll() is not None:
                pytest.fail((tmp_path / "server.log").read_text())
            time.sleep(0.1)
        sign_in(tmp_path, f"https://{address}")
        yield tmp_path
    finally:
        process.terminate()
        process.wait(timeout=30)


def run(folder: Path, *words: str) -> tuple[int, dict[str, Any]]:
    environment = os.environ | {
        "CRETA_PYTHON": sys.executable,
        "CRETA_PROFILE_FILE": str(folder / "profiles.toml"),
    }
    command = [os.environ["CRETA_BINARY"], "--json", *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    said: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return done.returncode, said.get("problems", [said])[0]


def sign_in(folder: Path, url: str) -> None:
    """`creta login`, and the steps of the browser that it asks for."""
    environment = os.environ | {"CRETA_PROFILE_FILE": str(folder / "profiles.toml")}
    command = [os.environ["CRETA_BINARY"], "login", "--url", url, "--ca", "data/tls/ca.pem", "--no-browser"]
    login = subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)
    assert login.stderr is not None
    address = next(line.strip() for line in login.stderr if line.strip().startswith("https://"))
    context = ssl.create_default_context(cafile=folder / "data" / "tls" / "ca.pem")
    with httpx.Client(verify=context) as browser:
        answer = browser.get(address)
        while "/authorize?" not in answer.headers["location"]:
            answer = browser.get(answer.headers["location"])
        asked = parse_qs(urlsplit(answer.headers["location"]).query)
        back = urlencode({"code": asked["nonce"][0], "state": asked["state"][0]})
        answer = browser.get(f"{asked['redirect_uri'][0]}?{back}")
        assert answer.status_code == 303, answer.text
        assert browser.get(answer.headers["location"]).status_code == 200
    assert login.wait(timeout=30) == 0


def test_this_computer_is_enrolled_reports_and_is_told_what_it_lacks(folder: Path) -> None:
    code, refused = run(folder, "device", "status")
    assert (code, refused["code"]) == (2, "device/not-enrolled")
    code, enrolled = run(folder, "device", "enrol", "--name", "laptop", "--serial", "C02X")
    assert code == 0, enrolled
    assert (enrolled["key"], enrolled["trust"], enrolled["platform"]) == ("software", "none", "linux")
    (file,) = folder.glob("*.device")
    assert file.stat().st_mode & 0o777 == 0o600
    assert run(folder, "device", "enrol", "--name", "laptop")[1]["code"] == "device/enrolled"

    # Nothing meets a standard that accepts no system; what is lacking is said.
    code, reported = run(folder, "device", "report")
    assert code == 0, reported
    items = {finding["item"] for finding in reported["findings"]}
    assert {"os-version", "password-manager"} <= items
    assert reported["source"] == "agent"
    # The same once more, with what this computer is like now and how to mend it.
    code, status = run(folder, "device", "status")
    assert code == 0, status
    assert all(now["how"] for now in status.pop("now"))
    assert status == reported
    counted = json.loads(file.read_text())["sequence"]
    code, again = run(folder, "device", "report")
    assert (code, json.loads(file.read_text())["sequence"]) == (0, counted + 1), again

    # A copy of the key that counts on from before is noticed by the second report; both are out.
    copied = json.loads(file.read_text()) | {"sequence": 0}
    file.write_text(json.dumps(copied))
    code, cloned = run(folder, "device", "report")
    assert (code, cloned["code"]) == (4, "access/device-cloned")
    code, over = run(folder, "device", "list")
    assert over["code"] == "auth/session-over", "the session on the device ended with it"
