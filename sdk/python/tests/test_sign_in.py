"""People sign in at an OpenID provider that is not ours: Canaille, started by pytest-iam."""

from __future__ import annotations

import asyncio
import json
import os
import re
import select
import ssl
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

import creta
from creta._http import PersonSession
from test_tutorial import find_binary, free_address

CLIENT = "creta"
LOYALTY = "Customer.loyalty"


@dataclass
class Organisation:
    """A server, the provider that its people sign in at, and a folder to be in."""

    folder: Path
    url: str
    iam: Any

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CRETA_")}
        return kept | {
            "CRETA_PYTHON": sys.executable,
            "CRETA_PROFILE_FILE": str(self.folder / "profiles.toml"),
        }

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [binary(), *words],
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def creta(self, *words: str, expect: int = 0) -> str:
        """Runs a command; gives what it printed, and where it was to fail, what it complained about."""
        process = self.start(*words)
        printed, complained = process.communicate(timeout=60)
        assert process.returncode == expect, f"creta {words}\n{printed}\n{complained}"
        return complained if expect else printed

    def whoami(self, profile: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.creta("whoami", "--profile", profile, "--json"))
        return answer

    def browser(self) -> httpx.Client:
        """A browser: goes where it is sent, keeps cookies, says that forms are of the page it shows."""
        own = {"sec-fetch-site": "same-origin"}
        return httpx.Client(verify=ssl_of(self.folder), follow_redirects=True, timeout=30, headers=own)

    def account(self, name: str) -> Any:
        """Somebody's account at the provider, who has agreed that Creta learns who they are."""
        user = self.iam.random_user(
            id=str(uuid.uuid4()), user_name=f"{name}-{uuid.uuid4().hex[:6]}", emails=[f"{name}@example.com"]
        )
        self.iam.consent(user)
        return user

    def sign_in(self, account: Any, profile: str) -> str:
        """`creta login --no-browser`, and what a browser does with the address it prints; who that is."""
        process = self.start("login", "--no-browser", "--name", profile, *self.where())
        address = shown(process, r"(https://\S+/sign-in\?\S+&dpop_jkt=[\w-]{43})")
        self.iam.login(account)
        try:
            with self.browser() as browser:
                page = browser.get(address)
            assert page.status_code == 200, page.text
            assert page.url.host == "127.0.0.1", "the browser comes back to this machine"
            assert "You are signed in" in page.text
            printed, complained = process.communicate(timeout=60)
        finally:
            self.iam.logout()
            process.kill()
        assert process.returncode == 0, complained
        assert f"profile `{profile}`" in printed
        return str(self.whoami(profile)["person"]["person"])

    def where(self) -> tuple[str, ...]:
        return ("--url", self.url, "--ca", str(self.folder / "data" / "tls" / "ca.pem"))

    def session_file(self, profile: str) -> Path:
        return self.folder / f"{profile}.session"

    def log(self) -> list[dict[str, Any]]:
        words = ("audit", "show", "--limit", "1000", "--profile", "admin", "--json")
        return list(rows(json.loads(self.creta(*words))))


def rows(answer: Any) -> Iterator[dict[str, Any]]:
    """Every entry, wherever it stands in the answer."""
    if isinstance(answer, dict):
        if "action" in answer:
            yield answer
        for value in answer.values():
            yield from rows(value)
    elif isinstance(answer, list):
        for value in answer:
            yield from rows(value)


def binary() -> str:
    found = find_binary()
    if found is None:
        pytest.fail("build the command first (`cargo build -p creta-cli`) and set CRETA_BINARY to it")
    return found


def ssl_of(folder: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=folder / "data" / "tls" / "ca.pem")


def shown(process: subprocess.Popen[str], pattern: str) -> str:
    """What a command that goes on says, once it says it."""
    assert process.stderr is not None
    said, deadline = "", time.monotonic() + 30
    while time.monotonic() < deadline:
        if found := re.search(pattern, said):
            return found[1]
        if select.select([process.stderr], [], [], 0.1)[0]:
            more = os.read(process.stderr.fileno(), 4096).decode()
            if not more:
                break
            said += more
    process.kill()
    pytest.fail(f"it said nothing like {pattern}: {said}")


