"""An ACME authority (RFC 8555) for tests: signatures, nonces and proofs are checked as a public one does.

Forms and signatures are those of certbot's library `acme`; the proof is TLS-ALPN-01 (RFC 8737), asked for
at an address that the test gives instead of port 443 of the name.
"""

from __future__ import annotations

import datetime
import hashlib
import http.server
import json
import secrets
import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import josepy
from acme import jws as acme_jws
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ACME_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")
PROBLEM = "urn:ietf:params:acme:error:"


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


class Refused(Exception):
    def __init__(self, kind: str, detail: str, status: int = 403) -> None:
        super().__init__(detail)
        self.kind, self.detail, self.status = kind, detail, status


class Authority:
    """`life` is how long a certificate lives; `proofs_at` the listener that answers for every name."""

    def __init__(self, folder: Path, life: datetime.timedelta) -> None:
        self.life, self.proofs_at = life, ("127.0.0.1", 1)
        self.refusing = False
        self.accounts: dict[str, josepy.JWK] = {}
        self.contacts: dict[str, list[str]] = {}
        self.orders: dict[str, dict[str, Any]] = {}
        self.nonces: set[str] = set()
        self.issued: list[x509.Certificate] = []
        self.key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Authority of a test")])
        self.root = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now() - datetime.timedelta(hours=1))
            .not_valid_after(now() + datetime.timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self.key, hashes.SHA256())
        )
        self.ca = folder / "acme-ca.pem"
        self.ca.write_bytes(pem(self.root))
        own = ec.generate_private_key(ec.SECP256R1())
        shown = self.sign(own.public_key(), ["localhost"], datetime.timedelta(days=1))
        private = own.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        chain = folder / "acme-server.pem"
        chain.write_bytes(pem(shown) + private)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler(self))
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.base = f"https://localhost:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def sign(self, key: Any, names: list[str], life: datetime.timedelta) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.root.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now() - datetime.timedelta(seconds=5))
            .not_valid_after(now() + life)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=True)
            .add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        )
        return builder.sign(self.key, hashes.SHA256())

    def nonce(self) -> str:
        nonce = josepy.encode_b64jose(secrets.token_bytes(16))
        self.nonces.add(nonce)
        return nonce

    def signed(self, body: bytes, path: str) -> tuple[josepy.JWK, str | None, Any]:
        """Who signed a request, by account where it has one, and what it says."""
        jws = acme_jws.JWS.json_loads(body.decode())
        header = jws.signature.combined
        nonce = josepy.encode_b64jose(header.nonce)
        if nonce not in self.nonces:
            raise Refused("badNonce", "this nonce was not given, or was used", 400)
        self.nonces.discard(nonce)
        if header.url != self.base + path:
            raise Refused("unauthorized", f"signed for {header.url}")
        key = self.accounts.get(header.kid) if header.kid else header.jwk
        if key is None or (header.kid is None) != (path == "/new-account"):
            raise Refused("accountDoesNotExist", "no such account", 400)
        if not jws.verify(key):
            raise Refused("unauthorized", "the signature is wrong")
        return key, header.kid, json.loads(jws.payload) if jws.payload else None

    def prove(self, name: str, token: str, key: josepy.JWK) -> None:
        """Asks for the proof of one name, as RFC 8737 section 3 has it."""
        thumbprint = josepy.encode_b64jose(key.thumbprint())
        expected = hashlib.sha256(f"{token}.{thumbprint}".encode()).digest()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["acme-tls/1"])
        try:
            with (
                socket.create_connection(self.proofs_at, timeout=10) as plain,
                context.wrap_socket(plain, server_hostname=name) as secured,
            ):
                protocol, der = secured.selected_alpn_protocol(), secured.getpeercert(binary_form=True)
        except OSError as error:
            raise Refused("connection", str(error)) from error
        shown = x509.load_der_x509_certificate(der or b"")
        names = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        proof = shown.extensions.get_extension_for_oid(ACME_IDENTIFIER)
        # An octet string of 32 bytes: tag 4, length 32.
        right = (protocol, list(names), proof.critical, proof.value.public_bytes())
        if right != ("acme-tls/1", [x509.DNSName(name)], True, b"\x04\x20" + expected):
            raise Refused("unauthorized", f"{right} proves nothing")

    def view(self, number: str) -> dict[str, Any]:
        order = self.orders[number]
        here = self.base
        view: dict[str, Any] = {
            "status": order["status"],
            "identifiers": [{"type": "dns", "value": name} for name in order["tokens"]],
            "authorizations": [f"{here}/authorization/{number}/{name}" for name in order["tokens"]],
            "finalize": f"{here}/finalize/{number}",
        }
        if order["status"] == "valid":
            view["certificate"] = f"{here}/certificate/{number}"
        return view

    def answer(self, path: str, key: josepy.JWK, kid: str | None, said: Any) -> tuple[int, str | None, Any]:
        """Status, place and body."""
        what, *rest = path.strip("/").split("/")
        if what == "new-account":
            if not said.get("termsOfServiceAgreed"):
                raise Refused("userActionRequired", "agree to the terms")
            place = f"{self.base}/account/{len(self.accounts)}"
            self.accounts[place], self.contacts[place] = key, said.get("contact", [])
            return 201, place, {"status": "valid"}
        if what == "new-order":
            if self.refusing:
                raise Refused("rateLimited", "not now", 429)
            number = str(len(self.orders))
            names = [identifier["value"] for identifier in said["identifiers"]]
            tokens = {name: josepy.encode_b64jose(secrets.token_bytes(32)) for name in names}
            self.orders[number] = {"status": "pending", "tokens": tokens, "proven": set(), "kid": kid}
            return 201, f"{self.base}/order/{number}", self.view(number)
        number = rest[0]
        order = self.orders[number]
        if order["kid"] != kid:
            raise Refused("unauthorized", "another account's")
        if what in ("authorization", "challenge"):
            name = rest[1]
            if what == "challenge" and said is not None:
                self.prove(name, order["tokens"][name], key)
                order["proven"].add(name)
                if order["proven"] == set(order["tokens"]):
                    order["status"] = "ready"
            status = "valid" if name in order["proven"] else "pending"
            challenge = {
                "type": "tls-alpn-01",
                "url": f"{self.base}/challenge/{number}/{name}",
                "token": order["tokens"][name],
                "status": status,
            }
            if what == "challenge":
                return 200, None, challenge
            identifier = {"type": "dns", "value": name}
            return 200, None, {"status": status, "identifier": identifier, "challenges": [challenge]}
        if what == "finalize":
            if order["status"] != "ready":
                raise Refused("orderNotReady", order["status"])
            csr = x509.load_der_x509_csr(josepy.decode_b64jose(said["csr"]))
            names = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            asked = names.get_values_for_type(x509.DNSName)
            if not csr.is_signature_valid or set(asked) != set(order["tokens"]):
                raise Refused("badCSR", f"{asked}", 400)
            self.issued.append(self.sign(csr.public_key(), asked, self.life))
            order["status"], order["certificate"] = "valid", self.issued[-1]
        if what == "certificate":
            return 200, None, pem(order["certificate"])
        return 200, None, self.view(number)


def handler(authority: Authority) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def send(self, status: int, body: Any, place: str | None = None) -> None:
            sent = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("replay-nonce", authority.nonce())
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(sent)))
            if place is not None:
                self.send_header("location", place)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(sent)

        def do_HEAD(self) -> None:
            self.send(200, b"")

        def do_GET(self) -> None:
            words = {"newNonce": "new-nonce", "newAccount": "new-account", "newOrder": "new-order"}
            self.send(200, {name: f"{authority.base}/{word}" for name, word in words.items()})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            try:
                key, kid, said = authority.signed(body, self.path)
                status, place, answer = authority.answer(self.path, key, kid, said)
                self.send(status, answer, place)
            except Refused as error:
                self.send(error.status, {"type": PROBLEM + error.kind, "detail": error.detail})

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
