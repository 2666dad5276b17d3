"""What another tool says of our listeners: sslyze, with Mozilla's intermediate profile, on every one of them.

A listener that it has to find fault with is scanned along with them.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

COMPONENTS = ["server", "witness", "intake"]
OLD_VERSIONS = ["ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1"]
# What a client offers that knows nothing better: CBC, RSA key exchange, 3DES, RC4, NULL, export.
WEAK_OFFERS = [
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-ECDSA-AES256-SHA384",
    "ECDHE-RSA-AES256-SHA",
    "AES128-GCM-SHA256",
    "AES128-SHA",
    "AES256-SHA256",
    "DES-CBC3-SHA",
    "RC4-SHA",
    "NULL-SHA256",
    "ECDHE-ECDSA-NULL-SHA",
    "DHE-RSA-AES128-GCM-SHA256",
    "EXP-RC4-MD5",
]


def sslyze() -> str:
    beside = Path(sys.executable).parent / "sslyze"
    found = str(beside) if beside.exists() else shutil.which("sslyze")
    if found is None:
        pytest.fail("install sslyze first: `scripts/dev-venv` does")
    return found


def creta(*words: str, folder: Path) -> None:
    done = subprocess.run(
        [os.environ["CRETA_BINARY"], *words], cwd=folder, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"


@contextlib.contextmanager
def started(component: str, folder: Path) -> Iterator[str]:
    """A component at work, and its address."""
    log, said = (folder / f"{component}.log").open("wb"), folder / f"{component}.json"
    command = [os.environ["CRETA_BINARY"], "--json", component, "start", "--data", component]
    command += ["--listen", "127.0.0.1:0"]
    with said.open("wb") as out:
        process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while not said.read_text().endswith("\n"):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail((folder / f"{component}.log").read_text())
            time.sleep(0.05)
        yield json.loads(said.read_text())["url"].removeprefix("https://").rstrip("/")
    finally:
        process.terminate()
        process.wait(timeout=60)
        log.close()


@contextlib.contextmanager
def weak_listener(folder: Path) -> Iterator[str]:
    """TLS 1.2 with RSA key exchange and CBC, and nothing better."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "weak")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem = folder / "weak.pem"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("AES128-SHA:@SECLEVEL=0")
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as secured:
                secured.recv(1)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.close()


@dataclass
class Scan:
    addresses: dict[str, str]
    verdicts: dict[str, str]
    results: dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scan]:
    if "CRETA_BINARY" not in os.environ:
        pytest.fail("build the command first (`cargo build -p creta-cli`) and set CRETA_BINARY to it")
    folder = tmp_path_factory.mktemp("listeners")
    creta("server", "init", "--data", "server", "--environment", "dev", folder=folder)
    config = folder / "server" / "config.toml"
    config.write_text(config.read_text() + '\n[components]\nlisten = "127.0.0.1:0"\n')
    creta("witness", "init", "--data", "witness", "--name", "witness.example.com/w1", folder=folder)
    creta(
        "intake",
        "init",
        "--data",
        "intake",
        "--server",
        "server",
        "--page-command",
        "/bin/true",
        folder=folder,
    )
    with contextlib.ExitStack() as stack:
        addresses = {name: stack.enter_context(started(name, folder)) for name in COMPONENTS}
        # The server's second listener, which asks whoever comes for a certificate.
        addresses["components"] = json.loads((folder / "server.json").read_text())["components"]
        addresses["weak"] = stack.enter_context(weak_listener(folder))
        # The components' own authorities, which their clients trust.
        trusted = "".join((folder / name / "tls" / "ca.pem").read_text() for name in COMPONENTS)
        (folder / "trusted.pem").write_text(trusted)
        command = [sslyze(), "--mozilla_config=intermediate", "--certinfo_ca_file", "trusted.pem"]
        command += ["--json_out", "scan.json", *addresses.values()]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240)
        verdicts = dict(re.findall(r"^ +(127\.0\.0\.1:\d+): (\w+) - ", done.stdout, re.MULTILINE))
        scanned = json.loads((folder / "scan.json").read_text())["server_scan_results"]
        results = {f"127.0.0.1:{one['server_location']['port']}": one["scan_result"] for one in scanned}
        assert len(results) == len(addresses), done.stdout + done.stderr
        yield Scan(addresses, verdicts, results)