def register(iam: Any, url: str) -> str:
    """Makes the server known to the provider; gives its secret there."""
    secret = uuid.uuid4().hex
    client = iam.models.Client(
        client_id=CLIENT,
        client_secret=secret,
        client_name="Creta",
        contacts=["ops@example.com"],
        redirect_uris=[f"{url}/sign-in/callback"],
        grant_types=["authorization_code"],
        response_types=["code"],
        token_endpoint_auth_method="client_secret_basic",
        scope=["openid", "profile", "email"],
        id_token_signed_response_alg="RS256",
    )
    iam.backend.save(client)
    client.audience = [client]
    iam.backend.save(client)
    return secret


@pytest.fixture(scope="session")
def iam_configuration(iam_configuration: dict[str, Any], iam_server_port: int) -> dict[str, Any]:
    """The provider calls itself by its number: without TLS the server takes one at a loopback address."""
    return iam_configuration | {"SERVER_NAME": f"127.0.0.1:{iam_server_port}"}


@pytest.fixture(scope="module")
def organisation(tmp_path_factory: pytest.TempPathFactory, iam_server: Any) -> Iterator[Organisation]:
    """A development server with a small project, whose people sign in at the provider."""
    folder, address = tmp_path_factory.mktemp("organisation"), free_address()
    organisation = Organisation(folder, f"https://{address}", iam_server)
    organisation.creta("server", "init", "--data", "data", "--environment", "dev", "--listen", address)
    browsed = f"https://localhost:{address.split(':')[1]}"
    (folder / "data" / "provider.secret").write_text(register(iam_server, browsed) + "\n")
    with (folder / "data" / "config.toml").open("a") as config:
        config.write(f'\n[sign_in]\nissuer = "http://127.0.0.1:{iam_server.port}"\nclient_id = "{CLIENT}"\n')
        config.write('client_secret_file = "provider.secret"\n')
    with (folder / "server.log").open("wb") as log:
        command = [binary(), "server", "start", "--data", "data"]
        server = subprocess.Popen(command, cwd=folder, env=organisation.environment(), stdout=log, stderr=log)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRETA_PROFILE_FILE", str(folder / "profiles.toml"))
        try:
            wait_until_it_serves(folder, server)
            organisation.creta("login", "--name", "admin", "--from", "data/admin.json")
            organisation.creta("tenant", "create", "shop", "--profile", "admin")
            account = ("service-account", "create", "builder", "--tenant", "shop", "--role", "developer")
            organisation.creta(*account, "--out", "builder.json", "--profile", "admin")
            organisation.creta("login", "--name", "builder", "--from", "builder.json")
            organisation.creta("init", "shop")
            organisation.creta("deploy", "shop", "--profile", "builder")
            yield organisation
        finally:
            server.terminate()
            server.wait(timeout=30)


