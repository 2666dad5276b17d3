"""Certificates from an ACME authority: proven inside the listener, renewed, and kept where it fails."""

from __future__ import annotations

import datetime
import json
import os
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from acme_authority import Authority

NAME = "creta.example.com"
LIFE = datetime.timedelta(seconds=9)


def until(what: str, happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.1)


class Server:
    """A server on a port of its own that stays the same over restarts."""

    def __init__(self, folder: Path, authority: Authority) -> None:
        self.data, self.process = folder / "data", None
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.creta("server", "init", "--data", str(self.data), "--listen", f"127.0.0.1:{self.port}")
        config = self.data / "config.toml"
        acme = {
            "directory": f"{authority.base}/directory",
            "contact": ["mailto:ops@example.com"],
            "names": [NAME],
            "ca": str(authority.ca),
        }
        lines = [f"{key} = {json.dumps(value)}" for key, value in acme.items()]
        config.write_text(
            "\n".join([config.read_text(), "[acme]", *lines, "terms_of_service_agreed = true", ""])
        )
        authority.proofs_at = ("127.0.0.1", self.port)

    def creta(self, *words: str) -> str:
        if "CRETA_BINARY" not in os.environ:
            pytest.fail("build the command first (`cargo build -p creta-cli`) and set CRETA_BINARY to it")
        command = [os.environ["CRETA_BINARY"], "--json", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    @contextmanager
    def running(self) -> Iterator[None]:
        command = [os.environ["CRETA_BINARY"], "--json", "server", "start", "--data", str(self.data)]
        with (self.data.parent / "server.log").open("ab") as log:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
            try:
                assert process.stdout is not None
                assert process.stdout.readline(), (self.data.parent / "server.log").read_text()
                yield
            finally:
                process.terminate()
                process.wait(timeout=60)

    def shown(self, name: str = NAME) -> x509.Certificate:
        """What a client sees that asks for a name, whoever vouches for it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname=name) as secured,
        ):
            der = secured.getpeercert(binary_form=True)
        assert der
        return x509.load_der_x509_certificate(der)

    def proof(self, name: str) -> None:
        """Asks as an authority does."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["acme-tls/1"])
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname=name),
        ):
            pass

    def ask(self, path: str, body: dict[str, Any] | None = None, token: str = "") -> Any:
        import httpx

        headers = {"authorization": f"Bearer {token}"} if token else {}
        context = ssl.create_default_context(cafile=self.data / "tls/ca.pem")
        with httpx.Client(verify=context, headers=headers, timeout=60) as client:
            url = f"https://localhost:{self.port}{path}"
            return (client.post(url, json=body) if body is not None else client.get(url)).json()

    def token(self) -> str:
        admin = json.loads((self.data / "admin.json").read_text())
        secret = {"client_id": admin["client_id"], "client_secret": admin["client_secret"]}
        token: str = self.ask("/v1/token", secret)["access_token"]
        return token

    def finds(self) -> set[str]:
        ran = self.ask("/v1/trust/run", {"checks": ["tls-listeners"]}, self.token())["ran"][0]
        return {finding["code"] for finding in ran["findings"]}


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[Authority]:
    authority = Authority(tmp_path, LIFE)
    yield authority
    authority.stop()


def test_attack_ci13_a_certificate_is_issued_renewed_and_kept_where_its_authority_fails(
    tmp_path: Path, authority: Authority
) -> None:
    server = Server(tmp_path, authority)

    def is_shown(index: int) -> bool:
        return len(authority.issued) > index and server.shown() == authority.issued[index]

    with server.running():
        until("the first certificate", lambda: is_shown(0))
        assert list(authority.contacts.values()) == [["mailto:ops@example.com"]]
        assert server.shown("localhost") != authority.issued[0], "the machine itself has its own"
        with pytest.raises(ssl.SSLError):
            server.proof(NAME)  # An order is over, and nothing is proven to anybody any more.
        assert "tls/certificate-not-issued" not in server.finds()
        # After two thirds of its life, and without a restart.
        until("a renewal", lambda: is_shown(1))

        # What fails changes nothing, and is told.
        authority.refusing = True
        last = len(authority.issued) - 1
        until("a finding", lambda: "tls/certificate-not-issued" in server.finds())
        assert server.shown() == authority.issued[last]
        authority.refusing = False
        until("a certificate again", lambda: is_shown(last + 1))
        until("its end", lambda: "tls/certificate-not-issued" not in server.finds())
        log = json.dumps(server.ask("/v1/audit/entries?limit=1000", token=server.token()))
        assert log.count('"certificate.issued"') >= 3
        assert log.count('"certificate.failed"') == 1, log

    # Kept over a restart, with its account; the key lies nowhere in the clear.
    authority.life = datetime.timedelta(days=1)
    with server.running():
        until(
            "one that lasts",
            lambda: len(authority.issued) > 0 and server.shown().not_valid_after_utc > _tomorrow(),
        )
    issued = len(authority.issued)
    with server.running():
        assert server.shown() == authority.issued[-1]
        assert len(authority.issued) == issued
        assert len(authority.accounts) == 1, "one account for all of them"
    for file in server.data.rglob("*"):
        if file.is_file() and file.name not in ("root.key", "admin.json"):
            assert b"PRIVATE KEY" not in file.read_bytes(), file


def _tomorrow() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=12)


def test_attack_ci13_what_the_authority_cannot_check_is_not_served(
    tmp_path: Path, authority: Authority
) -> None:
    server = Server(tmp_path, authority)
    authority.proofs_at = ("127.0.0.1", 1)  # Whoever answers there, it is not this server.
    with server.running():
        until("a finding", lambda: "tls/certificate-not-issued" in server.finds())
        assert not authority.issued
        assert server.shown() == server.shown("localhost"), "the local authority's stays"
