"""A server over HTTP, sync and async."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import threading
import time
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from creta._client import AsyncQueries, Queries
from creta._datasets import Operation
from creta._errors import CretaError, problem_here
from creta._export import Definitions, canonical, export_project
from creta._guards import is_table
from creta._retries import Retries
from creta._wire import (
    audit_request,
    check_request,
    dataset_request,
    ingest_request,
    json_request,
    make_request,
    mistakes,
    read_json,
    rows_answer,
    rows_request,
    training_answer,
    training_request,
    unexpected,
)

if TYPE_CHECKING:
    import httpx
    import pyarrow as pa

TIMEOUT_SECONDS = 600.0
"""Of one request: training sets take a while."""

EARLY_SECONDS = 30.0
"""How long before its end a token is renewed."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """A service account.

    The secret is never shown.
    """

    client_id: str
    client_secret: str

    def __repr__(self) -> str:
        return f"Credentials(client_id={self.client_id!r}, client_secret=...)"


@dataclass(frozen=True, slots=True)
class PersonSession:
    """A person who signed in on this machine with `creta login`.

    Every request proves that this machine holds the session's key; what the file holds is never shown.
    """

    person: str
    session: str
    renewal: str
    key: str

    @classmethod
    def read(cls, file: Path) -> PersonSession:
        """Reads what `creta login` wrote.

        Refuses a file that others on the machine can read.
        """
        try:
            exposed = file.stat().st_mode & 0o077
            kept: Any = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise problem_here(
                "profile/no-session", f"`{file}` is not a session", "sign in: `creta login`"
            ) from None
        if exposed:
            raise problem_here(
                "profile/secret-exposed",
                f"others on this machine can read the session in `{file}`",
                f"run `chmod 600 {file}`, and end the session if it was exposed: `creta logout`",
            )
        names = ("person", "session", "renewal", "key")
        if not is_table(kept) or not all(isinstance(kept.get(name), str) for name in names):
            raise problem_here("profile/no-session", f"`{file}` is not a session", "sign in: `creta login`")
        return cls(*(kept[name] for name in names))

    def __repr__(self) -> str:
        return f"PersonSession({self.person!r}, ...)"

    def proof(self, method: str, url: str, token: str | None) -> str:
        """Proof of the session's key for one request (RFC 9449)."""
        from creta._local import native_module

        return str(native_module().prove_possession(self.key, method, url, token))


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect, as whom."""

    url: str
    ca_file: str | None = None
    token: str | None = None
    credentials: Credentials | None = None
    session: PersonSession | None = None

    def __repr__(self) -> str:
        return f"Target({self.url!r})"


def profile_file() -> Path:
    """`CRETA_PROFILE_FILE`, else `creta/profiles.toml` in the user's configuration folder."""
    if given := os.environ.get("CRETA_PROFILE_FILE"):
        return Path(given)
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "creta" / "profiles.toml"