def wait_until_it_serves(folder: Path, server: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if "serving" in (folder / "server.log").read_text():
            return
        try:
            server.wait(timeout=0.1)
        except subprocess.TimeoutExpired:
            continue
        break
    pytest.fail((folder / "server.log").read_text())


def make_data_scientist(organisation: Organisation, person: str) -> None:
    words = ("person", "assign", person, "--role", "data-scientist", "--tenant", "shop")
    organisation.creta(*words, "--profile", "admin")


def code_of(error: pytest.ExceptionInfo[creta.CretaError]) -> str:
    return error.value.code


def test_a_person_signs_in_gets_a_role_and_queries(organisation: Organisation) -> None:
    account = organisation.account("ana")
    ana = organisation.sign_in(account, "ana")
    # The provider does not say that it verified the address, so it names nobody.
    assert re.fullmatch(r"p-[0-9a-f]{24}", ana)
    assert organisation.whoami("ana")["person"]["roles"] == [], "whoever comes for the first time has no role"
    assert organisation.session_file("ana").stat().st_mode & 0o077 == 0
    with creta.connect("ana") as client, pytest.raises(creta.CretaError) as refused:
        client.query({"Customer.id": 1}, [LOYALTY])
    assert code_of(refused) == "access/denied"

    make_data_scientist(organisation, ana)
    me = organisation.whoami("ana")
    assert (me["person"]["roles"], me["person"]["tenant"]) == (["data-scientist"], "shop")
    with creta.connect("ana") as client:
        assert client.query({"Customer.id": 1}, [LOYALTY])[LOYALTY].value == 0.0
        # What the role does not hold stays refused.
        with pytest.raises(creta.CretaError) as refused:
            client.deploy(organisation.folder / "shop")
        assert code_of(refused) == "access/denied"
    assert organisation.sign_in(account, "again") == ana, "another sign-in of the account is the same person"
    assert organisation.whoami("again")["session"] != organisation.whoami("ana")["session"]


def test_a_person_queries_asynchronously(organisation: Organisation) -> None:
    make_data_scientist(organisation, organisation.sign_in(organisation.account("ada"), "ada"))

    async def ask() -> object:
        async with creta.connect_async("ada") as client:
            return (await client.query({"Customer.id": 1}, [LOYALTY]))[LOYALTY].value

    assert asyncio.run(ask()) == 0.0


def test_a_name_that_is_taken_gives_nobody_its_account(organisation: Organisation) -> None:
    """The provider gives the same address to another account: that is another person here."""
    eve = organisation.sign_in(organisation.account("eve"), "eve")
    make_data_scientist(organisation, eve)
    other = organisation.sign_in(organisation.account("eve"), "other-eve")
    assert other != eve
    assert organisation.whoami("other-eve")["person"]["roles"] == []


def test_somebody_without_the_provider_s_word_gets_no_session(organisation: Organisation) -> None:
    """Nobody is logged in at the provider: the browser ends at its login, and the command line waits."""
    process = organisation.start("login", "--no-browser", "--name", "nobody", *organisation.where())
    try:
        address = shown(process, r"(https://\S+/sign-in\?\S+&dpop_jkt=[\w-]{43})")
        with organisation.browser() as browser:
            page = browser.get(address)
            assert page.url.port == organisation.iam.port, "the provider asks who that is"
            # What comes back with a state that nobody began is refused, and says so on a page.
            forged = browser.get(f"{address.split('/sign-in')[0]}/sign-in/callback?code=x&state={'s' * 43}")
        assert forged.status_code == 401
        assert "began elsewhere" in forged.text
        assert process.poll() is None
    finally:
        process.terminate()
        process.communicate(timeout=30)
    assert not organisation.session_file("nobody").exists()


def test_attack_ch17_a_session_is_worth_nothing_without_its_key(organisation: Organisation) -> None:
    ivo = organisation.sign_in(organisation.account("ivo"), "ivo")
    organisation.sign_in(organisation.account("mallory"), "mallory")
    kept, foreign = (PersonSession.read(organisation.session_file(profile)) for profile in ("ivo", "mallory"))
    # The token alone.
    with httpx.Client(base_url=organisation.url, verify=ssl_of(organisation.folder)) as http:

        def renew(key: PersonSession) -> httpx.Response:
            path = "/v1/sessions/renew"
            proof = key.proof("POST", organisation.url + path, None)
            body = {"session": kept.session, "renewal": kept.renewal}
            return http.post(path, json=body, headers={"dpop": proof})

        token = renew(kept).json()["access_token"]
        asked = http.get("/v1/me", headers={"authorization": f"Bearer {token}"})
        assert (asked.status_code, asked.json()["code"]) == (401, "auth/no-proof")
        # The token with a proof by a key of one's own, from another machine.
        proof = foreign.proof("GET", f"{organisation.url}/v1/me", token)
        asked = http.get("/v1/me", headers={"authorization": f"DPoP {token}", "dpop": proof})
        assert (asked.status_code, asked.json()["code"]) == (401, "auth/bad-proof")
        # All that renews the session, without the key.
        asked = renew(foreign)
        assert (asked.status_code, asked.json()["code"]) == (401, "auth/session-over")
        # And with the key, as a control.
        proof = kept.proof("GET", f"{organisation.url}/v1/me", token)
        asked = http.get("/v1/me", headers={"authorization": f"DPoP {token}", "dpop": proof})
        assert asked.json()["person"]["person"] == ivo
    with (
        creta.connect(
            url=organisation.url, token=token, ca_file=str(organisation.folder / "data/tls/ca.pem")
        ) as client,
        pytest.raises(creta.CretaError) as refused,
    ):
        client.query({"Customer.id": 1}, [LOYALTY])
    assert code_of(refused) == "auth/no-proof"
    # The session's file on another machine, whose key it is not.
    stolen = json.loads(organisation.session_file("ivo").read_text())
    stolen["key"] = foreign.key
    file = organisation.session_file("mallory")
    file.write_text(json.dumps(stolen))
    assert "auth/session-over" in organisation.creta("whoami", "--profile", "mallory", expect=4)
    refusals = [row for row in organisation.log() if row["action"] == "proof.refused"]
    assert any(row.get("commitment") == "CH-16" for row in refusals), refusals


def test_after_logout_the_session_is_over_wherever_its_file_went(organisation: Organisation) -> None:
    organisation.sign_in(organisation.account("kim"), "kim")
    file = organisation.session_file("kim")
    copy = file.read_bytes()
    with creta.connect("kim") as client:
        organisation.creta("logout", "--profile", "kim")
        assert not file.exists()
        with pytest.raises(creta.CretaError) as refused:
            client.query({"Customer.id": 1}, [LOYALTY])
        assert code_of(refused) == "auth/session-over"
    with pytest.raises(creta.CretaError) as refused:
        creta.connect("kim")
    assert code_of(refused) == "profile/no-session"
    file.touch(mode=0o600)
    file.write_bytes(copy)
    assert "auth/session-over" in organisation.creta("whoami", "--profile", "kim", expect=4)


def word_of(page: str) -> str:
    """What the page that asks whether a code is somebody's own holds, for the answer."""
    found = re.search(r'name="word" value="([0-9a-f]+)"', page)
    assert found, page
    return found[1]


def test_a_machine_without_a_browser_shows_a_code(organisation: Organisation) -> None:
    process = organisation.start("login", "--device", "--name", "lab", *organisation.where())
    said = shown(process, r"open (\S+ in any browser, and enter this code: [B-Z]{4}-[B-Z]{4})")
    address, code = said.split(" ")[0], said.split(" ")[-1]
    organisation.iam.login(organisation.account("lea"))
    try:
        with organisation.browser() as browser:
            assert "shows" in browser.get(address).text
            wrong = browser.post(address, data={"user_code": "BBBB-BBBB"})
            assert "Nobody waits with this code" in wrong.text
            # As people type it.
            asked = browser.post(address, data={"user_code": code.lower().replace("-", " ")})
            assert "127.0.0.1" in asked.text, "it says from where the code was asked for"
            assert process.poll() is None
            unasked = browser.post(address, data={"user_code": code, "confirm": "yes"})
            assert "You are signed in" not in unasked.text, "what the page holds goes with the answer"
            yes = {"user_code": code, "confirm": "yes", "word": word_of(asked.text)}
            assert "You are signed in" in browser.post(address, data=yes).text
            again = browser.post(address, data=yes)
            assert "Nobody waits with this code" in again.text, "a code is good once"
        _, complained = process.communicate(timeout=60)
    finally:
        organisation.iam.logout()
        process.kill()
    assert process.returncode == 0, complained
    assert organisation.whoami("lab")["person"]["roles"] == []


def test_a_code_that_somebody_else_sent_can_be_turned_away(organisation: Organisation) -> None:
    process = organisation.start("login", "--device", "--name", "phisher", *organisation.where())
    said = shown(process, r"open (\S+ in any browser, and enter this code: [B-Z]{4}-[B-Z]{4})")
    address, code = said.split(" ")[0], said.split(" ")[-1]
    with organisation.browser() as browser:
        word = word_of(browser.post(address, data={"user_code": code}).text)
        no = {"user_code": code, "confirm": "no", "word": word}
        assert "turned away" in browser.post(address, data=no).text
    _, complained = process.communicate(timeout=60)
    assert process.returncode == 4, complained
    assert "access/sign-in-refused" in complained
    assert not organisation.session_file("phisher").exists()
