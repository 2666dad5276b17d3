"""A small server whose people sign in, and their provider: for `attack_people.py` and `check_sign_in.py`.

The provider signs with ES256, on a loopback address, for whoever the script says is before the browser. It
needs `cryptography`, and nothing else that Python has not.
"""

from __future__ import annotations

import base64
import hashlib
import http.cookiejar
import http.server
import json
import os
import re
import select
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

CLIENT = "creta"
# Which need a role of the first people serves.
NEED = "Looks after this environment and its people"


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(key: ec.EllipticCurvePrivateKey, header: dict[str, Any], claims: dict[str, Any]) -> str:
    """A token with an ES256 signature (RFC 7515)."""
    head = {"alg": "ES256"} | header
    text = ".".join(encoded(json.dumps(part).encode()) for part in (head, claims))
    r, s = utils.decode_dss_signature(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{text}.{encoded(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def public_key(key: ec.EllipticCurvePrivateKey) -> dict[str, str]:
    """Its public half as RFC 7517 writes it."""
    numbers = key.public_key().public_numbers()
    x, y = (encoded(number.to_bytes(32, "big")) for number in (numbers.x, numbers.y))
    return {"kty": "EC", "crv": "P-256", "x": x, "y": y}


class Provider:
    """An OpenID provider. `person` is who sits before the browser."""

    def __init__(self) -> None:
        self.person = "nobody"
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.codes: dict[str, tuple[str, str]] = {}
        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.get(self)

            def do_POST(self) -> None:
                provider.token(self)

            def log_message(self, *_: object) -> None:
                """Says nothing of each request."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def get(self, asked: http.server.BaseHTTPRequestHandler) -> None:
        path = urllib.parse.urlsplit(asked.path)
        if path.path == "/authorize":
            query = dict(urllib.parse.parse_qsl(path.query))
            code = uuid.uuid4().hex
            self.codes[code] = (self.person, query["nonce"])
            back = urllib.parse.urlencode({"code": code, "state": query["state"]})
            asked.send_response(303)
            asked.send_header("location", f"{query['redirect_uri']}?{back}")
            asked.end_headers()
        elif path.path == "/keys":
            answer(asked, {"keys": [public_key(self.key) | {"kid": "1", "use": "sig", "alg": "ES256"}]})
        else:
            answer(asked, self.discovery())

    def discovery(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
            "code_challenge_methods_supported": ["S256"],
        }

    def token(self, asked: http.server.BaseHTTPRequestHandler) -> None:
        body = asked.rfile.read(int(asked.headers["content-length"])).decode()
        person, nonce = self.codes.pop(dict(urllib.parse.parse_qsl(body))["code"])
        now = int(time.time())
        claims = {"iss": self.issuer, "sub": f"sub-{person}", "aud": CLIENT, "iat": now, "exp": now + 300}
        claims |= {"nonce": nonce, "email": f"{person}@example.com", "email_verified": True}
        id_token = signed(self.key, {"kid": "1", "typ": "JWT"}, claims)
        answer(asked, {"access_token": "-", "token_type": "Bearer", "id_token": id_token})


def answer(asked: http.server.BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
    data = json.dumps(body).encode()
    asked.send_response(200)
    asked.send_header("content-type", "application/json")
    asked.send_header("content-length", str(len(data)))
    asked.end_headers()
    asked.wfile.write(data)


class World:
    """A server of its own in `folder`, and its provider."""

    def __init__(
        self,
        folder: Path,
        creta: Path,
        environment_class: str,
        appointed: dict[str, str] | None = None,
        settings: str = "",
    ) -> None:
        """With the local administrator; or `appointed` have roles by name, and there is none.

        `settings` end the configuration.
        """
        self.folder, self.binary, self.provider = folder, creta, Provider()
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        self.url, self.browsed = f"https://127.0.0.1:{port}", f"https://localhost:{port}"
        made = ("server", "init", "--data", "data", "--environment", "people", "--class", environment_class)
        self.creta(*made, "--listen", f"127.0.0.1:{port}")
        with (folder / "data" / "config.toml").open("a") as config:
            config.write(f'\n[sign_in]\nissuer = "{self.provider.issuer}"\nclient_id = "{CLIENT}"\n')
            config.write('\n[[on_call]]\ncommand = ["/bin/true"]\n')
            config.write(settings)
        for person, role in (appointed or {}).items():
            who = ("--issuer", self.provider.issuer, "--subject", f"sub-{person}")
            email = f"{person}@example.com"
            need = ("--need", NEED)
            self.creta("server", "appoint", "--data", "data", *who, "--email", email, "--role", role, *need)
        self.log = folder / "server.log"
        with self.log.open("wb") as log:
            self.server = subprocess.Popen(
                [self.binary, "server", "start", "--data", "data"],
                cwd=folder,
                env=self.environment(),
                stdout=log,
                stderr=log,
            )
        for _ in range(600):
            if "serving" in self.log.read_text() or self.server.poll() is not None:
                break
            time.sleep(0.1)
        self.tls = ssl.create_default_context(cafile=folder / "data" / "tls" / "ca.pem")
        if not appointed:
            self.creta("login", "--name", "admin", "--from", "data/admin.json")

    def stop(self) -> None:
        self.server.terminate()
        self.server.wait(timeout=30)

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CRETA_")}
        own = {"CRETA_PROFILE_FILE": str(self.folder / "profiles.toml"), "CRETA_PYTHON": sys.executable}
        return kept | own

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Starts a command that asks for something while it runs."""
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [self.binary, *words],
            cwd=self.folder,
            env=self.environment(),
            stdout=pipe,
            stderr=pipe,
            text=True,
        )

    def creta(self, *words: str, fails: bool = False) -> str:
        """Runs a command; gives what it printed, or what it complained about if it is to fail."""
        process = self.start(*words)
        printed, complained = process.communicate(timeout=60)
        if (process.returncode != 0) != fails:
            raise SystemExit(f"`creta {' '.join(words)}` ended with {process.returncode}: {complained}")
        return complained if fails else printed

    def ask(self, *words: str) -> Any:
        """What a command answers, as JSON."""
        return json.loads(self.creta(*words, "--json"))

    def begin_login(self, profile: str, *more: str) -> subprocess.Popen[str]:
        where = ("--url", self.url, "--ca", str(self.folder / "data" / "tls" / "ca.pem"))
        browser = () if "--device" in more else ("--no-browser",)
        return self.start("login", "--name", profile, *browser, *more, *where)

    def sign_in(self, person: str, profile: str) -> str:
        """Signs somebody in who has no authenticator; gives who that is here."""
        self.provider.person = person
        process = self.begin_login(profile)
        address = said(process, r"(https://\S+/sign-in\?\S+&dpop_jkt=[\w-]{43})")
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        browser = urllib.request.build_opener(urllib.request.HTTPSHandler(context=self.tls), cookies)
        browser.open(address, timeout=30).close()
        finish(process)
        return str(self.ask("whoami", "--profile", profile)["person"]["person"])

    def session(self, profile: str) -> dict[str, str]:
        """What `creta login` keeps on the machine."""
        kept: dict[str, str] = json.loads((self.folder / f"{profile}.session").read_text())
        return kept

    def send(
        self, method: str, path: str, headers: dict[str, str], body: object = None
    ) -> tuple[int, dict[str, Any]]:
        data = None if body is None else json.dumps(body).encode()
        if data:
            headers = headers | {"content-type": "application/json"}
        request = urllib.request.Request(self.url + path, data=data, headers=headers, method=method)  # noqa: S310
        try:
            with urllib.request.urlopen(request, context=self.tls, timeout=30) as reply:  # noqa: S310
                return reply.status, json.loads(reply.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"{}")

    def proof(self, key: str, method: str, path: str, token: str | None = None) -> str:
        """Proof that one holds a session's key (RFC 9449)."""
        private = serialization.load_der_private_key(base64.b64decode(key), None)
        if not isinstance(private, ec.EllipticCurvePrivateKey):
            raise SystemExit("the key of a session is none of P-256")
        claims: dict[str, Any] = {"jti": uuid.uuid4().hex, "htm": method, "htu": self.url + path}
        claims["iat"] = int(time.time())
        if token is not None:
            claims["ath"] = encoded(hashlib.sha256(token.encode()).digest())
        return signed(private, {"typ": "dpop+jwt", "jwk": public_key(private)}, claims)

    def entries(self, start: int, profile: str = "admin") -> list[dict[str, Any]]:
        """The log's entries from `start` on."""
        listed = self.ask("audit", "show", "--start", str(start), "--limit", "1000", "--profile", profile)
        entries: list[dict[str, Any]] = listed["entries"]
        return entries


def said(process: subprocess.Popen[str], pattern: str) -> str:
    """What a command that goes on says, once it says it."""
    if process.stderr is None:
        raise SystemExit("what the command complains about goes elsewhere")
    heard, deadline = "", time.monotonic() + 30
    while time.monotonic() < deadline:
        if found := re.search(pattern, heard):
            return found[1]
        if select.select([process.stderr], [], [], 0.1)[0]:
            more = os.read(process.stderr.fileno(), 4096).decode()
            if not more:
                break
            heard += more
    process.kill()
    raise SystemExit(f"a command said nothing like {pattern}: {heard}")


def finish(process: subprocess.Popen[str]) -> str:
    """What a command printed until it ended well."""
    try:
        printed, complained = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    if process.returncode:
        raise SystemExit(f"a command ended with {process.returncode}: {complained}")
    return printed