def suites(result: dict[str, Any], version: str) -> list[str]:
    accepted = result[f"{version}_cipher_suites"]["result"]["accepted_cipher_suites"]
    return [one["cipher_suite"]["name"] for one in accepted]


def test_attack_ch32_mozillas_intermediate_profile_is_kept(scan: Scan) -> None:
    verdicts = {component: scan.verdicts[scan.addresses[component]] for component in COMPONENTS}
    assert verdicts == dict.fromkeys(COMPONENTS, "OK")


def test_attack_ci13_no_old_version_and_no_weak_suite_is_accepted(scan: Scan) -> None:
    for listener in [*COMPONENTS, "components"]:
        require_modern(scan.results[scan.addresses[listener]])


def require_modern(result: dict[str, Any]) -> None:
    accepted = {version: suites(result, version) for version in [*OLD_VERSIONS, "tls_1_2", "tls_1_3"]}
    assert all(accepted[version] == [] for version in OLD_VERSIONS)
    assert accepted["tls_1_3"]
    assert accepted["tls_1_2"]
    assert all(
        "_ECDHE_" in name and ("_GCM_" in name or "_CHACHA20_" in name) for name in accepted["tls_1_2"]
    )
    assert result["heartbleed"]["result"]["is_vulnerable_to_heartbleed"] is False
    assert result["tls_compression"]["result"]["supports_compression"] is False
    renegotiation = result["session_renegotiation"]["result"]
    # Where whoever comes has to show a certificate, the scanner gets no session to renegotiate.
    asked = result["session_renegotiation"]["error_reason"] == "CLIENT_CERTIFICATE_NEEDED"
    assert asked if renegotiation is None else not renegotiation["is_vulnerable_to_client_renegotiation_dos"]


def test_a_weak_listener_does_not_pass(scan: Scan) -> None:
    assert scan.verdicts[scan.addresses["weak"]] == "FAILED"
    assert suites(scan.results[scan.addresses["weak"]], "tls_1_2") == ["TLS_RSA_WITH_AES_128_CBC_SHA"]


def shakes_hands(address: str, context: ssl.SSLContext) -> bool:
    host, port = address.split(":")
    try:
        with socket.create_connection((host, int(port)), timeout=10) as plain, context.wrap_socket(plain):
            return True
    except (ssl.SSLError, ConnectionError):
        return False


def offering(suites: str, version: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # What is asked is the version and the suite, not who answers.
    context.set_ciphers(f"{suites}:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    return context


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_attack_ch32_openssl_gets_nothing_for_weak_offers(scan: Scan) -> None:
    assert shakes_hands(scan.addresses["weak"], offering("AES128-SHA", ssl.TLSVersion.TLSv1_2))
    for component in COMPONENTS:
        modern = offering("ECDHE-ECDSA-AES128-GCM-SHA256", ssl.TLSVersion.TLSv1_2)
        assert shakes_hands(scan.addresses[component], modern)
        require_nothing_weak(scan.addresses[component])
    require_nothing_weak(scan.addresses["components"])


def require_nothing_weak(address: str) -> None:
    offered = 0
    for suite in WEAK_OFFERS:
        try:
            context = offering(suite, ssl.TLSVersion.TLSv1_2)
        except ssl.SSLError:
            continue  # This OpenSSL does not know it any more.
        offered += 1
        assert not shakes_hands(address, context), suite
    assert offered >= 8
    for version in [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1]:
        assert not shakes_hands(address, offering("ALL", version)), version