def target(
    profile: str | None,
    url: str | None,
    token: str | None,
    credentials: Credentials | None,
    ca_file: str | None,
) -> Target:
    """From a profile, or from a URL with a token or credentials.

    Without either the profile `default`.
    """
    if url is not None:
        if profile is not None:
            raise problem_here(
                "profile/two-targets", "`profile` and `url` both say where to connect", "give one of them"
            )
        _refuse_plain_http(url)
        return Target(url.rstrip("/"), ca_file, token, credentials)
    name, file = profile or "default", profile_file()
    try:
        profiles = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise problem_here(
            "profile/no-file", f"there is no profile file `{file}`", "run `creta login`"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise problem_here("profile/bad-file", f"`{file}` is not valid: {error}") from None
    entry: Any = profiles.get(name)
    if not is_table(entry):
        known = ", ".join(f"`{other}`" for other in profiles) or "none"
        raise problem_here(
            "profile/unknown", f"there is no profile `{name}` in `{file}`", f"there is: {known}"
        )
    return _from_profile(name, file, entry, token, credentials)


def _from_profile(
    name: str, file: Path, entry: Mapping[str, Any], token: str | None, credentials: Credentials | None
) -> Target:
    session_file = entry.get("session_file")
    needed = ("url", "session_file") if session_file else ("url", "client_id", "client_secret_file")
    missing = [key for key in needed if not isinstance(entry.get(key), str)]
    if missing:
        raise problem_here(
            "profile/bad-file", f"profile `{name}` in `{file}` has no `{missing[0]}`", "run `creta login`"
        )
    _refuse_plain_http(entry["url"])
    session: PersonSession | None = None
    if session_file and token is None and credentials is None:
        session = PersonSession.read(file.parent / session_file)
    elif token is None and credentials is None:
        secret_file = file.parent / entry["client_secret_file"]
        try:
            exposed = secret_file.stat().st_mode & 0o077
            secret = secret_file.read_text(encoding="utf-8").rstrip("\r\n")
        except OSError as error:
            raise problem_here(
                "profile/no-secret",
                f"`{secret_file}` cannot be read: {error.strerror}",
                "run `creta login` again",
            ) from None
        if exposed:
            raise problem_here(
                "profile/secret-exposed",
                f"others on this machine can read the secret in `{secret_file}`",
                f"run `chmod 600 {secret_file}`; if it was exposed, revoke the service account",
            )
        credentials = Credentials(entry["client_id"], secret)
    ca_file = entry.get("ca_file")
    ca_path = str(file.parent / ca_file) if ca_file else None
    return Target(entry["url"].rstrip("/"), ca_path, token, credentials, session)


def _refuse_plain_http(url: str) -> None:
    parts = urlsplit(url)
    local = parts.hostname in ("127.0.0.1", "::1", "localhost")
    if parts.scheme != "https" and not (parts.scheme == "http" and local):
        raise problem_here(
            "profile/insecure", f"`{url}` is not an https address", "tokens and values travel over TLS only"
        )


class _Session:
    """What both clients do besides sending: tokens, bodies, problems."""

    def __init__(self, where: Target) -> None:
        self.where = where
        self._token = where.token
        self._until = float("inf") if where.token else 0.0
        self._key: str | None = None
        """What the tokens of a service account are bound to, where it takes no others."""
        self.reached = False
        """Whether the server ever answered."""

    def options(self) -> dict[str, Any]:
        verify: Any = True
        if (file := self.where.ca_file) is not None:
            try:
                verify = ssl.create_default_context(cafile=file)
            except OSError:  # Also what OpenSSL says of a file without certificates.
                raise problem_here(
                    "profile/no-ca-file", f"`{file}` is no file of certificates", "name the server's CA file"
                ) from None
        return {
            "base_url": self.where.url,
            "timeout": TIMEOUT_SECONDS,
            "verify": verify,
            "follow_redirects": False,
        }

    @property
    def token(self) -> str | None:
        """The token that requests bear."""
        return self._token

    def needs_token(self, refused: str | None) -> bool:
        """Whether one is to be asked for: there is none, it ends soon, or it is the one that was refused."""
        return self._token is None or self._token == refused or time.monotonic() > self._until - EARLY_SECONDS

    def can_renew(self) -> bool:
        """Whether another token may be asked for after one was refused."""
        return self.where.credentials is not None or self.where.session is not None

    def token_request(self) -> dict[str, Any]:
        if session := self.where.session:
            path = "/v1/sessions/renew"
            return {
                "method": "POST",
                "url": path,
                "json": {"session": session.session, "renewal": session.renewal},
                "headers": {"dpop": session.proof("POST", self.where.url + path, None)},
            }
        credentials = self.where.credentials
        if credentials is None:
            raise problem_here(
                "access/no-credentials",
                "there is nothing to sign in with",
                "use a profile, or give `token=` or `credentials=Credentials(client_id, client_secret)`",
            )
        body = {"client_id": credentials.client_id, "client_secret": credentials.client_secret}
        request: dict[str, Any] = {"method": "POST", "url": "/v1/token", "json": body}
        if self._key is not None:
            request["headers"] = {"dpop": self._prove("POST", "/v1/token", None)}
        return request

    def asks_again(self, response: httpx.Response) -> bool:
        """Whether a token is to be asked for once more.

        The account's tokens are bound to a key, so one is made, which lives as long as this client.
        """
        if self._key is not None or self.where.session is not None or response.status_code != 401:
            return False
        try:
            problem: Any = response.json()
        except ValueError:
            return False
        if not is_table(problem) or problem.get("code") != "auth/no-proof":
            return False
        from creta._local import native_module

        self._key = str(native_module().make_key())
        return True

    def _prove(self, method: str, path: str, token: str | None) -> str:
        from creta._local import native_module

        return str(native_module().prove_possession(self._key, method, self.where.url + path, token))

    def take_token(self, response: httpx.Response) -> None:
        answer = read_json(response)
        try:
            self._token = str(answer["access_token"])
            self._until = time.monotonic() + float(answer["expires_in"])
        except (KeyError, TypeError, ValueError):
            raise unexpected(response) from None

    def authorised(self, request: dict[str, Any]) -> dict[str, Any]:
        """The request with the headers that say who asks."""
        return _with(request, self._headers(request["method"], request["url"]))

    def _headers(self, method: str, path: str) -> dict[str, str]:
        session = self.where.session
        if session is None and self._key is not None:
            proof = self._prove(method, path.split("?")[0], self._token)
            return {"authorization": f"DPoP {self._token}", "dpop": proof}
        if session is None:
            return {"authorization": f"Bearer {self._token}"}
        proof = session.proof(method, self.where.url + path.split("?")[0], self._token)
        return {"authorization": f"DPoP {self._token}", "dpop": proof}


def unreachable(where: Target, request: Mapping[str, Any], error: Exception) -> CretaError:
    """The error for a server that does not answer.

    Says whether the request may have been carried out, so that nobody loads facts twice by trying again.
    """
    import httpx

    kind = type(error).__name__
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return CretaError(
                "http/not-trusted",
                f"the certificate of `{where.url}` is not trusted: {cause.verify_message}",
                help="give the certificate authority of the server: `ca_file=`, or `creta login` with `--ca`",
            )
        cause = cause.__cause__ or cause.__context__
    unsent = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
    if isinstance(error, (*unsent, httpx.UnsupportedProtocol)):
        return CretaError(
            "http/unreachable", f"`{where.url}` cannot be reached: {kind}", help="check address and network"
        )
    return CretaError(
        "http/no-answer",
        f"`{where.url}` did not answer: {kind}",
        help=_what_to_do(request),
    )


def _what_to_do(request: Mapping[str, Any]) -> str:
    if key := request.get("headers", {}).get("idempotency-key"):
        return f"the facts may be stored: load them again with `idempotency_key={key!r}`, and they count once"
    return _MAY_BE_DONE.get(str(request["url"]), "nothing was changed: try again")


_MAY_BE_DONE = {
    "/v1/datasets": "the dataset may be kept: look with `datasets.list()` before you make it again",
    "/v1/deploy": "the definitions may be deployed: look with `creta diff`, or deploy them again",
}
"""What to do after a request that changes something went unanswered."""


class Client(Queries):
    """A server's scope.

    See `connect`. Close it, or use it with `with`.
    """

    def __init__(self, where: Target, transport: httpx.BaseTransport | None = None) -> None:
        import httpx

        self._session = _Session(where)
        self._http = httpx.Client(**self._session.options(), transport=transport)
        self._renewing = threading.Lock()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Client of {self._session.where.url}>"

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def deploy(self, project: Definitions) -> dict[str, Any]:
        """Makes a project's definitions the active ones of the scope; returns what changed."""
        return read_json(self._send(json_request("/v1/deploy", canonical(export_project(project)))))

    def check(self, project: Definitions) -> list[CretaError]:
        """What a deploy of the project would refuse: every mistake with its place, none when all is well."""
        request = check_request(project)
        if isinstance(request, CretaError):
            return [request, *request.others]
        return mistakes(self._send(request))

    def _send(self, request: dict[str, Any]) -> httpx.Response:
        import httpx

        session, retries = self._session, Retries(request)
        while True:
            try:
                response = self._send_once(request)
            except httpx.TransportError as error:
                pause = retries.pause_after_error(error, session.reached)
                if pause is None:
                    raise unreachable(session.where, request, error) from error
            else:
                session.reached = True
                pause = retries.pause_after(response)
                if pause is None:
                    return response
            time.sleep(pause)

    def _send_once(self, request: dict[str, Any]) -> httpx.Response:
        session = self._session
        self._renew(None)
        used = session.token
        response = self._http.request(**session.authorised(request))
        if response.status_code == 401 and session.can_renew():
            # Refused before anything was done, so it may be sent again.
            self._renew(used)
            response = self._http.request(**session.authorised(request))
        return response

    def _renew(self, refused: str | None) -> None:
        """Asks for a token where one is needed; once, however many requests wait for it."""
        session = self._session
        if session.needs_token(refused):
            with self._renewing:
                if session.needs_token(refused):
                    answer = self._http.request(**session.token_request())
                    if session.asks_again(answer):
                        answer = self._http.request(**session.token_request())
                    session.take_token(answer)

    def _query(self, request: dict[str, Any]) -> dict[str, Any]:
        return read_json(self._send(json_request("/v1/query", request)))

    def _explain(self, request: dict[str, Any]) -> dict[str, Any]:
        return read_json(self._send(json_request("/v1/explain", request)))

    def _training_set(self, request: dict[str, Any], spine: pa.Table) -> pa.Table:
        return training_answer(self._send(training_request(request, spine)), request, spine)

    def _audit_leakage(
        self, request: dict[str, Any], labels: dict[str, str | None], spine: pa.Table
    ) -> dict[str, Any]:
        return read_json(self._send(audit_request(request, labels, spine)))

    def _make_dataset(self, options: dict[str, Any], spine: pa.Table) -> dict[str, Any]:
        return read_json(self._send(make_request(options, spine)))

    def _dataset(self, operation: Operation) -> dict[str, Any]:
        return read_json(self._send(dataset_request(operation)))

    def _dataset_rows(self, which: str, columns: list[str] | None, states: bool) -> pa.Table:
        return rows_answer(self._send(rows_request(which, columns, states)))

    def _ingest(self, entity: str, request: dict[str, Any], table: pa.Table) -> dict[str, Any]:
        return read_json(self._send(ingest_request(entity, request, table)))

    def _verify(self, options: dict[str, Any]) -> dict[str, Any]:
        return read_json(self._send(json_request("/v1/verify", options)))


class AsyncClient(AsyncQueries):
    """A server's scope, awaited.

    See `connect_async`. Close it, or use it with `async with`.
    """

    def __init__(self, where: Target, transport: httpx.AsyncBaseTransport | None = None) -> None:
        import httpx

        self._session = _Session(where)
        self._http = httpx.AsyncClient(**self._session.options(), transport=transport)
        self._renewing = asyncio.Lock()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<AsyncClient of {self._session.where.url}>"

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def deploy(self, project: Definitions) -> dict[str, Any]:
        """See `Client.deploy`."""
        return read_json(await self._send(json_request("/v1/deploy", canonical(export_project(project)))))

    async def check(self, project: Definitions) -> list[CretaError]:
        """See `Client.check`."""
        request = check_request(project)
        if isinstance(request, CretaError):
            return [request, *request.others]
        return mistakes(await self._send(request))

    async def _send(self, request: dict[str, Any]) -> httpx.Response:
        import httpx

        session, retries = self._session, Retries(request)
        while True:
            try:
                response = await self._send_once(request)
            except httpx.TransportError as error:
                pause = retries.pause_after_error(error, session.reached)
                if pause is None:
                    raise unreachable(session.where, request, error) from error
            else:
                session.reached = True
                pause = retries.pause_after(response)
                if pause is None:
                    return response
            await asyncio.sleep(pause)

    async def _send_once(self, request: dict[str, Any]) -> httpx.Response:
        session = self._session
        await self._renew(None)
        used = session.token
        response = await self._http.request(**session.authorised(request))
        if response.status_code == 401 and session.can_renew():
            # Refused before anything was done, so it may be sent again.
            await self._renew(used)
            response = await self._http.request(**session.authorised(request))
        return response

    async def _renew(self, refused: str | None) -> None:
        """Asks for a token where one is needed; once, however many requests wait for it."""
        session = self._session
        if session.needs_token(refused):
            async with self._renewing:
                if session.needs_token(refused):
                    answer = await self._http.request(**session.token_request())
                    if session.asks_again(answer):
                        answer = await self._http.request(**session.token_request())
                    session.take_token(answer)

    async def _query(self, request: dict[str, Any]) -> dict[str, Any]:
        return read_json(await self._send(json_request("/v1/query", request)))

    async def _explain(self, request: dict[str, Any]) -> dict[str, Any]:
        return read_json(await self._send(json_request("/v1/explain", request)))

    async def _training_set(self, request: dict[str, Any], spine: pa.Table) -> pa.Table:
        return training_answer(await self._send(training_request(request, spine)), request, spine)

    async def _audit_leakage(
        self, request: dict[str, Any], labels: dict[str, str | None], spine: pa.Table
    ) -> dict[str, Any]:
        return read_json(await self._send(audit_request(request, labels, spine)))

    async def _make_dataset(self, options: dict[str, Any], spine: pa.Table) -> dict[str, Any]:
        return read_json(await self._send(make_request(options, spine)))

    async def _dataset(self, operation: Operation) -> dict[str, Any]:
        return read_json(await self._send(dataset_request(operation)))

    async def _dataset_rows(self, which: str, columns: list[str] | None, states: bool) -> pa.Table:
        return rows_answer(await self._send(rows_request(which, columns, states)))

    async def _ingest(self, entity: str, request: dict[str, Any], table: pa.Table) -> dict[str, Any]:
        return read_json(await self._send(ingest_request(entity, request, table)))

    async def _verify(self, options: dict[str, Any]) -> dict[str, Any]:
        return read_json(await self._send(json_request("/v1/verify", options)))


def _with(request: dict[str, Any], headers: dict[str, str]) -> dict[str, Any]:
    return request | {"headers": request.get("headers", {}) | headers}


def connect(
    profile: str | None = None,
    *,
    url: str | None = None,
    token: str | None = None,
    credentials: Credentials | None = None,
    ca_file: str | None = None,
) -> Client:
    """Connects to a server: by the profile that `creta login` made, or by address with a token or
    credentials."""
    return Client(target(profile, url, token, credentials, ca_file))


def connect_async(
    profile: str | None = None,
    *,
    url: str | None = None,
    token: str | None = None,
    credentials: Credentials | None = None,
    ca_file: str | None = None,
) -> AsyncClient:
    """`connect` with every method awaited."""
    return AsyncClient(target(profile, url, token, credentials, ca_file))
